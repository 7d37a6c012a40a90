//! The port of one step: what its plugin asks of the world, carried out. Made by `step` for each run, called by the engine.
//! What it does about commands is in `commands`, about artefacts in `artefacts`,
//! about builds that it asks for in `triggers`.

mod artefacts;
mod commands;
mod triggers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capstan_engine::{
    Abandoned, Awaited, CommandFault, StepEnd, StepPort, StopSignal, StoreFault, Triggered,
};
use capstan_model::journal::{Effect, Entry, Kind};
use capstan_model::{
    BuildId, BuildsetId, Channel, CommandId, CommandSpec, Completion, Digest, LogId, StepId, Stored,
    Timestamp,
};
use capstan_store::{Build, NewCommand, Record, Step};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::farm::Farm;
use crate::ledger::Ledger;
use crate::{Error, workers};

/// The clock may be turned while a step sleeps: it looks again at least so often.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// What the journal calls the handing over of a file.
const PUBLISH: &str = "artefacts.publish";

/// See the module.
pub(super) struct Host {
    farm: Arc<Farm>,
    ledger: Arc<Ledger>,
    step: StepId,
    /// The secrets that its commands may be given; without a list all.
    secrets: Option<Vec<String>>,
    worker: String,
    build_id: BuildId,
    /// The build's row, for the steps that follow. Not kept while the step waits without an instance.
    build: Mutex<Option<Arc<Build>>>,
    /// When the step began, by the master's clock: text that it writes is timed from there.
    began: Timestamp,
    /// Whether an earlier run of the step may have left something behind that only the store knows of.
    taken_up: bool,
    /// See [`Asked`].
    commands: Mutex<Vec<Asked>>,
    /// The logs that the step itself writes, once they are open.
    logs: tokio::sync::Mutex<HashMap<String, (LogId, capstan_logs::Writer)>>,
}

/// A command that this run of the step has to do with.
struct Asked {
    id: CommandId,
    log: LogId,
    /// Whether the log only carries a file.
    transport: bool,
    /// Until it is sent, for one whose row this run has made.
    unsent: Option<Box<CommandSpec>>,
    /// Its end was noted.
    ended: bool,
    /// Its log was noted to be complete.
    complete: bool,
}

impl Host {
    pub(super) fn new(
        farm: Arc<Farm>,
        ledger: Arc<Ledger>,
        build: Arc<Build>,
        (step, secrets): (&Step, Option<Vec<String>>),
        journal: &[Entry],
    ) -> Self {
        let began = journal.first().map_or_else(|| farm.clock.now(), |row| row.at);
        Self {
            farm,
            ledger,
            step: step.id,
            secrets,
            worker: build.worker.clone(),
            build_id: build.id,
            build: Mutex::new(Some(build)),
            began,
            taken_up: !journal.is_empty(),
            commands: Mutex::default(),
            logs: tokio::sync::Mutex::default(),
        }
    }

    /// The build's row, if it was kept.
    pub(super) fn into_build(self: Arc<Self>) -> Option<Arc<Build>> {
        self.build().take()
    }

    fn build(&self) -> MutexGuard<'_, Option<Arc<Build>>> {
        self.build.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commands(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes rows of the journal. The first and the last one wait for whatever is to be durable next: the first is no answer
    /// to anything, and after the last one nothing comes but the step's end. All others are durable when this returns, with
    /// everything noted before.
    async fn append(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        command: Option<NewCommand>,
    ) -> Result<(), Abandoned> {
        let now = self.farm.clock.now();
        let (step, mut entries) = (self.step, rows);
        if entries.first().is_some_and(|row| row.kind == Kind::Created) {
            let created = entries.remove(0);
            self.ledger.note(now, Record::Begin { step, created });
        }
        let Some(last) = entries.last().map(|row| row.kind) else {
            return Ok(());
        };
        let answers_publish = last == Kind::End && entries.last().is_some_and(|row| row.call == PUBLISH);
        let asked = command.as_ref().map(|command| (command.id, command.spec.clone()));
        let record = Record::Journal {
            step,
            entries,
            effects,
            command,
        };
        self.ledger.note(now, record);
        if last == Kind::Finished {
            return Ok(());
        }
        let log = self.ledger.commit(&self.farm).await.map_err(abandoned)?;
        if let (Some((id, spec)), Some(log)) = (asked, log) {
            self.know(id, log.id, spec.program.is_file(), Some(spec));
        }
        if answers_publish {
            self.drop_transports().await;
        }
        Ok(())
    }

    /// Notes that the step's logs are complete, and its end. Sealing the logs is left to `sealing`: nobody waits for it.
    pub(super) async fn conclude(&self, end: &StepEnd) -> Result<(), Error> {
        self.end_transports().await?;
        let now = self.farm.clock.now();
        for (log, complete) in self.open_logs().await? {
            let totals = match self.farm.logs.end(log).await {
                Ok(totals) => totals,
                // It stays as it is; that it cannot be read does not keep the build from its end.
                Err(error) if workers::is_lasting(&error) => {
                    tracing::error!(%log, %error, "a log cannot be completed");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let (length, lines) = (totals.length, totals.lines);
            if !complete {
                self.ledger.note(now, Record::LogComplete { log, length, lines });
            }
        }
        let summary = match (&end.failure, &end.summary) {
            (Some(failure), _) => failure.to_string(),
            (None, summary) => summary.clone().unwrap_or_default(),
        };
        let (step, outcome) = (self.step, end.outcome);
        self.ledger.note(
            now,
            Record::Finish {
                step,
                outcome,
                summary,
            },
        );
        self.farm.to_seal.notify_one();
        Ok(())
    }

    /// The logs of the step that are not sealed, and whether each was noted to be complete.
    async fn open_logs(&self) -> Result<Vec<(LogId, bool)>, Error> {
        if self.taken_up {
            self.ledger.commit(&self.farm).await?;
            let logs = self.farm.store.logs(self.step).await?;
            let open = logs.iter().filter(|log| !log.sealed);
            return Ok(open.map(|log| (log.id, log.complete)).collect());
        }
        let own = self.logs.lock().await;
        let own = own.values().map(|(log, _)| (*log, false));
        let commands = self.commands();
        let commands = commands.iter().filter(|asked| !asked.transport);
        let commands = commands.map(|asked| (asked.log, asked.complete));
        Ok(own.chain(commands).collect())
    }

    async fn write(&self, name: String, offset: u64, text: &str) -> Result<(), Error> {
        let mut logs = self.logs.lock().await;
        if !logs.contains_key(&name) {
            self.ledger.commit(&self.farm).await?;
            let id = self
                .farm
                .store
                .open_log(self.step, &name, self.farm.clock.now())
                .await?;
            let writer = self.farm.logs.writer(id).await?;
            logs.insert(name.clone(), (id, writer));
        }
        let Some((_, writer)) = logs.get_mut(&name) else {
            return Ok(());
        };
        let elapsed = self.farm.clock.now().since(self.began);
        writer
            .append_text(offset, Channel::Stdout, elapsed, text.as_bytes())
            .await?;
        Ok(())
    }
}

fn abandoned(error: impl std::fmt::Display) -> Abandoned {
    Abandoned(error.to_string())
}

impl StepPort for Host {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.append(rows, effects, None).boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        let seq = rows.last().map_or(0, |row| row.seq);
        let command = NewCommand {
            id,
            seq,
            log: spec.log.clone(),
            worker: self.worker.clone(),
            spec,
        };
        self.append(rows, effects, Some(command)).boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        // All of it is there: the `Start` of what was waited for was committed, with everything before it.
        async move { self.farm.store.journal(self.step).await.map_err(abandoned) }.boxed()
    }

    fn parked(&self) {
        self.build().take();
    }

    fn start_command(
        &self,
        _: u32,
        id: CommandId,
        _: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        self.start(id).boxed()
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        self.wait(id).boxed()
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move { self.kill(id, &reason).await }.boxed()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        async move {
            // A clock that is turned back makes it no longer.
            let wanted = Duration::from_millis(at.since(self.farm.clock.now()));
            let began = tokio::time::Instant::now();
            loop {
                let left = Duration::from_millis(at.since(self.farm.clock.now()));
                let left = left.min(wanted.saturating_sub(began.elapsed()));
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        }
        .boxed()
    }

    fn now(&self) -> Timestamp {
        self.farm.clock.now()
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move { self.write(name, offset, &text).await.map_err(abandoned) }.boxed()
    }

    fn patch(&self, digest: Digest) -> BoxFuture<'_, Result<String, Abandoned>> {
        async move {
            let bytes = self.farm.store.blob(digest).await.map_err(abandoned)?;
            let missing = || abandoned(format!("the text of the patch {} is not stored", digest.short()));
            String::from_utf8(bytes.ok_or_else(missing)?).map_err(abandoned)
        }
        .boxed()
    }

    fn max_artefact(&self) -> u64 {
        self.farm.operator.limits.max_artefact
    }

    fn no_room_for(&self, name: String) -> BoxFuture<'_, Result<Option<String>, Abandoned>> {
        async move { self.no_room_for(&name).await }.boxed()
    }

    fn store_output(
        &self,
        command: CommandId,
        name: String,
        size: u64,
    ) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        self.store_output(command, name, size).boxed()
    }

    fn store_content(&self, name: String, content: Vec<u8>) -> BoxFuture<'_, Result<Stored, StoreFault>> {
        self.store_content(name, content).boxed()
    }

    fn call_scheduler(
        &self,
        seq: u32,
        scheduler: String,
        call: serde_json::Value,
        stop: StopSignal,
    ) -> BoxFuture<'_, Result<Triggered, Abandoned>> {
        self.call_scheduler(seq, scheduler, call, stop).boxed()
    }

    fn wait_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        give_back: bool,
    ) -> BoxFuture<'_, Result<Awaited, Abandoned>> {
        self.wait_buildsets(buildsets, give_back).boxed()
    }

    fn cancel_buildsets(
        &self,
        buildsets: Vec<BuildsetId>,
        reason: String,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.cancel_buildsets(buildsets, reason).boxed()
    }
}
