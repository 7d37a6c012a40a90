//! Locks in configurations.

use capstan_model::plan::LockList;
use capstan_model::{LockAccess, Mode, Scope};

use super::{errors, lines, plan, run};
use crate::{diff, render_plan};

const LOCKED: &str = r#"
w = [worker("w1"), worker("big")]
database = lock("database", limit = 3)
disk = lock("disk", scope = "worker", per_worker = {"big": 4})
builder("b", workers = w, locks = [database.shared(amount = 2)], steps = [
    step.shell(name = "make", command = "make", locks = [disk]),
    step.shell(name = "test", command = "make test", locks = (disk.exclusive(),)),
])
"#;

#[test]
fn locks_are_taken_as_written() {
    let plan = plan(LOCKED);
    assert_eq!((plan.locks[0].limit, plan.locks[0].scope), (3, Scope::Farm));
    assert_eq!(
        (plan.locks[1].limit_on("w1"), plan.locks[1].limit_on("big")),
        (1, 4)
    );
    let builder = plan.builder("b").unwrap();
    let access = |lock: &str, scope, mode| {
        let lock = lock.to_owned();
        LockList::Fixed(vec![LockAccess { lock, scope, mode }])
    };
    assert_eq!(builder.locks, access("database", Scope::Farm, Mode::Shared(2)));
    assert_eq!(
        builder.steps[0].locks,
        access("disk", Scope::Worker, Mode::Shared(1))
    );
    assert_eq!(
        builder.steps[1].locks,
        access("disk", Scope::Worker, Mode::Exclusive)
    );
    insta::assert_snapshot!(render_plan(&plan), @r#"
    workers (2)
      w1
      big
    change sources (0)
    schedulers (0)
    locks (2)
      database: 3
      disk: 1 on each worker, 4 on big
    builders (1)
      b on w1, big locks database (2 of it)
        1. make: shell(command = "make") locks disk
        2. test: shell(command = "make test") locks disk (exclusive)
    reporters (0)
    "#);
    let less = super::plan(&LOCKED.replace("limit = 3", "limit = 2"));
    assert_eq!(diff(&plan, &less), ["~ lock database (limit)"]);
    let other = super::plan(&LOCKED.replace("[disk]", "[disk.exclusive()]"));
    assert_eq!(diff(&plan, &other), ["~ builder b (steps ~make)"]);
}

#[test]
fn wrong_locks_are_answered_at_their_place() {
    insta::assert_snapshot!(errors(r#"
lock("a", limit = 0)
lock("b", limit = True)
lock("c", scope = "workers")
lock("d", per_worker = {"w1": 2})
lock("e", scope = "worker", per_worker = {"w1": "2"})
lock("f", scope = "worker", per_worker = {"w9": 1})
lock("e")
lock(limit = 2)
worker("w1")
"#), @r#"
    ci.star:2:11: lock: `limit`: expected a whole number of at least 1, found the number 0
    ci.star:3:11: lock: `limit`: expected a whole number of at least 1, found True
    ci.star:4:11: lock: `scope`: expected "farm" or "worker", found "workers"
    ci.star:5:11: lock: `per_worker`: expected `scope = "worker"` beside it, for limits by worker, found a lock of the whole farm
    ci.star:6:43: lock: `per_worker["w1"]`: expected a whole number of at least 1, found "2"
    ci.star:8:1: duplicate name of a lock: expected another name, found `e` again (ci.star:6:1: first defined here)
    ci.star:9:1: lock: expected `name` = a string, found nothing
    ci.star:7:43: unknown worker: expected `w1`, found `w9`; did you mean `w1`?
    "#);
    insta::assert_snapshot!(errors(r#"
x = lock("x")
builder("b", locks = x)
builder("c", locks = [x.shared(amount = 0), x.exclusive(amount = 2), "x", x.exclusive])
"#), @r#"
    ci.star:3:14: builder: `locks`: expected a list, each element a lock, its shared(…) or its exclusive(), found the lock `x`
    ci.star:4:32: shared: `amount`: expected a whole number of at least 1, found the number 0
    ci.star:4:57: exclusive: expected no amount: it takes all of the lock, found `amount`
    ci.star:4:14: builder: an element of `locks`: expected a lock, its shared(…) or its exclusive(), found "x"
    ci.star:4:14: builder: an element of `locks`: expected a lock, its shared(…) or its exclusive(), found the function `exclusive`
    "#);
    insta::assert_snapshot!(errors(r#"lock("x").all()"#), @"ci.star:1:1: object of type `definition` has no attribute `all`");
}

#[test]
fn locks_that_could_never_be_had_are_answered() {
    insta::assert_snapshot!(errors(r#"
w = [worker("w1"), worker("w2")]
x = lock("x", limit = 2)
y = lock("y", scope = "worker", per_worker = {"w2": 3})
builder("more-than-there-is", workers = w, locks = [x.shared(amount = 3)])
builder("on-no-worker-of-it", workers = ["w1"], locks = [y.shared(amount = 2)])
builder("on-one-of-them", workers = w, locks = [y.shared(amount = 2)])
builder("step-on-one-of-them", workers = w, steps = [step.shell(name = "s", command = "x", locks = [y.shared(amount = 2)])])
builder("twice", workers = w, locks = [x, x.exclusive()])
builder("again", workers = w, locks = [x, y], steps = [step.shell(name = "s", command = "x", locks = [y.exclusive()])])
"#), @r"
    ci.star:5:44: builder: `locks`: expected at most 2 of the lock `x`, found an amount of 3, which could never be had (ci.star:3:5: defined here)
    ci.star:9:31: builder: `locks`: expected each lock once, found the lock `x` again; shared(amount = …) takes more of one
    ci.star:6:49: builder: `locks`: expected at most 1 of the lock `y`, the most that a worker of this builder has, found an amount of 2, which could never be had (ci.star:4:5: defined here)
    ci.star:8:92: the step `s`: `locks`: expected at most 1 of the lock `y` on the worker `w1`, where builds of `step-on-one-of-them` may run, found an amount of 2, which could never be had there (ci.star:4:5: defined here)
    ci.star:10:94: the step `s`: `locks`: expected locks that the builder `again` does not hold already, found the lock `y`, which its build holds from start to end; leave it out of the step, or out of the builder (ci.star:10:1: held here)
    ");
}

#[test]
fn a_lock_that_nothing_takes_is_remarked_on() {
    let remarks = run(&[(
        "ci.star",
        "worker('w')\nlock('x')\nbuilder('b', steps = [step.shell(command = 'x')])",
    )])
    .unwrap()
    .remarks;
    assert!(
        lines(&remarks).contains("no builder and no step takes the lock `x`"),
        "{}",
        lines(&remarks)
    );
}
