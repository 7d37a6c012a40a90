//! Several things noted in one transaction, and the bell for those who have work. The same on both databases.

use capstan_model::journal::Kind;
use capstan_model::{Completion, Exit, Outcome};
use capstan_store::{CommandState, Error, Record, StepState};

use crate::farm::{Farm, at, new_command, new_step, row};
use crate::on_both;

on_both! {
    a_step_ends_and_the_next_begins_in_one
    what_was_noted_may_be_noted_again
    one_that_does_not_fit_undoes_the_others
    steps_come_one_after_the_other
    the_bell_for_work_is_quiet_about_steps
}

fn completion(code: i32) -> Completion {
    Completion {
        exit: Exit::Code(code),
        duration_ms: 7,
        stdout_bytes: 0,
        stderr_bytes: 0,
        stdout: vec![],
    }
}

/// A build of two steps whose first one runs a command; what ends it and begins the second.
async fn records(
    farm: &Farm,
) -> (
    capstan_store::CreatedBuild,
    Vec<(capstan_model::Timestamp, Record)>,
) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["one", "two"]).await;
    let (one, two) = (build.steps[0], build.steps[1]);
    store
        .begin_step(one, row(0, Kind::Created), at(20))
        .await
        .unwrap();
    let command = new_command(store, one, 1);
    let id = command.id;
    let log = store
        .append_journal(one, vec![row(1, Kind::Start)], vec![], Some(command), at(21))
        .await
        .unwrap()
        .unwrap();
    let journal = |step, seq, kind| Record::Journal {
        step,
        entries: vec![row(seq, kind)],
        effects: vec![],
        command: None,
    };
    let records = vec![
        (
            at(30),
            Record::CommandEnd {
                id,
                completion: completion(0),
            },
        ),
        (
            at(30),
            Record::LogComplete {
                log: log.id,
                length: 40,
                lines: 2,
            },
        ),
        (at(30), journal(one, 2, Kind::End)),
        (at(31), journal(one, 3, Kind::Finished)),
        (
            at(32),
            Record::Finish {
                step: one,
                outcome: Outcome::Success,
                summary: "fine".to_owned(),
            },
        ),
        (
            at(33),
            Record::Begin {
                step: two,
                created: row(0, Kind::Created),
            },
        ),
        (
            at(34),
            Record::Journal {
                step: two,
                entries: vec![row(1, Kind::Start)],
                effects: vec![],
                command: Some(new_command(store, two, 1)),
            },
        ),
    ];
    (build, records)
}

async fn a_step_ends_and_the_next_begins_in_one(farm: &Farm) {
    let store = &farm.store;
    let (build, records) = records(farm).await;
    let log = store.record(records).await.unwrap().unwrap();
    let steps = store.steps(build.id).await.unwrap();
    let (one, two) = (&steps[0], &steps[1]);
    assert_eq!(
        (one.outcome, one.finished),
        (Some(Outcome::Success), Some(at(32)))
    );
    assert_eq!(
        (two.state, two.started, two.finished),
        (StepState::Running, Some(at(33)), None)
    );
    assert_eq!(store.journal(one.id).await.unwrap().len(), 4);
    assert_eq!(store.journal(two.id).await.unwrap().len(), 2);
    let logs = store.logs_of_build(build.id).await.unwrap();
    assert_eq!((logs[0].complete, logs[0].length, logs[0].lines), (true, 40, 2));
    assert_eq!((logs[1].id, logs[1].complete), (log.id, false));
    let ended = store.command(logs[0].command.unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.completion),
        (CommandState::Complete, Some(completion(0)))
    );
}

async fn what_was_noted_may_be_noted_again(farm: &Farm) {
    let store = &farm.store;
    let (build, records) = records(farm).await;
    let first = store.record(records.clone()).await.unwrap();
    let events = store.last_event_id().await.unwrap();
    assert_eq!(store.record(records).await.unwrap(), first);
    assert_eq!(store.last_event_id().await.unwrap(), events);
    assert_eq!(store.logs_of_build(build.id).await.unwrap().len(), 2);
}

async fn one_that_does_not_fit_undoes_the_others(farm: &Farm) {
    let store = &farm.store;
    let (build, mut records) = records(farm).await;
    let gap = Record::Journal {
        step: build.steps[1],
        entries: vec![row(5, Kind::End)],
        effects: vec![],
        command: None,
    };
    records.push((at(35), gap));
    let refused = store.record(records.clone()).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let steps = store.steps(build.id).await.unwrap();
    assert_eq!(
        (steps[0].state, steps[1].state),
        (StepState::Running, StepState::Pending)
    );
    assert_eq!(store.journal(build.steps[0]).await.unwrap().len(), 2);
    records.pop();
    store.record(records).await.unwrap();
}

async fn steps_come_one_after_the_other(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["first", "last"]).await;
    let next = async |after| {
        store
            .next_step(build.id, after)
            .await
            .unwrap()
            .map(|step| step.name)
    };
    let (first, last) = (build.steps[0], build.steps[1]);
    assert_eq!(next(None).await.as_deref(), Some("first"));
    let origin = capstan_store::Origin::Step { step: first, seq: 3 };
    store
        .insert_steps(build.id, 0, None, origin, vec![new_step("mid")], at(30))
        .await
        .unwrap();
    assert_eq!(next(Some(first)).await.as_deref(), Some("mid"));
    assert_eq!(next(Some(last)).await, None);
}

async fn the_bell_for_work_is_quiet_about_steps(farm: &Farm) {
    let store = &farm.store;
    let (build, records) = records(farm).await;
    let mut bell = store.work_bell();
    bell.mark_unchanged();
    store.record(records).await.unwrap();
    assert!(!bell.has_changed().unwrap(), "nobody has to do anything");
    store
        .finish_build(build.id, crate::farm::finish(Outcome::Success), at(40))
        .await
        .unwrap();
    assert!(bell.has_changed().unwrap());
    bell.mark_unchanged();
    farm.request("b", 0).await;
    assert!(bell.has_changed().unwrap());
}
