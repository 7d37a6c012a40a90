//! Steps, their journals, commands and logs. The same on both databases.

use capstan_model::journal::{Effect, Kind};
use capstan_model::{Completion, Digest, Exit, Outcome, Property};
use capstan_store::{Error, Link, Origin, StepState};
use serde_json::json;

use crate::farm::{Farm, at, finish, kinds, new_command, new_step, row};
use crate::on_both;

on_both! {
    steps_inserted_while_running_keep_their_place_on_replay
    a_step_goes_from_pending_to_complete_once
    a_journal_has_no_gaps_and_no_second_writer
    a_row_and_what_it_changes_are_one
    large_payloads_come_back
    a_command_has_a_log_of_its_own
    the_first_completion_of_a_command_stays
    a_steps_own_log_is_never_a_commands
}

async fn steps_inserted_while_running_keep_their_place_on_replay(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["first", "last"]).await;
    let origin = Origin::Step {
        step: build.steps[0],
        seq: 3,
    };
    let new = || vec![new_step("mid-1"), new_step("mid-2")];
    let inserted = store
        .insert_steps(build.id, 0, Some(build.steps[0]), origin, new(), at(30))
        .await
        .unwrap();
    let again = store
        .insert_steps(build.id, 0, Some(build.steps[0]), origin, new(), at(31))
        .await
        .unwrap();
    assert_eq!(inserted, again);
    let steps = store.steps(build.id).await.unwrap();
    let places: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.position)).collect();
    assert_eq!(places, [("first", 0), ("mid-1", 1), ("mid-2", 2), ("last", 3)]);
    assert_eq!((steps[1].origin, steps[1].parent), (origin, Some(build.steps[0])));
    store
        .finish_build(build.id, finish(Outcome::Success), at(40))
        .await
        .unwrap();
    let late = store
        .insert_steps(build.id, 0, None, Origin::Plan, new(), at(41))
        .await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
}

async fn a_step_goes_from_pending_to_complete_once(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["one", "two"]).await;
    let [one, two] = build.steps[..] else {
        panic!("{build:?}")
    };
    store
        .begin_step(one, row(0, Kind::Created), at(30))
        .await
        .unwrap();
    store
        .begin_step(one, row(0, Kind::Created), at(31))
        .await
        .unwrap();
    let mut other = row(0, Kind::Created);
    other.request_hash = Digest::of(b"another seed");
    assert!(matches!(
        store.begin_step(one, other, at(32)).await,
        Err(Error::Conflict { .. })
    ));

    let effect = Effect::SetSummary("3 of 4 passed".to_owned());
    store
        .append_journal(one, vec![row(1, Kind::Local)], vec![effect], None, at(33))
        .await
        .unwrap();
    let end = || Some(row(2, Kind::Finished));
    store
        .finish_step(one, Outcome::Failure, "", end(), at(35))
        .await
        .unwrap();
    store
        .finish_step(one, Outcome::Failure, "", end(), at(36))
        .await
        .unwrap();
    let other = store
        .finish_step(one, Outcome::Success, "", end(), at(36))
        .await
        .unwrap_err();
    insta::allow_duplicates! {
        insta::assert_snapshot!(other, @"expected step 1 (`one`) to be unfinished, found it failure");
    }
    store.skip_step(two, "not run", at(36)).await.unwrap();
    let steps = store.steps(build.id).await.unwrap();
    assert_eq!(
        (steps[0].state, steps[0].outcome),
        (StepState::Complete, Some(Outcome::Failure))
    );
    assert_eq!(
        (steps[0].summary.as_str(), steps[0].started, steps[0].finished),
        ("3 of 4 passed", Some(at(30)), Some(at(35)))
    );
    assert_eq!(
        (steps[1].summary.as_str(), steps[1].outcome, steps[1].started),
        ("not run", Some(Outcome::Skipped), None)
    );
    assert_eq!(store.journal(one).await.unwrap().len(), 3);
    assert_eq!(store.step(two).await.unwrap().as_ref(), Some(&steps[1]));
}

async fn a_journal_has_no_gaps_and_no_second_writer(farm: &Farm) {
    let store = &farm.store;
    let (_, step) = farm.running_step().await;
    let append = |rows: Vec<_>| store.append_journal(step, rows, vec![], None, at(40));
    let rows = vec![row(1, Kind::Start), row(2, Kind::End)];
    append(rows.clone()).await.unwrap();
    append(rows.clone()).await.unwrap();
    let gap = append(vec![row(4, Kind::Local)]).await.unwrap_err();
    insta::allow_duplicates! {
        insta::assert_snapshot!(gap, @"expected row 3 of the journal of step 1 to be appended, found row 4");
    }
    let mut other = row(2, Kind::End);
    other.at = at(999);
    assert!(
        matches!(append(vec![other]).await, Err(Error::Conflict { .. })),
        "another master was faster"
    );
    let partly = append(vec![row(3, Kind::Local), row(5, Kind::Local)]).await;
    assert!(matches!(partly, Err(Error::Conflict { .. })));
    let kept = store.journal(step).await.unwrap();
    assert_eq!(
        kept,
        [row(0, Kind::Created), row(1, Kind::Start), row(2, Kind::End)]
    );
    store
        .finish_step(step, Outcome::Success, "", Some(row(3, Kind::Finished)), at(50))
        .await
        .unwrap();
    assert!(matches!(
        append(vec![row(4, Kind::Local)]).await,
        Err(Error::Conflict { .. })
    ));
}

async fn a_row_and_what_it_changes_are_one(farm: &Farm) {
    let store = &farm.store;
    let (build, step) = farm.running_step().await;
    let property = |name: &str, value| Property {
        name: name.to_owned(),
        value,
        source: "test".to_owned(),
    };
    let link = |label: &str| Effect::AddLink {
        label: label.to_owned(),
        url: "https://example.org".to_owned(),
    };
    let effects = vec![
        Effect::SetProperty(property("z", json!(1))),
        Effect::SetProperty(property("a", json!(["x"]))),
        Effect::SetProperty(property("z", json!(null))),
        link("one"),
        link("two"),
    ];
    store
        .append_journal(step, vec![row(1, Kind::Local)], effects.clone(), None, at(40))
        .await
        .unwrap();
    store
        .append_journal(step, vec![row(1, Kind::Local)], effects.clone(), None, at(40))
        .await
        .unwrap();
    assert!(
        store
            .append_journal(step, vec![row(9, Kind::Local)], effects, None, at(41))
            .await
            .is_err()
    );
    let properties = store.build(build).await.unwrap().unwrap().properties;
    let set = properties.iter().filter(|property| property.source == "test");
    assert_eq!(
        set.cloned().collect::<Vec<_>>(),
        [property("z", json!(null)), property("a", json!(["x"]))]
    );
    let labels: Vec<_> = store
        .step(step)
        .await
        .unwrap()
        .unwrap()
        .links
        .into_iter()
        .map(|Link { label, .. }| label)
        .collect();
    assert_eq!(labels, ["one", "two"]);
}

async fn large_payloads_come_back(farm: &Farm) {
    let store = &farm.store;
    let (_, step) = farm.running_step().await;
    let mut large = row(1, Kind::End);
    large.request = Some(json!({ "text": "x".repeat(40_000) }));
    large.response = Some(json!("\u{0}é".repeat(20_000)));
    let mut small = row(2, Kind::Local);
    (small.request, small.response) = (None, Some(json!(null)));
    store
        .append_journal(step, vec![large.clone(), small.clone()], vec![], None, at(40))
        .await
        .unwrap();
    let kept = store.journal(step).await.unwrap();
    assert!(kept[1..] == [large, small]);
}

async fn a_command_has_a_log_of_its_own(farm: &Farm) {
    let store = &farm.store;
    let (build, step) = farm.running_step().await;
    let start = |seq| {
        store.append_journal(
            step,
            vec![row(seq, Kind::Start)],
            vec![],
            Some(new_command(store, step, seq)),
            at(40),
        )
    };
    let first = start(1).await.unwrap().unwrap();
    let second = start(2).await.unwrap().unwrap();
    assert_eq!((first.name.as_str(), second.name.as_str()), ("stdio", "stdio-2"));
    assert_eq!(
        start(1).await.unwrap(),
        Some(first.clone()),
        "who did not hear the answer may ask again"
    );
    let failed = store.append_journal(
        step,
        vec![row(9, Kind::Start)],
        vec![],
        Some(new_command(store, step, 9)),
        at(41),
    );
    assert!(matches!(failed.await, Err(Error::Conflict { .. })));

    let command = store
        .command(new_command(store, step, 2).id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (command.log, command.log_name.as_str(), command.worker.as_str()),
        (second.id, "stdio-2", "w")
    );
    assert_eq!(command.spec, new_command(store, step, 2).spec);
    let logs = store.logs(step).await.unwrap();
    assert_eq!(
        logs.iter().map(|l| (l.id, l.command)).collect::<Vec<_>>(),
        [
            (first.id, Some(new_command(store, step, 1).id)),
            (second.id, Some(command.id))
        ]
    );
    assert_eq!(store.logs_of_build(build).await.unwrap(), logs);
}

async fn the_first_completion_of_a_command_stays(farm: &Farm) {
    let store = &farm.store;
    let (_, step) = farm.running_step().await;
    let command = new_command(store, step, 1);
    let id = command.id;
    store
        .append_journal(step, vec![row(1, Kind::Start)], vec![], Some(command), at(40))
        .await
        .unwrap();
    assert_eq!(store.unfinished_commands(Some("w")).await.unwrap().len(), 1);
    assert_eq!(store.unfinished_commands(Some("v")).await.unwrap(), []);
    let end = |exit| Completion {
        exit,
        duration_ms: 5,
        stdout_bytes: 3,
        stderr_bytes: 0,
        stdout: vec![0, 255, 7],
    };
    let lost = end(Exit::Lost("boot id changed".to_owned()));
    assert_eq!(
        store
            .finish_command(id, end(Exit::Code(0)), at(50))
            .await
            .unwrap(),
        end(Exit::Code(0))
    );
    assert_eq!(
        store.finish_command(id, lost.clone(), at(51)).await.unwrap(),
        end(Exit::Code(0))
    );
    let kept = store.command(id).await.unwrap().unwrap();
    assert_eq!(
        (kept.completion, kept.finished),
        (Some(end(Exit::Code(0))), Some(at(50)))
    );
    assert_eq!(store.unfinished_commands(None).await.unwrap(), []);
    let unknown = new_command(store, step, 7).id;
    assert!(matches!(
        store.finish_command(unknown, lost, at(51)).await,
        Err(Error::Conflict { .. })
    ));
}

async fn a_steps_own_log_is_never_a_commands(farm: &Farm) {
    let store = &farm.store;
    let (_, step) = farm.running_step().await;
    let notes = store.open_log(step, "notes", at(35)).await.unwrap();
    assert_eq!(store.open_log(step, "notes", at(36)).await.unwrap(), notes);
    store
        .append_journal(
            step,
            vec![row(1, Kind::Start)],
            vec![],
            Some(new_command(store, step, 1)),
            at(40),
        )
        .await
        .unwrap();
    let own = store.open_log(step, "stdio", at(41)).await.unwrap();
    assert_eq!(store.open_log(step, "stdio", at(42)).await.unwrap(), own);
    let logs = store.logs(step).await.unwrap();
    assert_eq!(
        logs.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
        ["notes", "stdio", "stdio-2"]
    );
    assert_eq!((logs[2].id, logs[2].command), (own, None));

    store.log_progress(own, 10, 1).await.unwrap();
    store.complete_log(own, 20, 2, at(43)).await.unwrap();
    store.log_progress(own, 15, 1).await.unwrap();
    let log = store.log(own).await.unwrap().unwrap();
    assert_eq!(
        (log.length, log.lines, log.complete, log.sealed),
        (20, 2, true, false)
    );
    // More may come into the logs of a step that runs: they hold up no others.
    assert_eq!(store.unsealed_logs(None, 10).await.unwrap(), []);
    let (outcome, summary) = (Outcome::Success, "done");
    store
        .finish_step(step, outcome, summary, None, at(43))
        .await
        .unwrap();
    assert_eq!(store.unsealed_logs(None, 10).await.unwrap(), [log]);
    assert_eq!(store.unsealed_logs(Some(own), 10).await.unwrap(), []);
    store.seal_log(own, 20, 2, at(44)).await.unwrap();
    store.seal_log(notes, 5, 1, at(44)).await.unwrap();
    assert_eq!(store.unsealed_logs(None, 10).await.unwrap(), []);
    let log = store.log(notes).await.unwrap().unwrap();
    assert_eq!((log.length, log.complete, log.sealed), (5, true, true));
    let completions = kinds(store)
        .await
        .into_iter()
        .filter(|kind| kind == "log.complete")
        .count();
    assert_eq!(completions, 2);
}
