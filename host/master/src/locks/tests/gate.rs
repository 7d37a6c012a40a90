//! Locks of builds, as they are asked for when requests are given to workers.

use std::sync::Arc;

use capstan_model::plan::{Builder, LockList};
use capstan_model::{BuildsetId, Digest, Timestamp};
use capstan_store::QueueEntry;

use super::*;
use crate::pairing::Gate;

fn request(id: i64, priority: i32) -> QueueEntry {
    QueueEntry {
        id: RequestId(id),
        buildset: BuildsetId(id),
        builder: Arc::from("b"),
        priority,
        submitted: Timestamp(0),
        likeness: Digest::of(b""),
    }
}

fn builder(wanted: &[LockAccess]) -> Builder {
    let plain = serde_json::json!({
        "name": "b", "description": "", "tags": [], "workers": [], "labels": [], "env": {}, "properties": {},
        "collapse": true, "steps": [], "location": capstan_model::plan::Location::default(),
    });
    Builder {
        locks: LockList::Fixed(wanted.to_vec()),
        ..serde_json::from_value(plain).unwrap()
    }
}

fn admitted(wanted: &[LockAccess], priority: i64) -> Admitted {
    Admitted {
        accesses: wanted.to_vec(),
        worker: WORKER.to_owned(),
        priority,
    }
}

/// Gives these requests out in their order, as the dispatcher does; answers who was let through.
fn round(locks: &Locks, requests: &[(i64, &[LockAccess])]) -> Vec<i64> {
    let mut pass = locks.pass();
    let mut let_through = Vec::new();
    for &(id, wanted) in requests {
        if pass.take(&builder(wanted), &request(id, 0), WORKER).is_ok() {
            let_through.push(id);
        }
    }
    for id in &let_through {
        if let Some((request, priority)) = pass.let_through(&[RequestId(*id)]) {
            let wanted = requests.iter().find(|(other, _)| other == id).unwrap().1;
            locks.start(request, "b", &admitted(wanted, priority)).unwrap();
            locks.started(request, Some((who(*id), BuildId(*id))));
        }
    }
    locks.remember(&pass, |_| false);
    let_through
}

#[test]
fn only_as_many_builds_start_as_the_lock_allows() {
    let x = lock("x", 2);
    let locks = locks(&[&x]);
    let one = [shared(&x, 1)];
    assert_eq!(
        round(&locks, &[(1, &one), (2, &one), (3, &one), (4, &[])]),
        [1, 2, 4]
    );
    assert!(round(&locks, &[(3, &one)]).is_empty());
    end(&locks, 1);
    assert_eq!(round(&locks, &[(3, &one)]), [3]);
}

#[test]
fn an_exclusive_request_is_not_starved_by_newcomers() {
    let x = lock("x", 3);
    let locks = locks(&[&x]);
    let (part, all) = ([shared(&x, 1)], [exclusive(&x)]);
    assert_eq!(round(&locks, &[(1, &part), (2, &all), (3, &part)]), [1]);
    assert!(
        round(&locks, &[(2, &all), (4, &part)]).is_empty(),
        "the lock is kept for request 2"
    );
    // A step that comes later waits behind it, too.
    let step = waits(ask(&locks, 9, &part));
    end(&locks, 1);
    assert_eq!(round(&locks, &[(2, &all), (4, &part)]), [2]);
    end(&locks, 2);
    assert!(given(&step));
}

#[test]
fn a_request_that_cannot_start_any_more_keeps_nobody_out() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    let one = [shared(&x, 1)];
    assert_eq!(round(&locks, &[(1, &one), (2, &one)]), [1]);
    end(&locks, 1);
    // Request 2 was cancelled, or its worker has left.
    assert!(round(&locks, &[]).is_empty());
    assert!(held(&ask(&locks, 9, &one)));
}

#[test]
fn what_keeps_a_request_is_said_and_whether_another_worker_would_do() {
    let (x, y) = (lock("x", 1), on_workers("y", 1, &[]));
    let locks = locks(&[&x, &y]);
    hold(&locks, 1, &[shared(&x, 1), shared(&y, 1)]);
    let mut pass = locks.pass();
    let barrier = pass
        .take(&builder(&[shared(&x, 1)]), &request(5, 0), WORKER)
        .unwrap_err();
    assert_eq!(
        (barrier.everywhere, barrier.reason.as_str()),
        (true, "it waits for the lock x, held by b/1")
    );
    let wanted = builder(&[shared(&y, 1)]);
    let barrier = pass.take(&wanted, &request(6, 0), WORKER).unwrap_err();
    assert_eq!(
        (barrier.everywhere, barrier.reason.as_str()),
        (false, "it waits for the lock y on w1, held by b/1")
    );
    pass.take(&wanted, &request(6, 0), "w2").unwrap();
    assert!(
        locks.status().iter().all(|lock| lock.waiters == 0),
        "asking alone changes nothing"
    );
}

#[test]
fn a_build_that_was_not_made_after_all_holds_nothing() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    let mut pass = locks.pass();
    pass.take(&builder(&[shared(&x, 1)]), &request(1, 0), WORKER)
        .unwrap();
    let (id, priority) = pass.let_through(&[RequestId(1)]).unwrap();
    let admitted = admitted(&[shared(&x, 1)], priority);
    locks.start(id, "b", &admitted).unwrap();
    assert!(
        locks.start(RequestId(2), "b", &admitted).is_err(),
        "it is looked at again before the start"
    );
    locks.started(id, None);
    assert!(held(&ask(&locks, 9, &[shared(&x, 1)])));
}

#[test]
fn what_a_function_answered_is_asked_for_in_the_next_round() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[shared(&x, 1)]);
    let chosen = Builder {
        locks: LockList::Function(capstan_model::plan::FunctionRef {
            number: 0,
            name: "f".to_owned(),
            location: capstan_model::plan::Location::default(),
        }),
        ..builder(&[])
    };
    let mut pass = locks.pass();
    pass.take(&chosen, &request(5, 0), WORKER).unwrap();
    let (id, priority) = pass.let_through(&[RequestId(5)]).unwrap();
    let wanted = admitted(&[shared(&x, 1)], priority);
    locks.start(id, "b", &wanted).unwrap_err();
    locks.learn(id, &wanted);
    locks.remember(&pass, |_| false);
    // The slot is not given to it again, and it has a place in the order.
    let mut pass = locks.pass();
    let barrier = pass.take(&chosen, &request(5, 0), WORKER).unwrap_err();
    assert_eq!(barrier.reason, "it waits for the lock x, held by b/1");
    locks.remember(&pass, |_| false);
    let step = waits(ask(&locks, 9, &[shared(&x, 1)]));
    end(&locks, 1);
    assert!(!given(&step), "request 5 came first");
    locks.pass().take(&chosen, &request(5, 0), WORKER).unwrap();
    // A new configuration may have another function.
    define(&locks, &[&x]);
}
