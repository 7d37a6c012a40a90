//! Every guest of the hostile corpus, one after the other, in one process: each comes to what its file says, in its time,
//! and leaves nothing outside; then the healthy plugins still answer.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod calls;
mod configure;
mod farm;
mod memory;
mod mutated;
mod world;

use std::time::Instant;

use capstan_engine::{Engine, Options, Plugin};
use capstan_hostile::{Call, Expected, Guest, Header};

use crate::calls::{Came, healthy, load};
use crate::world::World;

/// What the process may grow by over the whole corpus, in MiB: one instance at its limit, the compiler, and what the pool
/// keeps.
const MAX_GROWTH_MIB: u64 = 400;

/// Short limits and a small pool, so that whoever runs into a limit does so soon.
fn engine() -> Engine {
    let options = Options {
        step_instances: 4,
        call_instances: 4,
        call_ms: 300,
        step_ms: 300,
        ..Options::default()
    };
    Engine::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_escapes_stalls_or_crashes_the_master() {
    let engine = engine();
    let world = World::open(engine.clone());
    let guests = capstan_hostile::corpus(world.port()).unwrap();
    let only = std::env::var("HOSTILE").unwrap_or_default();
    let guests: Vec<_> = guests
        .into_iter()
        .filter(|guest| guest.name.contains(&only))
        .collect();
    let well = healthy(&engine);
    let before = memory::resident_mib();
    let mut faults = Vec::new();
    for guest in &guests {
        // Before, too: the last name is that of a guest which ended this process.
        println!("{} …", guest.name);
        let began = Instant::now();
        let fault = match tokio::time::timeout(guest.header.within, one(&engine, &world, guest)).await {
            Ok(fault) => fault,
            Err(_) => Some(format!("it takes longer than {:?}", guest.header.within)),
        };
        let took = began.elapsed();
        println!("{}: {took:?}, {} MiB", guest.name, memory::resident_mib());
        let late = took > guest.header.within;
        let fault =
            fault.or_else(|| late.then(|| format!("it takes {took:?}, and others could not stop it")));
        if let Some(fault) = fault {
            faults.push(format!("{} ({}): {fault}", guest.name, guest.header.about.trim()));
        }
        for plugin in &well {
            let came = calls::call(plugin, &Header::read(";; .\n;; expect: answers").unwrap(), &world).await;
            assert!(
                matches!(came, Came::Answer(_)),
                "after {}: {plugin:?}: {came:?}",
                guest.name
            );
        }
        world.forget();
    }
    let grown = memory::resident_mib().saturating_sub(before);
    println!(
        "{} guests; the process has grown by {grown} MiB, {} MiB at its peak",
        guests.len(),
        memory::peak_mib()
    );
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        guests.len(),
        faults.join("\n")
    );
    assert!(
        grown < MAX_GROWTH_MIB,
        "the process has grown by {grown} MiB over the corpus"
    );
    assert!(
        !only.is_empty() || guests.len() >= 60,
        "only {} guests",
        guests.len()
    );
}

/// What is wrong with what came of a guest.
async fn one(engine: &Engine, world: &World, guest: &Guest) -> Option<String> {
    let header = &guest.header;
    let came = match load(engine, &guest.bytes).await {
        Err(refused) => Came::Refused(refused),
        Ok(plugin) if header.is_refused() => {
            return Some(format!("expected it to be refused, {plugin:?} was loaded"));
        }
        Ok(plugin) => called(&plugin, header, world).await,
    };
    let unmet = header.expected.iter().find(|expected| !came.is(expected));
    if let Some(expected) = unmet {
        return Some(format!("expected {expected:?}, found {}", came.shown()));
    }
    let left = world.left();
    let unmet = header
        .leaves
        .iter()
        .find(|text| !left.iter().any(|one| one.contains(*text)));
    match unmet {
        Some(text) => Some(format!("expected that {text:?} leaves, found {left:?}")),
        None if header.leaves.is_empty() && !left.is_empty() => {
            Some(format!("this left the process: {:.500}", format!("{left:?}")))
        }
        None => None,
    }
}

async fn called(plugin: &Plugin, header: &Header, world: &World) -> Came {
    match header.call {
        Call::Configure => configure::configure(plugin, header).await,
        Call::Check | Call::Run | Call::Repeat | Call::Migrate => calls::call(plugin, header, world).await,
    }
}

impl Came {
    fn is(&self, expected: &Expected) -> bool {
        match (self, expected) {
            (Self::Refused(found), Expected::Refused(text))
            | (Self::Fault(found), Expected::Ends(text))
            | (Self::Answer(found), Expected::Answers(text)) => found.contains(text.as_str()),
            _ => false,
        }
    }

    fn shown(&self) -> String {
        let text = format!("{self:?}");
        text.chars().take(600).collect()
    }
}
