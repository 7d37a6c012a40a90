//! Which request starts where: order, workers, merging, and what functions and locks have a say in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use capstan_model::plan::{Bundle, FunctionRef, Location, Plan, Queueing};
use capstan_model::{BuildsetId, Digest, Timestamp};

use super::rules::Barrier;
use super::*;

pub(super) fn builder(name: &str, workers: &[&str], labels: &[&str]) -> Builder {
    let value = serde_json::json!({
        "name": name, "description": "", "tags": [], "workers": workers, "labels": labels, "env": {}, "properties": {},
        "collapse": true, "steps": [], "location": Location::default(),
    });
    serde_json::from_value(value).unwrap()
}

fn owned_list(list: &[&str]) -> Vec<String> {
    list.iter().map(|&s| s.to_owned()).collect()
}

pub(super) fn plan(builders: Vec<Builder>) -> Plan {
    Plan {
        builders,
        ..serde_json::from_value(serde_json::json!({
            "bundle": Bundle::default(), "workers": [], "builders": [], "sources": [], "schedulers": [], "reporters": [],
        }))
        .unwrap()
    }
}

pub(super) fn index(builders: Vec<Builder>) -> Index {
    Index::new(Arc::new(plan(builders)))
}

fn place(labels: &[&str], slots: u32) -> Place {
    Place {
        idle: 0,
        labels: labels.iter().map(|&s| s.to_owned()).collect(),
        slots,
        running: vec![],
    }
}

fn places(list: &[(&str, Place)]) -> Places {
    list.iter()
        .map(|(name, place)| ((*name).to_owned(), place.clone()))
        .collect()
}

/// Requests of one branch are alike.
pub(super) fn waiting(id: i64, builder: &str, branch: &str, priority: i32) -> QueueEntry {
    QueueEntry {
        id: RequestId(id),
        buildset: BuildsetId(id),
        builder: builder.into(),
        priority,
        submitted: Timestamp(id),
        likeness: Digest::of(branch.as_bytes()),
    }
}

fn paired(index: &Index, queue: Vec<QueueEntry>, places: &Places) -> Vec<Pairing> {
    ask(index, queue, places, &NoHooks).pairings
}

fn ask(index: &Index, queue: Vec<QueueEntry>, places: &Places, hooks: &dyn Hooks) -> Paired {
    let mut rules = Rules {
        hooks,
        gate: &mut NoGate,
        holds: &Holds::default(),
    };
    pair(index, &Lines::of(queue), places, &mut rules)
}

/// The builder and the worker of each.
fn told(pairings: &[Pairing]) -> Vec<String> {
    pairings
        .iter()
        .map(|p| format!("{} on {}", p.builder, p.worker))
        .collect()
}

#[test]
fn requests_that_are_alike_become_one_build_of_the_newest() {
    let index = index(vec![builder("b", &[], &[])]);
    let queue = vec![
        waiting(1, "b", "main", 0),
        waiting(2, "b", "main", 0),
        waiting(3, "b", "dev", 0),
    ];
    let pairings = paired(&index, queue, &places(&[("w", place(&[], 4))]));
    assert_eq!(
        pairings.len(),
        1,
        "a builder runs one build at a time on a worker"
    );
    assert_eq!(pairings[0].requests, [RequestId(1), RequestId(2)]);
}

#[test]
fn without_collapsing_each_has_a_build_of_its_own() {
    let index = index(vec![Builder {
        collapse: false,
        ..builder("b", &[], &[])
    }]);
    let queue = vec![
        waiting(1, "b", "main", 0),
        waiting(2, "b", "main", 0),
        waiting(3, "b", "main", 0),
    ];
    let two = places(&[("w1", place(&[], 1)), ("w2", place(&[], 1))]);
    let requests: Vec<_> = paired(&index, queue, &two)
        .into_iter()
        .flat_map(|p| p.requests)
        .collect();
    assert_eq!(requests, [RequestId(1), RequestId(2)]);
}

#[test]
fn priority_counts_first_then_age_whatever_the_builder() {
    let urgent = Builder {
        queueing: Queueing {
            priority: 10,
            ..Queueing::default()
        },
        ..builder("urgent", &[], &[])
    };
    let index = index(vec![builder("a", &[], &[]), builder("b", &[], &[]), urgent]);
    let cases: [(&str, Vec<QueueEntry>, &str); 5] = [
        ("age", vec![waiting(2, "a", "x", 0), waiting(1, "b", "x", 0)], "b"),
        (
            "priority",
            vec![waiting(1, "a", "x", 0), waiting(2, "b", "x", 1)],
            "b",
        ),
        (
            "a negative one",
            vec![waiting(1, "a", "x", -1), waiting(2, "b", "x", 0)],
            "b",
        ),
        (
            "the builder's own is added",
            vec![waiting(1, "a", "x", 9), waiting(2, "urgent", "x", 0)],
            "urgent",
        ),
        (
            "and does not hide the request's",
            vec![waiting(1, "a", "x", 11), waiting(2, "urgent", "x", 0)],
            "a",
        ),
    ];
    for (what, queue, first) in cases {
        let pairings = paired(&index, queue, &places(&[("w", place(&[], 1))]));
        assert_eq!(told(&pairings), [format!("{first} on w")], "{what}");
    }
    let far = vec![waiting(1, "urgent", "x", i32::MAX), waiting(2, "a", "x", 0)];
    assert_eq!(
        paired(&index, far, &places(&[("w", place(&[], 1))]))[0].builder,
        "urgent",
        "no overflow"
    );
}

#[test]
fn an_urgent_request_takes_along_the_older_ones_like_it() {
    let index = index(vec![builder("b", &[], &[])]);
    let queue = vec![
        waiting(1, "b", "dev", 0),
        waiting(2, "b", "main", 0),
        waiting(3, "b", "main", 7),
    ];
    let pairings = paired(&index, queue, &places(&[("w", place(&[], 1))]));
    assert_eq!(pairings[0].requests, [RequestId(2), RequestId(3)]);
}

#[test]
fn labels_and_names_are_both_asked() {
    let index = index(vec![
        builder("b", &["w1", "w2"], &["gpu"]),
        builder("c", &[], &["nowhere"]),
    ]);
    let list = [
        ("w1", place(&["cpu"], 1)),
        ("w2", place(&["gpu"], 1)),
        ("w3", place(&["gpu"], 1)),
    ];
    let queue = vec![
        waiting(1, "b", "main", 0),
        waiting(2, "b", "dev", 0),
        waiting(3, "c", "x", 0),
        waiting(4, "gone", "x", 0),
    ];
    assert_eq!(told(&paired(&index, queue, &places(&list))), ["b on w2"]);
}

#[test]
fn the_least_busy_worker_is_taken_first() {
    let index = index(["a", "b", "c"].map(|name| builder(name, &[], &[])).into());
    let list = [("w1", place(&[], 1)), ("w2", place(&[], 4))];
    let queue = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(b, i)| waiting(i, b, "main", 0))
        .collect();
    assert_eq!(
        told(&paired(&index, queue, &places(&list))),
        ["a on w1", "b on w2", "c on w2"]
    );
}

#[test]
fn a_worker_that_runs_the_builder_or_is_full_is_left_out() {
    let index = index(vec![builder("a", &[], &[]), builder("b", &[], &[])]);
    let busy = |slots, running: &[&str]| Place {
        running: owned_list(running),
        ..place(&[], slots)
    };
    let list = [
        ("w1", busy(2, &["a"])),
        ("w2", busy(1, &["c"])),
        ("w3", busy(0, &[])),
    ];
    let queue = vec![waiting(1, "a", "x", 0), waiting(2, "b", "x", 0)];
    assert_eq!(told(&paired(&index, queue, &places(&list))), ["b on w1"]);
}

#[test]
fn one_builder_that_cannot_start_holds_up_no_other() {
    let index = index(vec![builder("a", &["away"], &[]), builder("b", &[], &[])]);
    let queue = (1..100)
        .map(|id| waiting(id, "a", &id.to_string(), 5))
        .chain([waiting(100, "b", "x", 0)]);
    assert_eq!(
        told(&paired(&index, queue.collect(), &places(&[("w", place(&[], 1))]))),
        ["b on w"]
    );
}

/// Whatever waits and whoever is there: nothing is served twice, no worker gets too much, and nothing that could start is left.
#[test]
fn any_queue_is_given_out_within_the_rules() {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..300 {
        let labels = ["x", "y"];
        let builders: Vec<_> = (0..1 + random(6))
            .map(|number| Builder {
                collapse: random(2) == 0,
                ..builder(&format!("b{number}"), &[], &labels[..random(3) as usize])
            })
            .collect();
        let list: Places = (0..random(5))
            .map(|number| {
                let place = place(&labels[..random(3) as usize], u32::try_from(random(4)).unwrap());
                (format!("w{number}"), place)
            })
            .collect();
        let count = builders.len() as u64;
        let queue: Vec<_> = (1..=random(30) as i64)
            .map(|id| {
                waiting(
                    id,
                    &format!("b{}", random(count + 1)),
                    &random(3).to_string(),
                    random(3) as i32,
                )
            })
            .collect();
        let index = index(builders);
        let pairings = paired(&index, queue.clone(), &list);
        let mut served = BTreeSet::new();
        let mut load: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pairing in &pairings {
            for id in &pairing.requests {
                assert!(served.insert(*id), "round {round}: {id} is served twice");
            }
            load.entry(&pairing.worker).or_default().push(&pairing.builder);
        }
        for (worker, builders) in &load {
            assert!(
                builders.len() <= list[*worker].slots as usize,
                "round {round}: {worker} has too much"
            );
            let different: BTreeSet<_> = builders.iter().collect();
            assert_eq!(
                different.len(),
                builders.len(),
                "round {round}: {worker} runs a builder twice"
            );
        }
        for entry in queue.iter().filter(|entry| !served.contains(&entry.id)) {
            let Some((_, builder)) = index.builder(&entry.builder) else {
                continue;
            };
            let left = list.iter().find(|(name, place)| {
                let there = load.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                board::is_fit(builder, &place.labels)
                    && there.len() < place.slots as usize
                    && !there.contains(&builder.name.as_str())
            });
            assert_eq!(
                left.map(|(name, _)| name),
                None,
                "round {round}: {} could have started",
                entry.id
            );
        }
    }
}

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
    let hooks = Answers {
        verdict: Some(|request, _| {
            if request.id.0 == 1 {
                Verdict::No(hold("too early"))
            } else {
                Verdict::Yes
            }
        }),
        ..Answers::default()
    };
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
    let mut rules = Rules {
        hooks: &again,
        gate: &mut NoGate,
        holds: &answer.holds,
    };
    let answer = pair(&index, &Lines::of(queue), &one, &mut rules);
    assert_eq!(answer.pairings[0].requests, [RequestId(2)]);
    assert_eq!(*again.asked.lock().unwrap(), ["2 on w"]);
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
