//! The master of a step under a scenario: a journal in memory, commands that end as the rules say, virtual time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capstan_engine::{Abandoned, Awaited, CommandFault, StepPort, StopSignal, StoreFault, Triggered};
use capstan_model::journal::{Effect, Entry, Kind};
use capstan_model::{
    BuildsetId, CommandId, CommandSpec, Completion, Digest, Exit, Program, Stored, TimeOut, Timestamp,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use super::schedulers::Asked;
use crate::format::step::{Artefact, Command, Trigger};
use crate::rules::{Found, Rules};
use crate::time::Time;

pub(crate) struct Farm {
    time: Arc<Time>,
    inner: Mutex<Inner>,
}

struct Inner {
    said: Said,
    artefacts: BTreeMap<String, Vec<u8>>,
    journal: Vec<Entry>,
    effects: Vec<Effect>,
    logs: BTreeMap<String, String>,
    known: Known,
    missing: Option<String>,
}

/// What the scenario says of what a step may ask for.
pub(crate) struct Said {
    pub commands: Rules<Command>,
    pub files: Rules<Artefact>,
    pub triggers: Rules<Trigger>,
}

/// What the farm has done or, in a later run, will do again: commands that workers have begun, content that was taken.
#[derive(Clone, Default)]
pub(crate) struct Known {
    begun: BTreeMap<CommandId, Begun>,
    killed: BTreeMap<CommandId, (Timestamp, String)>,
    /// What became of content that was handed over, by the artefact's name.
    written: BTreeMap<String, Artefact>,
    asked: Asked,
}

#[derive(Clone)]
struct Begun {
    spec: CommandSpec,
    started: Timestamp,
    end: Command,
}

impl Begun {
    fn ends(&self) -> Timestamp {
        self.started.plus_ms(self.end.after.0)
    }
}

impl Farm {
    pub(crate) fn new(time: Arc<Time>, said: Said, journal: Vec<Entry>, known: Known) -> Self {
        Self {
            time,
            inner: Mutex::new(Inner {
                said,
                artefacts: BTreeMap::new(),
                journal,
                effects: Vec::new(),
                logs: BTreeMap::new(),
                known,
                missing: None,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal_rows(&self) -> Vec<Entry> {
        self.inner().journal.clone()
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.inner().effects.clone()
    }

    pub(crate) fn logs(&self) -> BTreeMap<String, String> {
        self.inner().logs.clone()
    }

    /// What the step has stored, by name.
    pub(crate) fn artefacts(&self) -> BTreeMap<String, Vec<u8>> {
        self.inner().artefacts.clone()
    }

    /// What the scenario does not say, but should.
    pub(crate) fn missing(&self) -> Option<String> {
        self.inner().missing.clone()
    }

    /// The words of a command.
    pub(crate) fn words_of(&self, id: &str) -> String {
        let command = id.parse::<CommandId>().ok();
        let words = command.and_then(|id| {
            self.inner()
                .known
                .begun
                .get(&id)
                .map(|begun| words(&begun.spec.program))
        });
        words.unwrap_or_else(|| id.to_owned())
    }

    /// What workers know when only these rows are left of the journal.
    pub(crate) fn known(&self, rows: &[Entry]) -> Known {
        let mut known = self.inner().known.clone();
        known.killed.clear();
        for row in rows
            .iter()
            .filter(|row| row.kind == Kind::Start && row.call == "command.kill")
        {
            let deed = row.request.as_ref().map(|request| &request["do"]["kill"]);
            let text = |name: &str| deed.and_then(|deed| deed[name].as_str());
            if let (Some(Ok(id)), Some(reason)) = (text("command").map(str::parse), text("reason")) {
                known.killed.insert(id, (row.at, reason.to_owned()));
            }
        }
        known
    }
}

impl Inner {
    fn append(&mut self, rows: Vec<Entry>, effects: Vec<Effect>) -> Result<(), Abandoned> {
        if rows
            .first()
            .is_some_and(|row| row.seq as usize != self.journal.len())
        {
            return Err(Abandoned(
                "expected the next row of the journal, found another".to_owned(),
            ));
        }
        self.journal.extend(rows);
        self.effects.extend(effects);
        Ok(())
    }

    fn begin(&mut self, id: CommandId, spec: CommandSpec, now: Timestamp) -> Result<(), CommandFault> {
        if self.known.begun.get(&id).is_some_and(|begun| begun.spec == spec) {
            return Ok(());
        }
        let words = words(&spec.program);
        if spec.program.is_file() {
            let end = self.file(&words)?.printed();
            let started = now;
            self.known.begun.insert(id, Begun { spec, started, end });
            return Ok(());
        }
        let end = match self.said.commands.answer(&words) {
            Found::Answer(command) => command.clone(),
            Found::Free => Command::default(),
            Found::None => {
                let text = format!("no [[command]] fits `{words}`, or those that do are used up");
                self.missing.get_or_insert(text.clone());
                return Err(Abandoned(text).into());
            }
        };
        let started = now;
        self.known.begun.insert(id, Begun { spec, started, end });
        Ok(())
    }

    /// What the scenario says of a file, or of an artefact that the step makes.
    fn file(&mut self, words: &str) -> Result<Artefact, Abandoned> {
        match self.said.files.answer(words) {
            Found::Answer(artefact) => Ok(artefact.clone()),
            Found::Free => Ok(Artefact::default()),
            Found::None => {
                let text = format!("no [[artefact]] fits `{words}`, or those that do are used up");
                self.missing.get_or_insert(text.clone());
                Err(Abandoned(text))
            }
        }
    }

    fn call(&mut self, seq: u32, asked: (String, Value), now: Timestamp) -> Result<Triggered, Abandoned> {
        let answer = self.known.asked.call(&self.said.triggers, seq, asked, now);
        answer.map_err(|text| {
            self.missing.get_or_insert(text.clone());
            Abandoned(text)
        })
    }

    fn keep(&mut self, name: String, content: Vec<u8>) -> Stored {
        let (size, sha256) = (content.len() as u64, Digest::of(&content));
        self.artefacts.insert(name.clone(), content);
        Stored { name, size, sha256 }
    }

    /// When a command ends, and how.
    fn end(&self, id: CommandId) -> Result<(Timestamp, Result<Completion, CommandFault>), CommandFault> {
        let unknown = || Abandoned(format!("the command {id} was never started"));
        let begun = self.known.begun.get(&id).ok_or_else(unknown)?;
        let (at, exit) = match self.known.killed.get(&id) {
            Some((at, reason)) if *at < begun.ends() => (*at, Exit::Killed(reason.clone())),
            _ => match &begun.end.lost {
                Some(reason) => return Ok((begun.ends(), Err(CommandFault::Lost(reason.clone())))),
                None => (begun.ends(), exit(&begun.end)),
            },
        };
        let stdout = begun.end.stdout.as_bytes();
        let kept = stdout.len().min(begun.spec.capture_stdout as usize);
        let completion = Completion {
            exit,
            duration_ms: at.since(begun.started),
            stdout_bytes: stdout.len() as u64,
            stderr_bytes: 0,
            stdout: stdout[..kept].to_vec(),
        };
        Ok((at, Ok(completion)))
    }

    fn write(&mut self, name: String, offset: u64, text: &str) {
        let log = self.logs.entry(name).or_default();
        let known = log
            .len()
            .saturating_sub(usize::try_from(offset).unwrap_or(usize::MAX));
        log.push_str(text.get(known..).unwrap_or_default());
    }
}

fn exit(end: &Command) -> Exit {
    match end {
        Command {
            no_file: Some((fault, reason)),
            ..
        } => Exit::NoFile {
            fault: *fault,
            reason: reason.clone(),
        },
        Command {
            not_started: Some(reason),
            ..
        } => Exit::NotStarted(reason.clone()),
        Command {
            killed: Some(reason), ..
        } => Exit::Killed(reason.clone()),
        Command {
            signal: Some(signal), ..
        } => Exit::Signal(*signal),
        Command {
            idle_timeout: true, ..
        } => Exit::TimedOut(TimeOut::Idle),
        Command {
            total_timeout: true, ..
        } => Exit::TimedOut(TimeOut::Total),
        Command { exit, .. } => Exit::Code(exit.unwrap_or(0)),
    }
}

/// The program and its arguments with blanks between, or the line of the shell.
pub(crate) fn words(program: &Program) -> String {
    match program {
        Program::Argv(argv) => argv.join(" "),
        Program::Shell(line) => line.clone(),
        Program::File { path, .. } => path.clone(),
    }
}

impl StepPort for Farm {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move { self.inner().append(rows, effects) }.boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        _id: CommandId,
        _spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.append(rows, effects)
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        async { Ok(self.journal_rows()) }.boxed()
    }

    fn start_command(
        &self,
        _seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        async move { self.inner().begin(id, spec, self.time.now()) }.boxed()
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        async move {
            let (at, end) = self.inner().end(id)?;
            self.time.until(at).await;
            end
        }
        .boxed()
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move {
            let now = self.time.now();
            self.inner().known.killed.entry(id).or_insert((now, reason));
            Ok(())
        }
        .boxed()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        self.time.until(at).boxed()
    }

    fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move {
            self.inner().write(name, offset, &text);
            Ok(())
        }
        .boxed()
    }

    fn no_room_for(&self, name: String) -> BoxFuture<'_, Result<Option<String>, Abandoned>> {
        let stored = |row: &Entry| {
            let answer = row.response.as_ref();
            answer.is_some_and(|answer| answer["stored"]["name"] == name.as_str())
        };
        let known = self.inner().journal.iter().any(stored);
        let text = format!("expected a new name, found that this build has stored an artefact `{name}`");
        async move { Ok(known.then_some(text)) }.boxed()
    }

    fn store_output(
        &self,
        command: CommandId,
        name: String,
        _size: u64,
    ) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        async move {
            let mut inner = self.inner();
            let begun = inner.known.begun.get(&command);
            let content = begun.map(|begun| begun.end.stdout.clone()).unwrap_or_default();
            Ok(inner.keep(name, content.into_bytes()))
        }
        .boxed()
    }

    fn store_content(&self, name: String, content: Vec<u8>) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        async move {
            let mut inner = self.inner();
            let said = match inner.known.written.get(&name) {
                Some(said) => said.clone(),
                None => inner.file(&name)?,
            };
            inner.known.written.insert(name.clone(), said.clone());
            match said.unavailable {
                Some(reason) => Err(StoreFault::Unavailable(reason)),
                None => Ok(inner.keep(name, content)),
            }
        }
        .boxed()
    }

    fn call_scheduler(
        &self,
        seq: u32,
        scheduler: String,
        call: Value,
        _stop: StopSignal,
    ) -> BoxFuture<'_, Result<Triggered, Abandoned>> {
        async move { self.inner().call(seq, (scheduler, call), self.time.now()) }.boxed()
    }

    fn wait_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        _give_back: bool,
    ) -> BoxFuture<'_, Result<Awaited, Abandoned>> {
        async move {
            let (at, ended) = self.inner().known.asked.ended(&buildsets)?;
            self.time.until(at).await;
            Ok(ended)
        }
        .boxed()
    }
}

/// What a member of an environment is in a call's table.
pub(crate) fn env(value: &Value) -> Value {
    match (value.get("set"), value.get("secret")) {
        (Some(text), _) => text.clone(),
        (None, Some(name)) => serde_json::json!({ "secret": name }),
        (None, None) => Value::Bool(false),
    }
}
