//! What the step asks for, and what it makes of the builds.

use capstan_sdk::test::{Host, StepRun};

use super::*;

fn called(run: &StepRun) -> Value {
    let call = run.calls.iter().find(|call| call.name == "triggers.call");
    call.expect("a call").asked["call"].clone()
}

#[test]
fn it_asks_and_goes_on() {
    let host = Host::new().scheduler_makes("deploy", Outcome::Failure);
    let run = host.step::<Trigger>(json!({ "schedulers": "deploy" }));
    assert_eq!(run.outcome(), Outcome::Success, "it does not wait");
    assert_eq!(run.summary.as_deref(), Some("triggered deploy"));
    assert_eq!(called(&run), json!({ "properties": {}, "sources": "own" }));
    run.assert_calls(&["triggers.call deploy", "build.set-summary triggered deploy"]);
}

#[test]
fn it_ends_as_the_worst_build_that_counts() {
    for (lint, test, unimportant, expected) in [
        (Outcome::Success, Outcome::Success, json!([]), Outcome::Success),
        (Outcome::Skipped, Outcome::Skipped, json!([]), Outcome::Success),
        (Outcome::Warnings, Outcome::Success, json!([]), Outcome::Warnings),
        (Outcome::Failure, Outcome::Warnings, json!([]), Outcome::Failure),
        (
            Outcome::Failure,
            Outcome::Warnings,
            json!(["lint"]),
            Outcome::Warnings,
        ),
        (
            Outcome::Failure,
            Outcome::Failure,
            json!(["lint", "test"]),
            Outcome::Success,
        ),
        (
            Outcome::Exception,
            Outcome::Cancelled,
            json!([]),
            Outcome::Cancelled,
        ),
    ] {
        let host = Host::new()
            .scheduler_makes("lint", lint)
            .scheduler_makes("test", test);
        let run = host.step::<Trigger>(
            json!({ "schedulers": ["lint", "test"], "wait": true, "unimportant": unimportant }),
        );
        assert_eq!(run.outcome(), expected, "{lint} {test} {unimportant}");
        assert_eq!(run.summary, Some(format!("lint: {lint}, test: {test}")));
    }
}

#[test]
fn what_the_builds_get_is_said_or_copied() {
    let host = Host::new().property("version", 7).property("channel", "old");
    let run = host.step::<Trigger>(json!({
        "schedulers": ["deploy"], "properties": { "channel": "new", "n": [1] },
        "copy_properties": ["version", "channel", "missing"],
        "source": { "branch": "main" }, "wait": true, "give_back": true,
    }));
    assert_eq!(
        called(&run),
        json!({
            "properties": { "version": 7, "channel": "new", "n": [1] },
            "sources": [{ "branch": "main" }],
        })
    );
    let wait = run.calls.iter().find(|call| call.name == "triggers.wait");
    assert_eq!(
        wait.expect("a wait").asked,
        json!({ "buildsets": [1], "give_back": true })
    );
    let run = host.step::<Trigger>(json!({ "schedulers": "deploy", "source": "latest" }));
    assert_eq!(called(&run)["sources"], json!([]));
}

#[test]
fn what_cannot_be_asked_for_is_told_with_the_scheduler() {
    let refused = TriggerError::Refused(vec![problem("", "the scheduler is disabled")]);
    let run = Host::new()
        .scheduler_error("deploy", refused)
        .step::<Trigger>(json!({ "schedulers": "deploy" }));
    let expected = "scheduler `deploy`: the scheduler is disabled".to_owned();
    assert_eq!(run.result, Err(PluginError::Permanent(expected)));
    let circle = TriggerError::Deadlock("a/1 waits for b/2".to_owned());
    let run = Host::new()
        .scheduler_error("deploy", circle)
        .step::<Trigger>(json!({ "schedulers": "deploy" }));
    assert_eq!(
        (run.outcome(), run.summary.as_deref()),
        (Outcome::Exception, Some("a/1 waits for b/2"))
    );
}

#[test]
fn a_wrong_parameter_is_named() {
    for (parameters, path) in [
        (json!({ "schedulers": ["a", "a"] }), "schedulers[1]"),
        (
            json!({ "schedulers": ["a"], "wait": true, "unimportant": ["b"] }),
            "unimportant[0]",
        ),
        (
            json!({ "schedulers": ["a"], "unimportant": ["a"] }),
            "unimportant",
        ),
        (json!({ "schedulers": ["a"], "give_back": true }), "give_back"),
    ] {
        let problems = Host::new().check_step::<Trigger>(&parameters);
        assert_eq!(
            problems.iter().map(|p| p.path.as_str()).collect::<Vec<_>>(),
            [path],
            "{parameters}"
        );
    }
}
