//! What there is to know of logs without reading them. Their bytes are in the log store, whose durable length is the
//! truth; length and lines here are what it last told.

use capstan_model::{BuildId, CommandId, LogId, StepId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sql::{Conn, Row, args};
use crate::steps::Scope;
use crate::writer::Tx;
use crate::{Error, Store};

/// A log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The key.
    pub id: LogId,
    /// Its step.
    pub step: StepId,
    /// Its name, unique within the step.
    pub name: String,
    /// The command whose output it is; `None` when the step writes it.
    pub command: Option<CommandId>,
    /// How many bytes it had when it was last looked at.
    pub length: u64,
    /// How many lines.
    pub lines: u64,
    /// Whether nothing more will come.
    pub complete: bool,
    /// Whether it is in its final, compressed form.
    pub sealed: bool,
    /// When it was made.
    pub created: Timestamp,
}

impl Store {
    /// The log of a step that the step itself writes under that name; made if it is new. A name that a command's log
    /// has gets a number.
    pub async fn open_log(&self, step: StepId, name: &str, now: Timestamp) -> Result<LogId, Error> {
        let name = name.to_owned();
        self.write(move |tx| open(tx, step, name, now).boxed()).await
    }

    /// That log.
    pub async fn log(&self, id: LogId) -> Result<Option<Log>, Error> {
        let mut conn = self.reader().await?;
        let sql =
            "SELECT logs.*, commands.id AS command FROM logs LEFT JOIN commands ON commands.log = logs.id
                   WHERE logs.id = $1 AND logs.transport = 0";
        conn.row(sql, args![id]).await?.as_ref().map(log).transpose()
    }

    /// The logs of a step, in the order in which they were made. Those that carry files are none of them.
    pub async fn logs(&self, step: StepId) -> Result<Vec<Log>, Error> {
        let mut conn = self.reader().await?;
        let sql =
            "SELECT logs.*, commands.id AS command FROM logs LEFT JOIN commands ON commands.log = logs.id
                   WHERE logs.step = $1 AND logs.transport = 0 ORDER BY logs.id";
        conn.rows(sql, args![step]).await?.iter().map(log).collect()
    }

    /// Those that carry files of a step, and were not noted to be sealed: for them that means gone.
    pub async fn transports(&self, step: StepId) -> Result<Vec<LogId>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id FROM logs WHERE step = $1 AND transport = 1 AND sealed = 0 ORDER BY id";
        let rows = conn.rows(sql, args![step]).await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// The logs of all steps of a build, in the order in which they were made.
    pub async fn logs_of_build(&self, build: BuildId) -> Result<Vec<Log>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT logs.*, commands.id AS command FROM logs JOIN steps ON steps.id = logs.step
                   LEFT JOIN commands ON commands.log = logs.id WHERE steps.build = $1 AND logs.transport = 0
                   ORDER BY logs.id";
        conn.rows(sql, args![build]).await?.iter().map(log).collect()
    }

    /// The logs of steps that have ended that are complete but not sealed, after that one, oldest first, at most `limit`.
    pub async fn unsealed_logs(&self, after: Option<LogId>, limit: u32) -> Result<Vec<Log>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT logs.*, commands.id AS command FROM logs JOIN steps ON steps.id = logs.step
                   LEFT JOIN commands ON commands.log = logs.id
                   WHERE logs.complete = 1 AND logs.sealed = 0 AND logs.transport = 0 AND steps.state = 'complete'
                   AND logs.id > $1
                   ORDER BY logs.id LIMIT $2";
        let after = after.map_or(0, |log| log.0);
        conn.rows(sql, args![after, limit])
            .await?
            .iter()
            .map(log)
            .collect()
    }

    /// Notes how long a log is by now. A log that is complete stays as it is.
    pub async fn log_progress(&self, id: LogId, length: u64, lines: u64) -> Result<(), Error> {
        self.write(move |tx| progress(tx, id, length, lines).boxed())
            .await
    }

    /// Notes that nothing more will come, and how long the log is.
    pub async fn complete_log(
        &self,
        id: LogId,
        length: u64,
        lines: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |tx| complete(tx, id, length, lines, now).boxed())
            .await
    }

    /// Notes that a log is in its final form, with its final length; it counts as complete, too.
    pub async fn seal_log(&self, id: LogId, length: u64, lines: u64, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| seal(tx, id, length, lines, now).boxed())
            .await
    }
}

async fn open(tx: &mut Tx, step: StepId, name: String, now: Timestamp) -> Result<LogId, Error> {
    let known = "SELECT id FROM logs WHERE step = $1 AND opened_as = $2";
    if let Some(row) = tx.row(known, args![step, &name]).await? {
        return row.get("id");
    }
    let scope = Scope::of(tx, step).await?;
    Ok(create(tx, &scope, &name, Made::OpenedAs(&name), now).await?.0)
}

/// Makes a log; answers its key and the name that it got: the one asked for, or that with the first number that is
/// free.
pub(crate) async fn create(
    tx: &mut Tx,
    scope: &Scope,
    wanted: &str,
    made: Made<'_>,
    now: Timestamp,
) -> Result<(LogId, String), Error> {
    let name = free_name(tx, scope.step, wanted).await?;
    let opened_as = match made {
        Made::OpenedAs(name) => Some(name),
        Made::ForOutput | Made::ForFile => None,
    };
    let transport = matches!(made, Made::ForFile);
    let insert =
        "INSERT INTO logs (step, name, opened_as, length, lines, complete, sealed, created, transport)
                  VALUES ($1, $2, $3, 0, 0, 0, 0, $4, $5) RETURNING id";
    let id = tx
        .one(insert, args![scope.step, &name, opened_as, now, transport])
        .await?
        .get("id")?;
    if !transport {
        scope
            .event("log.opened")
            .payload(json!({ "log": id, "name": name }))
            .add(tx, now);
    }
    Ok((id, name))
}

/// What a log is made for.
#[derive(Clone, Copy)]
pub(crate) enum Made<'a> {
    /// The step writes it itself, under this name.
    OpenedAs(&'a str),
    /// A command prints into it.
    ForOutput,
    /// It carries a file: nobody is to read it as a log, or to be told of it.
    ForFile,
}

async fn free_name(conn: &mut Conn, step: StepId, wanted: &str) -> Result<String, Error> {
    let rows = conn
        .rows("SELECT name FROM logs WHERE step = $1", args![step])
        .await?;
    let taken: Vec<String> = rows.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
    let numbered = (2u64..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    Ok(names
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| wanted.to_owned()))
}

async fn progress(tx: &mut Tx, id: LogId, length: u64, lines: u64) -> Result<(), Error> {
    let update = "UPDATE logs SET length = $2, lines = $3 WHERE id = $1 AND complete = 0";
    tx.run(update, args![id, length, lines]).await.map(|_| ())
}

pub(crate) async fn complete(
    tx: &mut Tx,
    id: LogId,
    length: u64,
    lines: u64,
    now: Timestamp,
) -> Result<(), Error> {
    let update = "UPDATE logs SET length = $2, lines = $3, complete = 1 WHERE id = $1 AND complete = 0
                  RETURNING step, name, transport";
    let Some(row) = tx.row(update, args![id, length, lines]).await? else {
        return Ok(());
    };
    if row.get("transport")? {
        return Ok(());
    }
    let scope = Scope::of(tx, row.get("step")?).await?;
    let payload = json!({ "log": id, "name": row.get::<String>("name")?, "length": length, "lines": lines });
    scope.event("log.complete").payload(payload).add(tx, now);
    Ok(())
}

pub(crate) async fn seal(
    tx: &mut Tx,
    id: LogId,
    length: u64,
    lines: u64,
    now: Timestamp,
) -> Result<(), Error> {
    complete(tx, id, length, lines, now).await?;
    tx.run("UPDATE logs SET sealed = 1 WHERE id = $1", args![id])
        .await?;
    Ok(())
}

fn log(row: &Row) -> Result<Log, Error> {
    Ok(Log {
        id: row.get("id")?,
        step: row.get("step")?,
        name: row.get("name")?,
        command: row.maybe("command")?,
        length: row.get("length")?,
        lines: row.get("lines")?,
        complete: row.get("complete")?,
        sealed: row.get("sealed")?,
        created: row.get("created")?,
    })
}
