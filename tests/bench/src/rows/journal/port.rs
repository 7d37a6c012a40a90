//! Ports of steps that keep their journals: in memory, or in a store. Commands end at once on either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use capstan_engine::{Abandoned, CommandFault, StepEnd, StepPort};
use capstan_model::journal::{Effect, Entry, Kind};
use capstan_model::{CommandId, CommandSpec, Completion, StepId, Timestamp};
use capstan_store::{NewCommand, Record, Store};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::super::plugins::AtOnce;

/// Keeps rows in memory.
pub struct InMemory(pub Arc<Mutex<Vec<Entry>>>);

/// Keeps rows in a store, by the rules of the master's ledger: row 0, the last row and the end of a command wait for what
/// comes next, everything else is durable at once.
pub struct Durable {
    store: Store,
    step: StepId,
    waiting: Mutex<Vec<(Timestamp, Record)>>,
}

const NOW: Timestamp = Timestamp(3);

impl Durable {
    pub fn new(store: Store, step: StepId) -> Self {
        Self {
            store,
            step,
            waiting: Mutex::default(),
        }
    }

    /// The step is over; its end shares a commit with the next one's beginning, which here has nothing else.
    pub async fn finish(&self, end: StepEnd) -> Result<()> {
        let (step, outcome, summary) = (self.step, end.outcome, end.summary.unwrap_or_default());
        self.waiting().push((
            NOW,
            Record::Finish {
                step,
                outcome,
                summary,
            },
        ));
        let records = std::mem::take(&mut *self.waiting());
        self.store.record(records).await?;
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Timestamp, Record)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn note(
        &self,
        mut entries: Vec<Entry>,
        effects: Vec<Effect>,
        command: Option<NewCommand>,
    ) -> Result<(), Abandoned> {
        let step = self.step;
        if entries.first().is_some_and(|row| row.kind == Kind::Created) {
            let created = entries.remove(0);
            self.waiting().push((NOW, Record::Begin { step, created }));
        }
        let Some(last) = entries.last().map(|row| row.kind) else {
            return Ok(());
        };
        let record = Record::Journal {
            step,
            entries,
            effects,
            command,
        };
        self.waiting().push((NOW, record));
        if last == Kind::Finished {
            return Ok(());
        }
        let records = std::mem::take(&mut *self.waiting());
        let stored = self.store.record(records).await;
        stored.map(drop).map_err(|error| Abandoned(error.to_string()))
    }
}

impl StepPort for Durable {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.note(rows, effects, None).boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        let command = NewCommand {
            id,
            seq: rows.last().map_or(0, |row| row.seq),
            log: spec.log.clone(),
            worker: "w1".to_owned(),
            spec,
        };
        self.note(rows, effects, Some(command)).boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        async move {
            let stored = self.store.journal(self.step).await;
            stored.map_err(|error| Abandoned(error.to_string()))
        }
        .boxed()
    }

    fn start_command(
        &self,
        seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        AtOnce.start_command(seq, id, spec)
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        async move {
            let completion = AtOnce.wait_command(id).await?;
            let end = Record::CommandEnd {
                id,
                completion: completion.clone(),
            };
            self.waiting().push((NOW, end));
            Ok(completion)
        }
        .boxed()
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.kill_command(id, reason)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        AtOnce.sleep_until(at)
    }

    fn now(&self) -> Timestamp {
        NOW
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.write_log(name, offset, text)
    }
}

impl StepPort for InMemory {
    fn append(&self, rows: Vec<Entry>, _effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
        async { Ok(()) }.boxed()
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
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async { Ok(rows) }.boxed()
    }

    fn start_command(
        &self,
        seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        AtOnce.start_command(seq, id, spec)
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        AtOnce.wait_command(id)
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.kill_command(id, reason)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        AtOnce.sleep_until(at)
    }

    fn now(&self) -> Timestamp {
        NOW
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.write_log(name, offset, text)
    }
}
