//! Polls the change sources: one task each, which calls the plugin and commits its changes and cursor together.

use std::sync::Arc;
use std::time::Duration;

use capstan_model::plan::{Plan, Source};
use capstan_model::plugin::Kind;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::farm::Farm;

/// No source is polled more often than this, whatever it asks for.
const SHORTEST: Duration = Duration::from_millis(200);
/// Nor less often.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The pause after a first failure; doubled after each further one up to `LONGEST_FAILING`.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// A repository that vanished is asked for this often.
const LONGEST_FAILING: Duration = Duration::from_secs(300);

/// Runs until `shutdown`; a new plan replaces all tasks. A poll that is cut off is made again from the stored cursor.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut plans = farm.plans();
    loop {
        let plan = plans.borrow_and_update().clone();
        let mut tasks = JoinSet::new();
        for source in &plan.sources {
            tasks.spawn(poll_forever(farm.clone(), plan.clone(), source.clone()));
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = plans.changed() => if changed.is_err() { return },
        }
    }
}

async fn poll_forever(farm: Arc<Farm>, plan: Arc<Plan>, source: Source) {
    let mut failures = 0u32;
    // Whether a failure may be noted that is over.
    let mut noted = true;
    loop {
        let pause = match poll(&farm, &plan, &source, noted).await {
            Ok(pause) => {
                (failures, noted) = (0, false);
                pause.clamp(SHORTEST, LONGEST)
            }
            Err(reason) => {
                tracing::warn!(source = source.name, reason, "failed to poll a change source");
                noted = true;
                if let Err(error) = farm
                    .store
                    .source_failed(&source.name, &reason, farm.clock.now())
                    .await
                {
                    tracing::error!(%error, "failed to note a change source's failure");
                }
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << failures.min(10))
                    .min(LONGEST_FAILING);
                failures += 1;
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Answers when to poll again. A poll that brings nothing new is written down only if it ends a failure that may be `noted`.
async fn poll(farm: &Farm, plan: &Plan, source: &Source, noted: bool) -> Result<Duration, String> {
    let (plugin, caller) = farm
        .plugin(Kind::ChangeSource, &source.plugin)
        .map_err(|e| e.to_string())?;
    let store = &farm.store;
    let cursor = store
        .source_cursor(&source.name)
        .await
        .map_err(|e| e.to_string())?
        .unwrap_or_default();
    let poll = plugin
        .poll(&caller, &source.plugin.config, &cursor)
        .await
        .map_err(|e| e.to_string())?;
    let subscribers: Vec<_> = plan.schedulers.iter().map(|s| s.name.clone()).collect();
    if poll.cursor != cursor || !poll.changes.is_empty() {
        let now = farm.clock.now();
        let accepted = store
            .accept_changes(&source.name, &poll.cursor, poll.changes, &subscribers, now)
            .await;
        let accepted = accepted.map_err(|e| e.to_string())?;
        tracing::info!(source = source.name, changes = accepted.len(), "accepted changes");
    } else if noted {
        store
            .source_recovered(&source.name)
            .await
            .map_err(|e| e.to_string())?;
    }
    Ok(Duration::from_millis(poll.poll_again_ms))
}
