//! Parents that wait for what needs something of theirs are told so, and others are not.

use std::collections::BTreeSet;

use capstan_model::plan::{LockList, Plan};
use capstan_store::{ChildRequest, ChildSet, Kin, RequestState, RunningBuild};
use serde_json::{Value, json};

use super::*;
use crate::pairing::{Place, Places};

/// The plan's builders: each with its name, its workers and its locks.
fn plan(builders: &[(&str, &[&str], &[LockAccess])]) -> Plan {
    let builder = |(name, workers, _): &(&str, &[&str], &[LockAccess])| {
        json!({
            "name": name, "description": "", "tags": [], "workers": workers, "labels": [], "env": {}, "properties": {},
            "collapse": true, "steps": [], "location": capstan_model::plan::Location::default(),
        })
    };
    let known: Vec<Value> = builders.iter().map(builder).collect();
    let mut plan: Plan = serde_json::from_value(json!({
        "bundle": capstan_model::plan::Bundle::default(), "workers": [], "sources": [], "schedulers": [],
        "reporters": [], "builders": known,
    }))
    .unwrap();
    for (builder, (.., locks)) in plan.builders.iter_mut().zip(builders) {
        builder.locks = LockList::Fixed(locks.to_vec());
    }
    plan
}

struct Scene {
    locks: Locks,
    plan: Plan,
    places: Places,
    running: Vec<RunningBuild>,
    given: BTreeSet<BuildId>,
}

impl Scene {
    fn new(locks: Locks, plan: Plan, slots: &[(&str, u32)]) -> Self {
        let place = |&(name, slots): &(&str, u32)| {
            let place = Place {
                slots,
                ..Place::default()
            };
            (name.to_owned(), place)
        };
        Self {
            locks,
            plan,
            places: slots.iter().map(place).collect(),
            running: Vec::new(),
            given: BTreeSet::new(),
        }
    }

    /// A build runs, its number is its id.
    fn runs(&mut self, id: i64, builder: &str, worker: &str) {
        self.running.push(RunningBuild {
            id: BuildId(id),
            builder: builder.to_owned(),
            number: id.unsigned_abs(),
            worker: worker.to_owned(),
            directory: builder.to_owned(),
        });
    }

    /// A running build waits for others; none is for its slot.
    fn waits(&self, id: i64, children: Option<&[ChildSet]>) -> Option<String> {
        self.looks(id, children, true)
    }

    fn looks(&self, id: i64, children: Option<&[ChildSet]>, certain: bool) -> Option<String> {
        let build = self.running.iter().find(|build| build.id.0 == id).unwrap();
        let parent = Parent {
            build: build.id,
            builder: build.builder.clone(),
            number: build.number,
            worker: build.worker.clone(),
        };
        let family = Family {
            parent: &parent,
            plan: &self.plan,
            places: &self.places,
            running: &self.running,
            folders: &|build| build.directory.clone(),
            given: &|build| self.given.contains(&build),
            children,
        };
        self.locks.awaits(&family, certain).map(|circle| circle.0)
    }
}

fn request(id: i64, builder: &str) -> Vec<ChildSet> {
    child(id, builder, RequestState::Pending, None)
}

fn running(id: i64, builder: &str, build: i64) -> Vec<ChildSet> {
    let build = Kin {
        id: BuildId(build),
        builder: builder.to_owned(),
        number: 1,
        outcome: None,
    };
    child(id, builder, RequestState::Claimed, Some(build))
}

fn child(id: i64, builder: &str, state: RequestState, build: Option<Kin>) -> Vec<ChildSet> {
    let request = ChildRequest {
        request: RequestId(id),
        builder: builder.to_owned(),
        state,
        outcome: None,
        build,
    };
    vec![ChildSet {
        buildset: id.into(),
        scheduler: "go".to_owned(),
        outcome: None,
        requests: vec![request],
    }]
}

#[test]
fn a_child_that_needs_its_parents_lock_is_a_circle() {
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[exclusive(&x)]);
    let plan = plan(&[("a", &[], &[]), ("b", &[], &[exclusive(&x)])]);
    let mut scene = Scene::new(locks, plan, &[("w1", 4)]);
    scene.runs(1, "a", "w1");
    let circle = "b/1 waits for the end of request 7 for b, which waits for the lock x, held by b/1";
    assert_eq!(scene.waits(1, Some(&request(7, "b"))).as_deref(), Some(circle));
}

#[test]
fn a_child_that_needs_its_parents_only_slot_is_a_circle_unless_that_is_given_back() {
    let plan = plan(&[("a", &[], &[]), ("b", &["w1"], &[]), ("c", &["w1", "w2"], &[])]);
    let mut scene = Scene::new(Locks::default(), plan, &[("w1", 1), ("w2", 1)]);
    scene.runs(1, "a", "w1");
    let circle =
        "a/1 waits for the end of request 7 for b, which waits for a slot of the worker w1, held by a/1";
    assert_eq!(scene.waits(1, Some(&request(7, "b"))).as_deref(), Some(circle));
    // Another worker would do, though it is busy now.
    scene.runs(2, "z", "w2");
    assert_eq!(scene.waits(1, Some(&request(7, "c"))), None);
    scene.given.insert(BuildId(1));
    assert_eq!(scene.waits(1, Some(&request(7, "b"))), None);
    // Two slots are enough.
    scene.given.clear();
    scene.places.get_mut("w1").unwrap().slots = 2;
    assert_eq!(scene.waits(1, Some(&request(7, "b"))), None);
}

#[test]
fn what_is_in_all_ways_is_the_reason() {
    // The slot of one worker is its parent's; but the other worker has one, and the lock is needed on both.
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 2, &[exclusive(&x)]);
    let plan = plan(&[("a", &[], &[]), ("b", &[], &[exclusive(&x)])]);
    let mut scene = Scene::new(locks, plan, &[("w1", 1), ("w2", 1)]);
    scene.runs(1, "a", "w1");
    scene.runs(2, "b", "w3");
    assert_eq!(scene.waits(2, Some(&running(6, "a", 1))), None, "1 will end");
    let circle = "a/1 waits for the end of request 7 for b, which waits for the lock x, held by b/2, which waits for the end of a/1";
    assert_eq!(scene.waits(1, Some(&request(7, "b"))).as_deref(), Some(circle));
}

#[test]
fn a_build_of_the_same_folder_on_the_only_worker_is_a_circle() {
    let plan = plan(&[("a", &[], &[])]);
    let mut scene = Scene::new(Locks::default(), plan, &[("w1", 4)]);
    scene.runs(1, "a", "w1");
    scene.given.insert(BuildId(1));
    let found = scene.waits(1, Some(&request(7, "a"))).unwrap();
    assert!(
        found.contains("which waits for the folder a on w1, held by a/1"),
        "{found}"
    );
}

#[test]
fn a_circle_may_lead_over_others() {
    // 1 holds the lock and waits for a request that needs the slot of 2, which waits for a build that waits for the lock.
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[exclusive(&x)]);
    let plan = plan(&[("a", &[], &[]), ("b", &["w2"], &[]), ("c", &[], &[])]);
    let mut scene = Scene::new(locks, plan, &[("w1", 4), ("w2", 1)]);
    scene.runs(1, "a", "w1");
    scene.runs(2, "c", "w2");
    scene.runs(3, "b", "w1");
    assert_eq!(scene.waits(1, Some(&request(7, "b"))), None, "2 will end");
    assert_eq!(scene.waits(2, Some(&running(8, "b", 3))), None, "3 will end");
    // A step is not told so by what parents noted some time ago.
    let turns = waits(ask(&scene.locks, 3, &[shared(&x, 1)]));
    let circle = "c/2 waits for the end of b/3, which waits for the lock x, held by b/1, which waits for the end of request 7 for b, \
                  which waits for a slot of the worker w2, held by c/2";
    assert_eq!(scene.waits(2, Some(&running(8, "b", 3))).as_deref(), Some(circle));
    assert!(
        matches!(*turns.borrow(), Turn::Waits(_)),
        "it goes on when 1 has ended"
    );
    // Who was refused waits no more: the others go on.
    assert_eq!(scene.waits(1, Some(&request(7, "b"))), None);
}

#[test]
fn who_waits_for_somebody_in_a_circle_is_in_none() {
    // 1 holds the lock and waits for a request that needs its own slot; 2 waits for a request that needs the lock.
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[exclusive(&x)]);
    let plan = plan(&[
        ("a", &[], &[]),
        ("b", &["w1"], &[]),
        ("c", &[], &[]),
        ("d", &[], &[exclusive(&x)]),
    ]);
    let mut scene = Scene::new(locks, plan, &[("w1", 1), ("w2", 4)]);
    scene.runs(1, "a", "w1");
    scene.runs(2, "c", "w2");
    assert!(
        scene.looks(1, Some(&request(7, "b")), false).is_some(),
        "its first look"
    );
    assert_eq!(scene.waits(2, Some(&request(9, "d"))), None);
    waits(ask(&scene.locks, 3, &[shared(&x, 1)]));
    assert!(scene.waits(1, Some(&request(7, "b"))).is_some());
}

#[test]
fn a_parent_that_wants_its_slot_again_may_be_in_a_circle_too() {
    // 1 has given its slot to 2, which waits for a request that needs the lock of 1.
    let x = lock("x", 1);
    let locks = locks(&[&x]);
    hold(&locks, 1, &[exclusive(&x)]);
    let plan = plan(&[("a", &[], &[]), ("c", &[], &[]), ("d", &[], &[exclusive(&x)])]);
    let mut scene = Scene::new(locks, plan, &[("w1", 1), ("w2", 1)]);
    scene.runs(1, "a", "w1");
    scene.given.insert(BuildId(1));
    scene.runs(2, "c", "w1");
    assert_eq!(scene.waits(2, Some(&request(9, "d"))), None, "1 goes on some day");
    let found = scene.waits(1, None).unwrap();
    assert!(
        found.contains("waits for a slot of the worker w1, held by c/2"),
        "{found}"
    );
}

#[test]
fn what_a_parent_waited_for_is_forgotten_with_it() {
    let plan = plan(&[("a", &[], &[]), ("b", &["w1"], &[])]);
    let mut scene = Scene::new(Locks::default(), plan, &[("w1", 1)]);
    scene.runs(1, "a", "w1");
    assert!(scene.waits(1, Some(&request(7, "b"))).is_some());
    scene.locks.awaits_no_more(BuildId(1));
    end(&scene.locks, 1);
    scene.running.clear();
    scene.runs(2, "c", "w1");
    assert_eq!(scene.waits(2, Some(&running(8, "b", 3))), None);
}
