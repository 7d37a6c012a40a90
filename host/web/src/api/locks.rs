//! Locks: who holds them, and who waits.

use axum::Json;
use axum::extract::State;
use capstan_master::{Holder, LockStatus};
use capstan_model::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;

/// A lock as it is now; one of workers is listed for each worker on which somebody holds it or waits for it.
#[derive(Serialize, ToSchema)]
pub(super) struct Lock {
    name: String,
    /// `farm` or `worker`.
    scope: &'static str,
    /// The worker whose lock it is.
    worker: Option<String>,
    /// How much there is; absent for a lock that the configuration does not have any more.
    limit: Option<u32>,
    /// How much of it is held in parts.
    used: u64,
    /// Whether one has all of it.
    exclusive: bool,
    /// Who holds it: the first 20.
    holders: Vec<Who>,
    /// Who waits for it, in the order in which they get it: the first 20.
    waiting: Vec<Who>,
    /// How many wait.
    waiters: usize,
}

/// A build, a step of it, or a request that has no build yet.
#[derive(Serialize, ToSchema)]
#[schema(as = LockHolder)]
struct Who {
    build: Option<i64>,
    request: Option<i64>,
    builder: String,
    /// The build's number within its builder.
    number: Option<u64>,
    /// The step's name, if the lock is its own and not the build's.
    step: Option<String>,
}

impl From<Holder> for Who {
    fn from(holder: Holder) -> Self {
        Self {
            number: holder.build.map(|_| holder.number),
            build: holder.build.map(|id| id.0),
            request: holder.request.map(|id| id.0),
            builder: holder.builder,
            step: holder.step,
        }
    }
}

impl From<LockStatus> for Lock {
    fn from(status: LockStatus) -> Self {
        let all = |who: Vec<Holder>| who.into_iter().map(Who::from).collect();
        Self {
            name: status.lock,
            scope: match status.scope {
                Scope::Farm => "farm",
                Scope::Worker => "worker",
            },
            worker: status.worker,
            limit: status.limit,
            used: status.used,
            exclusive: status.exclusive,
            holders: all(status.holders),
            waiting: all(status.waiting),
            waiters: status.waiters,
        }
    }
}

/// The locks.
#[derive(Serialize, ToSchema)]
#[schema(as = Locks)]
pub(super) struct Page {
    locks: Vec<Lock>,
}

/// Lists the locks of the configuration, and every other that somebody still holds.
#[utoipa::path(get, path = "/locks", tag = "locks", responses((status = 200, body = Page)))]
pub(super) async fn list(State(app): State<App>) -> Json<Page> {
    let locks = app.control().locks();
    Json(Page {
        locks: locks.into_iter().map(Lock::from).collect(),
    })
}
