//! A master that is killed at any instant: whatever it had done, the step ends as if nothing had happened, and no command
//! runs twice.

use capstan_engine::{StepEnd, StepError, StepFailure, WaitMode};
use capstan_model::Outcome;
use capstan_model::journal::Entry;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, no_stop, run_of};
use crate::support::plugin;

/// Uses every import that changes or reads something.
fn script() -> Value {
    json!([
        { "op": "now" }, { "op": "seed" }, { "op": "hash-map" },
        { "op": "text", "log": "notes", "text": "begin ü\n" },
        { "op": "run", "argv": ["make", "all"], "capture": 10 },
        { "op": "set", "name": "n", "value": "1" },
        { "op": "log", "text": "half" },
        { "op": "run", "argv": ["rm"] },
        { "op": "start", "argv": ["make", "late", "5"] },
        { "op": "text", "log": "notes", "text": "middle\n" },
        { "op": "start", "argv": ["make", "late", "1"] },
        { "op": "start", "argv": ["make", "lost"] },
        { "op": "wait-all" },
        { "op": "sleep", "ms": 500 }, { "op": "now" },
        { "op": "start", "argv": ["make", "hang"] },
        { "op": "kill", "command": 0, "reason": "enough" },
        { "op": "wait", "command": 0 },
        { "op": "get", "name": "n" },
        { "op": "start", "argv": ["make", "hang"] },
        { "op": "summary", "text": "done" },
        { "op": "link", "text": "docs", "url": "https://example.org/" },
        { "op": "text", "log": "notes", "text": "end\n" },
    ])
}

async fn undisturbed(mode: WaitMode) -> (StepEnd, Lasting, usize) {
    let farm = Farm::new(Lasting::default(), Death::Never);
    let run = run_of(&plugin("fixture-step"), script(), Vec::new(), mode);
    let end = farm.run(run, no_stop()).await.unwrap().unwrap();
    (end, farm.lasting(), farm.operations())
}

/// Rows as they come back from a database: through text.
fn stored(rows: &[Entry]) -> Vec<Entry> {
    serde_json::from_str(&serde_json::to_string(rows).unwrap()).unwrap()
}

/// One life of a master over what the one before it left.
async fn life(lasting: Lasting, death: Death, mode: WaitMode) -> (Option<StepEnd>, Lasting) {
    let run = run_of(&plugin("fixture-step"), script(), stored(&lasting.journal), mode);
    let farm = Farm::new(lasting, death);
    let end = farm
        .run(run, no_stop())
        .await
        .map(|end| end.expect("the step has an end"));
    (end, farm.lasting())
}

/// Compares part by part: the whole does not fit on a screen.
fn assert_same(found: &Lasting, expected: &Lasting, when: &str) {
    for (found, expected) in found.journal.iter().zip(&expected.journal) {
        assert_eq!(found, expected, "{when}");
    }
    assert_eq!(found.journal.len(), expected.journal.len(), "{when}");
    assert_eq!(
        found.begun.keys().collect::<Vec<_>>(),
        expected.begun.keys().collect::<Vec<_>>(),
        "{when}"
    );
    assert_eq!(found.killed, expected.killed, "{when}");
    assert_eq!(found.logs, expected.logs, "{when}");
    assert!(
        found == expected,
        "{when}: effects, specifications or the clock differ"
    );
}

async fn killed_at_every_operation(mode: WaitMode) {
    let (end, expected, operations) = undisturbed(mode).await;
    assert!(
        operations > 40,
        "the script has many places to be killed at: {operations}"
    );
    for place in 1..=operations {
        for death in [Death::Before(place), Death::After(place)] {
            let (none, left) = life(Lasting::default(), death, mode).await;
            assert_eq!(none, None, "{death:?}");
            let (again, after) = life(left, Death::Never, mode).await;
            assert_eq!(again.as_ref(), Some(&end), "{death:?}");
            assert_same(&after, &expected, &format!("{death:?}"));
        }
    }
}

#[tokio::test]
async fn killed_at_every_operation_a_warm_step_ends_the_same() {
    killed_at_every_operation(WaitMode::Warm).await;
}

#[tokio::test]
async fn killed_at_every_operation_a_step_without_an_instance_ends_the_same() {
    killed_at_every_operation(WaitMode::Replay).await;
}

#[tokio::test]
async fn cut_at_every_position_of_its_journal_a_step_ends_the_same() {
    let (end, expected, _) = undisturbed(WaitMode::Warm).await;
    for mode in [WaitMode::Warm, WaitMode::Replay] {
        for rows in 0..=expected.journal.len() {
            let run = run_of(
                &plugin("fixture-step"),
                script(),
                stored(&expected.journal[..rows]),
                mode,
            );
            // What was begun stays begun; the rows of commands that are cut away go with them.
            let mut lasting = Lasting {
                journal: run.journal.clone(),
                ..expected.clone()
            };
            let kept = serde_json::to_string(&lasting.journal).unwrap();
            lasting.rows.retain(|id, _| kept.contains(&id.to_string()));
            let farm = Farm::new(lasting, Death::Never);
            assert_eq!(
                farm.run(run, no_stop()).await.unwrap().unwrap(),
                end,
                "{rows} rows"
            );
            let after = farm.lasting();
            assert_eq!(
                after.begun.keys().collect::<Vec<_>>(),
                expected.begun.keys().collect::<Vec<_>>(),
                "{rows} rows"
            );
            assert_eq!(after.logs, expected.logs, "{rows} rows");
            assert_eq!(after.journal.len(), expected.journal.len(), "{rows} rows");
        }
    }
}

#[tokio::test]
async fn a_master_that_dies_again_and_again_comes_to_the_end() {
    let (end, expected, _) = undisturbed(WaitMode::Replay).await;
    for stride in [7, 8, 11] {
        let mut lasting = Lasting::default();
        for _ in 0..200 {
            let (ended, left) = life(lasting, Death::After(stride), WaitMode::Replay).await;
            lasting = left;
            if let Some(ended) = ended {
                assert_eq!(ended, end);
                break;
            }
        }
        assert_same(
            &lasting,
            &expected,
            &format!("with a death every {stride} operations"),
        );
    }
}

/// What was recorded with `before`, cut to `rows`, continued by a guest that behaves as `after` says.
async fn changed(before: Value, after: Value, rows: usize) -> (StepEnd, Lasting) {
    let farm = Farm::new(Lasting::default(), Death::Never);
    farm.run(
        run_of(&plugin("fixture-step"), before, Vec::new(), WaitMode::Warm),
        no_stop(),
    )
    .await
    .unwrap()
    .unwrap();
    let mut lasting = farm.lasting();
    lasting.journal.truncate(rows);
    let mut row0 = lasting.journal[0].request.take().unwrap();
    row0["config"]["script"] = after;
    lasting.journal[0].request = Some(row0);
    let run = run_of(
        &plugin("fixture-step"),
        Value::Null,
        lasting.journal.clone(),
        WaitMode::Warm,
    );
    let farm = Farm::new(lasting, Death::Never);
    (farm.run(run, no_stop()).await.unwrap().unwrap(), farm.lasting())
}

#[tokio::test]
async fn a_plugin_that_does_not_repeat_itself_is_told_where() {
    let make = |target: &str| json!({ "op": "run", "argv": ["make", target] });
    let mismatch = async |before: Value, after: Value, rows| {
        let (end, _) = changed(before, after, rows).await;
        assert_eq!(end.outcome, Outcome::Exception);
        assert!(
            matches!(end.failure, Some(StepFailure::Mismatch(_))),
            "{:?}",
            end.failure
        );
        end.failure.unwrap().to_string()
    };
    assert_snapshot!(mismatch(json!([make("all")]), json!([make("some")]), 3).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is commands.run {"program":{"argv":["make","all"]}}, the requested call is commands.run {"program":{"argv":["make","some"]}}; the plugin must make the same calls whenever it is given the same answers"##);
    assert_snapshot!(mismatch(json!([make("all")]), json!([{ "op": "now" }]), 3).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is commands.run {"program":{"argv":["make","all"]}}, the requested call is clock.now; the plugin must make the same calls whenever it is given the same answers"##);
    assert_snapshot!(mismatch(json!([{ "op": "now" }, make("all")]), json!([make("all")]), 2).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is clock.now (its parameters are kept as a digest), the requested call is commands.run {"program":{"argv":["make","all"]}}; the plugin must make the same calls whenever it is given the same answers"##);
    assert_snapshot!(mismatch(json!([{ "op": "text", "log": "a", "text": "x" }]), json!([{ "op": "text", "log": "a", "text": "y" }]), 2).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is build.write-log (its parameters are kept as a digest), the requested call is build.write-log {"name":"a","text":"y"}; the plugin must make the same calls whenever it is given the same answers"##);
    // The trace at the end is a row as well: a shorter script asks for it too early.
    assert_snapshot!(mismatch(json!([make("all"), { "op": "now" }]), json!([make("all")]), 4).await, @r##"the step did not repeat itself: at position 3 of its journal the recorded call is clock.now (its parameters are kept as a digest), the requested call is build.set-property {"name":"trace","value":"[\"run: Exit::Code(0) \\\"all\\\"\"]"}; the plugin must make the same calls whenever it is given the same answers"##);
    assert_snapshot!(mismatch(json!([make("all"), { "op": "now" }]), json!([{ "op": "permanent", "text": "no" }]), 4).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is commands.run {"program":{"argv":["make","all"]}}, the requested call is none: the step returned; the plugin must make the same calls whenever it is given the same answers"##);
}

#[tokio::test]
async fn commands_of_a_step_that_does_not_repeat_itself_are_ended() {
    let start = json!({ "op": "start", "argv": ["make", "hang"] });
    let (end, lasting) = changed(json!([start]), json!([{ "op": "now" }]), 3).await;
    assert_eq!(end.outcome, Outcome::Exception);
    assert_eq!(lasting.killed.len(), 1);
}

#[tokio::test]
async fn a_right_that_was_withdrawn_meanwhile_binds_new_calls_only() {
    let script = json!([{ "op": "run", "argv": ["make", "all"] }, { "op": "run", "argv": ["make", "more"] }]);
    let farm = Farm::new(Lasting::default(), Death::Never);
    farm.run(
        run_of(
            &plugin("fixture-step"),
            script.clone(),
            Vec::new(),
            WaitMode::Warm,
        ),
        no_stop(),
    )
    .await;
    let mut lasting = farm.lasting();
    lasting.journal.truncate(3);
    lasting.effects.clear();
    let mut run = run_of(
        &plugin("fixture-step"),
        script,
        lasting.journal.clone(),
        WaitMode::Warm,
    );
    run.grants = Default::default();
    let farm = Farm::new(lasting, Death::Never);
    farm.run(run, no_stop()).await.unwrap().unwrap();
    let rows = farm.lasting().journal;
    assert!(
        rows[3].response.as_ref().unwrap()["denied"].is_string(),
        "{:?}",
        rows[3]
    );
}

#[tokio::test]
async fn a_journal_with_a_hole_is_not_run() {
    let (_, whole, _) = undisturbed(WaitMode::Warm).await;
    for hole in 0..whole.journal.len() - 1 {
        let mut rows = whole.journal.clone();
        rows.remove(hole);
        let renumbered: Vec<_> = (0_u32..)
            .zip(rows.clone())
            .map(|(seq, row)| Entry { seq, ..row })
            .collect();
        // A local row that is missing from a renumbered journal is found by the guest instead.
        let found_by_guest = matches!(whole.journal[hole].kind, capstan_model::journal::Kind::Local);
        for rows in [Some(rows), Some(renumbered).filter(|_| !found_by_guest)]
            .into_iter()
            .flatten()
        {
            let farm = Farm::new(Lasting::default(), Death::Never);
            let run = run_of(&plugin("fixture-step"), script(), rows, WaitMode::Warm);
            let error = farm.run(run, no_stop()).await.unwrap().unwrap_err();
            assert!(
                matches!(error, StepError::BadJournal(_)),
                "without row {hole}: {error}"
            );
            assert_eq!(farm.operations(), 0);
        }
    }
}
