//! Delivers reports from the outbox: at least once each, under one delivery id, retried with growing pauses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use capstan_engine::CallError;
use capstan_model::plugin::Kind;
use capstan_store::Report as Row;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;
use crate::report;

/// Reports of one reporter are delivered one after the other; reporters do not wait for each other.
const BATCH: u32 = 64;
/// The pause after the first failed attempt; doubled after each further one.
const FIRST_PAUSE_MS: i64 = 1_000;
/// The longest pause between two attempts.
const LONGEST_PAUSE_MS: i64 = 15 * 60_000;
/// When nothing rings, look again after so long: a clock may have jumped.
const IDLE: Duration = Duration::from_secs(30);

/// Runs until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut bell = farm.store.work_bell();
    loop {
        bell.borrow_and_update();
        // A delivery that is cut off is made again under the same id.
        let delivered = tokio::select! {
            () = shutdown.cancelled() => return,
            delivered = deliver_due(&farm) => delivered,
        };
        let pause = delivered.unwrap_or_else(|error| {
            tracing::error!(%error, "failed to deliver reports");
            Duration::from_secs(5)
        });
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = bell.changed() => if changed.is_err() { return },
        }
    }
}

/// Delivers what is due, and answers how long to wait for the next.
async fn deliver_due(farm: &Arc<Farm>) -> Result<Duration, Error> {
    let due = farm.store.due_reports(farm.clock.now(), BATCH).await?;
    if due.is_empty() {
        let next = farm.store.next_report_at().await?;
        return Ok(next.map_or(IDLE, |at| {
            Duration::from_millis(at.since(farm.clock.now()) + 1).min(IDLE)
        }));
    }
    let mut by_reporter: HashMap<String, Vec<Row>> = HashMap::new();
    for row in due {
        by_reporter.entry(row.reporter.clone()).or_default().push(row);
    }
    let mut lanes = JoinSet::new();
    for rows in by_reporter.into_values() {
        let farm = farm.clone();
        lanes.spawn(async move {
            for row in rows {
                if !deliver(&farm, &row).await? {
                    // Its receiver is in trouble: the rest of its reports would only hold the others up.
                    break;
                }
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.map_err(|e| Error::failed("deliver reports", e))??;
    }
    Ok(Duration::ZERO)
}

/// Answers false if the report has to come again.
async fn deliver(farm: &Arc<Farm>, row: &Row) -> Result<bool, Error> {
    match attempt(farm, row).await {
        Ok(()) => farm.store.report_delivered(row.id, farm.clock.now()).await?,
        Err(Failure::Again(reason)) => {
            let pause = FIRST_PAUSE_MS
                .saturating_mul(1 << row.attempts.min(20))
                .min(LONGEST_PAUSE_MS);
            let now = farm.clock.now();
            tracing::warn!(
                reporter = row.reporter,
                delivery = row.delivery_id,
                reason,
                "a report has to wait"
            );
            farm.store
                .report_retry(row.id, now.plus_ms(pause), &reason, now)
                .await?;
            return Ok(false);
        }
        Err(Failure::Parked(reason)) => {
            tracing::error!(
                reporter = row.reporter,
                delivery = row.delivery_id,
                reason,
                "a report was parked"
            );
            farm.store
                .report_parked(row.id, &reason, farm.clock.now())
                .await?;
        }
    }
    Ok(true)
}

enum Failure {
    Again(String),
    Parked(String),
}

async fn attempt(farm: &Arc<Farm>, row: &Row) -> Result<(), Failure> {
    let plan = farm.plan();
    let Some(reporter) = plan.reporters.iter().find(|r| r.name == row.reporter) else {
        return Err(Failure::Parked(
            "the configuration has no reporter of this name any more".to_owned(),
        ));
    };
    let loaded = farm.plugin(Kind::Reporter, &reporter.plugin);
    let (plugin, caller) = loaded.map_err(|e| Failure::Again(e.to_string()))?;
    let report = report::build(farm, row)
        .await
        .map_err(|e| Failure::Again(e.to_string()))?;
    let delivered = plugin.deliver(&caller, &reporter.plugin.config, &report).await;
    delivered.map_err(|error| match error {
        CallError::Transient(reason) => Failure::Again(reason),
        // A trap may be the plugin's fault or a limit's; it gets the attempts that a bad network gets.
        CallError::Trap(_) if row.attempts < 5 => Failure::Again(error.to_string()),
        other => Failure::Parked(other.to_string()),
    })
}
