//! What waits and why, for people: asked through the [`Handle`](crate::Handle).

use capstan_store::PendingRequest;

use crate::farm::Farm;
use crate::handle::WorkerStatus;
use crate::pairing::{Hindrance, Running, Standing, Waiting, Why, why};
use crate::{Error, workers};

/// A request that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// The request.
    pub request: PendingRequest,
    /// Why it waits.
    pub why: Why,
}

/// Every request that waits, in the order in which they are served.
pub(crate) async fn queue(farm: &Farm) -> Result<Vec<Queued>, Error> {
    let pending = farm.store.pending_requests().await?;
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let plan = farm.plan();
    let waiting: Vec<_> = pending.iter().map(Waiting::from).collect();
    let reasons = why(&plan, &waiting, &standings(farm).await?);
    let queued = pending
        .into_iter()
        .zip(reasons)
        .map(|(request, why)| Queued { request, why });
    Ok(queued.collect())
}

/// How the workers of the plan stand.
async fn standings(farm: &Farm) -> Result<Vec<Standing>, Error> {
    let status = workers::status(farm).await?;
    let builds = farm.store.running_builds().await?;
    let rows = farm.store.workers().await?;
    let configured = status.into_iter().filter(|worker| worker.configured);
    let standing = configured.map(|worker| {
        let revoked = rows
            .iter()
            .any(|row| row.name == worker.name && row.revoked.is_some());
        let running = builds.iter().filter(|build| build.worker == worker.name);
        Standing {
            absent: absence(&worker, revoked),
            labels: worker.labels.into_iter().collect(),
            slots: worker.slots,
            running: running
                .map(|build| Running {
                    build: build.id,
                    builder: build.builder.clone(),
                    number: build.number,
                    worker: build.worker.clone(),
                })
                .collect(),
            name: worker.name,
        }
    });
    Ok(standing.collect())
}

/// What keeps a worker from taking any build.
fn absence(worker: &WorkerStatus, revoked: bool) -> Option<Hindrance> {
    if revoked {
        Some(Hindrance::Revoked)
    } else if !worker.enrolled {
        Some(Hindrance::NeverJoined)
    } else if let Some(reason) = &worker.paused {
        Some(Hindrance::Paused(reason.clone()))
    } else if !worker.connected {
        Some(Hindrance::Silent(worker.since))
    } else {
        None
    }
}
