//! What the master relies on, the same on both databases.

use std::time::Duration;

use capstan_model::journal::{Effect, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{
    Change, ChangeId, Completion, Digest, EventId, Exit, Outcome, Properties, Property, Timestamp,
};
use capstan_store::{
    BuildFilter, BuildFinish, BuildState, Consumed, Decision, Error, EventFilter, InviteError, Link,
    NewBuild, NewBuildset, NewCertificate, NewReport, Origin, ReportState, RequestFilter, RequestState,
    SchedulerEvent, StepState, Store, Timer,
};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_change, new_command, new_step, one_change, row, stamp};

macro_rules! on_both {
    ($($story:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $story() {
                let farm = super::Farm::sqlite().await;
                super::$story(&farm).await;
                farm.end().await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $story() {
                let Some(farm) = super::Farm::postgres().await else { return };
                super::$story(&farm).await;
                farm.end().await;
            })*
        }
    };
}

on_both! {
    an_installation_keeps_its_id_and_counts_its_masters
    a_change_is_accepted_once
    a_failing_source_keeps_its_cursor
    changes_are_listed_newest_first
    an_event_is_decided_upon_exactly_once
    a_timer_that_was_set_anew_is_another_timer
    a_decision_for_a_change_that_does_not_exist_changes_nothing
    an_event_can_be_given_up
    a_scheduler_is_told_once_that_it_started
    requests_wait_in_order_of_priority_and_age
    a_cancelled_request_is_not_built
    builds_are_numbered_within_their_builder
    a_request_is_built_once
    a_build_needs_its_plan
    the_worst_result_is_the_buildsets
    a_retried_request_waits_again
    a_build_ends_once
    the_end_of_a_build_reaches_schedulers_and_reporters
    the_first_reason_to_stop_stays
    steps_inserted_while_running_keep_their_place_on_replay
    a_step_goes_from_pending_to_complete_once
    a_journal_has_no_gaps_and_no_second_writer
    a_row_and_what_it_changes_are_one
    large_payloads_come_back
    a_command_has_a_log_of_its_own
    the_first_completion_of_a_command_stays
    a_steps_own_log_is_never_a_commands
    reports_are_retried_until_delivered_or_parked
    workers_come_and_go
    an_invitation_is_good_once_and_for_a_while
    a_revoked_worker_joins_again_only_with_a_new_invitation
    plans_and_blobs_come_back
    the_feed_tells_what_happened_in_order
    units_that_fail_cost_the_others_nothing
    of_two_who_decide_one_wins
}

async fn an_installation_keeps_its_id_and_counts_its_masters(farm: &Farm) {
    let installation = farm.store.installation();
    assert_eq!(farm.store.begin_epoch(at(1)).await.unwrap(), 1);
    let options = farm.close().await;
    assert!(matches!(farm.store.begin_epoch(at(2)).await, Err(Error::Closed)));
    assert!(matches!(farm.store.workers().await, Err(Error::Closed)));
    let again = Store::open(&options, at(2)).await.unwrap();
    assert_eq!(again.installation(), installation);
    assert_eq!(again.begin_epoch(at(2)).await.unwrap(), 2);
    again.close().await;
}

async fn a_change_is_accepted_once(farm: &Farm) {
    let store = &farm.store;
    assert_eq!(store.source_cursor("git").await.unwrap(), None);
    let subscribers = ["s1".to_owned(), "s2".to_owned()];
    let found = vec![new_change("a"), new_change("b"), new_change("a")];
    let accepted = store
        .accept_changes("git", b"\x00\xff", found, &subscribers, at(5))
        .await
        .unwrap();
    assert_eq!(
        accepted
            .iter()
            .map(|c| c.facts.dedup_key.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let again = vec![new_change("b"), new_change("c\0d")];
    let accepted = store
        .accept_changes("git", b"next", again, &subscribers, at(6))
        .await
        .unwrap();
    assert_eq!(
        accepted.len(),
        1,
        "the key is known, even one that cannot be kept as it is"
    );
    let again = vec![new_change("c\0d")];
    assert_eq!(
        store
            .accept_changes("git", b"next", again, &subscribers, at(6))
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        store.source_cursor("git").await.unwrap().as_deref(),
        Some(b"next".as_slice())
    );

    let other = store
        .accept_changes("hg", b"", vec![new_change("a")], &[], at(7))
        .await
        .unwrap();
    assert_eq!(other.len(), 1, "keys are unique within their source only");
    let waiting: Vec<_> = store.schedulers().await.unwrap();
    assert_eq!(waiting, [], "a scheduler that has never decided is not known");
    let Some((_, SchedulerEvent::Change(first))) = store.next_event("s2").await.unwrap() else {
        panic!("no event")
    };
    let expected = Change {
        id: first.id,
        source: "git".to_owned(),
        received: at(5),
        facts: new_change("a"),
    };
    assert_eq!(*first, expected);
}

async fn a_failing_source_keeps_its_cursor(farm: &Farm) {
    let store = &farm.store;
    store
        .accept_changes("git", b"here", vec![], &[], at(5))
        .await
        .unwrap();
    for _ in 0..2 {
        store.source_failed("git", "no route", at(6)).await.unwrap();
    }
    store.source_failed("new", "no route", at(6)).await.unwrap();
    assert_eq!(
        store.source_cursor("git").await.unwrap().as_deref(),
        Some(b"here".as_slice())
    );
    assert_eq!(store.source_cursor("new").await.unwrap(), None);
    let sources = store.sources().await.unwrap();
    assert_eq!(
        (sources[0].failed, sources[0].error.as_deref()),
        (Some(at(6)), Some("no route"))
    );
    assert_eq!(
        kinds(store).await,
        ["source.failed", "source.failed"],
        "once for each source"
    );
    store
        .accept_changes("git", b"there", vec![], &[], at(7))
        .await
        .unwrap();
    assert_eq!(store.sources().await.unwrap()[0].error, None);
}

async fn changes_are_listed_newest_first(farm: &Farm) {
    let store = &farm.store;
    let found = ["a", "b", "c"].map(new_change).to_vec();
    let ids: Vec<_> = store
        .accept_changes("git", b"", found, &[], at(5))
        .await
        .unwrap()
        .iter()
        .map(|c| c.id)
        .collect();
    let list = async |before, limit| {
        store
            .changes(before, limit)
            .await
            .unwrap()
            .iter()
            .map(|c| c.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, [ids[2], ids[1]]);
    assert_eq!(list(Some(ids[1]), 2).await, [ids[0]]);
    assert_eq!(
        store.change(ids[0]).await.unwrap().unwrap().facts.revision,
        "rev-a"
    );
    assert_eq!(store.change(ChangeId(999)).await.unwrap(), None);
}

async fn an_event_is_decided_upon_exactly_once(farm: &Farm) {
    let store = &farm.store;
    let change = one_change(store, "a", &["s".to_owned()]).await;
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    assert_eq!(store.scheduler_state("s").await.unwrap(), None);
    let decision = decision(vec![NewBuildset {
        scheduler: Some("s".to_owned()),
        builders: vec!["b1".to_owned(), "b2".to_owned()],
        sources: vec![stamp("main", "abc"), stamp("main", "abc")],
        changes: vec![change, change],
        ..NewBuildset::default()
    }]);
    let stranger = store
        .commit_decision("other", Consumed::Event(event), decision.clone(), at(6))
        .await;
    assert!(matches!(stranger, Err(Error::Conflict { .. })), "{stranger:?}");
    let submitted = store
        .commit_decision("s", Consumed::Event(event), decision.clone(), at(6))
        .await
        .unwrap();
    assert_eq!(submitted[0].requests.len(), 2);
    assert_eq!(
        store
            .changes_of_buildset(submitted[0].buildset)
            .await
            .unwrap()
            .len(),
        1
    );
    let buildset = store.buildset(submitted[0].buildset).await.unwrap().unwrap();
    assert_eq!(
        (buildset.changes, buildset.sources.len(), buildset.outcome),
        (vec![change], 2, None)
    );

    let before = store.last_event_id().await.unwrap();
    let again = store
        .commit_decision("s", Consumed::Event(event), decision, at(7))
        .await;
    insta::allow_duplicates! {
        insta::assert_snapshot!(again.unwrap_err(), @"expected event 1 of scheduler `s` to be waiting, found none");
    }
    assert_eq!(store.pending_requests().await.unwrap().len(), 2);
    assert_eq!(store.last_event_id().await.unwrap(), before);
    assert_eq!(
        store.scheduler_state("s").await.unwrap().as_deref(),
        Some(b"state".as_slice())
    );
}

fn decision(buildsets: Vec<NewBuildset>) -> Decision {
    Decision {
        state: b"state".to_vec(),
        buildsets,
        ..Decision::default()
    }
}

async fn a_timer_that_was_set_anew_is_another_timer(farm: &Farm) {
    let store = &farm.store;
    let started = |s: &'static str| store.enqueue_event(s, SchedulerEvent::Started, at(1));
    let set = |timers: &[(&str, i64)]| Decision {
        set_timers: timers
            .iter()
            .map(|&(name, ms)| Timer {
                name: name.to_owned(),
                at: at(ms),
            })
            .collect(),
        ..Decision::default()
    };
    started("s").await.unwrap();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    let timers = set(&[("stable", 100), ("nightly", 50)]);
    store
        .commit_decision("s", Consumed::Event(event), timers, at(2))
        .await
        .unwrap();
    assert_eq!(
        store.next_timer("s").await.unwrap(),
        Some(("nightly".to_owned(), at(50)))
    );
    assert_eq!(store.due_timers(at(60)).await.unwrap().len(), 1);

    started("s").await.unwrap();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    let mut again = set(&[("stable", 200)]);
    again.clear_timers = vec!["nightly".to_owned(), "unknown".to_owned()];
    store
        .commit_decision("s", Consumed::Event(event), again, at(3))
        .await
        .unwrap();
    let old = Consumed::Timer {
        name: "stable".to_owned(),
        at: at(100),
    };
    let late = store
        .commit_decision("s", old, Decision::default(), at(101))
        .await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    let due = Consumed::Timer {
        name: "stable".to_owned(),
        at: at(200),
    };
    store
        .commit_decision("s", due, Decision::default(), at(200))
        .await
        .unwrap();
    assert_eq!(store.next_timer("s").await.unwrap(), None);
}

async fn a_decision_for_a_change_that_does_not_exist_changes_nothing(farm: &Farm) {
    let store = &farm.store;
    store
        .enqueue_event("s", SchedulerEvent::Started, at(1))
        .await
        .unwrap();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    let wrong = NewBuildset {
        changes: vec![ChangeId(77)],
        builders: vec!["b".to_owned()],
        ..NewBuildset::default()
    };
    let refused = store
        .commit_decision("s", Consumed::Event(event), decision(vec![wrong]), at(2))
        .await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert_eq!(store.scheduler_state("s").await.unwrap(), None);
    assert!(store.next_event("s").await.unwrap().is_some());
}

async fn an_event_can_be_given_up(farm: &Farm) {
    let store = &farm.store;
    store
        .enqueue_event("s", SchedulerEvent::Started, at(1))
        .await
        .unwrap();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    store
        .scheduler_failed("s", Consumed::Event(event), "trap", at(2))
        .await
        .unwrap();
    assert!(
        store
            .scheduler_failed("s", Consumed::Event(event), "trap", at(2))
            .await
            .is_err()
    );
    assert_eq!(store.next_event("s").await.unwrap(), None);
    let status = &store.schedulers().await.unwrap()[0];
    assert_eq!(
        (status.failed, status.error.as_deref(), status.waiting),
        (Some(at(2)), Some("trap"), 0)
    );
}

async fn a_scheduler_is_told_once_that_it_started(farm: &Farm) {
    let store = &farm.store;
    let mut bell = store.bell();
    for _ in 0..3 {
        store
            .enqueue_event("s", SchedulerEvent::Started, at(1))
            .await
            .unwrap();
    }
    assert!(
        bell.has_changed().unwrap(),
        "who waits for events hears of this one, too"
    );
    bell.mark_unchanged();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    store
        .commit_decision("s", Consumed::Event(event), Decision::default(), at(2))
        .await
        .unwrap();
    assert_eq!(store.next_event("s").await.unwrap(), None);
}

async fn requests_wait_in_order_of_priority_and_age(farm: &Farm) {
    let (a, b, c) = (
        farm.request("b1", 0).await,
        farm.request("b2", 5).await,
        farm.request("b1", 0).await,
    );
    let waiting = farm.store.pending_requests().await.unwrap();
    assert_eq!(waiting.iter().map(|r| r.id).collect::<Vec<_>>(), [b, a, c]);
    assert_eq!(
        (waiting[0].builder.as_str(), waiting[0].sources.as_slice()),
        ("b2", [stamp("main", "abc")].as_slice())
    );
    let filter = RequestFilter {
        builder: Some("b1".to_owned()),
        ..RequestFilter::default()
    };
    let listed = farm.store.requests(&filter, 10).await.unwrap();
    assert_eq!(listed.iter().map(|r| r.id).collect::<Vec<_>>(), [c, a]);
    let older = RequestFilter {
        before: Some(c),
        state: Some(RequestState::Pending),
        ..RequestFilter::default()
    };
    assert_eq!(farm.store.requests(&older, 1).await.unwrap()[0].id, b);
    assert_eq!(
        farm.store
            .builders()
            .await
            .unwrap()
            .iter()
            .map(|b| b.name.as_str())
            .collect::<Vec<_>>(),
        ["b1", "b2"]
    );
}

async fn a_cancelled_request_is_not_built(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    assert!(store.cancel_request(request, "typo", at(15)).await.unwrap());
    assert!(!store.cancel_request(request, "typo", at(16)).await.unwrap());
    assert_eq!(farm.try_build("b", &[request], &[]).await, None);
    let ended = store.request(request).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.outcome, ended.finished),
        (RequestState::Complete, Some(Outcome::Cancelled), Some(at(15)))
    );
    assert_eq!(ended.note.as_deref(), Some("typo"));
    assert_eq!(
        store.buildset(ended.buildset).await.unwrap().unwrap().outcome,
        Some(Outcome::Cancelled)
    );
}

async fn builds_are_numbered_within_their_builder(farm: &Farm) {
    let mut numbers = Vec::new();
    for builder in ["b1", "b2", "b1"] {
        let request = farm.request(builder, 0).await;
        numbers.push(farm.build(builder, &[request], &["one", "two"]).await);
    }
    assert_eq!(numbers.iter().map(|b| b.number).collect::<Vec<_>>(), [1, 1, 2]);
    let store = &farm.store;
    let found = store.build_by_number("b1", 2).await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.worker.as_str(), found.state),
        (numbers[2].id, "w", BuildState::Running)
    );
    assert_eq!(store.build_by_number("b1", 3).await.unwrap(), None);
    let filter = BuildFilter {
        builder: Some("b1".to_owned()),
        before: Some(found.id),
        ..BuildFilter::default()
    };
    assert_eq!(store.builds(&filter, 10).await.unwrap()[0].id, numbers[0].id);
    let none = BuildFilter {
        worker: Some("w".to_owned()),
        outcome: Some(Outcome::Success),
        ..BuildFilter::default()
    };
    assert_eq!(store.builds(&none, 10).await.unwrap(), []);
    assert_eq!(store.unfinished_builds().await.unwrap().len(), 3);
    let steps = store.steps(found.id).await.unwrap();
    assert_eq!(
        steps.iter().map(|s| (s.id, s.position)).collect::<Vec<_>>(),
        [(numbers[2].steps[0], 0), (numbers[2].steps[1], 1)]
    );
    assert_eq!(steps[0].config, json!({ "command": "one" }));
}

async fn a_request_is_built_once(farm: &Farm) {
    let (a, b) = (farm.request("b", 0).await, farm.request("b", 0).await);
    let build = farm.build("b", &[a], &["one"]).await;
    assert_eq!(farm.try_build("b", &[a, b], &["one"]).await, None);
    let waiting = farm.store.pending_requests().await.unwrap();
    assert_eq!(
        waiting.iter().map(|r| r.id).collect::<Vec<_>>(),
        [b],
        "the other one still waits"
    );
    assert_eq!(farm.store.request(a).await.unwrap().unwrap().builds, [build.id]);
    assert_eq!(farm.build("b", &[b], &[]).await.number, 2, "no number was lost");
}

async fn a_build_needs_its_plan(farm: &Farm) {
    let request = farm.request("b", 0).await;
    let build = NewBuild {
        builder: "b".to_owned(),
        requests: vec![request],
        worker: "w".to_owned(),
        plan: Digest::of(b"nowhere"),
        reason: String::new(),
        sources: vec![],
        properties: Properties::default(),
        steps: vec![],
        reports: vec![],
    };
    assert!(matches!(
        farm.store.create_build(build, at(20)).await,
        Err(Error::Invalid { .. })
    ));
    assert_eq!(farm.store.pending_requests().await.unwrap().len(), 1);
}

async fn the_worst_result_is_the_buildsets(farm: &Farm) {
    let store = &farm.store;
    let builders = ["b1", "b2", "b3"].map(str::to_owned).to_vec();
    let buildset = NewBuildset {
        builders,
        ..NewBuildset::default()
    };
    let submitted = store.submit(buildset, at(10)).await.unwrap();
    let results = [Outcome::Warnings, Outcome::Failure, Outcome::Success];
    for ((request, builder), outcome) in submitted.requests.iter().zip(["b1", "b2", "b3"]).zip(results) {
        assert_eq!(
            store.buildset(submitted.buildset).await.unwrap().unwrap().outcome,
            None
        );
        let build = farm.build(builder, &[*request], &[]).await;
        store
            .finish_build(build.id, finish(outcome), at(40))
            .await
            .unwrap();
        assert_eq!(
            store.request(*request).await.unwrap().unwrap().outcome,
            Some(outcome)
        );
    }
    let ended = store.buildset(submitted.buildset).await.unwrap().unwrap();
    assert_eq!(
        (ended.outcome, ended.finished),
        (Some(Outcome::Failure), Some(at(40)))
    );
    let empty = store.submit(NewBuildset::default(), at(50)).await.unwrap();
    let empty = store.buildset(empty.buildset).await.unwrap().unwrap();
    assert_eq!(
        empty.outcome,
        Some(Outcome::Skipped),
        "nobody waits for ever for a buildset of nothing"
    );
}

async fn a_retried_request_waits_again(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let first = farm.build("b", &[request], &[]).await;
    let retry = BuildFinish {
        retry: true,
        ..finish(Outcome::Retry)
    };
    store.finish_build(first.id, retry, at(40)).await.unwrap();
    let waiting = store.pending_requests().await.unwrap();
    assert_eq!(waiting.iter().map(|r| r.id).collect::<Vec<_>>(), [request]);
    let second = farm.build("b", &[request], &[]).await;
    store
        .finish_build(second.id, finish(Outcome::Success), at(50))
        .await
        .unwrap();
    let ended = store.request(request).await.unwrap().unwrap();
    assert_eq!(
        (ended.builds, ended.outcome),
        (vec![first.id, second.id], Some(Outcome::Success))
    );
    assert_eq!(
        store.previous_outcome("b", second.number).await.unwrap(),
        Some(Outcome::Retry)
    );
    assert_eq!(store.previous_outcome("b", first.number).await.unwrap(), None);
}

async fn a_build_ends_once(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    store
        .finish_build(build.id, finish(Outcome::Failure), at(40))
        .await
        .unwrap();
    let events = store.last_event_id().await.unwrap();
    store
        .finish_build(build.id, finish(Outcome::Failure), at(41))
        .await
        .unwrap();
    assert_eq!(
        store.last_event_id().await.unwrap(),
        events,
        "who did not hear the answer may ask again"
    );
    let other = store
        .finish_build(build.id, finish(Outcome::Success), at(42))
        .await
        .unwrap_err();
    insta::allow_duplicates! {
        insta::assert_snapshot!(other, @"expected build 1 to be running, found it ended as failure");
    }
    let ended = store.build(build.id).await.unwrap().unwrap();
    assert_eq!(
        (ended.outcome, ended.summary.as_str(), ended.finished),
        (Some(Outcome::Failure), "failure!", Some(at(40)))
    );
    assert_eq!(store.unfinished_builds().await.unwrap(), []);
}

async fn the_end_of_a_build_reaches_schedulers_and_reporters(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("mail"), report("chat")],
        subscribers: vec!["s1".to_owned(), "s2".to_owned()],
        ..finish(Outcome::Warnings)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    for scheduler in ["s1", "s2"] {
        let (_, event) = store.next_event(scheduler).await.unwrap().unwrap();
        let SchedulerEvent::Finished(finished) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (finished.builder.as_str(), finished.number, finished.outcome),
            ("b", 1, Outcome::Warnings)
        );
        assert_eq!(finished.sources, [stamp("main", "abc")]);
    }
    let due = store.due_reports(at(40), 10).await.unwrap();
    let installation = store.installation();
    let ids: Vec<_> = due.iter().map(|report| report.delivery_id.clone()).collect();
    assert_eq!(
        ids,
        ["mail", "chat"].map(|name| format!("{installation}/{}/finished/{name}", build.id))
    );
    assert_eq!(due[0].payload, json!({ "build": build.id, "phase": "finished" }));
}

async fn the_first_reason_to_stop_stays(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    assert!(store.request_stop(build.id, "mistake", at(30)).await.unwrap());
    assert!(store.request_stop(build.id, "late", at(31)).await.unwrap());
    assert_eq!(
        store
            .build(build.id)
            .await
            .unwrap()
            .unwrap()
            .stop_requested
            .as_deref(),
        Some("mistake")
    );
    store
        .finish_build(build.id, finish(Outcome::Cancelled), at(40))
        .await
        .unwrap();
    assert!(!store.request_stop(build.id, "late", at(41)).await.unwrap());
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
    assert_eq!(
        properties.iter().cloned().collect::<Vec<_>>(),
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
    assert_eq!(store.unsealed_logs(10).await.unwrap(), [log]);
    store.seal_log(own, 20, 2, at(44)).await.unwrap();
    store.seal_log(notes, 5, 1, at(44)).await.unwrap();
    assert_eq!(store.unsealed_logs(10).await.unwrap(), []);
    let log = store.log(notes).await.unwrap().unwrap();
    assert_eq!((log.length, log.complete, log.sealed), (5, true, true));
    let completions = kinds(store)
        .await
        .into_iter()
        .filter(|kind| kind == "log.complete")
        .count();
    assert_eq!(completions, 2);
}

async fn reports_are_retried_until_delivered_or_parked(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &[]).await;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    let end = BuildFinish {
        reports: vec![report("mail"), report("chat")],
        ..finish(Outcome::Success)
    };
    store.finish_build(build.id, end, at(40)).await.unwrap();
    assert_eq!(store.next_report_at().await.unwrap(), Some(at(40)));
    let due = store.due_reports(at(40), 10).await.unwrap();
    let [mail, chat] = &due[..] else { panic!("{due:?}") };
    store.report_retry(mail.id, at(100), "503", at(41)).await.unwrap();
    store.report_parked(chat.id, "401", at(41)).await.unwrap();
    assert_eq!(store.due_reports(at(99), 10).await.unwrap(), []);
    assert_eq!(store.next_report_at().await.unwrap(), Some(at(100)));
    let again = &store.due_reports(at(100), 10).await.unwrap()[0];
    assert_eq!(
        (&again.delivery_id, again.attempts, again.last_error.as_deref()),
        (&mail.delivery_id, 1, Some("503"))
    );
    store.report_delivered(mail.id, at(101)).await.unwrap();
    store.report_parked(mail.id, "late", at(102)).await.unwrap();
    let states: Vec<_> = store
        .reports(Some(build.id), 10)
        .await
        .unwrap()
        .iter()
        .map(|r| (r.state, r.finished))
        .collect();
    assert_eq!(
        states,
        [
            (ReportState::Parked, Some(at(41))),
            (ReportState::Delivered, Some(at(101)))
        ]
    );
    assert_eq!(store.next_report_at().await.unwrap(), None);
    let told: Vec<_> = kinds(store)
        .await
        .into_iter()
        .filter(|kind| kind.starts_with("report."))
        .collect();
    assert_eq!(
        told,
        [
            "report.queued",
            "report.queued",
            "report.retried",
            "report.parked",
            "report.delivered"
        ]
    );
}

async fn workers_come_and_go(farm: &Farm) {
    let store = &farm.store;
    let id = store.upsert_worker("w", at(1)).await.unwrap();
    assert_eq!(store.upsert_worker("w", at(2)).await.unwrap(), id);
    store
        .worker_connected("w", json!({ "slots": 2 }), at(3))
        .await
        .unwrap();
    store.worker_connected("v", json!({}), at(3)).await.unwrap();
    store.worker_seen("w", at(9)).await.unwrap();
    let worker = store.worker("w").await.unwrap().unwrap();
    assert_eq!(
        (worker.connected, worker.since, worker.last_seen),
        (true, Some(at(3)), Some(at(9)))
    );
    assert_eq!(worker.info, json!({ "slots": 2 }));
    store.worker_disconnected("w", at(10)).await.unwrap();
    store.worker_disconnected("w", at(11)).await.unwrap();
    store.set_paused("w", Some("disk"), at(12)).await.unwrap();
    let worker = store.worker("w").await.unwrap().unwrap();
    assert_eq!(
        (worker.connected, worker.since, worker.paused.as_deref()),
        (false, Some(at(10)), Some("disk"))
    );
    store.set_paused("w", None, at(13)).await.unwrap();
    assert_eq!(store.worker("w").await.unwrap().unwrap().paused, None);
    store.begin_epoch(at(20)).await.unwrap();
    let v = &store.workers().await.unwrap()[0];
    assert_eq!(
        (v.name.as_str(), v.connected, v.since),
        ("v", false, Some(at(20))),
        "a new master has no connections"
    );
}

fn certificate(bytes: &[u8]) -> NewCertificate {
    NewCertificate {
        fingerprint: Digest::of(bytes),
        serial: Some("01".to_owned()),
    }
}

async fn an_invitation_is_good_once_and_for_a_while(farm: &Farm) {
    let store = &farm.store;
    let secret = Digest::of(b"secret");
    store.create_invite("w", secret, at(100), at(1)).await.unwrap();
    assert_eq!(store.check_invite(secret, at(2)).await.unwrap(), "w");
    assert!(matches!(
        store.check_invite(Digest::of(b"guess"), at(2)).await,
        Err(InviteError::Unknown)
    ));
    assert!(matches!(
        store.check_invite(secret, at(100)).await,
        Err(InviteError::Expired { .. })
    ));
    let expired = store
        .use_invite(secret, certificate(b"c"), at(100))
        .await
        .unwrap_err();
    insta::allow_duplicates! {
        insta::assert_snapshot!(expired, @"the invitation for worker `w` has expired; ask for a new join string");
    }
    assert_eq!(store.worker("w").await.unwrap().unwrap().enrolled, None);
    let (one, two) = tokio::join!(
        store.use_invite(secret, certificate(b"one"), at(50)),
        store.use_invite(secret, certificate(b"two"), at(50)),
    );
    assert_eq!(one.unwrap(), "w");
    assert!(matches!(two, Err(InviteError::Used { worker }) if worker == "w"));
    assert_eq!(
        store
            .certificate(Digest::of(b"one"))
            .await
            .unwrap()
            .unwrap()
            .worker,
        "w"
    );
    assert_eq!(store.certificate(Digest::of(b"two")).await.unwrap(), None);
    assert_eq!(store.worker("w").await.unwrap().unwrap().enrolled, Some(at(50)));
}

async fn a_revoked_worker_joins_again_only_with_a_new_invitation(farm: &Farm) {
    let store = &farm.store;
    let invite = |name: &'static str| store.create_invite("w", Digest::of(name.as_bytes()), at(100), at(1));
    for name in ["first", "unused"] {
        invite(name).await.unwrap();
    }
    assert!(matches!(
        store.add_certificate("w", certificate(b"x"), at(2)).await,
        Err(Error::Conflict { .. })
    ));
    store
        .use_invite(Digest::of(b"first"), certificate(b"one"), at(2))
        .await
        .unwrap();
    store
        .add_certificate("w", certificate(b"renewed"), at(3))
        .await
        .unwrap();
    assert!(store.revoke_worker("w", at(4)).await.unwrap());
    assert!(!store.revoke_worker("nobody", at(4)).await.unwrap());
    for bytes in [b"one".as_slice(), b"renewed"] {
        assert_eq!(
            store
                .certificate(Digest::of(bytes))
                .await
                .unwrap()
                .unwrap()
                .revoked,
            Some(at(4))
        );
    }
    assert!(
        store
            .add_certificate("w", certificate(b"y"), at(5))
            .await
            .is_err()
    );
    assert!(matches!(
        store.check_invite(Digest::of(b"unused"), at(5)).await,
        Err(InviteError::Expired { .. })
    ));
    invite("new").await.unwrap();
    store
        .use_invite(Digest::of(b"new"), certificate(b"two"), at(6))
        .await
        .unwrap();
    assert_eq!(store.worker("w").await.unwrap().unwrap().revoked, None);
    assert_eq!(
        store
            .certificate(Digest::of(b"one"))
            .await
            .unwrap()
            .unwrap()
            .revoked,
        Some(at(4)),
        "old ones stay void"
    );
}

async fn plans_and_blobs_come_back(farm: &Farm) {
    let store = &farm.store;
    let mut bundle = Bundle {
        entry: "ci.star".to_owned(),
        ..Bundle::default()
    };
    bundle.files.insert("ci.star".to_owned(), b"builder()\n".to_vec());
    bundle.files.insert("data/raw".to_owned(), vec![0, 159, 146, 150]);
    let digest = store.put_plan(bundle.clone(), at(1)).await.unwrap();
    assert_eq!(digest, bundle.digest());
    assert_eq!(store.put_plan(bundle.clone(), at(2)).await.unwrap(), digest);
    assert_eq!(store.plan(digest).await.unwrap(), Some(bundle));
    assert_eq!(store.plan(Digest::of(b"?")).await.unwrap(), None);
    let blob = store.put_blob(vec![0; 100_000]).await.unwrap();
    assert_eq!(store.put_blob(vec![0; 100_000]).await.unwrap(), blob);
    assert_eq!(
        store.blob(blob).await.unwrap().map(|bytes| bytes.len()),
        Some(100_000)
    );
    assert_eq!(store.blob(Digest::of(b"?")).await.unwrap(), None);
}

async fn kinds(store: &Store) -> Vec<String> {
    let events = store
        .events_after(EventId(0), &EventFilter::default(), 1000)
        .await
        .unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

async fn the_feed_tells_what_happened_in_order(farm: &Farm) {
    let store = &farm.store;
    let mut bell = store.bell();
    let (build, step) = farm.running_step().await;
    tokio::time::timeout(Duration::from_secs(10), bell.changed())
        .await
        .expect("the bell rings")
        .unwrap();
    assert_eq!(
        EventId(*bell.borrow_and_update()),
        store.last_event_id().await.unwrap()
    );
    store
        .finish_step(step, Outcome::Success, "fine", None, at(50))
        .await
        .unwrap();
    store
        .finish_build(build, finish(Outcome::Success), at(60))
        .await
        .unwrap();
    store
        .record_event("config.loaded", json!({ "files": 1 }), at(70))
        .await
        .unwrap();
    assert_eq!(
        kinds(store).await,
        [
            "buildset.submitted",
            "request.submitted",
            "build.started",
            "request.claimed",
            "step.started",
            "step.finished",
            "build.finished",
            "request.complete",
            "buildset.complete",
            "config.loaded",
        ]
    );
    let all = store
        .events_after(EventId(0), &EventFilter::default(), 3)
        .await
        .unwrap();
    let rest = store
        .events_after(all[2].id, &EventFilter::default(), 1000)
        .await
        .unwrap();
    assert_eq!((all.len(), rest.len()), (3, 7));
    let of_step = EventFilter {
        step: Some(step),
        build: Some(build),
        builder: Some("b".to_owned()),
        request: None,
    };
    let of_step = store.events_after(EventId(0), &of_step, 1000).await.unwrap();
    assert_eq!(
        of_step.iter().map(|event| event.at).collect::<Vec<_>>(),
        [at(30), at(50)]
    );
    assert_eq!(
        of_step[1].payload,
        json!({ "name": "test", "outcome": "success", "summary": "fine" })
    );
    assert_eq!(
        EventId(*store.bell().borrow()),
        store.last_event_id().await.unwrap()
    );
}

async fn units_that_fail_cost_the_others_nothing(farm: &Farm) {
    let store = &farm.store;
    let units = (0..60i64).map(|i| {
        let known = if i % 3 == 0 { vec![ChangeId(i)] } else { vec![] };
        let buildset = NewBuildset {
            changes: known,
            builders: vec!["b".to_owned()],
            ..NewBuildset::default()
        };
        store.submit(buildset, Timestamp(i))
    });
    let results = futures::future::join_all(units).await;
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), i % 3 == 0, "{i}: {result:?}");
    }
    assert_eq!(store.pending_requests().await.unwrap().len(), 40);
    assert_eq!(kinds(store).await.len(), 80);
}

async fn of_two_who_decide_one_wins(farm: &Farm) {
    let store = &farm.store;
    store
        .enqueue_event("s", SchedulerEvent::Started, at(1))
        .await
        .unwrap();
    let (event, _) = store.next_event("s").await.unwrap().unwrap();
    let other = Store::open(&farm.options, at(2)).await.unwrap();
    let buildset = || NewBuildset {
        builders: vec!["b".to_owned()],
        ..NewBuildset::default()
    };
    let decide = |store: Store| async move {
        store
            .commit_decision("s", Consumed::Event(event), decision(vec![buildset()]), at(3))
            .await
    };
    let (one, two) = tokio::join!(decide(store.clone()), decide(other.clone()));
    assert_eq!(
        [one.is_ok(), two.is_ok()].iter().filter(|won| **won).count(),
        1,
        "{one:?} {two:?}"
    );
    assert_eq!(other.pending_requests().await.unwrap().len(), 1);
    other.close().await;
}
