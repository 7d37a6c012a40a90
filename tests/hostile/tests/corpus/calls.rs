//! Loads and calls plugins of every kind.

use std::sync::Arc;

use capstan_engine::{Caller, Engine, Phase, Plugin, Report, SchedulerEvent, StepEnd, StepPort, WaitMode};
use capstan_hostile::{CHANGED, Call, Header};
use capstan_model::journal;
use capstan_model::plugin::Kind;
use capstan_model::{Properties, SourceStamp, Timestamp};

use crate::farm::{Farm, run_of};
use crate::world::World;

/// What came of a guest.
#[derive(Debug)]
pub enum Came {
    /// It was not loaded.
    Refused(String),
    /// It was called, and there is no answer.
    Fault(String),
    /// It answered.
    Answer(String),
}

/// Loads a plugin off the threads of the executor, as the master does. A thread of 2 MiB, as the executor's are: what a
/// deep file does to the stack must show.
pub async fn load(engine: &Engine, bytes: &[u8]) -> Result<Plugin, String> {
    let (engine, bytes) = (engine.clone(), bytes.to_vec());
    let loaded = tokio::task::spawn_blocking(move || engine.load(&bytes).map_err(|error| error.to_string()));
    loaded.await.unwrap()
}

/// The plugins that must answer whatever the others did.
pub fn healthy(engine: &Engine) -> Vec<Plugin> {
    let all = capstan_hostile::healthy().unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|guest| engine.load(&guest.bytes).unwrap())
        .collect();
    assert_eq!(all.len(), Kind::ALL.len());
    all
}

/// Calls a plugin as its header says.
pub async fn call(plugin: &Plugin, header: &Header, world: &World) -> Came {
    let config = &header.config;
    let caller = Caller {
        owner: plugin.name().to_owned(),
        grants: Arc::new(header.grants.clone()),
        ports: world.ports(),
    };
    if header.call == Call::Check {
        return came(plugin.check(config).await);
    }
    if header.call == Call::Migrate {
        return migrate(plugin, &caller, config).await;
    }
    match plugin.kind() {
        Kind::Step if header.call == Call::Repeat => repeat(plugin, header, world).await,
        Kind::Step => {
            step(
                &world.engine,
                plugin,
                header,
                &Farm::new(world, Vec::new(), Timestamp(0)),
            )
            .await
        }
        Kind::Scheduler => {
            let event = SchedulerEvent::Started;
            came(plugin.handle(&caller, config, &[], Timestamp(0), event).await)
        }
        Kind::ChangeSource => came(plugin.poll(&caller, config, &[]).await),
        Kind::Reporter => came(plugin.deliver(&caller, config, &report()).await),
        Kind::Generator => generate(plugin, config).await,
    }
}

/// Twice, as each evaluation of a configuration does: the plan that a build is pinned to must come out again.
async fn generate(plugin: &Plugin, config: &serde_json::Value) -> Came {
    match (plugin.generate(config).await, plugin.generate(config).await) {
        (Ok(first), Ok(second)) if first != second => {
            Came::Fault(format!("expected {first:?} again, found {second:?}"))
        }
        (first, _) => came(first),
    }
}

/// Twice, as a master does whose answer was not committed.
async fn migrate(plugin: &Plugin, caller: &Caller, config: &serde_json::Value) -> Came {
    let first = plugin.migrate(caller, config, "0.0.0", b"old").await;
    let second = plugin.migrate(caller, config, "0.0.0", b"old").await;
    match (first, second) {
        (Ok(None), _) => Came::Fault("there is no migration".to_owned()),
        (Ok(first), Ok(second)) if first != second => {
            Came::Fault(format!("expected {first:?} again, found {second:?}"))
        }
        (first, _) => came(first),
    }
}

fn came<T: std::fmt::Debug>(result: Result<T, impl std::fmt::Display>) -> Came {
    match result {
        Ok(answer) => Came::Answer(format!("{answer:?}")),
        Err(error) => Came::Fault(error.to_string()),
    }
}

async fn step(engine: &Engine, plugin: &Plugin, header: &Header, farm: &Arc<Farm>) -> Came {
    let run = run_of(plugin, header, farm.journal(), WaitMode::Warm);
    let port = Arc::clone(farm) as Arc<dyn StepPort>;
    match engine.run_step(run, port, farm.signal()).await {
        Ok(StepEnd {
            failure: Some(failure),
            ..
        }) => Came::Fault(failure.to_string()),
        Ok(end) => Came::Answer(format!("{end:?}")),
        Err(error) => Came::Fault(error.to_string()),
    }
}

/// Runs a step, then runs it again from its journal, in which the time is another: a guest that goes by it does not repeat
/// itself.
async fn repeat(plugin: &Plugin, header: &Header, world: &World) -> Came {
    let first = Farm::new(world, Vec::new(), Timestamp(0));
    step(&world.engine, plugin, header, &first).await;
    let other = Farm::new(world, Vec::new(), Timestamp(CHANGED));
    step(&world.engine, plugin, header, &other).await;
    let (mut rows, changed) = (first.journal(), other.journal());
    for (row, changed) in rows.iter_mut().zip(&changed) {
        if row.call == "clock.now" {
            row.response.clone_from(&changed.response);
        }
    }
    rows.retain(|row| row.kind != journal::Kind::Finished);
    world.forget();
    step(
        &world.engine,
        plugin,
        header,
        &Farm::new(world, rows, Timestamp(0)),
    )
    .await
}

fn report() -> Report {
    Report {
        delivery_id: "d-1".to_owned(),
        phase: Phase::Finished,
        builder: "hello".to_owned(),
        made_by: "hello".to_owned(),
        number: 3,
        url: "http://127.0.0.1/builders/hello/3".to_owned(),
        worker: "w1".to_owned(),
        reason: "a push".to_owned(),
        outcome: Some(capstan_model::Outcome::Success),
        previous_outcome: None,
        summary: String::new(),
        sources: vec![SourceStamp::default()],
        properties: Properties::default(),
        steps: Vec::new(),
        started: Timestamp(10),
        finished: Some(Timestamp(20)),
    }
}
