//! Those who wait in a circle are told so.

use super::*;

#[test]
fn the_last_wait_of_a_circle_is_refused_and_names_it() {
    let (x, y, z) = (lock("x", 1), lock("y", 1), lock("z", 1));
    let locks = locks(&[&x, &y, &z]);
    for (build, held) in [(1, &x), (2, &y), (3, &z)] {
        hold(&locks, build, &[shared(held, 1)]);
    }
    let first = waits(ask(&locks, 1, &[shared(&y, 1)]));
    let second = waits(ask(&locks, 2, &[shared(&z, 1)]));
    let reason = never(ask(&locks, 3, &[exclusive(&x)]));
    assert_eq!(
        reason,
        "waiting would never end: b/3 waits for the lock x, held by b/1, which waits for the lock y, held by b/2, \
         which waits for the lock z, held by b/3"
    );
    // The build that was refused ends, and the others go on.
    end(&locks, 3);
    assert!(given(&second) && !given(&first));
    end(&locks, 2);
    assert!(given(&first));
}

#[test]
fn two_parts_of_one_lock_can_be_a_circle() {
    let x = lock("x", 2);
    let y = lock("y", 1);
    let locks = locks(&[&x, &y]);
    hold(&locks, 1, &[shared(&x, 1)]);
    hold(&locks, 2, &[shared(&y, 1)]);
    let _first = waits(ask(&locks, 1, &[shared(&y, 1)]));
    assert!(held(&ask(&locks, 2, &[shared(&x, 1)])), "there is a second part");
    locks.drop_step(StepId(2));
    assert!(never(ask(&locks, 2, &[exclusive(&x)])).contains("b/1, which waits for the lock y, held by b/2"));
}

#[test]
fn a_step_that_wants_what_its_own_build_holds_is_refused() {
    let x = lock("x", 2);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[shared(&x, 1)]);
    assert_eq!(
        never(ask(&locks, 1, &[shared(&x, 1)])),
        "its own build holds the lock x already"
    );
}

#[test]
fn who_is_kept_back_by_the_order_alone_is_let_past_it() {
    // Build 1 holds a part of x and waits for z, which build 3 holds; build 3 wants the other part of x, but build 2, who wants
    // all of x, came before it.
    let (x, z) = (lock("x", 2), lock("z", 1));
    let locks = locks(&[&x, &z]);
    hold(&locks, 1, &[shared(&x, 1)]);
    hold(&locks, 3, &[shared(&z, 1)]);
    let all = waits(ask(&locks, 2, &[exclusive(&x)]));
    let first = waits(ask(&locks, 1, &[shared(&z, 1)]));
    let past = ask(&locks, 3, &[shared(&x, 1)]);
    assert!(
        matches!(&past, Asked::Waits(turns) if given(turns)),
        "it overtakes, or all three would wait for ever"
    );
    end(&locks, 3);
    assert!(given(&first));
    end(&locks, 1);
    assert!(given(&all));
}

#[test]
fn a_request_in_the_queue_can_close_no_circle() {
    // The same, but a request is in the way.
    let (x, z) = (lock("x", 2), lock("z", 1));
    let locks = locks(&[&x, &z]);
    hold(&locks, 1, &[shared(&x, 1)]);
    hold(&locks, 3, &[shared(&z, 1)]);
    locks.change(|state| {
        let (accesses, place) = (state.table.prepare(&[exclusive(&x)]), state.table.place(WORKER));
        let request = RequestId(7);
        state.table.wait(
            Owner::Request(request),
            Holder::request(request, "r"),
            9,
            &accesses,
            place,
        );
        state.table.mend_queue();
    });
    let _first = waits(ask(&locks, 1, &[shared(&z, 1)]));
    let past = ask(&locks, 3, &[shared(&x, 1)]);
    assert!(matches!(&past, Asked::Waits(turns) if given(turns)));
}
