//! A recorded journal and a component, with nothing behind them: whether the one does what the other says.

use capstan_engine::{Plugin, Replay, StepError, Verdict, WaitMode};
use capstan_model::Outcome;
use capstan_model::journal::{Entry, Kind};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, no_stop, run_of};
use crate::resume::{Subject, undisturbed};
use crate::support::{engine, fixture, fresh, patch, plugin};

async fn replay(plugin: &Plugin, journal: &[Entry]) -> Replay {
    engine().replay(plugin, journal.to_vec()).await.unwrap()
}

/// The journal of a script's whole run.
async fn recorded(script: Value) -> Vec<Entry> {
    let farm = Farm::new(Lasting::default(), Death::Never);
    let run = run_of(&plugin("fixture-step"), script, Vec::new(), WaitMode::Warm);
    farm.run(run, no_stop()).await.unwrap().unwrap();
    farm.lasting().journal
}

#[tokio::test]
async fn what_was_recorded_agrees_with_the_component_that_made_it() {
    for subject in Subject::all() {
        for mode in [WaitMode::Warm, WaitMode::Replay] {
            let (end, lasting, _) = undisturbed(&subject, mode).await;
            let found = replay(&subject.plugin, &lasting.journal).await;
            assert_eq!(found.verdict, Verdict::Agrees(end), "{}", subject.name);
        }
    }
}

/// Wherever a journal ends, the replay says so, and names what the step was about to do.
#[tokio::test]
async fn a_journal_that_ends_early_agrees_as_far_as_it_goes() {
    for subject in Subject::all() {
        let (end, whole, _) = undisturbed(&subject, WaitMode::Warm).await;
        let whole = whole.journal;
        for rows in 1..whole.len() {
            let found = replay(&subject.plugin, &whole[..rows]).await.verdict;
            let (last, next) = (&whole[rows - 1], &whole[rows]);
            match found {
                Verdict::JournalEnds(past) if last.kind == Kind::Start => {
                    assert!(past.waiting && past.seq == last.seq, "{past:?}");
                    assert!(past.call.starts_with(&last.call), "{past:?}");
                }
                Verdict::JournalEnds(past) => {
                    assert!(!past.waiting && past.seq == next.seq, "{past:?}");
                    assert!(past.call.starts_with(&next.call), "{past:?} for {next:?}");
                }
                Verdict::Returned(found) => {
                    assert_eq!((next.kind, &found), (Kind::Finished, &end), "{rows} rows");
                }
                other => panic!("{}, {rows} rows: {other:?}", subject.name),
            }
        }
    }
}

#[tokio::test]
async fn a_plugin_that_does_something_else_is_told_where() {
    let journal = recorded(json!([{ "op": "run", "argv": ["make", "all"] }, { "op": "now" }])).await;
    let with = |script: Value| {
        let mut journal = journal.clone();
        journal[0].request.as_mut().unwrap()["config"]["script"] = script;
        journal
    };
    let step = plugin("fixture-step");
    let verdict = async |journal: &[Entry]| match replay(&step, journal).await.verdict {
        Verdict::Mismatch(mismatch) => mismatch.to_string(),
        other => panic!("{other:?}"),
    };
    let other = with(json!([{ "op": "run", "argv": ["make", "some"] }]));
    assert_snapshot!(verdict(&other).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is commands.run {"program":{"argv":["make","all"]}}, the requested call is commands.run {"program":{"argv":["make","some"]}}; the plugin must make the same calls whenever it is given the same answers"##);
    let early = with(json!([{ "op": "permanent", "text": "no" }]));
    assert_snapshot!(verdict(&early).await, @r##"the step did not repeat itself: at position 1 of its journal the recorded call is commands.run {"program":{"argv":["make","all"]}}, the requested call is none: the step returned; the plugin must make the same calls whenever it is given the same answers"##);
    // The trace in the last property is longer, too: without that row the call after the end is what differs.
    let mut more = with(json!([{ "op": "run", "argv": ["make", "all"] }, { "op": "now" }, { "op": "now" }]));
    let trace = more.remove(more.len() - 2);
    more.last_mut().unwrap().seq = trace.seq;
    assert_snapshot!(verdict(&more).await, @"the step did not repeat itself: at position 4 of its journal the recorded call is none: the step returned, the requested call is clock.now; the plugin must make the same calls whenever it is given the same answers");
}

/// Another build of a plugin, with the same answers.
#[tokio::test]
async fn another_build_of_a_plugin_can_be_tried_on_a_recorded_journal() {
    let journal = recorded(json!([{ "op": "run", "argv": ["make", "all"] }])).await;
    // The fixture spells the name of its last property in its code.
    let same = engine()
        .load(&patch(
            &fixture("fixture-step"),
            "expected a list",
            "EXPECTED A LIST",
        ))
        .unwrap();
    assert_ne!(same.digest(), plugin("fixture-step").digest());
    let found = replay(&same, &journal).await.verdict;
    assert!(
        matches!(&found, Verdict::Agrees(end) if end.outcome == Outcome::Warnings),
        "{found:?}"
    );
    let mut strict = journal;
    strict[0].request.as_mut().unwrap()["config"]["outcome"] = json!("failure");
    let Verdict::EndsOtherwise { recorded, found } = replay(&same, &strict).await.verdict else {
        panic!("it ends otherwise")
    };
    assert_eq!(
        (recorded.outcome, found.outcome),
        (Outcome::Warnings, Outcome::Failure)
    );
}

#[tokio::test]
async fn what_a_plugin_said_is_told_with_its_place() {
    let log = |text: &str| json!({ "op": "log", "text": text });
    let journal = recorded(json!([log("one"), { "op": "run", "argv": ["make"] }, log("two")])).await;
    let messages = replay(&plugin("fixture-step"), &journal).await.messages;
    let told: Vec<_> = messages
        .iter()
        .map(|m| (m.seq, m.level, m.text.as_str()))
        .collect();
    assert_eq!(told, [(1, "info", "one"), (3, "info", "two")]);
}

#[tokio::test]
async fn a_plugin_that_was_ended_is_ended_again() {
    let scripts = [
        json!([{ "op": "now" }, { "op": "panic", "text": "no luck" }]),
        json!([{ "op": "now" }, { "op": "spin" }]),
        json!([{ "op": "now" }, { "op": "allocate" }]),
    ];
    for script in scripts {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script, Vec::new(), WaitMode::Warm);
        let end = farm.run(run, no_stop()).await.unwrap().unwrap();
        let failure = end.failure.unwrap().to_string();
        let Verdict::Trapped { seq, last, reason } = replay(&plugin("fixture-step"), &farm.lasting().journal)
            .await
            .verdict
        else {
            panic!("it is ended: {failure}")
        };
        assert_eq!((seq, last), (2, true));
        assert_eq!(format!("the plugin was ended: {reason}"), failure);
    }
}

#[tokio::test]
async fn what_is_no_journal_of_a_step_is_not_run() {
    let journal = recorded(json!([])).await;
    let refused = async |plugin: &Plugin, journal: &[Entry]| -> StepError {
        engine().replay(plugin, journal.to_vec()).await.unwrap_err()
    };
    let step = fresh("fixture-step");
    assert_snapshot!(refused(&step, &[]).await, @"expected a step's journal, found nothing in row 0");
    assert_snapshot!(refused(&step, &journal[1..]).await, @"expected a step's journal, found nothing in row 0");
    assert_snapshot!(refused(&fresh("fixture-source"), &journal).await, @"expected a plugin of kind step, found fixture-source of kind change-source");
    let mut newer = journal.clone();
    newer[0].request.as_mut().unwrap()["host_abi"] = json!(99);
    assert_snapshot!(refused(&step, &newer).await, @"the step was begun by a newer master (host ABI 99, this one knows 1); upgrade Capstan");
    let mut holed = journal.clone();
    holed.remove(1);
    assert_snapshot!(refused(&step, &holed).await, @"expected a step's journal, found row 2 at position 1");
    assert_eq!(step.stats().calls, 0, "no code was run");
}
