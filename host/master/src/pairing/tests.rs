//! Which request starts where: order, workers, merging. What functions and locks have a say in is in `hooks`.

use std::sync::Arc;

use capstan_model::plan::{Bundle, Location, Plan, Queueing};
use capstan_model::{BuildsetId, Digest, Timestamp};

use super::*;

mod chance;
mod hooks;

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
        unknown: false,
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

#[test]
fn labels_are_asked_as_expressions() {
    let list = [
        ("w1", place(&["os=linux", "arch=x86_64", "slow"], 1)),
        ("w2", place(&["os=linux", "arch=aarch64", "gpu"], 1)),
        ("w3", place(&["os=windows", "arch=x86_64"], 1)),
    ];
    let table: [(&[&str], &[&str]); 7] = [
        (&["os=linux", "!slow"], &["b on w2"]),
        (&["arch=x86_64|riscv", "not os=linux"], &["b on w3"]),
        (&["os=linux and (gpu or slow)"], &["b on w1"]),
        (&["gpu|slow", "arch=aarch64"], &["b on w2"]),
        (&["!slow", "!gpu", "!os=windows"], &[]),
        (&["nowhere"], &[]),
        (&["!nowhere"], &["b on w1"]),
    ];
    for (labels, expected) in table {
        let index = index(vec![builder("b", &[], labels)]);
        let pairings = paired(&index, vec![waiting(1, "b", "x", 0)], &places(&list));
        assert_eq!(told(&pairings), expected, "{labels:?}");
    }
}

#[test]
fn a_folder_that_builders_share_is_used_by_one_build_at_a_time() {
    let sharing = |name: &str| Builder {
        directory: Some("the group".to_owned()),
        ..builder(name, &[], &[])
    };
    let builders = || vec![sharing("a"), sharing("b"), builder("own", &[], &[])];
    let queue = || {
        let names = ["a", "b", "own"].iter().zip(1..);
        names.map(|(name, id)| waiting(id, name, "x", 0)).collect()
    };
    let one = places(&[("w1", place(&[], 9))]);
    assert_eq!(
        told(&paired(&index(builders()), queue(), &one)),
        ["a on w1", "own on w1"]
    );
    let two = places(&[("w1", place(&[], 9)), ("w2", place(&[], 1))]);
    assert_eq!(
        told(&paired(&index(builders()), queue(), &two)),
        ["a on w1", "b on w2", "own on w1"]
    );
    let busy = Place {
        running: vec![sharing("gone").directory()],
        ..place(&[], 9)
    };
    assert_eq!(
        told(&paired(&index(builders()), queue(), &places(&[("w1", busy)]))),
        ["own on w1"]
    );
}
