//! The check notices each way in which a result can be wrong: one tampered result each.

use serde_json::json;

use super::*;
use crate::found::Execution;

fn build(builder: &str, number: u64) -> Build {
    Build {
        builder: builder.to_owned(),
        number,
        outcome: "success".to_owned(),
        summary: String::new(),
        steps: vec![["numbers", "success", ""].map(str::to_owned)],
        properties: [("got_revision".to_owned(), "\"1\" from git".to_owned())].into(),
        printed: [("numbers/stdio/stdout".to_owned(), b"one\ntwo\nthree\n".to_vec())].into(),
    }
}

fn noted(moment: &str, command: &str) -> Execution {
    Execution {
        moment: moment.to_owned(),
        builder: "talk".to_owned(),
        step: "numbers".to_owned(),
        command: command.to_owned(),
    }
}

fn delivery(id: &str, number: u64, phase: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        body: json!({ "builder": "talk", "number": number, "phase": phase, "outcome": "success" }),
        accepted: true,
    }
}

/// Two builds of one builder, each with one command and two reports.
fn good() -> Found {
    let each = |number: u64| {
        [
            delivery(&format!("{number}-s"), number, "started"),
            delivery(&format!("{number}-f"), number, "finished"),
        ]
    };
    Found {
        builds: vec![build("talk", 1), build("talk", 2)],
        executions: ["a", "b"]
            .into_iter()
            .flat_map(|command| [noted("begin", command), noted("end", command)])
            .collect(),
        deliveries: [each(1), each(2)].concat(),
    }
}

/// What the check says of a result that was tampered with.
fn after(tamper: impl FnOnce(&mut Found)) -> Vec<String> {
    let mut found = good();
    tamper(&mut found);
    problems(&good(), &found, false)
}

#[track_caller]
fn noticed(problems: &[String], words: &str) {
    assert!(
        problems.iter().any(|problem| problem.contains(words)),
        "expected a problem with `{words}`, found {problems:#?}"
    );
}

fn log(found: &mut Found) -> &mut Vec<u8> {
    found.builds[0].printed.get_mut("numbers/stdio/stdout").unwrap()
}

#[test]
fn the_same_result_with_other_ids_is_good() {
    let later = |found: &mut Found| {
        for build in &mut found.builds {
            build.number += 40;
        }
        for delivery in &mut found.deliveries {
            delivery.body["number"] = (moment(delivery).1 + 40).into();
            delivery.id.push_str("-later");
        }
        // The receiver refused it once; it came again.
        let again = found.deliveries[0].clone();
        found.deliveries[0].accepted = false;
        found.deliveries.push(again);
    };
    assert_eq!(after(later), [""; 0]);
}

#[test]
fn a_missing_byte_is_noticed() {
    noticed(
        &after(|found| *log(found) = b"one\nto\nthree\n".to_vec()),
        "differ from byte 5",
    );
    noticed(
        &after(|found| log(found).truncate(13)),
        "expected 14 bytes, found 13",
    );
    noticed(
        &after(|found| log(found).push(b'x')),
        "expected 14 bytes, found 15",
    );
    noticed(
        &after(|found| found.builds[0].printed.clear()),
        "expected a log, found none",
    );
    let another = |found: &mut Found| {
        found.builds[1].printed.insert("x".to_owned(), Vec::new());
    };
    noticed(&after(another), "expected no such log");
}

#[test]
fn a_second_execution_is_noticed() {
    let twice = |found: &mut Found| found.executions.extend([noted("begin", "a"), noted("end", "a")]);
    noticed(&after(twice), "it began 2 times");
    let repeated = |found: &mut Found| found.executions.extend([noted("begin", "c"), noted("end", "c")]);
    noticed(&after(repeated), "expected 2 commands, found 3");
}

#[test]
fn an_execution_that_is_missing_or_was_cut_short_is_noticed() {
    noticed(
        &after(|found| found.executions.truncate(2)),
        "expected 2 commands, found 1",
    );
    noticed(&after(|found| found.executions.truncate(3)), "ended 0 times");
}

#[test]
fn a_lost_build_and_a_second_one_are_noticed() {
    noticed(
        &after(|found| drop(found.builds.pop())),
        "expected 2 builds, found 1",
    );
    noticed(
        &after(|found| found.builds.push(build("talk", 3))),
        "expected 2 builds, found 3",
    );
    noticed(
        &after(|found| found.builds.push(build("other", 1))),
        "expected 0 builds, found 1",
    );
    noticed(&after(|found| found.builds[1].number = 7), "successive numbers");
}

#[test]
fn another_result_is_noticed() {
    noticed(
        &after(|found| found.builds[0].outcome = "retry".to_owned()),
        "the outcome",
    );
    noticed(
        &after(|found| found.builds[0].summary = "x".to_owned()),
        "the summary",
    );
    noticed(
        &after(|found| found.builds[0].steps[0][1] = "failure".to_owned()),
        "the steps",
    );
    noticed(
        &after(|found| found.builds[0].properties.clear()),
        "the properties",
    );
}

#[test]
fn a_report_that_is_missing_doubled_or_wrong_is_noticed() {
    noticed(&after(|found| drop(found.deliveries.pop())), "found 0 deliveries");
    noticed(
        &after(|found| found.deliveries[3].accepted = false),
        "found 1 deliveries",
    );
    let again = |found: &mut Found| found.deliveries.push(delivery("other", 1, "started"));
    noticed(&after(again), "expected one delivery id");
    let unknown = |found: &mut Found| found.deliveries.push(delivery("other", 3, "started"));
    noticed(&after(unknown), "expected no report");
    let changed = |found: &mut Found| {
        let mut again = found.deliveries[1].clone();
        again.body["summary"] = "another state".into();
        found.deliveries.push(again);
    };
    noticed(&after(changed), "the same report each time");
    noticed(
        &after(|found| found.deliveries[1].body["outcome"] = "failure".into()),
        "reported was",
    );
}

#[test]
fn a_full_disk_excuses_only_what_it_ended_and_only_with_the_reason() {
    let full = |summary: &str, tamper: fn(&mut Found)| {
        let mut found = good();
        found.builds[0].outcome = "exception".to_owned();
        found.builds[0].summary = summary.to_owned();
        for told in &mut found.deliveries {
            if moment(told) == ("talk".to_owned(), 1, "finished".to_owned()) {
                told.body["outcome"] = "exception".into();
            }
        }
        tamper(&mut found);
        problems(&good(), &found, true)
    };
    let reason = "no space left on device";
    assert_eq!(full(reason, |found| log(found).truncate(5)), [""; 0]);
    assert_eq!(full(reason, |found| drop(found.executions.remove(1))), [""; 0]);
    noticed(&full("who knows", |_| ()), "the outcome");
    noticed(&full(reason, |found| log(found)[0] = b'x'), "a full disk ended");
    noticed(
        &full(reason, |found| found.executions.push(noted("begin", "a"))),
        "began 2 times",
    );
    noticed(
        &full(reason, |found| found.builds[1].outcome = "retry".to_owned()),
        "the outcome",
    );
}
