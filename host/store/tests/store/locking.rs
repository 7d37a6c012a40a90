//! What running builds and steps hold, for the master that comes next. The same on both databases.

use capstan_model::{LockAccess, Mode, Outcome, Scope};
use capstan_store::{Record, StepState};

use crate::farm::{Farm, at, finish};
use crate::on_both;

on_both! {
    what_is_held_and_waited_for_comes_back_in_order
}

fn access(lock: &str, mode: Mode) -> LockAccess {
    LockAccess {
        lock: lock.to_owned(),
        scope: Scope::Worker,
        mode,
    }
}

async fn what_is_held_and_waited_for_comes_back_in_order(farm: &Farm) {
    let store = &farm.store;
    let own = vec![access("a b/ü", Mode::Exclusive), access("x", Mode::Shared(2))];
    let mut builds = Vec::new();
    for priority in [3, 0, 0] {
        let request = farm.request("b", priority).await;
        let mut new = farm.new_build("b", &[request], &["one"]).await;
        if priority == 3 {
            new.locks.clone_from(&own);
        }
        builds.push(store.create_build(new, at(20)).await.unwrap().unwrap());
    }
    assert_eq!(store.build(builds[0].id).await.unwrap().unwrap().locks, own);
    let note = |build: usize, waits: Option<&str>, time| {
        let record = Record::Locks {
            step: builds[build].steps[0],
            accesses: vec![access("x", Mode::Shared(1))],
            waits: waits.map(str::to_owned),
        };
        store.record(vec![(at(time), record)])
    };
    // The third came before the second; saying again what is in the way does not cost it its place.
    note(2, Some("waits for x"), 30).await.unwrap();
    note(1, Some("waits for x"), 31).await.unwrap();
    note(2, Some("waits for x, held by b/1"), 32).await.unwrap();
    let holds = store.lock_holds().await.unwrap();
    let seen: Vec<_> = holds
        .iter()
        .map(|hold| (hold.build, hold.step.is_some(), hold.held, hold.priority))
        .collect();
    let ids = [builds[0].id, builds[1].id, builds[2].id];
    assert_eq!(
        seen,
        [
            (ids[0], false, true, 3),
            (ids[2], true, false, 0),
            (ids[1], true, false, 0)
        ]
    );
    assert_eq!(
        (holds[0].accesses.as_slice(), holds[0].worker.as_str()),
        (own.as_slice(), "w")
    );
    let step = store.step(builds[2].steps[0]).await.unwrap().unwrap();
    assert_eq!(
        (step.state, step.summary.as_str()),
        (StepState::Pending, "waits for x, held by b/1")
    );
    // It has them: nothing is left of the waiting, and those who end hold nothing.
    note(2, None, 33).await.unwrap();
    assert_eq!(store.step(builds[2].steps[0]).await.unwrap().unwrap().summary, "");
    store
        .finish_step(builds[2].steps[0], Outcome::Success, "", None, at(40))
        .await
        .unwrap();
    note(2, Some("late"), 41).await.unwrap();
    store
        .finish_build(ids[0], finish(Outcome::Success), at(42))
        .await
        .unwrap();
    let left: Vec<_> = store
        .lock_holds()
        .await
        .unwrap()
        .into_iter()
        .map(|hold| hold.build)
        .collect();
    assert_eq!(left, [ids[1]]);
}
