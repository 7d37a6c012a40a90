//! Reports that were given up, and how they go back: when whoever hindered them is well again, an operator has them
//! delivered after all, under the delivery id that they have.

use capstan_model::{OutboxId, Timestamp};
use futures::FutureExt as _;
use serde_json::json;

use super::{Report, ReportState, report};
use crate::events::Draft;
use crate::sql::{Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// What became of a wish to try a report again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeued {
    /// It is due now.
    Due,
    /// It was not parked, and stays as it is.
    Not(ReportState),
    /// There is no such report.
    Unknown,
}

/// Reports that go back in one transaction.
const BATCH: u32 = 500;

/// A report that goes back gets as many attempts as a new one. `$1` says when it is due.
macro_rules! requeue {
    ($which:literal) => {
        concat!(
            "UPDATE outbox SET state = 'pending', attempts = 0, next_at = $1, finished = NULL WHERE state = 'parked' AND ",
            $which,
            " RETURNING *, (SELECT builders.name FROM builders JOIN builds ON builds.builder = builders.id
               WHERE builds.id = outbox.build) AS builder_name"
        )
    };
}

impl Store {
    /// The parked reports, newest first, at most `limit`.
    pub async fn parked_reports(&self, limit: u32) -> Result<Vec<Report>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT * FROM outbox WHERE state = 'parked' ORDER BY id DESC LIMIT $1";
        conn.rows(sql, args![limit]).await?.iter().map(report).collect()
    }

    /// Has a parked report delivered after all.
    pub async fn requeue_report(&self, id: OutboxId, now: Timestamp) -> Result<Requeued, Error> {
        self.write(move |tx| requeue(tx, id, now).boxed()).await
    }

    /// Has every parked report delivered after all; answers how many those are. One that is parked again meanwhile stays parked.
    pub async fn requeue_reports(&self, now: Timestamp) -> Result<u64, Error> {
        let (mut after, mut all) = (OutboxId(0), 0);
        loop {
            let gone = self
                .write(move |tx| requeue_after(tx, after, now).boxed())
                .await?;
            let Some(last) = gone.iter().max() else {
                return Ok(all);
            };
            after = *last;
            all += gone.len() as u64;
        }
    }
}

async fn requeue(tx: &mut Tx, id: OutboxId, now: Timestamp) -> Result<Requeued, Error> {
    if let Some(row) = tx.row(requeue!("id = $2"), args![now, id]).await? {
        tell(tx, &row, now)?;
        return Ok(Requeued::Due);
    }
    let found = tx
        .row("SELECT state FROM outbox WHERE id = $1", args![id])
        .await?;
    found.map_or(Ok(Requeued::Unknown), |row| Ok(Requeued::Not(row.get("state")?)))
}

/// The next ones after `after`, in the order in which they were made.
async fn requeue_after(tx: &mut Tx, after: OutboxId, now: Timestamp) -> Result<Vec<OutboxId>, Error> {
    let sql =
        requeue!("id IN (SELECT id FROM outbox WHERE state = 'parked' AND id > $2 ORDER BY id LIMIT $3)");
    let rows = tx.rows(sql, args![now, after, BATCH]).await?;
    rows.iter().map(|row| tell(tx, row, now)).collect()
}

fn tell(tx: &mut Tx, row: &Row, now: Timestamp) -> Result<OutboxId, Error> {
    let builder: String = row.get("builder_name")?;
    let report = report(row)?;
    let payload = json!({ "reporter": report.reporter, "delivery_id": report.delivery_id });
    Draft::new("report.requeued")
        .builder(&builder)
        .build(report.build)
        .payload(payload)
        .add(tx, now);
    Ok(report.id)
}
