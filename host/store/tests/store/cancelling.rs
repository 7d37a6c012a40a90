//! Requests that are not wanted any more: buildsets that are cancelled or fail fast, and newer requests for the same branch. The
//! same on both databases.

use capstan_model::{BuildsetId, EventId, Outcome, RequestId, SourceStamp};
use capstan_store::{
    BuildFinish, BuildState, Cancelled, Error, EventFilter, NewBuildset, Request, RequestState, Submitted,
};

use crate::farm::{Farm, at, finish, stamp};
use crate::on_both;

on_both! {
    a_cancelled_buildset_ends_what_waits_and_stops_what_runs
    what_nobody_waits_for_ends_and_what_runs_goes_on
    a_build_that_serves_others_goes_on
    the_first_failure_ends_a_buildset_that_fails_fast
    a_buildset_that_does_not_fail_fast_goes_on
    a_newer_request_replaces_those_for_the_same_branch
    a_scheduler_replaces_only_its_own_requests
    a_buildset_ends_once
    what_was_cancelled_is_not_tried_again
    who_cancels_one_request_does_not_fail_the_others
    a_builder_that_is_named_twice_is_asked_once
}

async fn set(farm: &Farm, builders: &[&str], change: impl FnOnce(&mut NewBuildset)) -> Submitted {
    let mut set = NewBuildset {
        reason: "because".to_owned(),
        sources: vec![stamp("main", "abc")],
        builders: builders.iter().map(|name| (*name).to_owned()).collect(),
        ..NewBuildset::default()
    };
    change(&mut set);
    farm.store.submit(set, at(10)).await.unwrap()
}

async fn request(farm: &Farm, id: RequestId) -> Request {
    farm.store.request(id).await.unwrap().unwrap()
}

async fn outcome(farm: &Farm, set: &Submitted) -> Option<Outcome> {
    farm.store.buildset(set.buildset).await.unwrap().unwrap().outcome
}

async fn kinds(farm: &Farm, kind: &str) -> usize {
    let (start, all) = (EventId(0), EventFilter::default());
    let events = farm.store.events_after(start, &all, 1000).await.unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

async fn a_cancelled_buildset_ends_what_waits_and_stops_what_runs(farm: &Farm) {
    let store = &farm.store;
    let made = set(farm, &["a", "b", "c"], |_| ()).await;
    let [a, b, c] = made.requests[..] else {
        panic!("three")
    };
    let running = farm.build("a", &[a], &["test"]).await;
    let ended = farm.build("b", &[b], &[]).await;
    store
        .finish_build(ended.id, finish(Outcome::Success), at(30))
        .await
        .unwrap();

    let cancelled = store
        .cancel_buildset(made.buildset, "a mistake", at(40))
        .await
        .unwrap();
    let expected = Cancelled {
        requests: vec![c],
        builds: vec![running.id],
    };
    assert_eq!(cancelled, Some(expected));
    assert_eq!(
        store.stopping_builds().await.unwrap(),
        [(running.id, "a mistake".to_owned())]
    );
    assert_eq!(request(farm, c).await.outcome, Some(Outcome::Cancelled));
    assert_eq!(request(farm, c).await.note.as_deref(), Some("a mistake"));
    assert_eq!(request(farm, b).await.outcome, Some(Outcome::Success));
    assert_eq!(outcome(farm, &made).await, None, "its build has not ended yet");
    store
        .finish_build(running.id, finish(Outcome::Cancelled), at(50))
        .await
        .unwrap();
    assert_eq!(outcome(farm, &made).await, Some(Outcome::Cancelled));
    assert!(store.stopping_builds().await.unwrap().is_empty());

    let again = store
        .cancel_buildset(made.buildset, "again", at(60))
        .await
        .unwrap();
    assert_eq!(again, Some(Cancelled::default()));
    let nowhere = BuildsetId(9999);
    assert_eq!(store.cancel_buildset(nowhere, "x", at(60)).await.unwrap(), None);
}

async fn what_nobody_waits_for_ends_and_what_runs_goes_on(farm: &Farm) {
    let (made, other) = (
        set(farm, &["a", "b"], |_| ()).await,
        set(farm, &["b"], |_| ()).await,
    );
    let running = farm.build("a", &[made.requests[0]], &["test"]).await;
    let cancelled = farm
        .store
        .cancel_waiting(&[made.buildset], "p/1 waits no more", at(30))
        .await
        .unwrap();
    assert_eq!(
        (cancelled.requests, cancelled.builds),
        (vec![made.requests[1]], vec![])
    );
    let ended = request(farm, made.requests[1]).await;
    assert_eq!(ended.outcome, Some(Outcome::Cancelled));
    assert_eq!(ended.note.as_deref(), Some("p/1 waits no more"));
    assert_eq!(
        request(farm, other.requests[0]).await.state,
        RequestState::Pending
    );
    assert_eq!(outcome(farm, &made).await, None, "one of its builds runs");
    farm.store
        .finish_build(running.id, finish(Outcome::Success), at(40))
        .await
        .unwrap();
    assert_eq!(outcome(farm, &made).await, Some(Outcome::Cancelled));
}

async fn a_build_that_serves_others_goes_on(farm: &Farm) {
    let store = &farm.store;
    let (one, other) = (set(farm, &["a"], |_| ()).await, set(farm, &["a"], |_| ()).await);
    let both = [one.requests[0], other.requests[0]];
    let build = farm.build("a", &both, &["test"]).await;
    let cancelled = store
        .cancel_buildset(one.buildset, "a mistake", at(30))
        .await
        .unwrap();
    assert_eq!(cancelled.unwrap().builds, []);
    assert_eq!(outcome(farm, &one).await, Some(Outcome::Cancelled));
    // The end of the build is not the end of the request that was cancelled before.
    store
        .finish_build(build.id, finish(Outcome::Success), at(50))
        .await
        .unwrap();
    assert_eq!(request(farm, both[0]).await.outcome, Some(Outcome::Cancelled));
    assert_eq!(request(farm, both[1]).await.outcome, Some(Outcome::Success));
    assert_eq!(outcome(farm, &one).await, Some(Outcome::Cancelled));
    assert_eq!(outcome(farm, &other).await, Some(Outcome::Success));
    // The build of the other is stopped once nobody wants it.
    let third = set(farm, &["a"], |_| ()).await;
    let build = farm.build("a", &third.requests, &["test"]).await;
    store
        .cancel_buildset(third.buildset, "too", at(60))
        .await
        .unwrap();
    assert_eq!(
        store.stopping_builds().await.unwrap(),
        [(build.id, "too".to_owned())]
    );
}

async fn the_first_failure_ends_a_buildset_that_fails_fast(farm: &Farm) {
    let store = &farm.store;
    let made = set(farm, &["a", "b", "c", "d"], |set| set.fail_fast = true).await;
    let [a, b, c, d] = made.requests[..] else {
        panic!("four")
    };
    let (first, second, third) = (
        farm.build("a", &[a], &[]).await,
        farm.build("b", &[b], &[]).await,
        farm.build("c", &[c], &[]).await,
    );
    store
        .finish_build(first.id, finish(Outcome::Warnings), at(30))
        .await
        .unwrap();
    assert_eq!(
        request(farm, d).await.state,
        RequestState::Pending,
        "warnings are no failure"
    );
    store
        .finish_build(second.id, finish(Outcome::Failure), at(31))
        .await
        .unwrap();
    let left = request(farm, d).await;
    assert_eq!(left.outcome, Some(Outcome::Cancelled));
    assert!(left.note.unwrap().contains("`b` ended as failure"));
    let stopping = store.stopping_builds().await.unwrap();
    assert_eq!(stopping.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [third.id]);
    assert_eq!(request(farm, b).await.outcome, Some(Outcome::Failure));
    store
        .finish_build(third.id, finish(Outcome::Cancelled), at(40))
        .await
        .unwrap();
    assert_eq!(outcome(farm, &made).await, Some(Outcome::Cancelled));
}

async fn a_buildset_that_does_not_fail_fast_goes_on(farm: &Farm) {
    let made = set(farm, &["a", "b"], |_| ()).await;
    let build = farm.build("a", &made.requests[..1], &[]).await;
    farm.store
        .finish_build(build.id, finish(Outcome::Failure), at(30))
        .await
        .unwrap();
    assert_eq!(request(farm, made.requests[1]).await.state, RequestState::Pending);
    // One that is to be tried again has not failed.
    let retried = set(farm, &["c", "d"], |set| set.fail_fast = true).await;
    let build = farm.build("c", &retried.requests[..1], &[]).await;
    let retry = BuildFinish {
        retry: true,
        ..finish(Outcome::Retry)
    };
    farm.store.finish_build(build.id, retry, at(40)).await.unwrap();
    assert_eq!(
        request(farm, retried.requests[1]).await.state,
        RequestState::Pending
    );
}

async fn a_newer_request_replaces_those_for_the_same_branch(farm: &Farm) {
    let store = &farm.store;
    let sources = |branches: &[(&str, Option<&str>)]| -> Vec<SourceStamp> {
        let source = |(codebase, branch): &(&str, Option<&str>)| SourceStamp {
            codebase: (*codebase).to_owned(),
            branch: branch.map(str::to_owned),
            ..stamp("main", "abc")
        };
        branches.iter().map(source).collect()
    };
    let submit = async |builders: &[&str], sources: Vec<SourceStamp>| {
        let newer = |set: &mut NewBuildset| {
            set.sources = sources;
            set.cancel_older_of = vec!["a".to_owned()];
        };
        set(farm, builders, newer).await.requests
    };
    let main = submit(&["a", "b"], sources(&[("", Some("main"))])).await;
    let running = farm.build("a", &main[..1], &[]).await;
    let waiting = submit(&["a"], sources(&[("", Some("topic"))])).await[0];
    let default = submit(&["a"], sources(&[("", None)])).await[0];
    let two = submit(&["a"], sources(&[("", Some("main")), ("lib", Some("main"))])).await[0];
    assert!(
        store.stopping_builds().await.unwrap().is_empty(),
        "these are other branches"
    );

    let newest = submit(&["a", "b"], sources(&[("", Some("main"))])).await;
    let reason = format!("superseded by request {}", newest[0]);
    assert_eq!(
        store.stopping_builds().await.unwrap(),
        [(running.id, reason.clone())]
    );
    let newer = submit(&["a"], sources(&[("", Some("topic"))])).await[0];
    let replaced = request(farm, waiting).await;
    assert_eq!(replaced.outcome, Some(Outcome::Cancelled));
    assert_eq!(replaced.note, Some(format!("superseded by request {newer}")));
    for kept in [main[1], default, two, newest[0], newest[1], newer] {
        assert_eq!(request(farm, kept).await.state, RequestState::Pending, "{kept}");
    }
    submit(&["a"], sources(&[("", None)])).await;
    assert_eq!(request(farm, default).await.outcome, Some(Outcome::Cancelled));
    submit(&["a"], sources(&[("", Some("main")), ("lib", Some("topic"))])).await;
    assert_eq!(request(farm, two).await.state, RequestState::Pending);
    submit(&["a"], sources(&[("", Some("main")), ("lib", Some("main"))])).await;
    assert_eq!(request(farm, two).await.outcome, Some(Outcome::Cancelled));
}

async fn a_scheduler_replaces_only_its_own_requests(farm: &Farm) {
    let by = |scheduler: &str| {
        let scheduler = scheduler.to_owned();
        move |set: &mut NewBuildset| {
            set.scheduler = Some(scheduler);
            set.cancel_own_older = true;
        }
    };
    let nightly = set(farm, &["a"], by("nightly")).await.requests[0];
    let forced = set(farm, &["a"], |_| ()).await.requests[0];
    let push = set(farm, &["a"], by("push")).await.requests[0];
    set(farm, &["a"], by("push")).await;
    for (kept, state) in [
        (nightly, RequestState::Pending),
        (forced, RequestState::Pending),
        (push, RequestState::Complete),
    ] {
        assert_eq!(request(farm, kept).await.state, state);
    }
    // Without a scheduler there is nothing of its own.
    set(farm, &["a"], |set| set.cancel_own_older = true).await;
    assert_eq!(request(farm, forced).await.state, RequestState::Pending);
}

async fn a_buildset_ends_once(farm: &Farm) {
    let made = set(farm, &["a", "b"], |set| set.fail_fast = true).await;
    let build = farm.build("a", &made.requests[..1], &[]).await;
    farm.store
        .finish_build(build.id, finish(Outcome::Failure), at(30))
        .await
        .unwrap();
    assert_eq!(outcome(farm, &made).await, Some(Outcome::Cancelled));
    assert_eq!(kinds(farm, "buildset.complete").await, 1);
    let again = farm
        .store
        .finish_build(build.id, finish(Outcome::Failure), at(31))
        .await;
    again.unwrap();
    assert_eq!(kinds(farm, "buildset.complete").await, 1);
    let other = farm
        .store
        .finish_build(build.id, finish(Outcome::Success), at(32))
        .await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    let running = farm.store.build(build.id).await.unwrap().unwrap();
    assert_eq!(running.state, BuildState::Complete);
}

async fn what_was_cancelled_is_not_tried_again(farm: &Farm) {
    let made = set(farm, &["a"], |_| ()).await;
    let build = farm.build("a", &made.requests, &[]).await;
    // The word of it comes after the build's end was decided.
    let cancelled = farm
        .store
        .cancel_buildset(made.buildset, "not wanted", at(30))
        .await;
    assert_eq!(cancelled.unwrap().unwrap().builds, [build.id]);
    let retry = BuildFinish {
        retry: true,
        ..finish(Outcome::Retry)
    };
    farm.store.finish_build(build.id, retry, at(40)).await.unwrap();
    let ended = request(farm, made.requests[0]).await;
    assert_eq!(ended.outcome, Some(Outcome::Cancelled));
    assert_eq!(outcome(farm, &made).await, Some(Outcome::Cancelled));
}

async fn who_cancels_one_request_does_not_fail_the_others(farm: &Farm) {
    let made = set(farm, &["a", "b"], |set| set.fail_fast = true).await;
    let build = farm.build("a", &made.requests[..1], &[]).await;
    set(farm, &["a"], |set| set.cancel_older_of = vec!["a".to_owned()]).await;
    farm.store
        .finish_build(build.id, finish(Outcome::Cancelled), at(30))
        .await
        .unwrap();
    assert_eq!(request(farm, made.requests[1]).await.state, RequestState::Pending);
}

async fn a_builder_that_is_named_twice_is_asked_once(farm: &Farm) {
    let made = set(farm, &["a", "b", "a"], |set| {
        set.cancel_older_of = vec!["a".to_owned()]
    })
    .await;
    assert_eq!(made.requests.len(), 2);
    for id in made.requests {
        assert_eq!(request(farm, id).await.state, RequestState::Pending);
    }
}
