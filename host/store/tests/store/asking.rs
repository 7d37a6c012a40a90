//! Asking schedulers for builds, following their buildsets, switching them off. The same on both databases.

use capstan_model::{BuildsetId, Outcome, SourceStamp};
use capstan_store::{
    CallAnswer, CallProblem, Consumed, Decision, Error, NewBuildset, SchedulerEvent, Store, Timer,
};
use serde_json::json;

use crate::farm::{Farm, at, finish, one_change, stamp};
use crate::on_both;

on_both! {
    a_call_is_answered_with_its_decision
    a_call_with_the_same_key_is_the_same_call
    a_call_can_be_refused_and_given_up
    a_call_that_is_withdrawn_is_not_answered_later
    what_a_step_asks_for_knows_its_parent
    what_is_disabled_drops_events_and_keeps_that_in_mind
    a_complete_buildset_is_told_to_those_who_follow
    a_buildset_of_nobody_is_told_to_nobody
}

async fn next(store: &Store, scheduler: &str) -> (Consumed, SchedulerEvent) {
    let (id, event) = store.next_event(scheduler).await.unwrap().unwrap();
    (Consumed::Event(id), event)
}

fn one(builder: &str, scheduler: &str) -> Decision {
    Decision {
        state: b"s".to_vec(),
        buildsets: vec![NewBuildset {
            scheduler: Some(scheduler.to_owned()),
            builders: vec![builder.to_owned()],
            sources: vec![SourceStamp {
                revision: None,
                ..stamp("main", "")
            }],
            ..NewBuildset::default()
        }],
        ..Decision::default()
    }
}

async fn a_call_that_is_withdrawn_is_not_answered_later(farm: &Farm) {
    let store = &farm.store;
    assert_eq!(store.withdraw_call("k", "gone", at(1)).await.unwrap(), None);
    let body = json!({ "kind": "trigger" });
    let id = store
        .call_scheduler("go", "k", body.clone(), at(1))
        .await
        .unwrap();
    let (consumed, _) = next(store, "go").await;
    assert_eq!(
        store
            .withdraw_call("k", "its build was stopped", at(2))
            .await
            .unwrap(),
        None
    );
    // The plugin had it in its hands.
    let late = store
        .commit_decision("go", consumed, one("linux", "go"), at(3))
        .await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    let refused = CallAnswer::refused("", "its build was stopped");
    assert_eq!(store.call(id).await.unwrap().unwrap().answer, Some(refused));
    // One that was answered before stays answered.
    store.call_scheduler("go", "other", body, at(4)).await.unwrap();
    let (consumed, _) = next(store, "go").await;
    let made = store
        .commit_decision("go", consumed, one("linux", "go"), at(5))
        .await
        .unwrap();
    let answer = store.withdraw_call("other", "too late", at(6)).await.unwrap();
    assert_eq!(answer, Some(CallAnswer::Made(made)));
}

async fn a_call_is_answered_with_its_decision(farm: &Farm) {
    let store = &farm.store;
    let body = json!({"kind": "force", "values": {"a": "é\u{0}"}});
    let id = store
        .call_scheduler("release", "k", body.clone(), at(1))
        .await
        .unwrap();
    assert_eq!(store.call(id).await.unwrap().unwrap().answer, None);
    let (consumed, event) = next(store, "release").await;
    assert_eq!(event, SchedulerEvent::Call(body));
    let made = store
        .commit_decision("release", consumed.clone(), one("linux", "release"), at(2))
        .await
        .unwrap();
    assert_eq!(
        store.call(id).await.unwrap().unwrap().answer,
        Some(CallAnswer::Made(made.clone()))
    );
    // A crash after the commit: the event is gone, and nothing is made twice.
    let again = store
        .commit_decision("release", consumed, one("linux", "release"), at(3))
        .await;
    assert!(matches!(again, Err(Error::Conflict { .. })));
    assert_eq!(
        store.call(id).await.unwrap().unwrap().answer,
        Some(CallAnswer::Made(made))
    );
    assert_eq!(store.call((id.0 + 1).into()).await.unwrap(), None);
}

async fn a_call_with_the_same_key_is_the_same_call(farm: &Farm) {
    let store = &farm.store;
    let first = store.call_scheduler("s", "k", json!({}), at(1)).await.unwrap();
    assert_eq!(
        store.call_scheduler("s", "k", json!({}), at(2)).await.unwrap(),
        first
    );
    let (consumed, _) = next(store, "s").await;
    store
        .commit_decision("s", consumed, one("linux", "s"), at(3))
        .await
        .unwrap();
    assert_eq!(
        store.call_scheduler("s", "k", json!({}), at(4)).await.unwrap(),
        first
    );
    assert_eq!(store.next_event("s").await.unwrap(), None);
    assert_ne!(
        store.call_scheduler("s", "k2", json!({}), at(5)).await.unwrap(),
        first
    );
}

async fn a_call_can_be_refused_and_given_up(farm: &Farm) {
    let store = &farm.store;
    let problems = vec![CallProblem {
        path: "values.a".to_owned(),
        message: "expected b".to_owned(),
    }];
    let id = store.call_scheduler("s", "1", json!({}), at(1)).await.unwrap();
    let (consumed, _) = next(store, "s").await;
    store
        .refuse_call("s", consumed.clone(), problems.clone(), at(2))
        .await
        .unwrap();
    assert_eq!(
        store.call(id).await.unwrap().unwrap().answer,
        Some(CallAnswer::Refused(problems.clone()))
    );
    let again = store.refuse_call("s", consumed, problems, at(2)).await;
    assert!(matches!(again, Err(Error::Conflict { .. })));
    assert_eq!(
        store.schedulers().await.unwrap(),
        [],
        "the scheduler has not failed"
    );

    let id = store.call_scheduler("s", "2", json!({}), at(3)).await.unwrap();
    let (consumed, _) = next(store, "s").await;
    store
        .scheduler_failed("s", consumed, "it trapped", at(4))
        .await
        .unwrap();
    let answer = store.call(id).await.unwrap().unwrap().answer;
    assert_eq!(answer, Some(CallAnswer::refused("", "it trapped")));

    store
        .enqueue_event("s", SchedulerEvent::Started, at(5))
        .await
        .unwrap();
    let (consumed, _) = next(store, "s").await;
    let refused = store.refuse_call("s", consumed.clone(), Vec::new(), at(5)).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    assert_eq!(next(store, "s").await.0, consumed, "an event is not lost by that");
}

async fn what_is_disabled_drops_events_and_keeps_that_in_mind(farm: &Farm) {
    let store = &farm.store;
    let subscribers = ["s".to_owned()];
    assert!(store.scheduler_enabled("s").await.unwrap(), "unknown is enabled");
    one_change(store, "a", &subscribers).await;
    let call = store.call_scheduler("s", "1", json!({}), at(1)).await.unwrap();
    assert!(store.enable_scheduler("s", false, at(2)).await.unwrap());
    assert!(
        !store.enable_scheduler("s", false, at(2)).await.unwrap(),
        "it is already"
    );
    assert_eq!(store.next_event("s").await.unwrap(), None);
    let answer = store.call(call).await.unwrap().unwrap().answer;
    assert!(matches!(answer, Some(CallAnswer::Refused(_))), "{answer:?}");
    let refused = store.call_scheduler("s", "2", json!({}), at(3)).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })));
    // What comes meanwhile is dropped, by whoever looks, and at the latest when it is enabled.
    one_change(store, "b", &subscribers).await;
    store.drop_events("s", at(4)).await.unwrap();
    assert_eq!(store.next_event("s").await.unwrap(), None);
    one_change(store, "c", &subscribers).await;

    let options = farm.close().await;
    let store = Store::open(&options, at(5)).await.unwrap();
    assert!(!store.scheduler_enabled("s").await.unwrap(), "across restarts");
    assert!(!store.schedulers().await.unwrap()[0].enabled);
    assert!(store.enable_scheduler("s", true, at(6)).await.unwrap());
    let (consumed, event) = next(&store, "s").await;
    assert_eq!(event, SchedulerEvent::Started);
    let timer = Timer {
        name: "t".to_owned(),
        at: at(9),
    };
    let decision = Decision {
        set_timers: vec![timer],
        ..Decision::default()
    };
    store
        .commit_decision("s", consumed, decision, at(7))
        .await
        .unwrap();
    assert_eq!(store.next_event("s").await.unwrap(), None);
    one_change(&store, "d", &subscribers).await;
    store.drop_events("s", at(8)).await.unwrap();
    assert!(store.next_event("s").await.unwrap().is_some(), "it is enabled");
    assert_eq!(store.schedulers().await.unwrap()[0].next, Some(at(9)));
    store.close().await;
}

async fn a_complete_buildset_is_told_to_those_who_follow(farm: &Farm) {
    let store = &farm.store;
    let pair = |upstream: &str, follower: &str| (upstream.to_owned(), follower.to_owned());
    store.follow(vec![pair("old", "later")]).await.unwrap();
    store
        .follow(vec![
            pair("ci", "later"),
            pair("ci", "docs"),
            pair("other", "no"),
            pair("ci", "docs"),
        ])
        .await
        .unwrap();
    store.call_scheduler("ci", "1", json!({}), at(1)).await.unwrap();
    let (consumed, _) = next(store, "ci").await;
    let made = store
        .commit_decision("ci", consumed, one("linux", "ci"), at(2))
        .await
        .unwrap();
    assert_eq!(
        store.next_event("later").await.unwrap(),
        None,
        "it is not complete"
    );
    let mut build = farm.new_build("linux", &made[0].requests, &["one"]).await;
    let got = capstan_model::Property {
        name: "got_revision".to_owned(),
        value: json!("r9"),
        source: "git".to_owned(),
    };
    build.properties.insert(got);
    let stamps = build.sources.clone();
    let build = store.create_build(build, at(3)).await.unwrap().unwrap();
    store
        .finish_build(build.id, finish(Outcome::Warnings), at(4))
        .await
        .unwrap();
    for follower in ["later", "docs"] {
        let (_, event) = next(store, follower).await;
        let SchedulerEvent::Completed(set) = event else {
            panic!("expected a complete buildset, found {event:?}")
        };
        assert_eq!(set.buildset.id, made[0].buildset);
        assert_eq!(set.buildset.outcome, Some(Outcome::Warnings));
        let [built] = &*set.builds else { panic!("{set:?}") };
        assert_eq!((built.builder.as_str(), built.number), ("linux", 1));
        assert_eq!(built.sources.len(), stamps.len());
        assert!(
            built
                .sources
                .iter()
                .all(|source| source.revision.as_deref() == Some("r9")),
            "{set:?}"
        );
    }
    assert_eq!(store.next_event("no").await.unwrap(), None);
}

async fn a_buildset_of_nobody_is_told_to_nobody(farm: &Farm) {
    let store = &farm.store;
    store
        .follow(vec![("ci".to_owned(), "later".to_owned())])
        .await
        .unwrap();
    let request = farm.request("linux", 0).await;
    let build = farm.build("linux", &[request], &[]).await;
    store
        .finish_build(build.id, finish(Outcome::Success), at(4))
        .await
        .unwrap();
    assert_eq!(store.next_event("later").await.unwrap(), None);
    assert!(store.buildset(BuildsetId(1)).await.unwrap().is_some());
}

async fn what_a_step_asks_for_knows_its_parent(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("parent", 0).await;
    let parent = farm.build("parent", &[request], &[]).await;
    let call = |key: &'static str| store.call_scheduler_for(parent.id, "go", key, json!({}), at(1));
    let id = call("step/1/2").await.unwrap();
    assert_eq!(store.call_by_key("step/1/2").await.unwrap().unwrap().answer, None);
    assert_eq!(store.call_by_key("step/1/3").await.unwrap(), None);
    // A master that takes the step up asks again, and it is the same.
    assert_eq!(call("step/1/2").await.unwrap(), id);
    let (consumed, _) = next(store, "go").await;
    let made = store
        .commit_decision("go", consumed, one("child", "go"), at(2))
        .await
        .unwrap();
    assert_eq!(call("step/1/2").await.unwrap(), id);
    assert_eq!(store.next_event("go").await.unwrap(), None);

    let ids = [made[0].buildset];
    let children = store.children(parent.id, 10).await.unwrap();
    assert_eq!(children, store.child_sets(&ids).await.unwrap());
    let [set] = &*children else { panic!("{children:?}") };
    assert_eq!(
        (set.buildset, set.scheduler.as_str(), set.outcome),
        (ids[0], "go", None)
    );
    let [waits] = &*set.requests else {
        panic!("{set:?}")
    };
    assert_eq!(
        (waits.request, waits.builder.as_str(), &waits.build),
        (made[0].requests[0], "child", &None)
    );

    let child = farm.build("child", &made[0].requests, &[]).await;
    let parents = store.parents(child.id).await.unwrap();
    assert_eq!(
        (parents[0].id, parents[0].builder.as_str(), parents[0].number),
        (parent.id, "parent", 1)
    );
    assert_eq!(store.parents(parent.id).await.unwrap(), []);
    store
        .finish_build(child.id, finish(Outcome::Failure), at(4))
        .await
        .unwrap();
    let set = &store.child_sets(&ids).await.unwrap()[0];
    assert_eq!(set.outcome, Some(Outcome::Failure));
    let built = set.requests[0].build.as_ref().unwrap();
    assert_eq!(
        (built.id, built.number, built.outcome),
        (child.id, 1, Some(Outcome::Failure))
    );
    assert_eq!(store.child_sets(&[]).await.unwrap(), []);
}
