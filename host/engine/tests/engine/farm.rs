//! A master's side of one step, in memory: a journal that refuses gaps, a worker that runs each command id once, logs by
//! offset, a clock that stands still. It can die before or after any of its operations, as a killed master does, and its
//! build can be stopped at any. `in_every_mode` is how tests run steps.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capstan_engine::{
    Abandoned, Awaited, Child, Children, CommandFault, Plugin, StepEnd, StepError, StepPort, StepRun,
    StopSignal, StoreFault, Triggered, WaitMode,
};
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI, Kind};
use capstan_model::plugin::Rights;
use capstan_model::{
    BuildsetId, CommandId, CommandSpec, Completion, Digest, EnvValue, Exit, FileFault, Outcome, Program,
    Properties, SourceStamp, StepId, Stored, TimeOut, Timestamp,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::support::engine;

/// Why builds are stopped here.
pub const STOPPED: &str = "Ann pressed stop";

/// The calls whose rows change the build.
const CHANGES: [&str; 4] = [
    "build.set-property",
    "build.set-summary",
    "build.add-link",
    "ending.end-build",
];

/// Whether something changes in the build with this row.
fn changes(row: &Entry) -> bool {
    let told = CHANGES.contains(&row.call.as_str()) && row.kind == Kind::Local;
    told || row
        .response
        .as_ref()
        .is_some_and(|answer| !answer["stored"].is_null())
}

/// What is left of a master when it dies: its database, its workers, its logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lasting {
    pub journal: Vec<Entry>,
    /// What rows changed in the build, by the row.
    pub effects: Vec<(u32, Effect)>,
    /// Commands whose `Start` is committed.
    pub rows: BTreeMap<CommandId, CommandSpec>,
    /// Commands that a worker has begun.
    pub begun: BTreeMap<CommandId, CommandSpec>,
    /// In which order.
    pub order: Vec<CommandId>,
    /// How commands end whose words hold such a text: the first of a kind, then the next; the last of a kind stays. Those that
    /// none fits do what their words say.
    pub exits: Vec<(&'static str, Exit, &'static str)>,
    pub killed: BTreeMap<CommandId, String>,
    pub logs: BTreeMap<String, String>,
    /// What was stored, whether a row tells of it or not.
    pub contents: BTreeMap<Digest, Vec<u8>>,
    /// What schedulers were asked for, by the row; each made the buildset of the same number.
    pub calls: BTreeMap<u32, (String, Value)>,
    /// Buildsets that were cancelled.
    pub cancelled: Vec<BuildsetId>,
    pub now: Timestamp,
}

/// Every way to wait: with the instance, without one, and mixed: without one unless the answer is there at once.
const MODES: [WaitMode; 3] = [
    WaitMode::Warm,
    WaitMode::Replay,
    WaitMode::WarmFor(Duration::ZERO),
];

/// Runs it in every mode. They must come to the same, which is answered.
pub async fn in_every_mode<T: Debug + PartialEq>(run: impl AsyncFn(WaitMode) -> T) -> T {
    let mut first = None;
    for mode in MODES {
        let found = run(mode).await;
        if let Some(first) = &first {
            assert_eq!(&found, first, "{mode:?} differs from {:?}", MODES[0]);
        }
        first.get_or_insert(found);
    }
    first.expect("there are modes")
}

/// When a master dies.
#[derive(Clone, Copy, Debug)]
pub enum Death {
    Never,
    Before(usize),
    After(usize),
}

pub struct Farm {
    pub lasting: Mutex<Lasting>,
    death: Death,
    operations: Mutex<usize>,
    stop: watch::Sender<Option<String>>,
    stop_after: usize,
    dead: Notify,
    ended: Notify,
}

impl Farm {
    pub fn new(lasting: Lasting, death: Death) -> Arc<Self> {
        let (dead, ended) = (Notify::new(), Notify::new());
        Arc::new(Self {
            lasting: Mutex::new(lasting),
            death,
            operations: Mutex::new(0),
            stop: watch::channel(None).0,
            stop_after: usize::MAX,
            dead,
            ended,
        })
    }

    /// One whose build is stopped after so many operations; with 0 it is from the beginning.
    pub fn stopping(lasting: Lasting, death: Death, stop_after: usize) -> Arc<Self> {
        let mut farm = Arc::into_inner(Self::new(lasting, death)).expect("it is new");
        farm.stop_after = stop_after;
        farm.stop_if(stop_after == 0);
        Arc::new(farm)
    }

    fn stop_if(&self, now: bool) {
        if now {
            self.stop.send_replace(Some(STOPPED.to_owned()));
        }
    }

    /// The stop of its build.
    pub fn signal(&self) -> StopSignal {
        self.stop.subscribe()
    }

    pub fn lasting(&self) -> Lasting {
        self.lasting.lock().unwrap().clone()
    }

    pub fn operations(&self) -> usize {
        *self.operations.lock().unwrap()
    }

    /// One operation of the master: it may die before it or after it.
    async fn operation<T>(&self, act: impl FnOnce(&mut Lasting) -> T) -> T {
        let number = {
            let mut operations = self.operations.lock().unwrap();
            *operations += 1;
            *operations
        };
        if self.is_dead(number) {
            // What a dead master would have done next does not happen.
            return std::future::pending().await;
        }
        if matches!(self.death, Death::Before(n) if n == number) {
            self.die().await;
        }
        let done = act(&mut self.lasting.lock().unwrap());
        self.stop_if(self.stop_after == number);
        if matches!(self.death, Death::After(n) if n == number) {
            self.die().await;
        }
        done
    }

    fn is_dead(&self, operation: usize) -> bool {
        match self.death {
            Death::Never => false,
            Death::Before(last) | Death::After(last) => operation > last,
        }
    }

    async fn die(&self) {
        self.dead.notify_one();
        std::future::pending().await
    }

    /// Runs the step until its end; `None` if the master died.
    pub async fn run(self: &Arc<Self>, run: StepRun, stop: StopSignal) -> Option<Result<StepEnd, StepError>> {
        tokio::select! {
            biased;
            () = self.dead.notified() => None,
            end = engine().run_step(run, self.clone(), stop) => Some(end),
        }
    }
}

impl Lasting {
    fn append(&mut self, rows: Vec<Entry>, effects: Vec<Effect>) -> Result<(), Abandoned> {
        if rows
            .first()
            .is_some_and(|row| row.seq as usize != self.journal.len())
        {
            return Err(Abandoned("another master writes this journal".to_owned()));
        }
        let seen = rows.iter().rev().skip(1).find(|row| row.kind == Kind::End);
        assert_eq!(seen, None, "an answer is durable before the step goes on with it");
        let changes: Vec<_> = rows
            .iter()
            .filter(|row| changes(row))
            .map(|row| row.seq)
            .collect();
        assert_eq!(changes.len(), effects.len(), "what a row changes commits with it");
        self.effects.extend(changes.into_iter().zip(effects));
        self.journal.extend(rows);
        Ok(())
    }

    /// What was left when only so many rows were durable; what was begun, killed and written stays.
    pub fn cut(&mut self, rows: usize) {
        self.journal.truncate(rows);
        self.effects.retain(|(seq, _)| (*seq as usize) < rows);
        let kept = serde_json::to_string(&self.journal).unwrap();
        self.rows.retain(|id, _| kept.contains(&id.to_string()));
        self.now = self.journal.last().map_or(Timestamp(0), |row| row.at);
    }

    /// How a command ends, if it is one of those that the test says it of.
    fn scripted(&self, id: CommandId) -> Option<(Exit, &'static str)> {
        let words = |id: &CommandId| words(&self.begun[id]).join(" ");
        let own = words(&id);
        let (text, ..) = self.exits.iter().find(|(text, ..)| own.contains(text))?;
        let earlier = self.order.iter().take_while(|&&other| other != id);
        let number = earlier.filter(|other| words(other).contains(text)).count();
        let kind: Vec<_> = self.exits.iter().filter(|(of, ..)| of == text).collect();
        let (_, exit, stdout) = kind[number.min(kind.len() - 1)];
        Some((exit.clone(), stdout))
    }

    fn store(&mut self, name: String, content: Vec<u8>) -> Stored {
        let (size, sha256) = (content.len() as u64, Digest::of(&content));
        self.contents.insert(sha256, content);
        Stored { name, size, sha256 }
    }

    fn write(&mut self, name: String, offset: u64, text: &str) {
        let log = self.logs.entry(name).or_default();
        let known = log
            .len()
            .checked_sub(offset as usize)
            .expect("a step leaves no gap in a log");
        assert!(text.is_char_boundary(known.min(text.len())));
        let overlap = known.min(text.len());
        assert_eq!(
            &log[offset as usize..offset as usize + overlap],
            &text[..overlap],
            "a log is written the same twice"
        );
        log.push_str(&text[overlap..]);
    }
}

impl StepPort for Farm {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.operation(|lasting| lasting.append(rows, effects)).boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.operation(move |lasting| {
            assert_eq!(rows.last().unwrap().kind, Kind::Start);
            lasting.append(rows, effects)?;
            assert!(
                lasting.rows.insert(id, spec).is_none(),
                "a command is started by one row"
            );
            Ok(())
        })
        .boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        self.operation(|lasting| Ok(lasting.journal.clone())).boxed()
    }

    fn start_command(
        &self,
        seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        self.operation(move |lasting| {
            assert_eq!(
                lasting.rows.get(&id),
                Some(&spec),
                "a command leaves only once its row is durable"
            );
            assert_eq!(lasting.journal[seq as usize].kind, Kind::Start);
            match lasting.begun.insert(id, spec.clone()) {
                Some(begun) => assert_eq!(begun, spec, "an id always means the same command"),
                None => lasting.order.push(id),
            }
            Ok(())
        })
        .boxed()
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        async move {
            let spec = self
                .operation(|lasting| lasting.begun.get(&id).cloned())
                .await
                .expect("it was begun");
            let words = words(&spec);
            self.behave(
                id,
                words.get(1).map_or("", String::as_str),
                words.get(2).map_or("", String::as_str),
            )
            .await
        }
        .boxed()
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move {
            self.operation(|lasting| {
                lasting.killed.entry(id).or_insert(reason);
            })
            .await;
            self.ended.notify_waiters();
            Ok(())
        }
        .boxed()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        if at.0 > 1_000_000 {
            return std::future::pending().boxed();
        }
        self.operation(move |lasting| lasting.now = lasting.now.max(at))
            .boxed()
    }

    fn now(&self) -> Timestamp {
        self.lasting.lock().unwrap().now
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.operation(move |lasting| {
            lasting.write(name, offset, &text);
            Ok(())
        })
        .boxed()
    }

    fn no_room_for(&self, name: String) -> BoxFuture<'_, Result<Option<String>, Abandoned>> {
        self.operation(move |lasting| {
            let known = |(_, effect): &(u32, Effect)| {
                matches!(effect, Effect::AddArtefact(stored) if stored.name == name)
            };
            let taken = lasting.effects.iter().any(known);
            Ok(taken.then(|| format!("the build has an artefact `{name}`")))
        })
        .boxed()
    }

    fn store_output(
        &self,
        command: CommandId,
        name: String,
        size: u64,
    ) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        self.operation(move |lasting| {
            let path = words(&lasting.begun[&command])[1].clone();
            assert_eq!(size, path.len() as u64, "it is stored when all of it is here");
            Ok(lasting.store(name, path.into_bytes()))
        })
        .boxed()
    }

    fn call_scheduler(
        &self,
        seq: u32,
        scheduler: String,
        call: Value,
        _: StopSignal,
    ) -> BoxFuture<'_, Result<Triggered, Abandoned>> {
        self.operation(move |lasting| {
            assert_eq!(
                lasting.journal[seq as usize].kind,
                Kind::Start,
                "its row is durable"
            );
            let asked = (scheduler, call);
            let known = lasting.calls.entry(seq).or_insert_with(|| asked.clone());
            assert_eq!(*known, asked, "a row always means the same call");
            if known.0.ends_with("-no") {
                let problem = ("sources".to_owned(), "expected something else".to_owned());
                return Ok(Triggered::Refused(vec![problem]));
            }
            Ok(Triggered::Made(vec![i64::from(seq).into()]))
        })
        .boxed()
    }

    fn wait_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        give_back: bool,
    ) -> BoxFuture<'_, Result<Awaited, Abandoned>> {
        async move {
            assert!(give_back, "as the fixture says");
            tokio::task::yield_now().await;
            self.operation(move |lasting| {
                let ended = |buildset: BuildsetId| {
                    let (scheduler, _) = &lasting.calls[&(buildset.0 as u32)];
                    if scheduler.ends_with("-circle") {
                        return Awaited::Deadlock("a/1 waits for itself".to_owned());
                    }
                    Awaited::Completed(vec![Children {
                        buildset,
                        scheduler: scheduler.clone(),
                        outcome: Outcome::Failure,
                        builds: vec![Child {
                            builder: "b".to_owned(),
                            number: 7,
                            outcome: Outcome::Failure,
                        }],
                    }])
                };
                let mut all = Vec::new();
                for buildset in buildsets {
                    match ended(buildset) {
                        Awaited::Completed(sets) => all.extend(sets),
                        never @ Awaited::Deadlock(_) => return Ok(never),
                    }
                }
                Ok(Awaited::Completed(all))
            })
            .await
        }
        .boxed()
    }

    fn cancel_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        _: String,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.operation(move |lasting| {
            lasting.cancelled = buildsets;
            Ok(())
        })
        .boxed()
    }

    fn store_content(&self, name: String, content: Vec<u8>) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        self.operation(move |lasting| match name.ends_with("full") {
            true => Err(StoreFault::Unavailable("the disk is full".to_owned())),
            false => Ok(lasting.store(name, content)),
        })
        .boxed()
    }
}

impl Farm {
    /// What a command does, by its first argument.
    async fn behave(&self, id: CommandId, what: &str, argument: &str) -> Result<Completion, CommandFault> {
        let scripted = self.lasting.lock().unwrap().scripted(id);
        if let Some((exit, stdout)) = scripted {
            // Some answers are there at once, others are not.
            if self.lasting.lock().unwrap().order.len().is_multiple_of(2) {
                tokio::task::yield_now().await;
            }
            return Ok(completion(exit, stdout.as_bytes().to_vec()));
        }
        let exit = match what {
            "fail" => Exit::Code(2),
            "crash" => Exit::Signal(11),
            "missing" => Exit::NotStarted("no such program".to_owned()),
            "none" => Exit::NoFile {
                fault: FileFault::Missing,
                reason: "there is no such file".to_owned(),
            },
            "quiet" => Exit::TimedOut(TimeOut::Idle),
            "lost" => return Err(CommandFault::Lost("w1 is gone".to_owned())),
            "late" => {
                for _ in 0..argument.parse().unwrap_or(0_u32) {
                    tokio::task::yield_now().await;
                }
                Exit::Code(0)
            }
            "hang" => self.killed(id).await,
            _ => Exit::Code(0),
        };
        let stdout = if what == "latin" {
            vec![0xe9, b'\n']
        } else {
            what.as_bytes().to_vec()
        };
        Ok(completion(exit, stdout))
    }

    async fn killed(&self, id: CommandId) -> Exit {
        loop {
            let ended = self.ended.notified();
            if let Some(reason) = self.lasting.lock().unwrap().killed.get(&id) {
                return Exit::Killed(reason.clone());
            }
            ended.await;
        }
    }
}

fn words(spec: &CommandSpec) -> Vec<String> {
    match &spec.program {
        Program::Argv(words) => words.clone(),
        Program::Shell(line) => line.split(' ').map(str::to_owned).collect(),
        Program::File { path, .. } => format!("file {path}").split(' ').map(str::to_owned).collect(),
    }
}

fn completion(exit: Exit, stdout: Vec<u8>) -> Completion {
    Completion {
        exit,
        duration_ms: 5,
        stdout_bytes: stdout.len() as u64,
        stderr_bytes: 0,
        stdout,
    }
}

/// A signal that never comes.
pub fn no_stop() -> StopSignal {
    watch::channel(None).1
}

/// Grants of everything that the manifests ask for, but for the fixture's program `ungranted`.
pub fn grants() -> Rights {
    let list = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect();
    Rights {
        commands: list(&["make", "sh", "git", "rm"]),
        secrets: list(&["token", "deploy"]),
        artefacts: list(&["dist/*"]),
        triggers: list(&["go-*"]),
        ..Rights::default()
    }
}

/// One run of the fixture's script, from a journal.
pub fn run_of(plugin: &Plugin, script: Value, journal: Vec<Entry>, mode: WaitMode) -> StepRun {
    let config = json!({ "script": script, "outcome": "warnings" });
    run_with(plugin, config, journal, mode)
}

/// One run of a step with these parameters, from a journal.
pub fn run_with(plugin: &Plugin, config: Value, journal: Vec<Entry>, mode: WaitMode) -> StepRun {
    let mut properties = Properties::default();
    properties.set("branch", "main", "scheduler");
    let created = Created {
        plugin: plugin.digest(),
        plugin_name: plugin.name().to_owned(),
        world: plugin.world(),
        host_abi: HOST_ABI,
        config,
        env: None,
        seed: 42,
        step_name: "compile".to_owned(),
        sources: vec![SourceStamp {
            repository: "https://git.example.org/a".to_owned(),
            ..SourceStamp::default()
        }],
        properties,
    };
    StepRun {
        plugin: plugin.clone(),
        grants: Arc::new(grants()),
        created,
        journal,
        installation: Uuid::from_u128(7),
        step: StepId(9),
        builder: "hello".to_owned(),
        builder_dir: "hello".to_owned(),
        env: BTreeMap::from([("CI".to_owned(), EnvValue::Set("1".to_owned()))]),
        orphan_timeout_ms: 60_000,
        mode,
    }
}
