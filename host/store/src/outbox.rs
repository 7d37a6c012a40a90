//! Reports that wait for delivery: made in the transaction of the moment that they tell of, each under one delivery
//! id for all attempts.

use capstan_model::{BuildId, OutboxId, Outcome, Properties, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::events::Draft;
use crate::sql::{Json, Row, args, words};
use crate::writer::Tx;
use crate::{Error, Store};

mod parked;

pub use parked::Requeued;

words! {
    /// How far a report is.
    ReportState {
        /// It waits for its first or next attempt.
        Pending = "pending",
        /// Its reporter took it.
        Delivered = "delivered",
        /// It will not be tried again.
        Parked = "parked",
    }
}

/// A report that a moment of a build owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReport {
    /// Who delivers it.
    pub reporter: String,
    /// The moment: `started`, `finished`.
    pub phase: String,
}

/// What was known of a build at the moment that a report is about, where it may be otherwise when the report is delivered:
/// each attempt has to tell the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The build.
    pub build: BuildId,
    /// The moment.
    pub phase: String,
    /// The result of the newest build of the builder before this one that had ended.
    #[serde(default)]
    pub previous_outcome: Option<Outcome>,
    /// The properties of a build that had only begun; its steps set more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The key.
    pub id: OutboxId,
    /// The same on every attempt, and no other report's in any installation: `installation/build/phase/reporter`.
    pub delivery_id: String,
    /// Who delivers it.
    pub reporter: String,
    /// The build that it is about.
    pub build: BuildId,
    /// The moment that it is about.
    pub phase: String,
    /// What was known at that moment.
    pub payload: Known,
    /// How far it is.
    pub state: ReportState,
    /// How many attempts have failed.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_at: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was delivered or parked.
    pub finished: Option<Timestamp>,
}

/// The longest pause between two attempts at a report. One whose next attempt is further off is due all the same: the clock
/// went back since that was noted.
pub const LONGEST_PAUSE_MS: i64 = 15 * 60_000;

/// What may be attempted at `$1`, where `$2` is the last moment that a pause can end at: a clock that is put back makes none
/// longer. One reporter hears of one build's
/// moments in their order.
macro_rules! due {
    ($what:literal, $which:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM outbox WHERE state = 'pending' AND (next_at <= $1 OR next_at > $2 OR attempts = 0) AND NOT EXISTS (
                SELECT 1 FROM outbox AS older WHERE older.build = outbox.build AND older.id < outbox.id
                AND older.reporter = outbox.reporter AND older.state = 'pending') ",
            $which
        )
    };
}

impl Store {
    /// The reports whose next attempt is due, of one reporter or of all, in the order in which they are, at most `limit`. One
    /// reporter hears of one build's moments in their order: a report waits until the one before it was delivered or parked.
    pub async fn due_reports(
        &self,
        now: Timestamp,
        reporter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Report>, Error> {
        let mut conn = self.reader().await?;
        let sql = due!(
            "*",
            "AND ($3 IS NULL OR reporter = $3) ORDER BY next_at, id LIMIT $4"
        );
        let args = args![now, now.plus_ms(LONGEST_PAUSE_MS), reporter, limit];
        conn.rows(sql, args).await?.iter().map(report).collect()
    }

    /// The reporters that have a report that is due.
    pub async fn due_reporters(&self, now: Timestamp) -> Result<Vec<String>, Error> {
        let mut conn = self.reader().await?;
        let sql = due!("DISTINCT reporter", "ORDER BY reporter");
        let rows = conn.rows(sql, args![now, now.plus_ms(LONGEST_PAUSE_MS)]).await?;
        rows.iter().map(|row| row.get("reporter")).collect()
    }

    /// When, after `now`, the next attempt of any report is due.
    pub async fn next_report_at(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT MIN(next_at) AS next_at FROM outbox WHERE state = 'pending' AND next_at > $1 AND NOT EXISTS (
                    SELECT 1 FROM outbox AS older WHERE older.build = outbox.build AND older.id < outbox.id
                    AND older.reporter = outbox.reporter AND older.state = 'pending')";
        conn.one(sql, args![now]).await?.maybe("next_at")
    }

    /// The newest reports, newest first, of one build or of all, at most `limit`.
    pub async fn reports(&self, build: Option<BuildId>, limit: u32) -> Result<Vec<Report>, Error> {
        let mut conn = self.reader().await?;
        // Two statements: one for both cases would use no index and read every report there ever was.
        let rows = match build {
            None => conn.rows("SELECT * FROM outbox ORDER BY id DESC LIMIT $1", args![limit]),
            Some(build) => {
                let sql = "SELECT * FROM outbox WHERE build = $1 ORDER BY id DESC LIMIT $2";
                conn.rows(sql, args![build, limit])
            }
        };
        rows.await?.iter().map(report).collect()
    }

    /// A report was delivered. One that has ended stays as it is, here and below.
    pub async fn report_delivered(&self, id: OutboxId, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| update(tx, id, ReportState::Delivered, None, now, now).boxed())
            .await
    }

    /// An attempt failed; the next is due at `next_at`.
    pub async fn report_retry(
        &self,
        id: OutboxId,
        next_at: Timestamp,
        error: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let error = Some(error.to_owned());
        self.write(move |tx| update(tx, id, ReportState::Pending, error, next_at, now).boxed())
            .await
    }

    /// A report will not be tried again.
    pub async fn report_parked(&self, id: OutboxId, error: &str, now: Timestamp) -> Result<(), Error> {
        let error = Some(error.to_owned());
        self.write(move |tx| update(tx, id, ReportState::Parked, error, now, now).boxed())
            .await
    }
}

/// Makes the reports that a moment of a build owes; due at once. `properties` are those of a build that only begins.
pub(crate) async fn queue(
    tx: &mut Tx,
    build: BuildId,
    builder: &str,
    properties: Option<&Properties>,
    reports: Vec<NewReport>,
    now: Timestamp,
) -> Result<(), Error> {
    if reports.is_empty() {
        return Ok(());
    }
    let previous_outcome = previous_outcome(tx, build).await?;
    for NewReport { reporter, phase } in reports {
        let delivery_id = format!("{}/{build}/{phase}/{reporter}", tx.installation);
        let payload = Known {
            build,
            phase: phase.clone(),
            previous_outcome,
            properties: properties.cloned(),
        };
        tx.run(
            "INSERT INTO outbox (delivery_id, reporter, build, phase, payload, state, attempts, next_at, created)
             VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $7)",
            args![&delivery_id, &reporter, build, &phase, Json(&payload), now, now],
        )
        .await?;
        let event = Draft::new("report.queued").builder(builder).build(build);
        let payload = json!({ "reporter": reporter, "phase": phase, "delivery_id": delivery_id });
        event.payload(payload).add(tx, now);
    }
    Ok(())
}

/// The result of the newest build before this one, of the same builder, that has ended.
async fn previous_outcome(tx: &mut Tx, build: BuildId) -> Result<Option<Outcome>, Error> {
    let sql = "SELECT before.outcome FROM builds JOIN builds AS before
               ON before.builder = builds.builder AND before.number < builds.number AND before.state = 'complete'
               WHERE builds.id = $1 ORDER BY before.number DESC LIMIT 1";
    let row = tx.row(sql, args![build]).await?;
    row.map_or(Ok(None), |row| row.maybe("outcome"))
}

async fn update(
    tx: &mut Tx,
    id: OutboxId,
    state: ReportState,
    error: Option<String>,
    next_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let (kind, failed) = match state {
        ReportState::Delivered => ("report.delivered", 0u32),
        ReportState::Pending => ("report.retried", 1),
        ReportState::Parked => ("report.parked", 1),
    };
    let finished = (state != ReportState::Pending).then_some(now);
    let row = tx
        .row(
            "UPDATE outbox SET state = $2, attempts = attempts + $3, next_at = $4,
             last_error = COALESCE($5, last_error), finished = $6
             WHERE id = $1 AND state = 'pending' RETURNING *,
             (SELECT builders.name FROM builders JOIN builds ON builds.builder = builders.id
              WHERE builds.id = outbox.build) AS builder_name",
            args![id, state, failed, next_at, error.as_deref(), finished],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let builder: String = row.get("builder_name")?;
    let Report {
        delivery_id,
        reporter,
        build,
        attempts,
        ..
    } = report(&row)?;
    let payload = json!({ "reporter": reporter, "delivery_id": delivery_id, "failed_attempts": attempts, "reason": error });
    Draft::new(kind)
        .builder(&builder)
        .build(build)
        .payload(payload)
        .add(tx, now);
    Ok(())
}

fn report(row: &Row) -> Result<Report, Error> {
    Ok(Report {
        id: row.get("id")?,
        delivery_id: row.get("delivery_id")?,
        reporter: row.get("reporter")?,
        build: row.get("build")?,
        phase: row.get("phase")?,
        payload: row.get::<Json<Known>>("payload")?.0,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        next_at: row.get("next_at")?,
        last_error: row.maybe("last_error")?,
        created: row.get("created")?,
        finished: row.maybe("finished")?,
    })
}
