//! The two machines in a simulated world: a worker and a master with their disks, supervisors, several connections at once,
//! and a network that delivers streams in any order, cuts them anywhere, and forgets what was on the way. Whatever
//! happens: every command starts once at most and ends, every log is what was written, an end is recorded when all of its
//! log is durable, nothing is removed before that, and no honest end is told off by the other.

mod event;
mod flaw;
mod history;
mod link;
mod master;
mod random;
mod worker;
mod world;

use std::collections::BTreeMap;

use capstan_model::{CommandSpec, Program};
use uuid::Uuid;

use self::flaw::Flaw;
use self::history::Plan;
use crate::control::Hello;

pub(super) fn hello() -> Hello {
    Hello {
        minor: 0,
        version: String::new(),
        boot: Uuid::nil(),
        slots: 1,
        labels: vec![],
        facts: BTreeMap::new(),
        epoch_seen: 0,
        commands: vec![],
    }
}

pub(super) fn spec() -> Box<CommandSpec> {
    Box::new(CommandSpec {
        program: Program::Argv(vec!["true".to_owned()]),
        builder_dir: "b".to_owned(),
        workdir: String::new(),
        env: BTreeMap::new(),
        log: "stdio".to_owned(),
        idle_timeout_ms: None,
        total_timeout_ms: None,
        term_grace_ms: 0,
        orphan_timeout_ms: 0,
        capture_stdout: 0,
    })
}

/// Worlds of all kinds: short and long ones, calm and wild ones.
fn plan(seed: u64, flaw: Option<Flaw>) -> Plan {
    let events = match seed % 20 {
        0 => 8_000,
        1..8 => 2_000,
        _ => 100 + (seed % 7) as usize * 50,
    };
    Plan {
        seed,
        events,
        commands: 2 + events / 25,
        faults: [10, 40, 100, 200][seed as usize / 20 % 4],
        flaw,
    }
}

/// What must have happened often, for the rest to mean anything.
const WANTED: [&str; 9] = [
    "a command was forgotten while it ran",
    "a command was sent again",
    "a connection was replaced by a newer one",
    "a log was given up",
    "a supervisor that started late",
    "a supervisor that was not the first",
    "an acknowledgement was overtaken",
    "an old master was refused",
    "bytes of an ended connection were stored",
];

#[test]
fn builds_survive_whatever_happens() {
    let only = std::env::var("SIMULATION_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let (mut told, mut worlds, mut remarkable) = (0, 0_u64, BTreeMap::<_, u64>::new());
    while told < 1_000_000 {
        let plan = plan(only.unwrap_or(worlds), None);
        let history = plan.history();
        let seen = plan.run(&history).unwrap_or_else(|broken| {
            let seed = plan.seed;
            panic!(
                "{}\nagain with SIMULATION_SEED={seed}",
                plan.explain(&history, broken)
            )
        });
        if only.is_some() {
            return;
        }
        (told, worlds) = (told + seen.told, worlds + 1);
        for (what, often) in seen.remarkable {
            *remarkable.entry(what).or_default() += often;
        }
    }
    println!("{told} events in {worlds} worlds, each then settled; among them {remarkable:#?}");
    for what in WANTED {
        let often = remarkable.get(what).copied().unwrap_or(0);
        assert!(
            often >= 100,
            "expected that {what} a hundred times, found {often}"
        );
    }
}

/// The simulation can fail: each rule that somebody breaks is noticed within some worlds.
#[test]
fn a_world_that_breaks_a_rule_is_caught() {
    for flaw in Flaw::ALL {
        let caught = (0..400).map(|seed| plan(seed, Some(flaw))).find_map(|plan| {
            let history = plan.history();
            let broken = plan.run(&history).err()?;
            Some((plan, history, broken))
        });
        let (plan, history, broken) =
            caught.unwrap_or_else(|| panic!("{flaw:?} goes unnoticed in 400 worlds"));
        println!("{flaw:?} in world {}: {}", plan.seed, broken.0);
        if flaw == Flaw::AcknowledgesBeforeItStores {
            let (shortest, _) = plan.shorten(&history, broken);
            assert!(
                shortest.len() < 30,
                "a short history explains it, found {shortest:#?}"
            );
        }
    }
}
