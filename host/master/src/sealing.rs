//! Brings complete logs into their final form, soon after the end of their step; or later, if that did not work then.

use std::sync::Arc;
use std::time::Duration;

use capstan_store::Record;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;

/// How often logs that could not be sealed are tried again.
const PAUSE: Duration = Duration::from_secs(300);
/// How long complete logs wait for others: steps that follow each other quickly have the disk for themselves.
const GATHER: Duration = Duration::from_secs(2);
/// How many at a time: a full disk does not get a thousand attempts, and one transaction notes them all.
const BATCH: u32 = 32;

/// Tries again, at the start and from time to time, until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    loop {
        match seal_some(&farm).await {
            // There may be more.
            Ok(BATCH) if !shutdown.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to seal logs that are complete"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => continue,
            () = farm.to_seal.notified() => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
    }
}

/// Seals the oldest complete logs. Answers how many.
async fn seal_some(farm: &Farm) -> Result<u32, Error> {
    let mut sealed = Vec::new();
    let mut fault = None;
    for log in farm.store.unsealed_logs(BATCH).await? {
        // A log of a step that still runs is left to the step: another command may write to it.
        let done = farm
            .store
            .step(log.step)
            .await?
            .is_some_and(|step| step.outcome.is_some());
        if !done {
            continue;
        }
        match farm.logs.seal(log.id).await {
            Ok(totals) => sealed.push((log.id, totals)),
            // What keeps one from being sealed, a full disk for instance, keeps the others, too.
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    let now = farm.clock.now();
    let count = u32::try_from(sealed.len()).unwrap_or(BATCH);
    let records = sealed.into_iter().map(|(log, totals)| {
        let (length, lines) = (totals.length, totals.lines);
        (now, Record::LogSealed { log, length, lines })
    });
    farm.store.record(records.collect()).await?;
    fault.map_or(Ok(count), |fault| Err(fault.into()))
}
