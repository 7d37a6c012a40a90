//! A build that is stopped before or after its master dies: nothing new is started, nothing is left running, and what was
//! answered stays answered.

use std::collections::BTreeSet;

use capstan_engine::{StepEnd, WaitMode};
use capstan_model::CommandId;
use capstan_model::journal::Kind;

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop};
use crate::resume::{Subject, assert_same, lived, undisturbed};

/// Nothing runs on: each command that was begun has an answer that says so, or was told to end.
fn assert_nothing_runs(lasting: &Lasting, when: &str) {
    let ended: BTreeSet<CommandId> = lasting
        .journal
        .iter()
        .filter(|row| row.kind == Kind::End)
        .filter(|row| {
            let answer = row.response.as_ref().expect("an answer");
            let published = row.call == "artefacts.publish" && answer.get("cancelled").is_none();
            published || answer.get("completed").is_some() || answer.get("worker-lost").is_some()
        })
        .flat_map(|row| {
            let start = row.request.as_ref().and_then(serde_json::Value::as_u64).unwrap();
            let deed = lasting.journal[start as usize].request.as_ref().unwrap()["do"].to_string();
            lasting
                .begun
                .keys()
                .copied()
                .filter(move |id| deed.contains(&id.to_string()))
        })
        .collect();
    for id in lasting.begun.keys() {
        assert!(
            ended.contains(id) || lasting.killed.contains_key(id),
            "{when}: {id} runs on"
        );
    }
}

/// Without the signal, as for a master that has forgotten the stop, the recorded answers hold.
async fn assert_answers_hold(
    subject: &Subject,
    end: &StepEnd,
    expected: &Lasting,
    mode: WaitMode,
    when: &str,
) {
    let mut left = expected.clone();
    if expected
        .journal
        .last()
        .is_some_and(|row| row.kind == Kind::Finished)
    {
        left.cut(expected.journal.len() - 1);
    }
    let run = subject.run(&left, mode);
    let (again, after) = lived(Farm::new(left, Death::Never), run, no_stop()).await;
    assert_eq!(again.as_ref(), Some(end), "{when}");
    assert_same(&after, expected, when);
}

/// A life whose build is stopped after `stop_after` operations.
async fn stopped_life(
    subject: &Subject,
    lasting: Lasting,
    death: Death,
    stop_after: usize,
    mode: WaitMode,
) -> (Option<StepEnd>, Lasting) {
    let run = subject.run(&lasting, mode);
    let farm = Farm::stopping(lasting, death, stop_after);
    let signal = farm.signal();
    lived(farm, run, signal).await
}

async fn taken_up_stopped(subject: &Subject, left: Lasting, mode: WaitMode, when: &str) {
    let begun = left.order.clone();
    let (end, after) = stopped_life(subject, left, Death::Never, 0, mode).await;
    let end = end.expect("it comes to an end");
    assert_eq!(after.order, begun, "{when}: nothing new is started");
    assert_nothing_runs(&after, when);
    assert_answers_hold(subject, &end, &after, mode, when).await;
}

#[tokio::test]
async fn a_build_that_is_stopped_after_its_master_died_starts_nothing_more() {
    for subject in Subject::all() {
        in_every_mode(async |mode| {
            let (.., operations) = undisturbed(&subject, mode).await;
            for place in 1..=operations {
                let death = Death::After(place);
                let when = format!("{}, {mode:?}, {death:?}, then stopped", subject.name);
                let run = subject.run(&subject.nothing(), mode);
                let (_, left) = lived(Farm::new(subject.nothing(), death), run, no_stop()).await;
                taken_up_stopped(&subject, left, mode, &when).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_build_that_is_stopped_before_its_master_dies_starts_nothing_more() {
    for subject in Subject::all() {
        in_every_mode(async |mode| {
            let (.., operations) = undisturbed(&subject, mode).await;
            for place in 1..=operations {
                let when = format!("{}, {mode:?}, stopped after {place}", subject.name);
                // Undisturbed but for the stop, then killed in each of the next operations.
                let (end, after) = stopped_life(&subject, subject.nothing(), Death::Never, place, mode).await;
                assert_nothing_runs(&after, &when);
                assert_answers_hold(&subject, &end.expect("an end"), &after, mode, &when).await;
                for later in 0..3 {
                    let death = Death::After(place + later);
                    let when = format!("{when}, {death:?}");
                    let (ended, left) = stopped_life(&subject, subject.nothing(), death, place, mode).await;
                    if ended.is_none() {
                        taken_up_stopped(&subject, left, mode, &when).await;
                    }
                }
            }
        })
        .await;
    }
}
