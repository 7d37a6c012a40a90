//! Locks as builds and steps use them: in turn, never more than there is, never for ever.

mod chance;
mod circles;
mod families;
mod gate;

use std::time::Instant;

use capstan_model::{Lock, Scope};

use super::table::Blocked;
use super::unit::Order;
use super::*;

const WORKER: &str = "w1";

fn lock(name: &str, limit: u32) -> Lock {
    Lock {
        name: name.to_owned(),
        limit,
        scope: Scope::Farm,
        per_worker: std::collections::BTreeMap::new(),
        location: capstan_model::plan::Location::default(),
    }
}

fn on_workers(name: &str, limit: u32, others: &[(&str, u32)]) -> Lock {
    Lock {
        scope: Scope::Worker,
        per_worker: others
            .iter()
            .map(|&(worker, limit)| (worker.to_owned(), limit))
            .collect(),
        ..lock(name, limit)
    }
}

fn shared(lock: &Lock, amount: u32) -> LockAccess {
    LockAccess {
        lock: lock.name.clone(),
        scope: lock.scope,
        mode: capstan_model::Mode::Shared(amount),
    }
}

fn exclusive(lock: &Lock) -> LockAccess {
    LockAccess {
        mode: capstan_model::Mode::Exclusive,
        ..shared(lock, 1)
    }
}

fn locks(defined: &[&Lock]) -> Locks {
    let locks = Locks::default();
    define(&locks, defined);
    locks
}

fn define(locks: &Locks, defined: &[&Lock]) {
    let defined: Vec<_> = defined.iter().map(|&lock| lock.clone()).collect();
    locks.change(|state| {
        state.table.define(&defined);
        state.refuse_the_hopeless();
    });
}

fn who(build: i64) -> Holder {
    Holder::build(BuildId(build), "b", build.unsigned_abs())
}

/// What a step of that build is told; each build has one step, of the same number.
fn ask(locks: &Locks, build: i64, wanted: &[LockAccess]) -> Asked {
    locks.ask(StepId(build), who(build).step("s"), WORKER, wanted, 0)
}

fn waits(asked: Asked) -> watch::Receiver<Turn> {
    match asked {
        Asked::Waits(turns) => turns,
        Asked::Held => panic!("expected it to wait, it got its locks"),
        Asked::Never(reason) => panic!("expected it to wait, it was refused: {reason}"),
    }
}

fn held(asked: &Asked) -> bool {
    matches!(asked, Asked::Held)
}

fn never(asked: Asked) -> String {
    match asked {
        Asked::Never(reason) => reason,
        _ => panic!("expected it to be refused"),
    }
}

/// Lets a build hold locks from its start.
fn hold(locks: &Locks, build: i64, wanted: &[LockAccess]) {
    locks.change(|state| {
        let accesses = state.table.prepare(wanted);
        let worker = state.table.place(WORKER);
        state
            .table
            .take(Owner::Build(BuildId(build)), who(build), &accesses, worker);
    });
}

fn given(turns: &watch::Receiver<Turn>) -> bool {
    *turns.borrow() == Turn::Given
}

fn end(locks: &Locks, build: i64) {
    locks.forget(BuildId(build));
}

#[test]
fn a_lock_is_given_in_the_order_in_which_it_was_asked_for() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])));
    let turns: Vec<_> = (2..6)
        .map(|build| waits(ask(&locks, build, &[shared(&x, 1)])))
        .collect();
    assert!(
        held(&ask(&locks, 1, &[shared(&x, 1)])),
        "asking again changes nothing"
    );
    for (build, turn) in (1..).zip(&turns) {
        assert!(!given(turn));
        end(&locks, build);
        assert!(given(turn), "build {} is next", build + 1);
    }
    assert!(turns.iter().all(given));
}

#[test]
fn the_urgent_come_first_and_keep_nobody_out_who_holds() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])));
    let plain = waits(ask(&locks, 2, &[shared(&x, 1)]));
    let urgent = waits(locks.ask(StepId(3), who(3), WORKER, &[shared(&x, 1)], 5));
    end(&locks, 1);
    assert!(given(&urgent) && !given(&plain));
    end(&locks, 3);
    assert!(given(&plain));
}

#[test]
fn who_wants_all_of_a_lock_is_not_starved_by_those_who_want_a_part() {
    let x = lock("x", 3);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])));
    let all = waits(ask(&locks, 2, &[exclusive(&x)]));
    let mut late: Vec<_> = (3..20)
        .map(|build| waits(ask(&locks, build, &[shared(&x, 1)])))
        .collect();
    end(&locks, 1);
    assert!(given(&all) && !late.iter().any(given));
    end(&locks, 2);
    assert_eq!(
        late.drain(..).filter(given).count(),
        3,
        "as many as there is room for"
    );
}

#[test]
fn much_of_a_lock_is_not_starved_and_what_is_left_over_is_used() {
    let x = lock("x", 4);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 2)])));
    let much = waits(ask(&locks, 2, &[shared(&x, 3)]));
    // One would be left when the second has its three.
    let little = waits(ask(&locks, 3, &[shared(&x, 2)]));
    end(&locks, 1);
    assert!(given(&much) && !given(&little));
    assert!(!held(&ask(&locks, 4, &[shared(&x, 1)])), "build 3 came first");
    end(&locks, 2);
    assert!(given(&little));
}

#[test]
fn a_step_takes_all_its_locks_or_none() {
    let (x, y) = (lock("x", 1), lock("y", 1));
    let locks = locks(&[&x, &y]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])));
    let both = waits(ask(&locks, 2, &[shared(&x, 1), shared(&y, 1)]));
    assert!(
        locks
            .status()
            .iter()
            .all(|lock| lock.lock != "y" || lock.holders.is_empty())
    );
    // It came first, so its place is kept for it.
    let late = waits(ask(&locks, 3, &[shared(&y, 1)]));
    end(&locks, 1);
    assert!(given(&both) && !given(&late));
}

#[test]
fn each_worker_has_its_own_and_some_have_more() {
    let x = on_workers("x", 1, &[("big", 2)]);
    let locks = locks(&[&x]);
    let on = |step: i64, worker: &str, amount: u32| {
        held(&locks.ask(StepId(step), who(step), worker, &[shared(&x, amount)], 0))
    };
    assert!(on(1, "w1", 1) && on(2, "w2", 1) && on(3, "big", 1) && on(4, "big", 1));
    assert!(!on(5, "w1", 1) && !on(6, "big", 1));
    let reason = never(locks.ask(StepId(7), who(7), "w1", &[shared(&x, 2)], 0));
    assert_eq!(
        reason,
        "the lock x on w1, of which there are 1 and 2 are wanted: it can never be had"
    );
}

#[test]
fn what_is_in_the_way_is_named_and_told_anew() {
    let x = lock("x", 2);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])) && held(&ask(&locks, 2, &[shared(&x, 1)])));
    let first = waits(ask(&locks, 3, &[exclusive(&x)]));
    let second = waits(ask(&locks, 4, &[shared(&x, 1)]));
    assert_eq!(
        *first.borrow(),
        Turn::Waits("the lock x, held by b/1 (step s), b/2 (step s)".to_owned())
    );
    end(&locks, 1);
    assert_eq!(
        *first.borrow(),
        Turn::Waits("the lock x, held by b/2 (step s)".to_owned())
    );
    assert_eq!(
        *second.borrow(),
        Turn::Waits("the lock x, held by b/2 (step s); b/3 (step s) came first".to_owned())
    );
    let status = &locks.status()[0];
    assert_eq!(
        (
            status.limit,
            status.used,
            status.holders.len(),
            status.waiting.len()
        ),
        (Some(2), 1, 1, 2)
    );
}

#[test]
fn a_reload_takes_nothing_away_and_ends_waiting_that_became_hopeless() {
    let x = lock("x", 3);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 2)])));
    let two = waits(ask(&locks, 2, &[shared(&x, 2)]));
    let one = waits(ask(&locks, 3, &[shared(&x, 1)]));
    define(&locks, &[&lock("x", 1)]);
    assert!(matches!(&*two.borrow(), Turn::Never(reason) if reason.contains("can never be had")));
    assert!(!given(&one), "build 1 still holds more than there is now");
    end(&locks, 1);
    assert!(given(&one));
    // More room lets others in at once, and a lock that is gone keeps nobody back who wants a part of it.
    let late = waits(ask(&locks, 4, &[shared(&x, 1)]));
    define(&locks, &[&lock("x", 2)]);
    assert!(given(&late));
    let last = waits(ask(&locks, 5, &[shared(&x, 1)]));
    define(&locks, &[]);
    assert!(given(&last));
}

#[test]
fn the_next_master_knows_who_holds_and_who_came_first() {
    let x = lock("x", 1);
    let row = |build: i64, step: bool, held: bool| LockHold {
        build: BuildId(build),
        builder: "b".to_owned(),
        made_by: "b".to_owned(),
        number: build.unsigned_abs(),
        worker: WORKER.to_owned(),
        priority: 0,
        step: step.then(|| (StepId(build), "s".to_owned())),
        accesses: vec![shared(&x, 1)],
        held,
    };
    let locks = locks(&[&x]);
    let plan = Plan::default();
    locks.restore(
        &[row(1, false, true), row(4, true, false), row(3, true, false)],
        &plan,
    );
    // Their tasks ask in another order than before.
    let third = waits(ask(&locks, 3, &[shared(&x, 1)]));
    let newcomer = waits(ask(&locks, 2, &[shared(&x, 1)]));
    let fourth = waits(ask(&locks, 4, &[shared(&x, 1)]));
    for (build, turn) in [(1, &fourth), (4, &third), (3, &newcomer)] {
        assert!(!given(turn));
        end(&locks, build);
        assert!(given(turn));
    }
    // Two who hold it at once, as after a limit was lowered, are both believed.
    locks.restore(&[row(8, false, true), row(9, true, true)], &plan);
    assert_eq!(locks.status()[0].holders.len(), 3);
}

#[test]
fn the_next_master_knows_which_builders_are_more_urgent() {
    let x = lock("x", 1);
    let row = |build: i64, made_by: &str, held: bool| LockHold {
        build: BuildId(build),
        builder: format!("{made_by}-shown"),
        made_by: made_by.to_owned(),
        number: 1,
        worker: WORKER.to_owned(),
        priority: 0,
        step: Some((StepId(build), "s".to_owned())),
        accesses: vec![shared(&x, 1)],
        held,
    };
    let mut urgent: Builder = serde_json::from_value(serde_json::json!({
        "name": "urgent", "description": "", "tags": [], "workers": [], "labels": [], "env": {}, "properties": {},
        "collapse": true, "steps": [], "location": capstan_model::plan::Location::default(),
    }))
    .unwrap();
    urgent.queueing.priority = 5;
    let plan = Plan {
        builders: vec![urgent],
        ..Plan::default()
    };
    let locks = locks(&[&x]);
    let rows = [
        row(1, "plain", true),
        row(2, "plain", false),
        row(3, "urgent", false),
    ];
    locks.restore(&rows, &plan);
    let waiting = locks.status().remove(0).waiting;
    let builds: Vec<_> = waiting.iter().map(|who| who.build).collect();
    assert_eq!(builds, [Some(BuildId(3)), Some(BuildId(2))]);
}

#[test]
fn who_stops_waiting_lets_the_next_one_pass() {
    let x = lock("x", 2);
    let locks = locks(&[&x]);
    assert!(held(&ask(&locks, 1, &[shared(&x, 1)])));
    let _all = waits(ask(&locks, 2, &[exclusive(&x)]));
    let part = waits(ask(&locks, 3, &[shared(&x, 1)]));
    locks.drop_step(StepId(2));
    assert!(given(&part));
}

#[test]
fn many_requests_and_workers_are_asked_for_quickly() {
    let (x, y) = (on_workers("x", 1, &[]), lock("y", 1));
    let mut table = LockTable::default();
    table.define(&[x.clone(), y.clone()]);
    let places: Vec<_> = (0..1000).map(|n| table.place(&format!("w{n}"))).collect();
    let (on_worker, on_farm) = (
        table.prepare(&[shared(&x, 1)]),
        table.prepare(&[shared(&y, 1), shared(&x, 1)]),
    );
    for (number, place) in (0i64..).zip(&places) {
        let owner = Owner::Build(BuildId(number));
        table.take(owner, who(number), &on_worker, *place);
    }
    table.take(
        Owner::Build(BuildId(-1)),
        who(-1),
        &table.clone().prepare(&[shared(&y, 1)]),
        places[0],
    );
    let began = Instant::now();
    let mut blocked = 0usize;
    // Each of 10,000 requests of the farm's lock is told once; 1,000 builders look at every worker.
    for number in 0i64..10_000 {
        let owner = Owner::Request(RequestId(number));
        let answer = table.may_take(&on_farm, places[0], table.order(owner, 0));
        blocked += usize::from(answer.is_err_and(|blocked: Blocked| blocked.everywhere()));
        table.wait(
            owner,
            Holder::request(RequestId(number), "b"),
            0,
            &on_farm,
            places[0],
        );
    }
    for _ in 0..1000 {
        let every = places.iter();
        blocked += every
            .filter(|place| table.may_take(&on_worker, **place, Order::last(0)).is_err())
            .count();
    }
    let took = began.elapsed();
    assert_eq!(blocked, 10_000 + 1_000_000);
    println!("10,000 requests, 1,000 builders on 1,000 workers: {took:?}");
    // Shared machines are slow at times; it takes 15 ms by itself.
    assert!(took.as_millis() < 500, "took {took:?}");
}
