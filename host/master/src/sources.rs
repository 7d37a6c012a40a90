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

/// No source is polled more often than this, whatever it asks for. One that has more to report asks for the shortest time, one
/// that does so without having brought anything is mistaken.
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
    // Whether it was said that it asks too often.
    let mut told = false;
    loop {
        let pause = match poll(&farm, &source, noted).await {
            Ok(polled) => {
                (failures, noted) = (0, false);
                if polled.is_hasty() && !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        source = source.name,
                        asked_ms = polled.again.as_millis(),
                        pause_ms = SHORTEST.as_millis(),
                        "a change source brings nothing and asks to be polled again at once; it is polled after the \
                         shortest pause"
                    );
                }
                polled.pause()
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

/// What a poll came to.
struct Polled {
    /// When to poll again.
    again: Duration,
    /// How many changes it brought, new or not.
    changes: usize,
}

impl Polled {
    /// Whether it asks for more although there was nothing.
    fn is_hasty(&self) -> bool {
        self.changes == 0 && self.again < SHORTEST
    }

    fn pause(&self) -> Duration {
        self.again.clamp(SHORTEST, LONGEST)
    }
}

/// A poll that brings nothing new is written down only if it ends a failure that may be `noted`.
async fn poll(farm: &Farm, source: &Source, noted: bool) -> Result<Polled, Failure> {
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
    let polled = Polled {
        again: Duration::from_millis(poll.poll_again_ms),
        changes: poll.changes.len(),
    };
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
        // A cursor may move with every poll.
        if !accepted.is_empty() {
            tracing::info!(source = source.name, changes = accepted.len(), "accepted changes");
        }
    } else if noted {
        store.source_recovered(&source.name).await?;
    }
    Ok(polled)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_asks_to_be_polled_at_once_waits_all_the_same() {
        let polled = |ms, changes| Polled {
            again: Duration::from_millis(ms),
            changes,
        };
        let facts = |polled: Polled| (polled.pause(), polled.is_hasty());
        assert_eq!(facts(polled(0, 0)), (SHORTEST, true));
        assert_eq!(facts(polled(1, 1000)), (SHORTEST, false), "it has more");
        assert_eq!(facts(polled(60_000, 0)), (Duration::from_secs(60), false));
        assert_eq!(facts(polled(u64::MAX, 0)), (LONGEST, false));
    }
}
