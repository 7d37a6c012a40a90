//! Journals that do not fit: a guest that does not repeat itself, an answer that was changed, rows that are missing.

use capstan_engine::{StepEnd, StepError, StepFailure, WaitMode};
use capstan_model::Outcome;
use capstan_model::journal::Entry;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::resume::{Subject, undisturbed};
use crate::support::plugin;

/// What was recorded with `before`, cut to `rows`, continued by a guest that behaves as `after` says.
async fn changed(before: Value, after: Value, rows: usize) -> (StepEnd, Lasting) {
    in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), before.clone(), Vec::new(), mode);
        farm.run(run, no_stop()).await.unwrap().unwrap();
        let mut lasting = farm.lasting();
        lasting.cut(rows);
        let mut row0 = lasting.journal[0].request.take().unwrap();
        row0["config"]["script"] = after.clone();
        lasting.journal[0].request = Some(row0);
        let run = run_of(
            &plugin("fixture-step"),
            Value::Null,
            lasting.journal.clone(),
            mode,
        );
        let farm = Farm::new(lasting, Death::Never);
        (farm.run(run, no_stop()).await.unwrap().unwrap(), farm.lasting())
    })
    .await
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
    in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let step = plugin("fixture-step");
        farm.run(run_of(&step, script.clone(), Vec::new(), mode), no_stop())
            .await;
        let mut lasting = farm.lasting();
        lasting.cut(3);
        let mut run = run_of(&step, script.clone(), lasting.journal.clone(), mode);
        run.grants = Default::default();
        let farm = Farm::new(lasting, Death::Never);
        farm.run(run, no_stop()).await.unwrap().unwrap();
        let rows = farm.lasting().journal;
        assert!(
            rows[3].response.as_ref().unwrap()["denied"].is_string(),
            "{:?}",
            rows[3]
        );
    })
    .await;
}

/// Whoever changes an answer in the database gets a step that asks for something else, and is told both.
#[tokio::test]
async fn a_step_whose_recorded_answer_was_changed_is_told_where() {
    let script = json!([{ "op": "run", "argv": ["make", "fail"] }, { "op": "now" }]);
    let failure = in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let step = plugin("fixture-step");
        farm.run(run_of(&step, script.clone(), Vec::new(), mode), no_stop())
            .await;
        let mut lasting = farm.lasting();
        lasting.cut(lasting.journal.len() - 1);
        let answer = lasting.journal[2].response.as_mut().unwrap();
        answer["completed"]["exit"] = json!({ "code": 0 });
        let run = run_of(&step, script.clone(), lasting.journal.clone(), mode);
        let farm = Farm::new(lasting.clone(), Death::Never);
        let end = farm.run(run, no_stop()).await.unwrap().unwrap();
        assert_eq!(
            farm.lasting().journal,
            lasting.journal,
            "nothing is recorded on top"
        );
        end.failure.unwrap().to_string()
    })
    .await;
    assert_snapshot!(failure, @r##"the step did not repeat itself: at position 4 of its journal the recorded call is build.set-property (its parameters are kept as a digest), the requested call is build.set-property {"name":"trace","value":"[\"run: Exit::Code(0) \\\"fail\\\"\",\"now: 0\"]"}; the plugin must make the same calls whenever it is given the same answers"##);
}

#[tokio::test]
async fn a_journal_with_a_hole_is_not_run() {
    let subject = Subject::everything();
    let (_, whole, _) = undisturbed(&subject, WaitMode::Warm).await;
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
            let left = Lasting {
                journal: rows,
                ..Lasting::default()
            };
            let run = subject.run(&left, WaitMode::Warm);
            let error = farm.run(run, no_stop()).await.unwrap().unwrap_err();
            assert!(
                matches!(error, StepError::BadJournal(_)),
                "without row {hole}: {error}"
            );
            assert_eq!(farm.operations(), 0);
        }
    }
}
