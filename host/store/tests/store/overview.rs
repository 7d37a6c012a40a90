//! What overview pages show: whether a builder is red and since when, what its changes led to, how far a build is.

use capstan_model::{BuildId, Outcome, journal::Kind};
use capstan_store::{BuilderHistory, NewBuildset, Store};

use crate::farm::{Farm, at, finish, one_change, row, stamp};

crate::on_both! {
    a_builder_is_red_since_its_first_fault
    a_build_usually_takes_the_median_of_the_newest_green_ones
    a_build_over_which_the_clock_was_turned_back_spoils_no_history
    histories_are_by_name_with_the_newest_builds_first
    a_running_build_says_how_far_it_is
    a_change_knows_what_it_led_to
}

/// A build of `b` that ends so after that many milliseconds, or goes on.
async fn build(farm: &Farm, outcome: Option<Outcome>, duration: i64) -> BuildId {
    let request = farm.request("b", 0).await;
    let id = farm.build("b", &[request], &["one"]).await.id;
    if let Some(outcome) = outcome {
        // A build begins at 20.
        let end = farm.store.finish_build(id, finish(outcome), at(20 + duration));
        end.await.unwrap();
    }
    id
}

async fn history(store: &Store) -> BuilderHistory {
    let one = store.builder_history("b", 3).await.unwrap().unwrap();
    assert_eq!(
        store.builder_histories(3).await.unwrap(),
        std::slice::from_ref(&one)
    );
    one
}

async fn a_builder_is_red_since_its_first_fault(farm: &Farm) {
    let store = &farm.store;
    assert_eq!(store.builder_histories(3).await.unwrap(), []);
    assert_eq!(store.builder_history("b", 3).await.unwrap(), None);
    farm.request("b", 0).await;
    let waiting = history(store).await;
    assert_eq!(
        (waiting.recent.len(), waiting.red_since, waiting.pending),
        (0, None, 1)
    );
    // What ends, and the number of the build since which the builder is red then.
    for (number, (outcome, red_since)) in [
        (Some(Outcome::Cancelled), None),
        (Some(Outcome::Exception), Some(2)),
        (Some(Outcome::Success), None),
        (Some(Outcome::Cancelled), None),
        (Some(Outcome::Failure), Some(5)),
        (Some(Outcome::Skipped), Some(5)),
        (Some(Outcome::Exception), Some(5)),
        (Some(Outcome::Retry), Some(5)),
        (Some(Outcome::Failure), Some(5)),
        (Some(Outcome::Warnings), None),
        (Some(Outcome::Exception), Some(11)),
        (Some(Outcome::Failure), Some(11)),
        (None, Some(11)),
    ]
    .into_iter()
    .enumerate()
    {
        let id = build(farm, outcome, 5).await;
        let found = history(store).await;
        assert_eq!(
            found.red_since.as_ref().map(|build| build.number),
            red_since,
            "after build {}, {outcome:?}",
            number + 1
        );
        assert_eq!((found.recent[0].id, found.recent[0].outcome), (id, outcome));
        assert_eq!(found.pending, 1);
    }
    let first = history(store).await.red_since.unwrap();
    assert_eq!(
        (
            first.outcome,
            first.summary.as_str(),
            first.started,
            first.finished
        ),
        (Some(Outcome::Exception), "exception!", at(20), Some(at(25)))
    );
}

async fn a_build_usually_takes_the_median_of_the_newest_green_ones(farm: &Farm) {
    build(farm, Some(Outcome::Failure), 900).await;
    assert_eq!(history(&farm.store).await.usual_ms, None);
    for (outcome, duration, usual) in [
        (Outcome::Success, 10, 10),
        (Outcome::Warnings, 20, 15),
        (Outcome::Success, 90, 20),
        (Outcome::Cancelled, 1, 20),
    ] {
        build(farm, Some(outcome), duration).await;
        assert_eq!(
            history(&farm.store).await.usual_ms,
            Some(usual),
            "after {duration}"
        );
    }
    for _ in 0..10 {
        build(farm, Some(Outcome::Warnings), 7).await;
    }
    assert_eq!(history(&farm.store).await.usual_ms, Some(7));
    for _ in 0..6 {
        build(farm, Some(Outcome::Success), 8).await;
    }
    assert_eq!(history(&farm.store).await.usual_ms, Some(8), "six of ten");
}

async fn a_build_over_which_the_clock_was_turned_back_spoils_no_history(farm: &Farm) {
    build(farm, Some(Outcome::Success), -3_600_000).await;
    assert_eq!(history(&farm.store).await.usual_ms, Some(0));
    build(farm, Some(Outcome::Warnings), 8).await;
    assert_eq!(history(&farm.store).await.usual_ms, Some(4));
}

async fn histories_are_by_name_with_the_newest_builds_first(farm: &Farm) {
    for name in ["z", "a", "z", "z", "a"] {
        let request = farm.request(name, 0).await;
        farm.build(name, &[request], &[]).await;
    }
    farm.request("m", 0).await;
    let found = farm.store.builder_histories(2).await.unwrap();
    let numbers: Vec<_> = found
        .iter()
        .map(|history| {
            let numbers = history.recent.iter().map(|build| build.number);
            (
                history.builder.as_str(),
                numbers.collect::<Vec<_>>(),
                history.pending,
            )
        })
        .collect();
    assert_eq!(
        numbers,
        [("a", vec![2, 1], 0), ("m", vec![], 1), ("z", vec![3, 2], 0)]
    );
    assert_eq!(
        farm.store.builder_history("z", 2).await.unwrap().unwrap(),
        found[2]
    );
}

async fn a_running_build_says_how_far_it_is(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["fetch", "make", "test"]).await;
    let progress = async || {
        let mut found = store.progress(&[BuildId(999), build.id]).await.unwrap();
        assert_eq!(found.len(), 1, "a build that does not exist has no progress");
        let found = found.remove(0);
        assert_eq!(found.build, build.id);
        (found.done, found.total, found.step)
    };
    assert_eq!(progress().await, (0, 3, None));
    let begin = store.begin_step(build.steps[0], row(0, Kind::Created), at(30));
    begin.await.unwrap();
    assert_eq!(progress().await, (0, 3, Some("fetch".to_owned())));
    let end = store.finish_step(build.steps[0], Outcome::Success, "", None, at(31));
    end.await.unwrap();
    store.skip_step(build.steps[1], "", at(32)).await.unwrap();
    assert_eq!(progress().await, (2, 3, None));
    assert_eq!(store.progress(&[]).await.unwrap(), []);
}

async fn a_change_knows_what_it_led_to(farm: &Farm) {
    let store = &farm.store;
    let (one, two) = (
        one_change(store, "one", &[]).await,
        one_change(store, "two", &[]).await,
    );
    let idle = one_change(store, "idle", &[]).await;
    let buildset = NewBuildset {
        sources: vec![stamp("main", "abc")],
        changes: vec![one, two],
        builders: vec!["z".to_owned(), "a".to_owned()],
        ..NewBuildset::default()
    };
    let requests = store.submit(buildset, at(10)).await.unwrap().requests;
    let z = farm.build("z", &requests[..1], &[]).await.id;
    let retry = capstan_store::BuildFinish {
        retry: true,
        ..finish(Outcome::Retry)
    };
    store.finish_build(z, retry, at(30)).await.unwrap();
    let again = farm.build("z", &requests[..1], &[]).await.id;
    let a = farm.build("a", &requests[1..], &[]).await.id;

    let ids = |builds: Vec<capstan_store::Build>| builds.iter().map(|build| build.id).collect::<Vec<_>>();
    assert_eq!(ids(store.builds_of_change(one, 10).await.unwrap()), [a, again, z]);
    assert_eq!(ids(store.builds_of_change(two, 2).await.unwrap()), [a, again]);
    assert_eq!(ids(store.builds_of_change(idle, 10).await.unwrap()), []);
    let found = store.requests_of_change(two, 10).await.unwrap();
    assert_eq!(
        found.iter().map(|request| request.id).collect::<Vec<_>>(),
        [requests[1], requests[0]]
    );
    let found = store.builds_of_changes(&[two, idle, one]).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(change, builder, build)| (*change, builder.as_str(), build.id, build.outcome))
        .collect();
    let of = |change| {
        [
            (change, "a", a, None),
            (change, "z", again, None),
            (change, "z", z, Some(Outcome::Retry)),
        ]
    };
    assert_eq!(found, [of(one), of(two)].concat());
}
