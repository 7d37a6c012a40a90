//! Whatever builds and steps do in whatever order: never more than there is, nobody who could go on waits, nobody waits in
//! a circle, and in the end nothing is held.

use std::collections::BTreeMap;

use capstan_model::Mode;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Deed {
    /// A build starts, if its locks are free.
    Start(i64, Vec<(usize, u32)>),
    /// A step of a running build asks.
    Ask(i64, Vec<(usize, u32)>, i64),
    /// A step that runs ends, with its build or without.
    End(i64, bool),
}

/// Locks by number with an amount; 0 is all of it.
fn wanted() -> impl Strategy<Value = Vec<(usize, u32)>> {
    prop::collection::btree_map(0..4usize, 0..3u32, 1..3).prop_map(|map| map.into_iter().collect())
}

fn deed() -> impl Strategy<Value = Deed> {
    let build = 1..8i64;
    prop_oneof![
        (build.clone(), wanted()).prop_map(|(build, wanted)| Deed::Start(build, wanted)),
        (build.clone(), wanted(), 0..2i64)
            .prop_map(|(build, wanted, priority)| Deed::Ask(build, wanted, priority)),
        (build, any::<bool>()).prop_map(|(build, all)| Deed::End(build, all)),
    ]
}

fn defined() -> Vec<Lock> {
    vec![
        lock("a", 1),
        lock("b", 2),
        on_workers("c", 3, &[("w1", 2)]),
        lock("d", 3),
    ]
}

fn accesses(wanted: &[(usize, u32)]) -> Vec<LockAccess> {
    let all = defined();
    let access = |&(number, amount): &(usize, u32)| match amount {
        0 => exclusive(&all[number]),
        amount => shared(&all[number], amount),
    };
    wanted.iter().map(access).collect()
}

fn worker(build: i64) -> &'static str {
    if build % 2 == 0 { "w2" } else { "w1" }
}

/// What runs, beside the table.
#[derive(Default)]
struct Farm {
    locks: Locks,
    waiting: BTreeMap<i64, watch::Receiver<Turn>>,
    steps: BTreeMap<i64, ()>,
    builds: BTreeMap<i64, ()>,
}

impl Farm {
    fn carry_out(&mut self, deed: Deed) {
        match deed {
            Deed::Start(build, wanted) if !self.builds.contains_key(&build) => {
                let wanted = accesses(&wanted);
                let request = RequestId(build);
                let admitted = Admitted {
                    accesses: wanted,
                    worker: worker(build).to_owned(),
                    priority: 0,
                };
                if self.locks.start(request, "b", &admitted).is_ok() {
                    self.locks.started(request, Some((who(build), BuildId(build))));
                    self.builds.insert(build, ());
                }
            }
            Deed::Ask(build, wanted, priority) if !self.busy(build) => {
                let asked = self.locks.ask(
                    StepId(build),
                    who(build).step("s"),
                    worker(build),
                    &accesses(&wanted),
                    priority,
                );
                match asked {
                    Asked::Held => drop(self.steps.insert(build, ())),
                    Asked::Waits(turns) => drop(self.waiting.insert(build, turns)),
                    Asked::Never(_) => {}
                }
            }
            // What waits does not end by itself.
            Deed::End(build, all) if !self.waiting.contains_key(&build) => {
                self.locks.drop_step(StepId(build));
                self.steps.remove(&build);
                if all {
                    self.locks.forget(BuildId(build));
                    self.builds.remove(&build);
                }
            }
            _ => {}
        }
        let given: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, turns)| given(turns))
            .map(|(build, _)| *build)
            .collect();
        for build in given {
            self.waiting.remove(&build);
            self.steps.insert(build, ());
        }
    }

    fn busy(&self, build: i64) -> bool {
        self.steps.contains_key(&build) || self.waiting.contains_key(&build)
    }

    fn check(&self) {
        self.locks.with(|state| {
            for entry in &state.table.entries {
                for unit in &entry.units {
                    let mode = |owner| {
                        let held = &state.table.held[owner].wants;
                        held.iter()
                            .filter(|want| state.table.entries[want.lock].name == entry.name)
                            .map(|want| want.mode)
                            .next()
                    };
                    let modes: Vec<_> = unit.holders.iter().filter_map(mode).collect();
                    let used: u32 = modes
                        .iter()
                        .map(|mode| {
                            if let Mode::Shared(amount) = mode {
                                *amount
                            } else {
                                0
                            }
                        })
                        .sum();
                    assert!(used <= unit.capacity, "{used} of {} are held", entry.name);
                    assert!(
                        modes.len() < 2 || !modes.contains(&Mode::Exclusive),
                        "all of {} is held, and more",
                        entry.name
                    );
                }
            }
            for waiter in state.table.waiting.values() {
                assert!(
                    state.table.blocked(waiter.owner).is_some(),
                    "{} could go on, and waits",
                    waiter.who
                );
            }
            let waiting: Vec<_> = state.table.waiting.values().map(|waiter| waiter.owner).collect();
            for owner in waiting {
                assert_eq!(state.table.clone().deadlock(owner), None);
            }
        });
    }

    /// Ends all that runs, until nothing is left.
    fn finish(&mut self) {
        for _ in 0..20 {
            for build in 1..8 {
                self.carry_out(Deed::End(build, true));
            }
        }
        assert!(
            self.waiting.is_empty(),
            "these wait for ever: {:?}",
            self.waiting.keys()
        );
        let held: Vec<_> = self
            .locks
            .status()
            .into_iter()
            .filter(|lock| !lock.holders.is_empty())
            .collect();
        assert!(held.is_empty(), "{held:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nothing_is_given_twice_and_nobody_waits_for_ever(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut farm = Farm::default();
        farm.locks.change(|state| state.table.define(&defined()));
        for deed in deeds {
            farm.carry_out(deed);
            farm.check();
        }
        farm.finish();
    }

    /// Those who want the same are served as they came, whatever else happens.
    #[test]
    fn equal_wants_are_served_in_their_order(order in Just((1..12i64).collect::<Vec<_>>()).prop_shuffle(), limit in 1..4u32, amount in 1..4u32) {
        prop_assume!(amount <= limit);
        let x = lock("x", limit);
        let locks = locks(&[&x]);
        hold(&locks, 100, &[exclusive(&x)]);
        let turns: Vec<_> = order.iter().map(|&build| (build, waits(ask(&locks, build, &[shared(&x, amount)])))).collect();
        end(&locks, 100);
        let at_once = (limit / amount) as usize;
        for place in 0..turns.len() {
            let have = turns.iter().filter(|(_, turns)| given(turns)).count();
            prop_assert_eq!(have, (place + at_once).min(turns.len()));
            prop_assert!(turns[..have].iter().all(|(_, turns)| given(turns)), "somebody was overtaken");
            end(&locks, turns[place].0);
        }
    }
}
