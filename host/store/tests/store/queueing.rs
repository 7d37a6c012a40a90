//! The queue as the dispatcher follows it: whatever happens to requests, what the feed tells is enough to know who waits.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::{Outcome, Properties, RequestId};
use capstan_store::{BuildFinish, NewBuildset, QueueEntry, SchedulerEvent, Store};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_change, stamp};
use crate::{on_both, schema};

on_both! {
    what_the_feed_tells_is_enough_to_follow_the_queue
    a_feed_that_fell_behind_says_so
    requests_are_alike_when_one_build_can_serve_them
    buildsets_of_an_earlier_version_are_alike_in_the_same_way
    a_waiting_request_is_read_with_what_its_build_needs
    an_event_wakes_its_scheduler_and_no_other
}

fn by_id(entries: Vec<QueueEntry>) -> BTreeMap<RequestId, QueueEntry> {
    entries.into_iter().map(|entry| (entry.id, entry)).collect()
}

/// Takes over what the feed tells, as the dispatcher does; answers what it told.
async fn follow(
    store: &Store,
    feed: &mut capstan_store::RequestFeed,
    known: &mut BTreeMap<RequestId, QueueEntry>,
) -> BTreeSet<RequestId> {
    let touched = feed.take().unwrap();
    known.retain(|id, _| !touched.contains(id));
    known.extend(by_id(store.queue_entries_of(&touched).await.unwrap()));
    touched
}

async fn what_the_feed_tells_is_enough_to_follow_the_queue(farm: &Farm) {
    let store = &farm.store;
    let early = farm.request("b", 1).await;
    let mut feed = store.request_feed();
    let mut known = by_id(store.queue_entries().await.unwrap());
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), [early]);
    assert_eq!(
        (
            known[&early].priority,
            &*known[&early].builder,
            known[&early].submitted
        ),
        (1, "b", at(10))
    );

    let mut requests = vec![early];
    for builder in ["b", "c", "b"] {
        requests.push(farm.request(builder, 0).await);
    }
    let told = follow(store, &mut feed, &mut known).await;
    assert_eq!(told, requests[1..].iter().copied().collect());
    // One is claimed, put back, claimed again and ended; one is cancelled; one waits on.
    let build = farm.build("b", &requests[..2], &[]).await;
    follow(store, &mut feed, &mut known).await;
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), requests[2..]);
    let again = BuildFinish {
        retry: true,
        ..finish(Outcome::Retry)
    };
    store.finish_build(build.id, again, at(40)).await.unwrap();
    store.cancel_request(requests[3], "no", at(41)).await.unwrap();
    follow(store, &mut feed, &mut known).await;
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), requests[..3]);
    let build = farm.build("c", &requests[2..3], &[]).await;
    store
        .finish_build(build.id, finish(Outcome::Success), at(50))
        .await
        .unwrap();
    follow(store, &mut feed, &mut known).await;
    assert_eq!(known, by_id(store.queue_entries().await.unwrap()));
    assert!(feed.take().unwrap().is_empty(), "each is told once");
}

async fn a_feed_that_fell_behind_says_so(farm: &Farm) {
    let store = &farm.store;
    let mut feed = store.request_feed();
    let id = farm.request("b", 0).await;
    // Each is a commit of its own, of a build that is ended and tried again.
    for _ in 0..9 {
        let build = farm.build("b", &[id], &[]).await;
        let again = BuildFinish {
            retry: true,
            ..finish(Outcome::Retry)
        };
        store.finish_build(build.id, again, at(40)).await.unwrap();
    }
    assert_eq!(feed.take(), Some(BTreeSet::from([id])));
    let many = (0..5000).map(|n| {
        let set = NewBuildset {
            builders: vec!["b".to_owned()],
            ..NewBuildset::default()
        };
        store.submit(set, at(n))
    });
    // At most a few of these share a commit.
    for submitted in many {
        submitted.await.unwrap();
    }
    assert_eq!(feed.take(), None, "some were missed");
    assert_eq!(feed.take(), Some(BTreeSet::new()), "it goes on from there");
    let last = farm.request("b", 0).await;
    assert_eq!(feed.take(), Some(BTreeSet::from([last])));
}

async fn buildset(
    store: &Store,
    revision: &str,
    change: Option<&str>,
    properties: &[(&str, &str)],
) -> RequestId {
    let mut changes = Vec::new();
    if let Some(key) = change {
        let accepted = store
            .accept_changes("git", b"", vec![new_change(key)], &[], at(5))
            .await
            .unwrap();
        changes.push(accepted[0].id);
    }
    let mut set = Properties::default();
    for (name, source) in properties {
        set.set(*name, json!(change), *source);
    }
    let set = NewBuildset {
        sources: vec![stamp("main", revision)],
        builders: vec!["b".to_owned()],
        properties: set,
        changes,
        ..NewBuildset::default()
    };
    store.submit(set, at(10)).await.unwrap().requests[0]
}

/// Two pushes, one of them with a property of its own; two requests for one revision; one for another.
async fn several(store: &Store) -> Vec<RequestId> {
    vec![
        buildset(store, "aa", Some("1"), &[]).await,
        buildset(store, "bb", Some("2"), &[("owner", "change")]).await,
        buildset(store, "aa", None, &[]).await,
        buildset(store, "aa", None, &[]).await,
        buildset(store, "bb", None, &[]).await,
        buildset(store, "cc", Some("3"), &[("kind", "scheduler")]).await,
    ]
}

/// The places of those that each is like.
async fn alike(store: &Store, ids: &[RequestId]) -> Vec<usize> {
    let known = by_id(store.queue_entries().await.unwrap());
    let first = |id: &RequestId| {
        ids.iter()
            .position(|other| known[other].likeness == known[id].likeness)
    };
    ids.iter().map(|id| first(id).unwrap()).collect()
}

async fn requests_are_alike_when_one_build_can_serve_them(farm: &Farm) {
    let ids = several(&farm.store).await;
    assert_eq!(alike(&farm.store, &ids).await, [0, 0, 2, 2, 4, 5]);
}

async fn buildsets_of_an_earlier_version_are_alike_in_the_same_way(farm: &Farm) {
    let ids = several(&farm.store).await;
    let new = by_id(farm.store.queue_entries().await.unwrap());
    let forget = "UPDATE buildsets SET likeness = NULL WHERE id <> 1";
    schema::execute(&farm.url, forget).await;
    assert_eq!(by_id(farm.store.queue_entries().await.unwrap()), new);
    let two = BTreeSet::from([ids[0], ids[1]]);
    assert_eq!(farm.store.queue_entries_of(&two).await.unwrap().len(), 2);
}

async fn a_waiting_request_is_read_with_what_its_build_needs(farm: &Farm) {
    let id = buildset(&farm.store, "aa", Some("1"), &[("kind", "scheduler")]).await;
    let waiting = farm.store.pending_request(id).await.unwrap().unwrap();
    assert_eq!(waiting, farm.store.pending_requests().await.unwrap()[0]);
    assert_eq!(waiting.sources, [stamp("main", "aa")]);
    farm.build("b", &[id], &[]).await;
    assert_eq!(farm.store.pending_request(id).await.unwrap(), None);
    assert_eq!(farm.store.pending_request(RequestId(99)).await.unwrap(), None);
}

async fn an_event_wakes_its_scheduler_and_no_other(farm: &Farm) {
    let store = &farm.store;
    let mut bells = ["one", "other"].map(|name| store.scheduler_bell(name));
    let told = |bells: &mut [tokio::sync::watch::Receiver<()>; 2]| {
        bells.each_mut().map(|bell| {
            let rang = bell.has_changed().unwrap();
            bell.mark_unchanged();
            rang
        })
    };
    store
        .enqueue_event("one", SchedulerEvent::Started, at(1))
        .await
        .unwrap();
    assert_eq!(told(&mut bells), [true, false]);
    let everybody = ["one".to_owned(), "other".to_owned()];
    store
        .accept_changes("git", b"", vec![new_change("1")], &everybody, at(5))
        .await
        .unwrap();
    assert_eq!(told(&mut bells), [true, true]);
    farm.request("b", 0).await;
    assert_eq!(
        told(&mut bells),
        [false, false],
        "a request is none of their business"
    );
}
