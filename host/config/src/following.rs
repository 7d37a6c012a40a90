//! What is wrong with schedulers that follow others, which can only be seen when everything is defined: names that nobody has,
//! circles. Called by `resolve`.

use std::collections::{HashMap, HashSet};

use capstan_model::plan::Scheduler;

use crate::diagnostic::Diagnostic;
use crate::nearest::{choices, did_you_mean};
use crate::star::{Definitions, Site};

/// Every fault of who follows whom.
pub(crate) fn faults(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = unknown(definitions);
    faults.extend(circles(definitions));
    faults
}

fn unknown(definitions: &Definitions) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (scheduler, site) in &definitions.schedulers {
        for name in &scheduler.follows {
            if definitions.knows("scheduler", name) {
                continue;
            }
            let known = definitions.names("scheduler");
            let known = || {
                known
                    .iter()
                    .map(String::as_str)
                    .filter(|&other| other != scheduler.name)
            };
            let expected = match known().next() {
                None => "a scheduler (there is no other)".to_owned(),
                Some(_) => choices(known()),
            };
            let fault = site
                .error_in("upstream", name, "unknown scheduler")
                .expected(expected);
            let hint = did_you_mean(name, known());
            faults.push(fault.found(format!("`{name}`")).maybe_hint(hint));
        }
    }
    faults
}

/// Each circle once: what it leads to would be asked for without end.
fn circles(definitions: &Definitions) -> Vec<Diagnostic> {
    let all: HashMap<&str, (&Scheduler, &Site)> = definitions
        .schedulers
        .iter()
        .map(|(scheduler, site)| (scheduler.name.as_str(), (scheduler, site)))
        .collect();
    let (mut done, mut faults) = (HashSet::new(), Vec::new());
    for (scheduler, _) in &definitions.schedulers {
        walk(&scheduler.name, &all, &mut done, &mut faults);
    }
    faults
}

/// Goes up from one scheduler, without recursion: a chain may be as long as the configuration.
fn walk<'a>(
    start: &'a str,
    all: &HashMap<&'a str, (&'a Scheduler, &'a Site)>,
    done: &mut HashSet<&'a str>,
    faults: &mut Vec<Diagnostic>,
) {
    let follows = |name: &str| all.get(name).map_or(&[][..], |(scheduler, _)| &scheduler.follows);
    let mut path: Vec<(&str, usize)> = vec![(start, 0)];
    while let Some((name, next)) = path.last_mut() {
        let name = *name;
        if done.contains(name) {
            path.pop();
            continue;
        }
        let Some(upstream) = follows(name).get(*next) else {
            done.insert(name);
            path.pop();
            continue;
        };
        *next += 1;
        if let Some(place) = path.iter().position(|(above, _)| above == upstream) {
            let mut names: Vec<_> = path[place..]
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            names.push(format!("`{upstream}`"));
            if let Some((_, site)) = all.get(name) {
                let fault = site.error_in("upstream", upstream, "schedulers follow each other in a circle");
                let found = names.join(" follows ");
                faults.push(fault.expected("an end: one that follows nobody").found(found));
            }
        } else if let Some((upstream, _)) = all.get_key_value(upstream.as_str()) {
            path.push((upstream, 0));
        }
    }
}
