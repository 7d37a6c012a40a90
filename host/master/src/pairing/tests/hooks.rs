//! What functions and locks have a say in.

use std::collections::BTreeSet;
use std::sync::Mutex;

use capstan_model::Timestamp;
use capstan_model::plan::{FunctionRef, Location, Queueing};

use super::super::rules::Barrier;
use super::*;

fn function() -> Option<FunctionRef> {
    Some(FunctionRef {
        number: 0,
        name: "f".to_owned(),
        location: Location::default(),
    })
}

fn hooked(name: &str) -> Builder {
    let queueing = Queueing {
        collapse: function(),
        next_worker: function(),
        may_start: function(),
        ..Queueing::default()
    };
    Builder {
        queueing,
        ..builder(name, &[], &[])
    }
}

fn hold(reason: &str) -> Hold {
    Hold {
        reason: reason.to_owned(),
        until: Timestamp(1000),
    }
}

/// Functions that answer as a test wants, and note what they were asked.
#[derive(Default)]
struct Answers {
    order: Option<Vec<String>>,
    choice: Option<fn(&[&str]) -> Choice>,
    verdict: Option<fn(&QueueEntry, &str) -> Verdict>,
    together: Option<fn(&QueueEntry, &QueueEntry) -> bool>,
    asked: Mutex<Vec<String>>,
}

fn the_first_too_early() -> Answers {
    Answers {
        verdict: Some(|request, _| match request.id.0 {
            1 => Verdict::No(hold("too early")),
            _ => Verdict::Yes,
        }),
        ..Answers::default()
    }
}

impl Hooks for Answers {
    fn order(&self, _: &[&str]) -> Option<Vec<String>> {
        self.order.clone()
    }
    fn together(&self, _: &Builder, request: &QueueEntry, other: &QueueEntry) -> bool {
        self.together.is_none_or(|answer| answer(request, other))
    }
    fn next_worker(&self, _: &Builder, _: &QueueEntry, free: &[&str]) -> Choice {
        self.choice.map_or(Choice::LeastBusy, |answer| answer(free))
    }
    fn may_start(&self, _: &Builder, request: &QueueEntry, worker: &str) -> Verdict {
        self.asked
            .lock()
            .unwrap()
            .push(format!("{} on {worker}", request.id));
        self.verdict
            .map_or(Verdict::Yes, |answer| answer(request, worker))
    }
}

#[test]
fn a_function_orders_the_builders_and_those_it_leaves_out_come_last() {
    let index = index(["a", "b", "c"].map(|name| builder(name, &[], &[])).into());
    let queue = vec![
        waiting(1, "a", "x", 9),
        waiting(2, "b", "x", 0),
        waiting(3, "c", "x", 0),
    ];
    let hooks = Answers {
        order: Some(owned_list(&["c", "nobody", "b"])),
        ..Answers::default()
    };
    let two = places(&[("w1", place(&[], 1)), ("w2", place(&[], 1))]);
    assert_eq!(
        told(&ask(&index, queue, &two, &hooks).pairings),
        ["c on w1", "b on w2"]
    );
}

#[test]
fn a_function_chooses_among_the_free_workers_only() {
    let index = index(vec![hooked("b")]);
    let two = places(&[
        ("w1", place(&[], 1)),
        ("w2", place(&[], 1)),
        ("full", place(&[], 0)),
    ]);
    let choose = |choice| {
        let hooks = Answers {
            choice: Some(choice),
            ..Answers::default()
        };
        ask(&index, vec![waiting(1, "b", "x", 0)], &two, &hooks)
    };
    let last = choose(|free| Choice::This(free[free.len() - 1].to_owned()));
    assert_eq!(told(&last.pairings), ["b on w2"]);
    assert!(choose(|_| Choice::This("full".to_owned())).pairings.is_empty());
    assert_eq!(told(&choose(|_| Choice::LeastBusy).pairings), ["b on w1"]);
    let none = choose(|_| Choice::None(hold("all too slow")));
    assert_eq!(
        none.kept.get(&RequestId(1)).map(String::as_str),
        Some("all too slow")
    );
    assert!(none.pairings.is_empty() && none.holds.requests.contains_key(&RequestId(1)));
}

#[test]
fn a_request_that_may_not_start_lets_the_next_one_of_its_builder_start() {
    let index = index(vec![hooked("b")]);
    let hooks = the_first_too_early();
    let queue = vec![waiting(1, "b", "x", 0), waiting(2, "b", "y", 0)];
    let one = places(&[("w", place(&[], 1))]);
    let answer = ask(&index, queue.clone(), &one, &hooks);
    assert_eq!(answer.pairings[0].requests, [RequestId(2)]);
    assert_eq!(
        answer.kept.get(&RequestId(1)).map(String::as_str),
        Some("too early")
    );
    // What it said holds: it is not asked about that request again.
    let again = Answers::default();
    let said = Holds {
        requests: answer.holds.requests,
        ..Holds::default()
    };
    let mut rules = Rules {
        hooks: &again,
        gate: &mut NoGate,
        holds: &said,
    };
    let answer = pair(&index, &Lines::of(queue), &one, &mut rules);
    assert_eq!(answer.pairings[0].requests, [RequestId(2)]);
    assert_eq!(*again.asked.lock().unwrap(), ["2 on w"]);
}

#[test]
fn a_request_that_may_not_start_is_not_served_by_the_build_of_one_like_it() {
    let index = index(vec![hooked("b")]);
    let hooks = the_first_too_early();
    let queue = vec![waiting(1, "b", "x", 0), waiting(2, "b", "x", 0)];
    let answer = ask(&index, queue, &places(&[("w", place(&[], 1))]), &hooks);
    assert_eq!(answer.pairings[0].requests, [RequestId(2)]);
}

#[test]
fn a_worker_in_quarantine_gets_nothing_and_the_request_goes_elsewhere() {
    let index = index(vec![hooked("b"), builder("c", &["bad"], &[])]);
    let hooks = Answers {
        verdict: Some(|_, worker| {
            if worker == "bad" {
                Verdict::Quarantine(hold("disk full"))
            } else {
                Verdict::Yes
            }
        }),
        ..Answers::default()
    };
    let queue = vec![waiting(1, "b", "x", 0), waiting(2, "c", "x", 0)];
    let answer = ask(
        &index,
        queue,
        &places(&[("bad", place(&[], 4)), ("good", place(&[], 4))]),
        &hooks,
    );
    assert_eq!(told(&answer.pairings), ["b on good"]);
    assert_eq!(answer.holds.workers.get("bad"), Some(&hold("disk full")));
}

#[test]
fn a_function_says_which_of_those_that_are_alike_become_one_build() {
    let index = index(vec![hooked("b")]);
    let hooks = Answers {
        together: Some(|_, other| other.id.0 != 2),
        ..Answers::default()
    };
    let queue = vec![
        waiting(1, "b", "x", 0),
        waiting(2, "b", "x", 0),
        waiting(3, "b", "x", 0),
        waiting(4, "b", "y", 0),
    ];
    let answer = ask(
        &index,
        queue,
        &places(&[("w1", place(&[], 1)), ("w2", place(&[], 1))]),
        &hooks,
    );
    let requests: Vec<_> = answer.pairings.into_iter().map(|p| p.requests).collect();
    assert_eq!(
        requests,
        [vec![RequestId(1), RequestId(3)], vec![RequestId(2)]],
        "4 is not like them"
    );
}

#[test]
fn functions_are_not_asked_for_ever_at_a_time() {
    let index = index(vec![hooked("b"), builder("c", &[], &[])]);
    let hooks = Answers {
        verdict: Some(|_, _| Verdict::No(hold("no"))),
        ..Answers::default()
    };
    let queue: Vec<_> = (1..=1000)
        .map(|id| waiting(id, "b", &id.to_string(), 0))
        .collect();
    let answer = ask(&index, queue, &places(&[("w", place(&[], 1))]), &hooks);
    // Each about a worker, then about its start.
    assert!(answer.again && answer.holds.requests.len() == MOST_ASKED / 2);
}

/// One lock that a single build of these builders can hold, or one on each worker.
struct OneLock {
    everywhere: bool,
    taken: BTreeSet<String>,
}

impl Gate for OneLock {
    fn take(&mut self, _: &Builder, request: &QueueEntry, worker: &str) -> Result<(), Barrier> {
        let place = if self.everywhere { "farm" } else { worker };
        if self.taken.insert(place.to_owned()) {
            return Ok(());
        }
        let reason = format!("waits for the lock, request {}", request.id);
        Err(Barrier {
            everywhere: self.everywhere,
            reason,
        })
    }
}

#[test]
fn what_is_locked_waits_or_goes_elsewhere() {
    let index = index(["a", "b", "c"].map(|name| builder(name, &[], &[])).into());
    let queue = || {
        ["a", "b", "c"]
            .iter()
            .zip(1..)
            .map(|(b, i)| waiting(i, b, "main", 0))
    };
    let two = places(&[("w1", place(&[], 9)), ("w2", place(&[], 1))]);
    let locked = |everywhere| {
        let mut gate = OneLock {
            everywhere,
            taken: BTreeSet::new(),
        };
        let mut rules = Rules {
            hooks: &NoHooks,
            gate: &mut gate,
            holds: &Holds::default(),
        };
        pair(&index, &Lines::of(queue()), &two, &mut rules)
    };
    let farm = locked(true);
    assert_eq!(told(&farm.pairings), ["a on w1"]);
    assert_eq!(
        farm.closed.get("c").map(String::as_str),
        Some("waits for the lock, request 3")
    );
    let each = locked(false);
    assert_eq!(told(&each.pairings), ["a on w1", "b on w2"]);
    assert_eq!(
        each.kept.get(&RequestId(3)).map(String::as_str),
        Some("waits for the lock, request 3")
    );
}

#[test]
fn a_free_worker_is_found_behind_any_number_whose_lock_is_taken() {
    let index = index(vec![builder("b", &[], &[])]);
    let names: Vec<_> = (0..MOST_TRIED * 2)
        .map(|number| format!("w{number:03}"))
        .collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), place(&[], 1))).collect();
    let taken = names.iter().take(names.len() - 1).cloned().collect();
    let mut gate = OneLock {
        everywhere: false,
        taken,
    };
    let mut rules = Rules {
        hooks: &NoHooks,
        gate: &mut gate,
        holds: &Holds::default(),
    };
    let lines = Lines::of(vec![waiting(1, "b", "x", 0)]);
    let answer = pair(&index, &lines, &places(&all), &mut rules);
    assert_eq!(
        told(&answer.pairings),
        [format!("b on {}", names[names.len() - 1])]
    );
}

#[test]
fn behind_any_number_that_locks_alone_keep_others_are_asked_about_in_the_next_round() {
    let mut locked: Vec<_> = (0..MOST_ASKED)
        .map(|number| hooked(&format!("b{number}")))
        .collect();
    locked.push(hooked("free"));
    let index = index(locked);
    let mut queue: Vec<_> = (0..MOST_ASKED)
        .map(|number| waiting(number as i64 + 1, &format!("b{number}"), "x", 9))
        .collect();
    queue.push(waiting(1000, "free", "x", 0));
    let lines = Lines::of(queue);
    let one = places(&[("w", place(&[], 1))]);
    let hooks = Answers::default();
    let mut holds = Holds::default();
    let mut rounds = 0;
    let started = loop {
        let mut gate = LockOfAllBut("free");
        let mut rules = Rules {
            hooks: &hooks,
            gate: &mut gate,
            holds: &holds,
        };
        let answer = pair(&index, &lines, &one, &mut rules);
        rounds += 1;
        if !answer.pairings.is_empty() {
            break answer;
        }
        assert!(answer.again && answer.has_moved(), "it goes on without a pause");
        holds.agreed.extend(answer.holds.agreed);
        assert!(rounds < 10, "the same are asked about for ever");
    };
    assert_eq!(told(&started.pairings), ["free on w"]);
    let asked = hooks.asked.lock().unwrap();
    let once: BTreeSet<_> = asked.iter().collect();
    assert_eq!((asked.len(), once.len()), (MOST_ASKED + 1, MOST_ASKED + 1));
}

/// Somebody else holds the lock that all builders but one need.
struct LockOfAllBut(&'static str);

impl Gate for LockOfAllBut {
    fn take(&mut self, builder: &Builder, _: &QueueEntry, _: &str) -> Result<(), Barrier> {
        if builder.name == self.0 {
            return Ok(());
        }
        Err(Barrier {
            everywhere: true,
            reason: "waits for the lock".to_owned(),
        })
    }
}

#[test]
fn a_yes_lasts_no_longer_than_a_no() {
    let mut holds = Holds::default();
    holds.agreed.starts.insert((RequestId(1), "w1".to_owned()));
    let at = |ms: i64| Timestamp(1000 + ms);
    assert_eq!(holds.expire(at(0)), None, "nothing is to be done when it ends");
    holds.agreed.starts.insert((RequestId(2), "w1".to_owned()));
    holds.expire(at(RETRY_MS - 1));
    assert_eq!(holds.agreed.starts.len(), 2);
    holds.expire(at(RETRY_MS));
    assert!(holds.agreed.is_empty());
}
