//! A plan as text for people: `capstan check`.

use std::fmt::Write as _;

use capstan_model::EnvValue;
use capstan_model::plan::{Builder, Plan, Step};
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
            format!("{}{slots}{labels}", worker.name)
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

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<_> = lines.collect();
    let _ = writeln!(out, "{title} ({})", lines.len());
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn builder(builder: &Builder) -> String {
    let place = match (builder.workers.is_empty(), builder.labels.is_empty()) {
        (false, true) => format!("on {}", list(&builder.workers)),
        (false, false) => format!("on {} with {}", list(&builder.workers), builder.labels.join(" ")),
        (true, false) => format!("on any worker with {}", builder.labels.join(" ")),
        (true, true) => "on any worker".to_owned(),
    };
    let mut text = format!("{} {place}", builder.name);
    if !builder.env.is_empty() {
        let variables = builder.env.iter().map(|(name, value)| match value {
            EnvValue::Set(value) => format!("{name}={value}"),
            EnvValue::Unset => format!("{name} removed"),
            EnvValue::Secret(secret) => format!("{name} from the secret {secret}"),
        });
        let _ = write!(
            text,
            "\n      env {}",
            cut(&variables.collect::<Vec<_>>().join(", "))
        );
    }
    for (i, step) in builder.steps.iter().enumerate() {
        let _ = write!(text, "\n    {}. {}", i + 1, self::step(step));
    }
    text
}

fn step(step: &Step) -> String {
    let flags = [
        (!step.halt_on_failure, "goes on after failure"),
        (!step.flunk_on_failure, "its failure does not fail the build"),
        (step.warn_on_failure, "its failure is a warning"),
        (step.always_run, "always runs"),
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
        "{}: {}{}{flags}",
        step.name,
        step.plugin.plugin,
        parameters(&step.plugin.config)
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
