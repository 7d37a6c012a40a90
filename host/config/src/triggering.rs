//! What is wrong with steps that ask schedulers for builds, which can only be seen when everything is defined: names that nobody has,
//! builds that would wait for builds of their own kind without end. Called by `resolve`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::nearest::{choices, did_you_mean};
use crate::schema::Schema;
use crate::star::{BuilderDefinition, Definitions, StepDefinition};

/// The parameter that makes a step wait for the builds that it asks for.
const WAIT: &str = "wait";

/// The schedulers that a step's parameters name, as far as they are known when the configuration is loaded; by parameter.
pub(crate) fn asked(schema: &Schema, config: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (parameter, value) in config.as_object().into_iter().flatten() {
        let alone = Value::Object([(parameter.clone(), value.clone())].into_iter().collect());
        let names = schema.named("scheduler", &alone);
        found.extend(names.into_iter().map(|name| (parameter.clone(), name)));
    }
    found
}

/// Every fault of who asks whom.
pub(crate) fn faults(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for step in &definitions.steps {
        faults.extend(unknown(definitions, step));
    }
    faults.extend(circles(definitions));
    faults
}

fn unknown(definitions: &Definitions, step: &StepDefinition) -> Vec<Diagnostic> {
    let strange = step
        .asks
        .iter()
        .filter(|(_, name)| !definitions.knows("scheduler", name));
    let known = definitions.names("scheduler");
    let known = || known.iter().map(String::as_str);
    let fault = |(parameter, name): &(String, String)| {
        let expected = match known().next() {
            None => "a scheduler (there is none)".to_owned(),
            Some(_) => choices(known()),
        };
        let fault = step.site.error_in(parameter, name, "unknown scheduler");
        let hint = did_you_mean(name, known());
        fault
            .expected(expected)
            .found(format!("`{name}`"))
            .maybe_hint(hint)
    };
    strange.map(fault).collect()
}

/// A step of a builder that waits for builds of others.
struct Wait<'a> {
    step: &'a StepDefinition,
    parameter: &'a str,
    scheduler: &'a str,
    target: &'a str,
}

/// Each circle once. A step that runs on a condition may bring one to an end, and is left out.
fn circles(definitions: &Definitions) -> Vec<Diagnostic> {
    let schedulers: HashMap<&str, &[String]> = definitions
        .schedulers
        .iter()
        .map(|(scheduler, _)| (scheduler.name.as_str(), scheduler.builders.as_slice()))
        .collect();
    let waits: BTreeMap<&str, Vec<Wait<'_>>> = definitions
        .builders
        .iter()
        .map(|builder| {
            (
                builder.builder.name.as_str(),
                waits_of(definitions, builder, &schedulers),
            )
        })
        .filter(|(_, waits)| !waits.is_empty())
        .collect();
    let (mut done, mut faults) = (BTreeSet::new(), Vec::new());
    for start in waits.keys() {
        walk(start, &waits, &mut done, &mut faults);
    }
    faults
}

fn waits_of<'a>(
    definitions: &'a Definitions,
    builder: &'a BuilderDefinition,
    schedulers: &HashMap<&str, &'a [String]>,
) -> Vec<Wait<'a>> {
    let steps = builder
        .steps
        .iter()
        .filter_map(|&place| definitions.steps.get(place));
    let waiting = steps.filter(|step| {
        step.step.run_if.is_always() && step.step.plugin.config.get(WAIT) == Some(&Value::Bool(true))
    });
    let mut found = Vec::new();
    for step in waiting {
        for (parameter, scheduler) in &step.asks {
            let targets = schedulers.get(scheduler.as_str()).copied().unwrap_or_default();
            found.extend(targets.iter().map(|target| Wait {
                step,
                parameter,
                scheduler,
                target,
            }));
        }
    }
    found
}

/// Goes down from one builder, without recursion: a chain may be as long as the configuration.
fn walk<'a>(
    start: &'a str,
    waits: &BTreeMap<&'a str, Vec<Wait<'a>>>,
    done: &mut BTreeSet<&'a str>,
    faults: &mut Vec<Diagnostic>,
) {
    let mut path: Vec<(&str, usize)> = vec![(start, 0)];
    while let Some((builder, next)) = path.last_mut() {
        let builder = *builder;
        let wait = waits.get(builder).and_then(|waits| waits.get(*next));
        let (false, Some(wait)) = (done.contains(builder), wait) else {
            done.insert(builder);
            path.pop();
            continue;
        };
        *next += 1;
        if let Some(place) = path.iter().position(|(above, _)| *above == wait.target) {
            faults.push(circle(&path[place..], wait, waits));
        } else {
            path.push((wait.target, 0));
        }
    }
}

fn circle(path: &[(&str, usize)], last: &Wait<'_>, waits: &BTreeMap<&str, Vec<Wait<'_>>>) -> Diagnostic {
    let mut text = String::new();
    for (builder, next) in path {
        // Where it stands already points behind the way that was taken.
        let taken = waits
            .get(builder)
            .and_then(|waits| waits.get(next.wrapping_sub(1)));
        let scheduler = taken.map_or("", |wait| wait.scheduler);
        text.push_str(&format!("`{builder}` waits for `{scheduler}`, which builds "));
    }
    text.push_str(&format!("`{}`", last.target));
    let fault = last.step.site.error_in(
        last.parameter,
        last.scheduler,
        "builds wait for each other without end",
    );
    fault
        .expected("an end: a builder that waits for no other, or a step with `run_if`")
        .found(text)
}
