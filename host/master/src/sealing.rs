//! Brings complete logs into their final form: at the end of their step, or later if that did not work then.

use std::sync::Arc;
use std::time::Duration;

use capstan_model::LogId;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;

/// How often logs that could not be sealed are tried again.
const PAUSE: Duration = Duration::from_secs(300);
/// How many at a time: a full disk does not get a thousand attempts.
const BATCH: u32 = 32;

/// Compresses and indexes a complete log, and notes it.
pub(crate) async fn seal(farm: &Farm, log: LogId) -> Result<(), Error> {
    let totals = farm.logs.seal(log).await?;
    farm.store
        .seal_log(log, totals.length, totals.lines, farm.clock.now())
        .await?;
    Ok(())
}

/// Tries again, at the start and from time to time, until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = seal_rest(&farm).await {
            tracing::warn!(%error, "failed to seal logs that are complete");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn seal_rest(farm: &Farm) -> Result<(), Error> {
    for log in farm.store.unsealed_logs(BATCH).await? {
        // A log of a step that still runs is left to the step: another command may write to it.
        let done = farm
            .store
            .step(log.step)
            .await?
            .is_some_and(|step| step.outcome.is_some());
        if done {
            seal(farm, log.id).await?;
        }
    }
    Ok(())
}
