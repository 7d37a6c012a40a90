//! Requests, the builds that serve them, and what their ends lead to. The same on both databases.

use capstan_model::plan::Bundle;
use capstan_model::{Digest, Outcome, Properties};
use capstan_store::{
    BuildFilter, BuildFinish, BuildState, Error, NewBuild, NewBuildset, NewReport, RequestFilter,
    RequestState, SchedulerEvent,
};
use serde_json::json;

use crate::farm::{Farm, at, finish, stamp};
use crate::on_both;

on_both! {
    requests_wait_in_order_of_priority_and_age
    a_cancelled_request_is_not_built
    builds_are_numbered_within_their_builder
    a_request_is_built_once
    a_build_needs_its_plan
    the_worst_result_is_the_buildsets
    a_retried_request_waits_again
    a_request_is_not_retried_for_ever
    a_build_ends_once
    the_end_of_a_build_reaches_schedulers_and_reporters
    the_first_reason_to_stop_stays
    plans_and_blobs_come_back
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
        outcomes: vec![Outcome::Success],
        ..BuildFilter::default()
    };
    assert_eq!(store.builds(&none, 10).await.unwrap(), []);
    let unfinished = store.unfinished_builds().await.unwrap();
    assert_eq!(unfinished.len(), 3);
    let running = store.running_builds().await.unwrap();
    let running = running.into_iter().map(|b| (b.id, b.builder, b.number, b.worker));
    let expected = unfinished
        .into_iter()
        .map(|b| (b.id, b.builder, b.number, b.worker));
    assert!(running.eq(expected));
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
        shown: None,
        directory: String::new(),
        locks: Vec::new(),
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
}

async fn a_request_is_not_retried_for_ever(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let mut builds = 0;
    while !store.pending_requests().await.unwrap().is_empty() {
        let build = farm.build("b", &[request], &[]).await;
        let retry = BuildFinish {
            retry: true,
            ..finish(Outcome::Retry)
        };
        store.finish_build(build.id, retry, at(40)).await.unwrap();
        builds += 1;
        assert!(
            builds <= 10,
            "a fault that stays must not fill the farm with builds"
        );
    }
    let ended = store.request(request).await.unwrap().unwrap();
    assert_eq!((builds, ended.outcome), (10, Some(Outcome::Retry)));
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
    assert_eq!(store.running_builds().await.unwrap(), []);
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
    let due = store.due_reports(at(40), None, 10).await.unwrap();
    let installation = store.installation();
    let ids: Vec<_> = due.iter().map(|report| report.delivery_id.clone()).collect();
    assert_eq!(
        ids,
        ["mail", "chat"].map(|name| format!("{installation}/{}/finished/{name}", build.id))
    );
    assert_eq!((due[0].build, due[0].phase.as_str()), (build.id, "finished"));
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
