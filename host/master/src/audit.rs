//! The audit of rights: takes what the engine refused plugins, gathers it for a moment, and writes it to the store. A plugin
//! that is refused a thousand times a second costs one transaction in that second; what is too much is dropped and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use capstan_engine::{Audit, Refused};
use capstan_model::plugin::Side;
use capstan_model::{Clock, Timestamp};
use capstan_store::NewRefusal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::farm::Farm;

/// Refusals that wait to be gathered.
const WAITING: usize = 1024;
/// How long refusals are gathered before they are written.
const PAUSE: Duration = Duration::from_millis(500);
/// Different refusals of one transaction.
const DIFFERENT: usize = 256;
/// Refusals that are looked at in one pause, alike or not.
const AT_ONCE: usize = 4096;

/// The engine's side: never waits.
struct Desk {
    refusals: mpsc::Sender<(Timestamp, Refused)>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Audit for Desk {
    fn refused(&self, refused: Refused) {
        if self.refusals.try_send((self.clock.now(), refused)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The master's side.
pub(crate) struct Inbox {
    refusals: mpsc::Receiver<(Timestamp, Refused)>,
    dropped: Arc<AtomicU64>,
}

/// Both sides.
pub(crate) fn channel(clock: Arc<dyn Clock>) -> (Arc<dyn Audit>, Inbox) {
    let (sender, refusals) = mpsc::channel(WAITING);
    let dropped = Arc::<AtomicU64>::default();
    let desk = Desk {
        refusals: sender,
        dropped: dropped.clone(),
        clock,
    };
    (Arc::new(desk), Inbox { refusals, dropped })
}

/// Writes refusals until `shutdown`, then those that are left.
pub(crate) async fn run(farm: Arc<Farm>, mut inbox: Inbox, shutdown: CancellationToken) {
    loop {
        let first = tokio::select! {
            () = shutdown.cancelled() => break,
            first = inbox.refusals.recv() => first,
        };
        let Some(first) = first else { break };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        write(&farm, inbox.gather(Some(first))).await;
    }
    write(&farm, inbox.gather(None)).await;
}

async fn write(farm: &Farm, gathered: Gathered) {
    if gathered.dropped > 0 {
        let dropped = gathered.dropped;
        tracing::warn!(
            dropped,
            "plugins were refused more than the audit takes; it misses some of that"
        );
    }
    if gathered.refusals.is_empty() {
        return;
    }
    if let Err(error) = farm.store.add_refusals(gathered.refusals).await {
        tracing::warn!(%error, "failed to write what plugins were refused");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Gathered {
    refusals: Vec<NewRefusal>,
    dropped: u64,
}

impl Inbox {
    /// What waits now, with what is alike counted together.
    fn gather(&mut self, first: Option<(Timestamp, Refused)>) -> Gathered {
        let mut gathered = Gathered {
            refusals: Vec::new(),
            dropped: self.dropped.swap(0, Ordering::Relaxed),
        };
        let mut places = HashMap::new();
        let mut next = first;
        for _ in 0..AT_ONCE {
            let Some((at, refused)) = next.take().or_else(|| self.refusals.try_recv().ok()) else {
                break;
            };
            let (refusal, place) = (&refused.refusal, &refused.place);
            let same = (
                (refused.digest, refusal.right, refusal.side == Side::Manifest),
                (refusal.value.clone(), place.owner.clone(), place.builder.clone()),
            );
            match places.get(&same) {
                Some(&index) => {
                    let known: &mut NewRefusal = &mut gathered.refusals[index];
                    known.times += 1;
                    (known.at, known.step, known.delivery) = (at, refused.place.step, refused.place.delivery);
                }
                None if gathered.refusals.len() < DIFFERENT => {
                    places.insert(same, gathered.refusals.len());
                    gathered.refusals.push(row(at, refused));
                }
                None => gathered.dropped += 1,
            }
        }
        gathered
    }
}

fn row(at: Timestamp, refused: Refused) -> NewRefusal {
    let (refusal, place) = (refused.refusal, refused.place);
    NewRefusal {
        kind: refused.kind,
        name: refusal.plugin,
        digest: refused.digest,
        right: refusal.right,
        value: refusal.value,
        side: refusal.side,
        owner: place.owner,
        builder: place.builder,
        step: place.step,
        delivery: place.delivery,
        times: 1,
        at,
    }
}

#[cfg(test)]
mod tests {
    use capstan_engine::Place;
    use capstan_model::plugin::{Kind, Refusal, Right};
    use capstan_model::{Digest, ManualClock};

    use super::*;

    fn refused(value: &str) -> Refused {
        Refused {
            kind: Kind::Reporter,
            digest: Digest::of(b"p"),
            refusal: Refusal {
                plugin: "p".to_owned(),
                right: Right::Http,
                value: value.to_owned(),
                side: Side::Operator,
            },
            place: Place::default(),
        }
    }

    #[test]
    fn a_flood_is_a_few_rows_and_a_number() {
        let (desk, mut inbox) = channel(Arc::new(ManualClock::new(Timestamp(7))));
        for _ in 0..400 {
            desk.refused(refused("GET https://a/"));
        }
        for n in 0..1000 {
            desk.refused(refused(&format!("GET https://a/{n}")));
        }
        let gathered = inbox.gather(None);
        assert_eq!(gathered.refusals.len(), DIFFERENT);
        assert_eq!(
            (gathered.refusals[0].times, gathered.refusals[0].at),
            (400, Timestamp(7))
        );
        let kept: u64 = gathered.refusals.iter().map(|row| row.times).sum();
        assert_eq!(kept + gathered.dropped, 1400);
        assert!(inbox.gather(None).refusals.is_empty());
    }
}
