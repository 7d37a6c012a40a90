//! A plan as text for people: its counts and builders for `capstan check`, all of it for `capstan plan`.

use std::fmt::Write as _;

use capstan_model::plan::{Builder, Env, LockList, Plan, Step};
use capstan_model::{Deferred, EnvValue, Lock, Scope};
use serde_json::Value;

/// The longest line of parameters, in characters.
const MAX_PARAMETERS: usize = 100;

/// Everything that a plan defines, one definition a line, steps below their builders.
pub fn render_plan(plan: &Plan) -> String {
    let mut out = String::new();
    section(
        &mut out,
        "workers",
        plan.workers.iter().map(|worker| {
            let slots = worker
                .slots
                .map_or(String::new(), |slots| format!(", {slots} slots"));
            let labels = if worker.labels.is_empty() {
                String::new()
            } else {
                format!(", labels {}", worker.labels.join(" "))
            };
            let env = match worker.env.is_empty() {
                true => String::new(),
                false => format!("\n      env {}", cut(&environment(&worker.env).join(", "))),
            };
            format!("{}{slots}{labels}{env}", worker.name)
        }),
    );
    section(
        &mut out,
        "change sources",
        plan.sources.iter().map(|source| {
            format!(
                "{}: {}{}",
                source.name,
                source.plugin.plugin,
                parameters(&source.plugin.config)
            )
        }),
    );
    section(
        &mut out,
        "schedulers",
        plan.schedulers.iter().map(|scheduler| {
            let builders = list(&scheduler.builders);
            format!(
                "{}: {}{} → {builders}",
                scheduler.name,
                scheduler.plugin.plugin,
                parameters(&scheduler.plugin.config)
            )
        }),
    );
    if !plan.locks.is_empty() {
        section(&mut out, "locks", plan.locks.iter().map(lock));
    }
    if !plan.env.is_empty() {
        let variables = environment(&plan.env);
        let _ = writeln!(out, "environment\n  {}", cut(&variables.join(", ")));
    }
    section(&mut out, "builders", plan.builders.iter().map(builder));
    section(
        &mut out,
        "reporters",
        plan.reporters.iter().map(|reporter| {
            let builders = if reporter.builders.is_empty() {
                "all builders".to_owned()
            } else {
                list(&reporter.builders)
            };
            let phases: Vec<_> = reporter.phases.iter().map(|phase| phase.as_str()).collect();
            let settings = parameters(&reporter.plugin.config);
            format!(
                "{}: {}{settings} ← {builders}, {}",
                reporter.name,
                reporter.plugin.plugin,
                phases.join(" and ")
            )
        }),
    );
    out
}

/// How much a plan defines, by the plural of each kind.
pub fn counts(plan: &Plan) -> Vec<(&'static str, usize)> {
    let steps = plan.builders.iter().map(|builder| builder.steps.len()).sum();
    vec![
        ("builders", plan.builders.len()),
        ("steps", steps),
        ("workers", plan.workers.len()),
        ("schedulers", plan.schedulers.len()),
        ("change sources", plan.sources.len()),
        ("reporters", plan.reporters.len()),
        ("locks", plan.locks.len()),
    ]
}

/// One line a builder: its name, where it runs, how many steps it has.
pub fn render_builders(plan: &Plan) -> String {
    let mut out = String::new();
    for builder in &plan.builders {
        let steps = builder.steps.len();
        let word = if steps == 1 { "step" } else { "steps" };
        let _ = writeln!(out, "{} {}, {steps} {word}", builder.name, place(builder));
    }
    out
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<_> = lines.collect();
    let _ = writeln!(out, "{title} ({})", lines.len());
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn lock(lock: &Lock) -> String {
    let place = match lock.scope {
        Scope::Farm => "",
        Scope::Worker => " on each worker",
    };
    let others = lock
        .per_worker
        .iter()
        .map(|(worker, limit)| format!(", {limit} on {worker}"));
    format!(
        "{}: {}{place}{}",
        lock.name,
        lock.limit,
        cut(&others.collect::<String>())
    )
}

/// ` locks a, b (exclusive)`; nothing without any.
fn held(locks: &LockList) -> String {
    match locks {
        LockList::Fixed(list) if list.is_empty() => String::new(),
        LockList::Fixed(list) => {
            let each: Vec<_> = list.iter().map(ToString::to_string).collect();
            format!(" locks {}", cut(&each.join(", ")))
        }
        LockList::Function(function) => format!(" locks by {}", cut(&function.name)),
    }
}

fn place(builder: &Builder) -> String {
    match (builder.workers.is_empty(), builder.labels.is_empty()) {
        (false, true) => format!("on {}", list(&builder.workers)),
        (false, false) => format!("on {} with {}", list(&builder.workers), builder.labels.join(" ")),
        (true, false) => format!("on any worker with {}", builder.labels.join(" ")),
        (true, true) => "on any worker".to_owned(),
    }
}

fn builder(builder: &Builder) -> String {
    let mut text = format!("{} {}{}", builder.name, place(builder), held(&builder.locks));
    if let Some(directory) = &builder.directory {
        let _ = write!(text, " in the shared folder {directory}");
    }
    if let Some(name) = builder.virtual_builder.get("name") {
        let _ = write!(text, "\n      shown as {}", starlark(name));
    }
    if !builder.env.is_empty() {
        let variables = environment(&builder.env);
        let _ = write!(text, "\n      env {}", cut(&variables.join(", ")));
    }
    for (i, step) in builder.steps.iter().enumerate() {
        let _ = write!(text, "\n    {}. {}", i + 1, self::step(step));
    }
    text
}

fn environment(env: &Env) -> Vec<String> {
    let map = env.map.iter().map(|map| format!("all of {}", starlark(map)));
    let fixed = env.fixed.iter().map(|(name, value)| match value {
        EnvValue::Set(value) => format!("{name}={value}"),
        EnvValue::Path(entries) => format!("{name}=[{}]", entries.join(", ")),
        EnvValue::Unset => format!("{name} removed"),
        EnvValue::Secret(secret) => format!("{name} from the secret {secret}"),
    });
    let deferred = env.deferred.iter();
    let deferred = deferred.map(|(name, value)| format!("{name}={}", starlark(value)));
    map.chain(fixed).chain(deferred).collect()
}

fn step(step: &Step) -> String {
    let flags = [
        (!step.rules.halt_on_failure, "goes on after failure"),
        (
            !step.rules.flunk_on_failure,
            "its failure does not fail the build",
        ),
        (step.rules.warn_on_failure, "its failure is a warning"),
        (step.rules.halt_on_warnings, "warnings end the build"),
        (step.rules.flunk_on_warnings, "warnings fail the build"),
        (step.rules.warn_on_warnings, "its warnings are the build's"),
        (step.always_run, "always runs"),
        (step.run_if.is_never(), "never runs"),
        (
            !step.run_if.is_always() && !step.run_if.is_never(),
            "runs on a condition",
        ),
        (!step.hide_if.is_never(), "may be hidden"),
        (!step.end_build_on.is_empty(), "may end the build"),
    ];
    let flags: Vec<_> = flags
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, text)| text)
        .collect();
    let flags = if flags.is_empty() {
        String::new()
    } else {
        format!(" [{}]", flags.join(", "))
    };
    format!(
        "{}: {}{}{flags}{}",
        step.name,
        step.plugin.plugin,
        parameters(&step.plugin.config),
        held(&step.locks)
    )
}

/// `(a = 1, b = "x")`, as it would be written in the configuration.
fn parameters(config: &Value) -> String {
    let given = config.as_object().into_iter().flatten();
    let text = given
        .map(|(name, value)| format!("{name} = {}", starlark(value)))
        .collect::<Vec<_>>()
        .join(", ");
    format!("({})", cut(&text))
}

fn starlark(value: &Value) -> String {
    if let Some(Ok(deferred)) = Deferred::of(value) {
        return match deferred {
            Deferred::Interpolate(template) => format!("interpolate({:?})", template.text),
            Deferred::Property(property) => match &property.default {
                Some(default) => format!("prop({:?}, default = {})", property.name, starlark(default)),
                None => format!("prop({:?})", property.name),
            },
            Deferred::Function(number) => format!("function {number}"),
            Deferred::Secret(secret) => {
                format!("secret({}, among = {:?})", starlark(&secret.of), secret.among)
            }
        };
    }
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(starlark).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, item)| format!("{key:?}: {}", starlark(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn list(names: &[String]) -> String {
    cut(&names.join(", "))
}

fn cut(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(MAX_PARAMETERS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if shown.len() < text.len() {
        format!("{shown}…")
    } else {
        shown
    }
}
