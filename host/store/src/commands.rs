//! The commands that steps asked for. A row is made with the `Start` of its journal and ends with the completion that
//! the worker reported once every log byte was durable.

use capstan_model::{CommandId, CommandSpec, Completion, Exit, LogId, StepId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::logs::Made;
use crate::sql::{Conn, Json, Row, args, words};
use crate::steps::Scope;
use crate::writer::Tx;
use crate::{Error, Store, interruptions, logs, workers};

words! {
    /// How far a command is.
    CommandState {
        /// It was asked for; a worker may have it.
        Running = "running",
        /// It has ended, and all its output is stored.
        Complete = "complete",
    }
}

/// A command to be noted with its `Start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommand {
    /// The id that makes it run once.
    pub id: CommandId,
    /// The position of its `Start`.
    pub seq: u32,
    /// The log that it asks for; a name that the step used already gets a number.
    pub log: String,
    /// Where it runs.
    pub worker: String,
    /// What to run.
    pub spec: CommandSpec,
}

/// The log that a command got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLog {
    /// The key.
    pub id: LogId,
    /// Its name: the one that was asked for, with a number where that was taken.
    pub name: String,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The id that makes it run once.
    pub id: CommandId,
    /// The step that asked for it.
    pub step: StepId,
    /// The position of its `Start` in the step's journal.
    pub seq: u32,
    /// Its log.
    pub log: LogId,
    /// The log's name.
    pub log_name: String,
    /// Where it runs.
    pub worker: String,
    /// What to run.
    pub spec: CommandSpec,
    /// How far it is.
    pub state: CommandState,
    /// How it ended.
    pub completion: Option<Completion>,
    /// When it was asked for.
    pub started: Timestamp,
    /// When its end was known.
    pub finished: Option<Timestamp>,
}

impl Store {
    /// That command.
    pub async fn command(&self, id: CommandId) -> Result<Option<Command>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT commands.*, workers.name AS worker_name, logs.name AS log_name FROM commands
                   JOIN workers ON workers.id = commands.worker JOIN logs ON logs.id = commands.log
                   WHERE commands.id = $1";
        conn.row(sql, args![id]).await?.as_ref().map(command).transpose()
    }

    /// The commands that have not ended, of one worker or of all, in the order in which they were asked for.
    pub async fn unfinished_commands(&self, worker: Option<&str>) -> Result<Vec<Command>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT commands.*, workers.name AS worker_name, logs.name AS log_name FROM commands
                   JOIN workers ON workers.id = commands.worker JOIN logs ON logs.id = commands.log
                   WHERE commands.state = 'running' AND ($1 IS NULL OR workers.name = $1)
                   ORDER BY commands.step, commands.seq";
        conn.rows(sql, args![worker]).await?.iter().map(command).collect()
    }

    /// Notes how a command ended. Answers how it did: the first completion stays. [`Error::Conflict`] when there is
    /// no such command.
    pub async fn finish_command(
        &self,
        id: CommandId,
        completion: Completion,
        now: Timestamp,
    ) -> Result<Completion, Error> {
        self.write(move |tx| finish(tx, id, completion, now).boxed())
            .await
    }
}

/// Notes a command with a log of its own.
pub(crate) async fn insert(
    tx: &mut Tx,
    scope: &Scope,
    new: NewCommand,
    now: Timestamp,
) -> Result<CommandLog, Error> {
    let worker = workers::ensure(tx, &new.worker, now).await?;
    let made = match new.spec.program.is_file() {
        true => Made::ForFile,
        false => Made::ForOutput,
    };
    let (log, name) = logs::create(tx, scope, &new.log, made, now).await?;
    let insert = "INSERT INTO commands (id, step, seq, log, worker, spec, state, started)
                  VALUES ($1, $2, $3, $4, $5, $6, 'running', $7)";
    tx.run(
        insert,
        args![new.id, scope.step, new.seq, log, worker, Json(&new.spec), now],
    )
    .await?;
    Ok(CommandLog { id: log, name })
}

/// The log of a command that was noted before.
pub(crate) async fn log_of(conn: &mut Conn, id: CommandId) -> Result<Option<CommandLog>, Error> {
    let sql =
        "SELECT logs.id, logs.name FROM logs JOIN commands ON commands.log = logs.id WHERE commands.id = $1";
    let row = conn.row(sql, args![id]).await?;
    row.map(|row| {
        Ok(CommandLog {
            id: row.get("id")?,
            name: row.get("name")?,
        })
    })
    .transpose()
}

pub(crate) async fn finish(
    tx: &mut Tx,
    id: CommandId,
    completion: Completion,
    now: Timestamp,
) -> Result<Completion, Error> {
    let update = "UPDATE commands SET state = 'complete', completion = $2, finished = $3
                  WHERE id = $1 AND completion IS NULL";
    if tx.run(update, args![id, Json(&completion), now]).await? > 0 {
        if matches!(completion.exit, Exit::Lost(_)) {
            interruptions::command_was_lost(tx, id, now).await?;
        }
        return Ok(completion);
    }
    let row = tx
        .row("SELECT completion FROM commands WHERE id = $1", args![id])
        .await?;
    let row = row.ok_or_else(|| Error::conflict(format!("expected command {id}, found no such command")))?;
    Ok(row.get::<Json<Completion>>("completion")?.0)
}

fn command(row: &Row) -> Result<Command, Error> {
    Ok(Command {
        id: row.get("id")?,
        step: row.get("step")?,
        seq: row.get("seq")?,
        log: row.get("log")?,
        log_name: row.get("log_name")?,
        worker: row.get("worker_name")?,
        spec: row.get::<Json<CommandSpec>>("spec")?.0,
        state: row.get("state")?,
        completion: row.maybe::<Json<Completion>>("completion")?.map(|json| json.0),
        started: row.get("started")?,
        finished: row.maybe("finished")?,
    })
}
