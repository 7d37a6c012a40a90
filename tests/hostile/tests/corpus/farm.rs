//! A master's side of one step, in memory: its journal, commands that end at once, a clock that stands still. Commands and
//! texts leave the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use capstan_engine::{Abandoned, CommandFault, Plugin, StepPort, StepRun, StopSignal, WaitMode};
use capstan_hostile::Header;
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI};
use capstan_model::{CommandId, CommandSpec, Completion, Exit, Program, Properties, StepId, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::world::World;

pub struct Farm {
    journal: Mutex<Vec<Entry>>,
    now: Timestamp,
    note: Box<dyn Fn(String) + Send + Sync>,
    stop: watch::Sender<Option<String>>,
}

impl Farm {
    pub fn new(world: &World, journal: Vec<Entry>, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            journal: Mutex::new(journal),
            now,
            note: Box::new(world.note()),
            stop: watch::channel(None).0,
        })
    }

    pub fn journal(&self) -> Vec<Entry> {
        self.journal.lock().unwrap().clone()
    }

    pub fn signal(&self) -> StopSignal {
        self.stop.subscribe()
    }

    fn append(&self, rows: Vec<Entry>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.journal.lock().unwrap().extend(rows);
        async { Ok(()) }.boxed()
    }
}

impl StepPort for Farm {
    fn append(&self, rows: Vec<Entry>, _effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.append(rows)
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        _effects: Vec<Effect>,
        _id: CommandId,
        _spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.append(rows)
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        async { Ok(self.journal()) }.boxed()
    }

    fn start_command(
        &self,
        _seq: u32,
        _id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        let words = match &spec.program {
            Program::Argv(words) => words.join(" "),
            Program::Shell(line) => line.clone(),
            Program::File { path, .. } => path.clone(),
        };
        (self.note)(format!(
            "command {words:.200} in {} with {:?}",
            spec.workdir, spec.env
        ));
        async { Ok(()) }.boxed()
    }

    fn wait_command(&self, _id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        let completion = Completion {
            exit: Exit::Code(0),
            duration_ms: 1,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout: Vec::new(),
        };
        async { Ok(completion) }.boxed()
    }

    fn kill_command(&self, _id: CommandId, _reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }

    fn sleep_until(&self, _at: Timestamp) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn write_log(&self, name: String, _offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        (self.note)(format!("text of {} bytes into {name}", text.len()));
        async { Ok(()) }.boxed()
    }
}

/// One run of a step, from a journal.
pub fn run_of(plugin: &Plugin, header: &Header, journal: Vec<Entry>, mode: WaitMode) -> StepRun {
    let created = Created {
        plugin: plugin.digest(),
        plugin_name: plugin.name().to_owned(),
        world: plugin.world(),
        host_abi: HOST_ABI,
        config: header.config.clone(),
        env: None,
        seed: 42,
        step_name: "compile".to_owned(),
        sources: Vec::new(),
        properties: Properties::default(),
    };
    StepRun {
        plugin: plugin.clone(),
        grants: Arc::new(header.grants.clone()),
        created,
        journal,
        installation: Uuid::from_u128(7),
        step: StepId(9),
        builder: "hello".to_owned(),
        builder_dir: "hello".to_owned(),
        env: BTreeMap::new(),
        orphan_timeout_ms: 60_000,
        mode,
    }
}
