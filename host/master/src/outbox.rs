//! Delivers reports from the outbox: at least once each, under one delivery id, retried with growing pauses.
//!
//! Each reporter has a lane of its own: what is due to it is delivered there one after the other, and a receiver that is slow
//! or hangs holds up nobody else's reports.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{CallError, Plugin};
use capstan_model::OutboxId;
use capstan_model::plugin::Kind;
use capstan_store::{LONGEST_PAUSE_MS, Report as Row, Requeued};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::{Farm, not_found};
use crate::plugins::watch::Advice;
use crate::report;

/// How many reports a lane takes at a time.
const BATCH: u32 = 64;
/// How many reporters are at work at the same time; further ones wait for one of them.
const LANES: usize = 64;
/// The pause after the first failed attempt; doubled after each further one, up to `LONGEST_PAUSE_MS`.
const FIRST_PAUSE_MS: i64 = 1_000;
/// How often a report is offered within one attempt, to versions that may be given up.
const TRIALS: u32 = 20;
/// How long to wait for the version before of a reporter that is given up.
const RETURN: Duration = Duration::from_secs(10);
/// When nothing rings, look again after so long: a clock may have jumped.
const IDLE: Duration = Duration::from_secs(30);
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until `shutdown`. A delivery that is cut off is made again under the same id.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut bell = farm.store.work_bell();
    let mut lanes = Lanes::default();
    loop {
        bell.borrow_and_update();
        let pause = lanes.fill(&farm).await.unwrap_or_else(|error| {
            tracing::error!(%error, "failed to look for reports");
            PAUSE
        });
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = bell.changed() => if changed.is_err() { return },
            Some(ended) = lanes.tasks.join_next_with_id() => {
                if lanes.ended(ended) {
                    continue;
                }
                // The store is in trouble: what failed is due at once, and would only fail again.
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// The lanes that are at work, each under its reporter's name.
#[derive(Default)]
struct Lanes {
    tasks: JoinSet<Result<(), Error>>,
    reporters: HashMap<Id, String>,
}

impl Lanes {
    /// Opens a lane for each reporter that has something due and none yet; answers how long to wait for the next.
    async fn fill(&mut self, farm: &Arc<Farm>) -> Result<Duration, Error> {
        let now = farm.clock.now();
        for reporter in farm.store.due_reporters(now).await? {
            let open = self.reporters.values().any(|open| *open == reporter);
            if open || self.reporters.len() >= LANES {
                continue;
            }
            let lane = self.tasks.spawn(deliver_due(farm.clone(), reporter.clone()));
            self.reporters.insert(lane.id(), reporter);
        }
        let next = farm.store.next_report_at(now).await?;
        Ok(next.map_or(IDLE, |at| Duration::from_millis(at.since(now) + 1).min(IDLE)))
    }

    /// Answers whether the lane did what it could.
    fn ended(&mut self, ended: Result<(Id, Result<(), Error>), JoinError>) -> bool {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result.map_err(|error| error.to_string())),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let reporter = self.reporters.remove(&id);
        if let Err(error) = &result {
            tracing::error!(reporter, error, "failed to deliver reports");
        }
        result.is_ok()
    }
}

/// Delivers what is due to one reporter.
async fn deliver_due(farm: Arc<Farm>, reporter: String) -> Result<(), Error> {
    let due = farm
        .store
        .due_reports(farm.clock.now(), Some(&reporter), BATCH)
        .await?;
    for row in due {
        if !deliver(&farm, &row).await? {
            // Its receiver is in trouble: what it gets next is read anew, by when it is due.
            break;
        }
    }
    Ok(())
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

/// Has a parked report delivered after all.
pub(crate) async fn retry(farm: &Farm, id: OutboxId) -> Result<(), Error> {
    match farm.store.requeue_report(id, farm.clock.now()).await? {
        Requeued::Due => Ok(()),
        Requeued::Not(state) => Err(Error::Conflict(format!(
            "report {id} is not parked: it is {}",
            state.as_str()
        ))),
        Requeued::Unknown => Err(not_found("report", &id.to_string(), [])),
    }
}

enum Failure {
    Again(String),
    Parked(String),
}

/// A report whose reporter traps in a new version is offered again at once, in the end to the version before: it keeps its place
/// before those that come after it.
async fn attempt(farm: &Arc<Farm>, row: &Row) -> Result<(), Failure> {
    let mut plans = farm.plans();
    for _ in 0..TRIALS {
        plans.borrow_and_update();
        let (plugin, error) = match offer(farm, row).await? {
            (_, Ok(())) => return Ok(()),
            (plugin, Err(error)) => (plugin, error),
        };
        let advice = match &error {
            CallError::Trap(_) => farm.trapped(&plugin),
            _ => Advice::Usual,
        };
        let returned = match advice {
            Advice::Usual => false,
            Advice::Again => true,
            Advice::Wait => matches!(tokio::time::timeout(RETURN, plans.changed()).await, Ok(Ok(()))),
        };
        if !returned {
            return Err(usual(row, error));
        }
    }
    Err(Failure::Again("its reporter kept crashing".to_owned()))
}

async fn offer(farm: &Arc<Farm>, row: &Row) -> Result<(Plugin, Result<(), CallError>), Failure> {
    let plan = farm.plan();
    let Some(reporter) = plan.reporters.iter().find(|r| r.name == row.reporter) else {
        return Err(Failure::Parked(
            "the configuration has no reporter of this name any more".to_owned(),
        ));
    };
    let loaded = farm.plugin(Kind::Reporter, &reporter.name, &reporter.plugin);
    let (plugin, caller) = loaded.map_err(|e| Failure::Again(e.to_string()))?;
    let report = report::build(farm, row)
        .await
        .map_err(|e| Failure::Again(e.to_string()))?;
    let delivered = plugin.deliver(&caller, &reporter.plugin.config, &report).await;
    Ok((plugin, delivered))
}

fn usual(row: &Row, error: CallError) -> Failure {
    match error {
        CallError::Transient(reason) => Failure::Again(reason),
        // A trap may be the plugin's fault or a limit's; it gets the attempts that a bad network gets.
        CallError::Trap(_) if row.attempts < 5 => Failure::Again(error.to_string()),
        other => Failure::Parked(other.to_string()),
    }
}
