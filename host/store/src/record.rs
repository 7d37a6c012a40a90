//! What a running build notes, several things at a time: the end of a step with the beginning of the next one, the end of
//! a command with the row of the journal that answers it. One transaction, one sync.

use capstan_model::journal::{Effect, Entry};
use capstan_model::{BuildId, CommandId, Completion, LockAccess, LogId, Outcome, StepId, Timestamp};
use futures::FutureExt as _;

use crate::commands::{self, CommandLog, NewCommand};
use crate::steps::{self, Step};
use crate::writer::Tx;
use crate::{Error, Store, journal, locks, logs};

/// One thing to be noted. Each is what the method of [`Store`] that is named with it does, and may be repeated as that may.
#[derive(Clone, Debug)]
pub enum Record {
    /// [`Store::begin_step`].
    Begin {
        /// The step.
        step: StepId,
        /// Row 0 of its journal.
        created: Entry,
    },
    /// [`Store::append_journal`].
    Journal {
        /// The step.
        step: StepId,
        /// The rows.
        entries: Vec<Entry>,
        /// What local rows change.
        effects: Vec<Effect>,
        /// The command of a `Start`.
        command: Option<NewCommand>,
    },
    /// [`Store::finish_command`].
    CommandEnd {
        /// The command.
        id: CommandId,
        /// How it ended, unless it ended before.
        completion: Completion,
    },
    /// [`Store::complete_log`].
    LogComplete {
        /// The log.
        log: LogId,
        /// How many bytes it has.
        length: u64,
        /// How many lines.
        lines: u64,
    },
    /// [`Store::seal_log`].
    LogSealed {
        /// The log.
        log: LogId,
        /// How many bytes it has.
        length: u64,
        /// How many lines.
        lines: u64,
    },
    /// Pages leave the step out.
    Hide {
        /// The step.
        step: StepId,
    },
    /// Which locks a step that has not begun takes, or waits for.
    Locks {
        /// The step.
        step: StepId,
        /// The locks.
        accesses: Vec<LockAccess>,
        /// What people are told while it waits; nothing once it has them.
        waits: Option<String>,
    },
    /// [`Store::finish_step`], without a last row.
    Finish {
        /// The step.
        step: StepId,
        /// How it ended.
        outcome: Outcome,
        /// A few words about that.
        summary: String,
    },
}

impl Store {
    /// Notes all of these, in their order and each as of its own time, in one transaction. Answers the log of the last
    /// command that was noted.
    pub async fn record(&self, records: Vec<(Timestamp, Record)>) -> Result<Option<CommandLog>, Error> {
        self.write(move |tx| all(tx, records).boxed()).await
    }

    /// The step of a build that comes after that one; without one, the first.
    pub async fn next_step(&self, build: BuildId, after: Option<StepId>) -> Result<Option<Step>, Error> {
        steps::next(&mut self.reader().await?, build, after).await
    }
}

async fn all(tx: &mut Tx, records: Vec<(Timestamp, Record)>) -> Result<Option<CommandLog>, Error> {
    let mut log = None;
    for (now, record) in records {
        log = one(tx, record, now).await?.or(log);
    }
    Ok(log)
}

async fn one(tx: &mut Tx, record: Record, now: Timestamp) -> Result<Option<CommandLog>, Error> {
    match record {
        Record::Begin { step, created } => steps::begin(tx, step, created, now).await?,
        Record::Journal {
            step,
            entries,
            effects,
            command,
        } => return journal::append_all(tx, step, entries, effects, command, now).await,
        Record::CommandEnd { id, completion } => {
            commands::finish(tx, id, completion, now).await?;
        }
        Record::LogComplete { log, length, lines } => logs::complete(tx, log, length, lines, now).await?,
        Record::LogSealed { log, length, lines } => logs::seal(tx, log, length, lines, now).await?,
        Record::Hide { step } => steps::hide(tx, step).await?,
        Record::Locks {
            step,
            accesses,
            waits,
        } => locks::note(tx, step, accesses, waits, now).await?,
        Record::Finish {
            step,
            outcome,
            summary,
        } => steps::finish(tx, step, outcome, summary, None, now).await?,
    }
    Ok(None)
}
