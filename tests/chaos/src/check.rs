//! Compares what is left of a seed with the run without faults. Every way in which they may differ has a test that tampers
//! with a result.

use std::collections::{BTreeMap, BTreeSet};

use crate::found::{Build, Delivery, Found};

/// Words of which the reason of a build that a full disk ended has one.
const FULL: [&str; 4] = ["space", "full", "room", "log store"];
/// What is shown of either text where they differ.
const SHOWN: usize = 60;

/// What must not be. Empty if nothing was lost, doubled or changed. With `full_disk` a build may have ended with that
/// reason; what it had printed until then must still be the start of what it would have.
pub fn problems(expected: &Found, found: &Found, full_disk: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let ended = check_builds(expected, found, full_disk, &mut problems);
    check_executions(expected, found, &ended, &mut problems);
    check_deliveries(found, &mut problems);
    problems
}

/// Answers the builders of which a build was ended by the full disk.
fn check_builds<'a>(
    expected: &'a Found,
    found: &'a Found,
    full_disk: bool,
    problems: &mut Vec<String>,
) -> BTreeSet<&'a str> {
    let mut ended = BTreeSet::new();
    let (before, after) = (by_builder(expected), by_builder(found));
    for builder in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let count = |builds: &BTreeMap<&str, Vec<&Build>>| builds.get(builder).map_or(0, Vec::len);
        if count(&before) != count(&after) {
            problems.push(format!(
                "{builder}: expected {} builds, found {}",
                count(&before),
                count(&after)
            ));
        }
        let numbers: Vec<_> = after
            .get(builder)
            .into_iter()
            .flatten()
            .map(|b| b.number)
            .collect();
        if numbers.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            problems.push(format!(
                "{builder}: expected successive numbers, found {numbers:?}"
            ));
        }
        let Some(model) = before.get(builder).and_then(|builds| builds.first()) else {
            continue;
        };
        for build in after.get(builder).into_iter().flatten() {
            if full_disk && ended_by_full_disk(build) {
                ended.insert(*builder);
                compare_starts(model, build, problems);
            } else {
                compare(model, build, problems);
            }
        }
    }
    ended
}

fn by_builder(found: &Found) -> BTreeMap<&str, Vec<&Build>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for build in &found.builds {
        all.entry(build.builder.as_str()).or_default().push(build);
    }
    for builds in all.values_mut() {
        builds.sort_by_key(|build| build.number);
    }
    all
}

fn ended_by_full_disk(build: &Build) -> bool {
    let said = format!("{} {:?}", build.summary, build.steps).to_lowercase();
    build.outcome == "exception" && FULL.iter().any(|word| said.contains(word))
}

fn compare(model: &Build, build: &Build, problems: &mut Vec<String>) {
    let name = format!("{}/{}", build.builder, build.number);
    let mut same = |what: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        if expected != found {
            problems.push(format!("{name}: expected the {what} {expected}, found {found}"));
        }
    };
    same("outcome", &model.outcome, &build.outcome);
    same("summary", &model.summary, &build.summary);
    same("steps", &model.steps, &build.steps);
    same("properties", &model.properties, &build.properties);
    let channels: BTreeSet<_> = model.printed.keys().chain(build.printed.keys()).collect();
    for channel in channels {
        match (model.printed.get(channel), build.printed.get(channel)) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(expected), Some(found)) => {
                problems.push(format!("{name}: {channel}: {}", difference(expected, found)));
            }
            (Some(_), None) => problems.push(format!("{name}: {channel}: expected a log, found none")),
            (None, _) => problems.push(format!("{name}: {channel}: expected no such log, found one")),
        }
    }
}

/// Of a build that had to end: what was printed is the start of what would have been.
fn compare_starts(model: &Build, build: &Build, problems: &mut Vec<String>) {
    for (channel, found) in &build.printed {
        // What the master and the worker say themselves is where the reason stands.
        if channel.ends_with("/header") {
            continue;
        }
        let expected = model.printed.get(channel).map_or(&[][..], Vec::as_slice);
        if !expected.starts_with(found) {
            problems.push(format!(
                "{}/{}: {channel}, of a build that a full disk ended: {}",
                build.builder,
                build.number,
                difference(expected, found)
            ));
        }
    }
}

/// Where two texts differ first, and what is there.
fn difference(expected: &[u8], found: &[u8]) -> String {
    let pairs = expected.iter().zip(found);
    let at = pairs.take_while(|(left, right)| left == right).count();
    let from = at.saturating_sub(SHOWN / 2);
    let part = |text: &[u8]| {
        let end = text.len().min(at + SHOWN);
        format!(
            "{:?}",
            String::from_utf8_lossy(text.get(from..end).unwrap_or_default())
        )
    };
    format!(
        "expected {} bytes, found {}; they differ from byte {at} on: expected {}, found {}",
        expected.len(),
        found.len(),
        part(expected),
        part(found)
    )
}

fn check_executions(expected: &Found, found: &Found, ended: &BTreeSet<&str>, problems: &mut Vec<String>) {
    let mut times: BTreeMap<_, [usize; 2]> = BTreeMap::new();
    for noted in &found.executions {
        let key = (
            noted.builder.as_str(),
            noted.step.as_str(),
            noted.command.as_str(),
        );
        times.entry(key).or_default()[usize::from(noted.moment == "end")] += 1;
    }
    for ((builder, step, command), [begun, done]) in &times {
        let stopped = ended.contains(builder) && *done == 0;
        if *begun != 1 || (*done != 1 && !stopped) {
            problems.push(format!(
                "{builder}/{step}: expected the command {command} to begin and end once, it began {begun} times and \
                 ended {done} times"
            ));
        }
    }
    let (before, after) = (commands(expected), commands(found));
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let count = |all: &BTreeMap<_, BTreeSet<&str>>| all.get(key).map_or(0, BTreeSet::len);
        let (wanted, is) = (count(&before), count(&after));
        let fewer = ended.contains(key.0) && is < wanted;
        if wanted != is && !fewer {
            problems.push(format!(
                "{}/{}: expected {wanted} commands, found {is}",
                key.0, key.1
            ));
        }
    }
}

/// The commands of each step of each builder.
fn commands(found: &Found) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for noted in &found.executions {
        let key = (noted.builder.as_str(), noted.step.as_str());
        all.entry(key).or_default().insert(noted.command.as_str());
    }
    all
}

/// A build, as reports name it, and the moment that a report is about.
pub type Moment = (String, u64, String);

/// The moments of which the receiver has to be told.
pub fn moments(found: &Found) -> BTreeSet<Moment> {
    let phases = ["started", "finished"];
    let of = |build: &Build| phases.map(|phase| (build.builder.clone(), build.number, phase.to_owned()));
    found.builds.iter().flat_map(of).collect()
}

/// The moment that a report is about.
pub fn moment(delivery: &Delivery) -> Moment {
    let text = |name: &str| delivery.body[name].as_str().unwrap_or("?").to_owned();
    let number = delivery.body["number"].as_u64().unwrap_or(0);
    (text("builder"), number, text("phase"))
}

fn check_deliveries(found: &Found, problems: &mut Vec<String>) {
    let mut all: BTreeMap<_, Vec<&Delivery>> = BTreeMap::new();
    for delivery in &found.deliveries {
        all.entry(moment(delivery)).or_default().push(delivery);
    }
    let wanted = moments(found);
    for unknown in all.keys().filter(|moment| !wanted.contains(*moment)) {
        problems.push(format!("expected no report of {unknown:?}, found one"));
    }
    for moment in &wanted {
        let told = all.get(moment).map_or(&[][..], Vec::as_slice);
        if !told.iter().any(|delivery| delivery.accepted) {
            problems.push(format!(
                "{moment:?}: expected a report that was accepted, found {} deliveries",
                told.len()
            ));
        }
        let ids: BTreeSet<_> = told.iter().map(|delivery| delivery.id.as_str()).collect();
        if ids.len() > 1 {
            problems.push(format!("{moment:?}: expected one delivery id, found {ids:?}"));
        }
        let bodies: BTreeSet<_> = told.iter().map(|delivery| delivery.body.to_string()).collect();
        if bodies.len() > 1 {
            problems.push(format!(
                "{moment:?}: expected the same report each time, found {bodies:#?}"
            ));
        }
    }
    for build in &found.builds {
        let key = (build.builder.clone(), build.number, "finished".to_owned());
        let told = all.get(&key).into_iter().flatten();
        let other = told
            .map(|one| &one.body["outcome"])
            .find(|&told| *told != build.outcome.as_str());
        if let Some(other) = other {
            problems.push(format!(
                "{key:?}: expected the outcome {}, reported was {other}",
                build.outcome
            ));
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
