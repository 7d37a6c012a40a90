//! Reports that wait for delivery: made in the transaction of the moment that they tell of, each under one delivery
//! id for all attempts.

use capstan_model::{BuildId, OutboxId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::events::Draft;
use crate::sql::{Json, Row, args, words};
use crate::writer::Tx;
use crate::{Error, Store};

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
    /// `{"build": …, "phase": …}`.
    pub payload: Value,
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

impl Store {
    /// The reports whose next attempt is due, in the order in which they are, at most `limit`. One reporter hears of one
    /// build's moments in their order: a report waits until the one before it was delivered or parked.
    pub async fn due_reports(&self, now: Timestamp, limit: u32) -> Result<Vec<Report>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT * FROM outbox WHERE state = 'pending' AND next_at <= $1 AND NOT EXISTS (
                SELECT 1 FROM outbox AS older WHERE older.build = outbox.build AND older.id < outbox.id
                AND older.reporter = outbox.reporter AND older.state = 'pending')
             ORDER BY next_at, id LIMIT $2";
        conn.rows(sql, args![now, limit])
            .await?
            .iter()
            .map(report)
            .collect()
    }

    /// When the next attempt of any report is due.
    pub async fn next_report_at(&self) -> Result<Option<Timestamp>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT MIN(next_at) AS next_at FROM outbox WHERE state = 'pending' AND NOT EXISTS (
                    SELECT 1 FROM outbox AS older WHERE older.build = outbox.build AND older.id < outbox.id
                    AND older.reporter = outbox.reporter AND older.state = 'pending')";
        conn.one(sql, args![]).await?.maybe("next_at")
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

/// Makes the reports that a moment of a build owes; due at once.
pub(crate) async fn queue(
    tx: &mut Tx,
    build: BuildId,
    builder: &str,
    reports: Vec<NewReport>,
    now: Timestamp,
) -> Result<(), Error> {
    for NewReport { reporter, phase } in reports {
        let delivery_id = format!("{}/{build}/{phase}/{reporter}", tx.installation);
        let payload = json!({ "build": build, "phase": phase });
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
        payload: row.get::<Json<Value>>("payload")?.0,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        next_at: row.get("next_at")?,
        last_error: row.maybe("last_error")?,
        created: row.get("created")?,
        finished: row.maybe("finished")?,
    })
}
