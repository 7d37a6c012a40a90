//! When running builds were without their master or their worker, for people: a row for each time, so that a build page can
//! say that somebody was away and nothing was lost. Kept few: what comes soon after another of its kind joins it.

use capstan_model::{BuildId, CommandId, Timestamp, WorkerId};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::events::Draft;
use crate::sql::{Row, args, words};
use crate::writer::Tx;
use crate::{Error, Store};

words! {
    /// Who was away.
    InterruptionKind {
        /// No master ran.
        Master = "master",
        /// The build's worker had no connection.
        Worker = "worker",
    }
}

/// A time in which a running build was without its master or its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// The key.
    pub id: i64,
    /// Who was away.
    pub kind: InterruptionKind,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; `None` while it lasts, and where the build ended first.
    pub ended: Option<Timestamp>,
    /// How long somebody was away, in milliseconds. `None` where no clock tells.
    pub away: Option<u64>,
    /// How many absences soon after one another these were.
    pub times: u32,
    /// Whether a command was lost by it.
    pub lost: bool,
}

/// How long nobody was master before one began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Away {
    /// In milliseconds; `None` where no clock tells.
    pub ms: Option<u64>,
    /// The last moment of the master before, by its own clock.
    pub last_alive: Option<Timestamp>,
}

/// What begins so soon after the end of another of its kind belongs to it.
const SOON_MS: u64 = 3000;
/// Rows of one kind that a build has at most; later ones join the newest.
const MOST: i64 = 50;
/// A command that is lost so soon after somebody came back was lost by that absence: workers report at once.
const AFTERMATH_MS: u64 = 30_000;
/// A clock that tells of more has been set.
const LONGEST_MS: u64 = 366 * 24 * 3_600_000;

/// From one moment to a later one, unless the clock was turned meanwhile as far as one can see.
fn between(from: Timestamp, to: Timestamp) -> Option<u64> {
    u64::try_from(to.0.saturating_sub(from.0))
        .ok()
        .filter(|&ms| ms <= LONGEST_MS)
}

impl Store {
    /// What interrupted a build, oldest first.
    pub async fn interruptions(&self, build: BuildId) -> Result<Vec<Interruption>, Error> {
        let sql = "SELECT * FROM interruptions WHERE build = $1 ORDER BY id";
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, args![build]).await?;
        rows.iter().map(interruption).collect()
    }

    /// A worker has been away since then: notes it for the builds that run on it, unless it has come back or that is noted.
    pub async fn worker_is_away(&self, name: &str, since: Timestamp, now: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(move |tx| worker_is_away(tx, name, since.min(now), now).boxed())
            .await
    }
}

/// A running build, and the newest of its rows of one kind.
struct Running {
    build: BuildId,
    builder: String,
    newest: Option<i64>,
    ended: Option<Timestamp>,
    lost: bool,
    rows: i64,
}

impl Running {
    /// The builds that run, on one worker or on any.
    async fn all(tx: &mut Tx, kind: InterruptionKind, worker: Option<WorkerId>) -> Result<Vec<Self>, Error> {
        let sql = "SELECT builds.id AS build, builders.name AS builder_name, newest.id AS newest, newest.ended AS ended,
                   COALESCE(newest.lost, 0) AS lost,
                   (SELECT COUNT(*) FROM interruptions AS i WHERE i.build = builds.id AND i.kind = $1) AS known
                   FROM builds JOIN builders ON builders.id = builds.builder
                   LEFT JOIN interruptions AS newest ON newest.id =
                   (SELECT MAX(i.id) FROM interruptions AS i WHERE i.build = builds.id AND i.kind = $1)
                   WHERE builds.state = 'running' AND ($2 IS NULL OR builds.worker = $2) ORDER BY builds.id";
        let rows = tx.rows(sql, args![kind, worker]).await?;
        let running = |row: &Row| {
            Ok(Self {
                build: row.get("build")?,
                builder: row.get("builder_name")?,
                newest: row.maybe("newest")?,
                ended: row.maybe("ended")?,
                lost: row.get("lost")?,
                rows: row.get("known")?,
            })
        };
        rows.iter().map(running).collect()
    }

    /// The row that an absence which began then joins.
    fn joins(&self, began: Timestamp) -> Option<i64> {
        let soon = self
            .ended
            .is_some_and(|ended| ended.0.abs_diff(began.0) < SOON_MS);
        self.newest.filter(|_| (soon && !self.lost) || self.rows >= MOST)
    }

    fn tell(&self, tx: &mut Tx, event: &str, kind: InterruptionKind, now: Timestamp) {
        Draft::new(event)
            .builder(&self.builder)
            .build(self.build)
            .payload(json!({ "kind": kind }))
            .add(tx, now);
    }
}

/// A master begins after nobody was master for so long.
pub(crate) async fn master_was_away(tx: &mut Tx, away: Option<u64>, now: Timestamp) -> Result<(), Error> {
    const KIND: InterruptionKind = InterruptionKind::Master;
    let away = away.filter(|&ms| ms <= LONGEST_MS);
    let began = now.plus_ms(away.and_then(|ms| i64::try_from(ms).ok()).map_or(0, |ms| -ms));
    for running in Running::all(tx, KIND, None).await? {
        match running.joins(began) {
            Some(row) => {
                let update =
                    "UPDATE interruptions SET ended = $2, away = away + $3, times = times + 1 WHERE id = $1";
                tx.run(update, args![row, now, away]).await?;
            }
            None => {
                let insert = "INSERT INTO interruptions (build, kind, began, ended, away, times, lost)
                              VALUES ($1, $2, $3, $4, $5, 1, 0)";
                tx.run(insert, args![running.build, KIND, began, now, away])
                    .await?;
            }
        }
        running.tell(tx, "build.interrupted", KIND, now);
    }
    Ok(())
}

async fn worker_is_away(tx: &mut Tx, name: String, since: Timestamp, now: Timestamp) -> Result<(), Error> {
    const KIND: InterruptionKind = InterruptionKind::Worker;
    let gone = "SELECT id FROM workers WHERE name = $1 AND connected = 0";
    let Some(row) = tx.row(gone, args![name]).await? else {
        return Ok(());
    };
    let worker: WorkerId = row.get("id")?;
    for running in Running::all(tx, KIND, Some(worker)).await? {
        let lasts = running.newest.is_some() && running.ended.is_none();
        if lasts {
            continue;
        }
        match running.joins(since) {
            Some(row) => {
                let update = "UPDATE interruptions SET ended = NULL, times = times + 1 WHERE id = $1";
                tx.run(update, args![row]).await?;
            }
            None => {
                let insert = "INSERT INTO interruptions (build, kind, began, away, times, lost)
                              VALUES ($1, $2, $3, 0, 1, 0)";
                tx.run(insert, args![running.build, KIND, since]).await?;
            }
        }
        running.tell(tx, "build.interrupted", KIND, now);
    }
    Ok(())
}

/// A worker is back after so long; without that, the clock has to tell.
pub(crate) async fn worker_is_back(
    tx: &mut Tx,
    worker: WorkerId,
    away: Option<u64>,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "SELECT interruptions.id, interruptions.began, interruptions.times, workers.since,
               builds.id AS build, builders.name AS builder_name
               FROM interruptions JOIN builds ON builds.id = interruptions.build
               JOIN builders ON builders.id = builds.builder JOIN workers ON workers.id = builds.worker
               WHERE interruptions.kind = 'worker' AND interruptions.ended IS NULL
               AND builds.worker = $1 AND builds.outcome IS NULL";
    for row in tx.rows(sql, args![worker]).await? {
        // `began` is that of the first one that is in this row.
        let began = match row.get::<u32>("times")? {
            1 => row.get("began")?,
            _ => row.maybe("since")?.unwrap_or(now),
        };
        let away = away.or(between(began, now));
        // Of a command that was given up it said how long that took.
        let update = "UPDATE interruptions SET ended = $2, away = CASE lost WHEN 1 THEN $3 ELSE away + $3 END
                      WHERE id = $1";
        tx.run(update, args![row.get::<i64>("id")?, now, away]).await?;
        Draft::new("build.resumed")
            .builder(&row.get::<String>("builder_name")?)
            .build(row.get("build")?)
            .payload(json!({ "kind": InterruptionKind::Worker }))
            .add(tx, now);
    }
    Ok(())
}

/// That command was lost: by the absence that lasts or has just ended. Not if nobody was away.
pub(crate) async fn command_was_lost(tx: &mut Tx, id: CommandId, now: Timestamp) -> Result<(), Error> {
    let sql = "SELECT builds.id, workers.connected, workers.since FROM commands
               JOIN steps ON steps.id = commands.step JOIN builds ON builds.id = steps.build
               JOIN workers ON workers.id = builds.worker WHERE commands.id = $1";
    let row = tx.one(sql, args![id]).await?;
    let (build, connected): (BuildId, bool) = (row.get("id")?, row.get("connected")?);
    let since: Option<Timestamp> = row.maybe("since")?;
    let newest = "SELECT * FROM interruptions WHERE build = $1 ORDER BY id DESC LIMIT 1";
    let newest = tx.row(newest, args![build]).await?;
    let newest = newest.as_ref().map(interruption).transpose()?;
    match newest {
        Some(row) if row.ended.is_none() => {
            let away = between(row.began, now);
            let update = "UPDATE interruptions SET lost = 1, away = $2 WHERE id = $1 AND lost = 0";
            tx.run(update, args![row.id, away]).await?;
        }
        // A worker that stayed away since this master began is not noted for some seconds.
        _ if !connected => {
            let began = since.unwrap_or(now).min(now);
            let insert = "INSERT INTO interruptions (build, kind, began, away, times, lost)
                          VALUES ($1, 'worker', $2, $3, 1, 1)";
            tx.run(insert, args![build, began, between(began, now)]).await?;
        }
        Some(row)
            if row
                .ended
                .is_some_and(|ended| ended.0.abs_diff(now.0) < AFTERMATH_MS) =>
        {
            tx.run("UPDATE interruptions SET lost = 1 WHERE id = $1", args![row.id])
                .await?;
        }
        _ => {}
    }
    Ok(())
}

fn interruption(row: &Row) -> Result<Interruption, Error> {
    Ok(Interruption {
        id: row.get("id")?,
        kind: row.get("kind")?,
        began: row.get("began")?,
        ended: row.maybe("ended")?,
        away: row.maybe("away")?,
        times: row.get("times")?,
        lost: row.get("lost")?,
    })
}
