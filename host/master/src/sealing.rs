//! Brings complete logs into their final form, soon after the end of their step; or later, if that did not work then.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::LogId;
use capstan_store::Record;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;

/// How often logs that could not be sealed are tried again.
const PAUSE: Duration = Duration::from_secs(300);
/// How long complete logs wait for others: steps that follow each other quickly have the disk for themselves.
const GATHER: Duration = Duration::from_secs(2);
/// How many at a time: one transaction notes them all.
const BATCH: u32 = 32;

/// Seals what there is, at the start, after steps and from time to time, until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut refused = HashSet::new();
    let mut again = tokio::time::interval(PAUSE);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = again.tick() => refused.clear(),
            () = farm.to_seal.notified() => tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(GATHER) => {}
            },
        }
        if let Err(error) = seal_all(&farm, &mut refused, &shutdown).await {
            tracing::warn!(%error, "failed to seal logs that are complete");
        }
    }
}

/// Seals complete logs, oldest first. One that is damaged is among the `refused` from then on, and keeps no other from it.
async fn seal_all(
    farm: &Farm,
    refused: &mut HashSet<LogId>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let mut after = None;
    while !shutdown.is_cancelled() {
        let logs = farm.store.unsealed_logs(after, BATCH).await?;
        let Some(last) = logs.last() else { break };
        after = Some(last.id);
        let (mut sealed, mut full) = (Vec::new(), None);
        for (log, length) in logs.iter().map(|log| (log.id, log.length)) {
            if refused.contains(&log) {
                continue;
            }
            // One that has lost its end stays as it is: its file may yet come back from a backup.
            let seal = async {
                farm.logs.whole(log, length).await?;
                farm.logs.seal(log).await
            };
            match seal.await {
                Ok(totals) => sealed.push((log, totals)),
                // A full disk keeps the others from it, too.
                Err(error @ capstan_logs::Error::Full { .. }) => {
                    full = Some(error);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%log, %error, "a log stays unsealed for now");
                    refused.insert(log);
                }
            }
        }
        let now = farm.clock.now();
        let records = sealed.into_iter().map(|(log, totals)| {
            let (length, lines) = (totals.length, totals.lines);
            (now, Record::LogSealed { log, length, lines })
        });
        farm.store.record(records.collect()).await?;
        if let Some(full) = full {
            return Err(full.into());
        }
    }
    Ok(())
}
