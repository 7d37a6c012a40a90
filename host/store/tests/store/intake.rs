//! What comes in: the farm itself, changes, and what schedulers make of them. The same on both databases.

use capstan_model::{Change, ChangeId};
use capstan_store::{
    Away, ChangeFilter, Consumed, Decision, Error, NewBuildset, SchedulerEvent, Store, Timer,
};

use crate::farm::{Farm, at, kinds, new_change, one_change, owner, stamp};
use crate::on_both;

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
    of_two_who_decide_one_wins
}

async fn an_installation_keeps_its_id_and_counts_its_masters(farm: &Farm) {
    let installation = farm.store.installation();
    assert_eq!(
        farm.store
            .begin_epoch(owner(), Away::default(), at(1))
            .await
            .unwrap(),
        1
    );
    let options = farm.close().await;
    assert!(matches!(
        farm.store.begin_epoch(owner(), Away::default(), at(2)).await,
        Err(Error::Closed)
    ));
    assert!(matches!(farm.store.workers().await, Err(Error::Closed)));
    let again = Store::open(&options, at(2)).await.unwrap();
    assert_eq!(again.installation(), installation);
    assert_eq!(
        again.begin_epoch(owner(), Away::default(), at(2)).await.unwrap(),
        2
    );
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
        store
            .source_cursor("git")
            .await
            .unwrap()
            .map(|memory| memory.bytes)
            .as_deref(),
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
        store
            .source_cursor("git")
            .await
            .unwrap()
            .map(|memory| memory.bytes)
            .as_deref(),
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
    store.source_recovered("new").await.unwrap();
    let sources = store.sources().await.unwrap();
    assert_eq!((sources[1].failed, sources[1].accepted), (None, None));
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
        let filter = ChangeFilter {
            before,
            ..ChangeFilter::default()
        };
        store
            .changes(&filter, limit)
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
        store
            .scheduler_state("s")
            .await
            .unwrap()
            .map(|memory| memory.bytes)
            .as_deref(),
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
