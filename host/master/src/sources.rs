//! Polls the change sources: one task each, which calls the plugin and commits its changes and cursor together.

use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{CallError, Plugin};
use capstan_model::plan::Source;
use capstan_model::plugin::Kind;
use capstan_store::Memory;
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::farm::Farm;
use crate::plugins::watch::Advice;
use crate::plugins::{TakenOver, author, take_over};

/// No source is polled more often than this, whatever it asks for.
const SHORTEST: Duration = Duration::from_millis(200);
/// Nor less often.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The pause after a first failure; doubled after each further one up to `LONGEST_FAILING`.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// A repository that vanished is asked for this often.
const LONGEST_FAILING: Duration = Duration::from_secs(300);

/// Runs until `shutdown`. A poll that is cut off because its source changed is made again from the stored cursor.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut plans = farm.plans();
    let mut tasks = Definitions::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        let wanted = plan.sources.iter().map(|s| (s.name.clone(), s.clone()));
        tasks.replace(wanted, |source| poll_forever(farm.clone(), source));
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = plans.changed() => if changed.is_err() { return },
        }
    }
}

async fn poll_forever(farm: Arc<Farm>, source: Source) {
    let mut failures = 0u32;
    // Whether a failure may be noted that is over.
    let mut noted = true;
    loop {
        let pause = match poll(&farm, &source, noted).await {
            Ok(pause) => {
                (failures, noted) = (0, false);
                pause.clamp(SHORTEST, LONGEST)
            }
            Err(Failure { reason, advice }) => {
                tracing::warn!(source = source.name, reason, "failed to poll a change source");
                noted = true;
                if let Err(error) = farm
                    .store
                    .source_failed(&source.name, &reason, farm.clock.now())
                    .await
                {
                    tracing::error!(%error, "failed to note a change source's failure");
                }
                if advice == Advice::Usual {
                    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10));
                    failures += 1;
                    pause.min(LONGEST_FAILING)
                } else {
                    SHORTEST
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Answers when to poll again. A poll that brings nothing new is written down only if it ends a failure that may be `noted`.
async fn poll(farm: &Farm, source: &Source, noted: bool) -> Result<Duration, Failure> {
    let (plugin, caller) = farm.plugin(Kind::ChangeSource, &source.name, &source.plugin)?;
    let (store, config) = (&farm.store, &source.plugin.config);
    let stored = store.source_cursor(&source.name).await?;
    let taken_over = take_over(&plugin, &caller, config, stored.clone()).await;
    let TakenOver { bytes, foreign } = taken_over.map_err(|error| Failure {
        advice: advice(farm, &plugin, &error, true),
        reason: format!("it cannot take over the cursor of another version: {error}"),
    })?;
    let poll = plugin.poll(&caller, config, &bytes).await;
    let poll = poll.map_err(|error| Failure {
        advice: advice(farm, &plugin, &error, foreign),
        reason: error.to_string(),
    })?;
    let moved = stored.is_none_or(|stored| stored.bytes != poll.cursor);
    if foreign || moved || !poll.changes.is_empty() {
        // Read now: the plan may have changed while the plugin looked.
        let subscribers: Vec<_> = farm.plan().schedulers.iter().map(|s| s.name.clone()).collect();
        let cursor = Memory {
            bytes: poll.cursor,
            by: Some(author(&plugin)),
        };
        let accepted = store
            .accept_changes(&source.name, cursor, poll.changes, &subscribers, farm.clock.now())
            .await?;
        tracing::info!(source = source.name, changes = accepted.len(), "accepted changes");
    } else if noted {
        store.source_recovered(&source.name).await?;
    }
    Ok(Duration::from_millis(poll.poll_again_ms))
}

/// A version that cannot go on where the one before it was is not waited for; see `schedulers`.
fn advice(farm: &Farm, plugin: &Plugin, error: &CallError, foreign: bool) -> Advice {
    match error {
        CallError::Trap(_) => farm.trapped(plugin),
        CallError::Transient(_) => Advice::Usual,
        _ if foreign => farm.unfit(plugin),
        _ => Advice::Usual,
    }
}

/// Why a poll brought nothing.
struct Failure {
    reason: String,
    advice: Advice,
}

impl<E: Into<crate::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            reason: error.into().to_string(),
            advice: Advice::Usual,
        }
    }
}
