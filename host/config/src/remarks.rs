//! What a configuration may say but probably does not mean: definitions that nothing uses, the same asked for twice. Made
//! once everything is known to be sound.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::plan::Scheduler;
use capstan_model::shell_word;

use crate::diagnostic::Diagnostic;
use crate::serving;
use crate::star::{Definitions, Site};

/// How many names one remark lists.
const LISTED: usize = 3;

/// Every remark on these definitions.
pub(crate) fn of(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut remarks = workers(definitions);
    remarks.extend(builders(definitions));
    remarks.extend(steps(definitions));
    remarks.extend(twice(definitions));
    remarks.extend(serving::remarks(definitions));
    remarks
}

fn workers(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut remarks = Vec::new();
    if definitions.workers.is_empty()
        && let Some(first) = definitions.builders.first()
    {
        let remark = first
            .site
            .warning("no worker is defined, so nothing can be built");
        remarks.push(remark.code("no-worker").hint("add `worker(\"w1\")`"));
    }
    // A builder without a list of workers takes any that has its labels, and workers report labels of their own.
    if definitions.builders.iter().any(|d| d.builder.workers.is_empty()) {
        return remarks;
    }
    let lists = definitions.builders.iter().flat_map(|d| &d.builder.workers);
    let used: BTreeSet<&String> = lists.collect();
    let idle = definitions
        .workers
        .iter()
        .filter(|(worker, _)| !used.contains(&worker.name));
    remarks.extend(idle.map(|(worker, site)| {
        let remark = site.warning(format!("no builder uses the worker `{}`", worker.name));
        remark.code("unused-worker")
    }));
    remarks
}

fn builders(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut remarks = Vec::new();
    let lists = definitions.schedulers.iter().flat_map(|(s, _)| &s.builders);
    let asked: BTreeSet<&String> = lists.collect();
    // What a function will name nobody knows yet.
    let open = definitions
        .schedulers
        .iter()
        .any(|(s, _)| s.builders_by.is_some());
    for definition in &definitions.builders {
        let (name, site) = (&definition.builder.name, &definition.site);
        if definition.steps.is_empty() {
            remarks.push(
                site.warning(format!("the builder `{name}` has no steps"))
                    .code("no-steps"),
            );
        }
        if !open && !asked.contains(name) {
            // Nothing is wrong with that: it is there for people.
            let remark = site
                .warning(format!("no scheduler asks for the builder `{name}`"))
                .note();
            let hint = format!("only `capstan force {}` builds it", shell_word(name));
            remarks.push(remark.code("unasked-builder").hint(hint));
        }
    }
    remarks
}

fn steps(definitions: &Definitions) -> Vec<Diagnostic> {
    let placed: BTreeSet<usize> = definitions
        .builders
        .iter()
        .flat_map(|d| d.steps.iter().copied())
        .collect();
    let all = definitions.steps.iter().enumerate();
    let idle = all.filter(|(place, _)| !placed.contains(place));
    idle.map(|(_, step)| {
        let remark = step
            .site
            .warning(format!("no builder uses the step `{}`", step.step.name));
        remark.code("unused-step")
    })
    .collect()
}

/// Schedulers that ask for a builder under the same conditions as another one: what makes one build makes two.
fn twice(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut alike: BTreeMap<_, Vec<&(Scheduler, Site)>> = BTreeMap::new();
    for definition in &definitions.schedulers {
        let scheduler = &definition.0;
        let key = (
            &scheduler.plugin.plugin,
            scheduler.plugin.config.to_string(),
            &scheduler.follows,
            format!("{:?}", scheduler.judging),
        );
        alike.entry(key).or_default().push(definition);
    }
    let mut remarks = Vec::new();
    for group in alike.into_values() {
        let mut first: BTreeMap<&str, &(Scheduler, Site)> = BTreeMap::new();
        for definition in group {
            let (scheduler, site) = definition;
            let mut shared: BTreeMap<&str, (&Site, Vec<&str>)> = BTreeMap::new();
            for builder in scheduler.builders.iter().collect::<BTreeSet<_>>() {
                match first.get(builder.as_str()) {
                    Some((other, place)) => {
                        let entry = shared.entry(&other.name).or_insert((place, Vec::new()));
                        entry.1.push(builder);
                    }
                    None => drop(first.insert(builder, definition)),
                }
            }
            remarks.extend(shared.into_iter().map(|(other, (place, builders))| {
                let text = format!(
                    "the schedulers `{other}` and `{}` ask for {} with equal parameters",
                    scheduler.name,
                    listed(&builders)
                );
                site.warning(text)
                    .code("duplicate-trigger")
                    .hint("what both are told of is built twice; take one of them away")
                    .related(place.location(), "the other one is here")
            }));
        }
    }
    remarks
}

fn listed(builders: &[&str]) -> String {
    let shown: Vec<_> = builders
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = builders.len() - shown.len();
    match (builders.len(), more) {
        (1, _) => format!("the builder {}", shown[0]),
        (_, 0) => format!("the builders {}", shown.join(", ")),
        _ => format!("the builders {} and {more} more", shown.join(", ")),
    }
}
