//! What the web server asks of the master, and the master's answers in this server's words.
//!
//! Every call that changes something goes through [`Control`]; the tests of this crate implement it without a farm.

use std::sync::Arc;

use axum::http::StatusCode;
use capstan_master::{
    About, Error as Refusal, Force, Forced, Handle, Invitation, PluginStatus, Queued, Reloaded, WorkerStatus,
};
use capstan_model::plan::Plan;
use capstan_model::{BuildId, RequestId, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Error;

/// The answer to a request that changes something.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// The master, as the web server needs it.
pub trait Control: Send + Sync {
    /// The plan in force.
    fn plan(&self) -> Arc<Plan>;
    /// The master itself.
    fn about(&self) -> About;
    /// The time.
    fn now(&self) -> Timestamp;
    /// Every plugin file.
    fn plugins(&self) -> Vec<PluginStatus>;
    /// Every worker that is configured or has joined.
    fn workers(&self) -> Answer<'_, Vec<WorkerStatus>>;
    /// Every request that waits, in the order in which they are served, and why it waits.
    fn queue(&self) -> Answer<'_, Vec<Queued>>;
    /// Asks for a build.
    fn force<'a>(&'a self, builder: &'a str, force: Force) -> Answer<'a, Forced>;
    /// Stops a build.
    fn stop<'a>(&'a self, build: BuildId, reason: &'a str) -> Answer<'a, ()>;
    /// Cancels a request.
    fn cancel<'a>(&'a self, request: RequestId, reason: &'a str) -> Answer<'a, ()>;
    /// Loads plugins and configuration again.
    fn reload(&self) -> Answer<'_, Reloaded>;
    /// Invites a worker.
    fn invite<'a>(&'a self, worker: &'a str, ttl_ms: u64) -> Answer<'a, Invitation>;
    /// Gives a worker no builds (with the reason), or builds again.
    fn pause<'a>(&'a self, worker: &'a str, reason: Option<&'a str>) -> Answer<'a, ()>;
    /// Ends a worker's membership.
    fn revoke<'a>(&'a self, worker: &'a str) -> Answer<'a, ()>;
}

impl Control for Handle {
    fn plan(&self) -> Arc<Plan> {
        self.plan()
    }

    fn about(&self) -> About {
        self.about()
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        self.plugins()
    }

    fn workers(&self) -> Answer<'_, Vec<WorkerStatus>> {
        async { Ok(self.workers().await?) }.boxed()
    }

    fn queue(&self) -> Answer<'_, Vec<Queued>> {
        async { Ok(self.queue().await?) }.boxed()
    }

    fn force<'a>(&'a self, builder: &'a str, force: Force) -> Answer<'a, Forced> {
        async { Ok(self.force(builder, force).await?) }.boxed()
    }

    fn stop<'a>(&'a self, build: BuildId, reason: &'a str) -> Answer<'a, ()> {
        async move { Ok(self.stop_build(build, reason).await?) }.boxed()
    }

    fn cancel<'a>(&'a self, request: RequestId, reason: &'a str) -> Answer<'a, ()> {
        async move { Ok(self.cancel_request(request, reason).await?) }.boxed()
    }

    fn reload(&self) -> Answer<'_, Reloaded> {
        async { Ok(self.reload().await?) }.boxed()
    }

    fn invite<'a>(&'a self, worker: &'a str, ttl_ms: u64) -> Answer<'a, Invitation> {
        async move { Ok(self.invite(worker, ttl_ms).await?) }.boxed()
    }

    fn pause<'a>(&'a self, worker: &'a str, reason: Option<&'a str>) -> Answer<'a, ()> {
        async move {
            match reason {
                Some(reason) => self.pause_worker(worker, reason).await?,
                None => self.unpause_worker(worker).await?,
            }
            Ok(())
        }
        .boxed()
    }

    fn revoke<'a>(&'a self, worker: &'a str) -> Answer<'a, ()> {
        async move { Ok(self.revoke_worker(worker).await?) }.boxed()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-found", message),
            Refusal::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", message),
            Refusal::Invalid(_) => Self::invalid(message),
            Refusal::Field { field, .. } => Self::invalid(message).field(field),
            Refusal::Config(diagnostics) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration", message)
                    .hint("nothing was changed; `capstan check` shows the same with the lines")
                    .diagnostics(diagnostics.iter().map(ToString::to_string).collect())
            }
            // The operator is told why: only who shows the token gets here.
            other => {
                tracing::error!(error = %other, "a request to the master failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
            }
        }
    }
}
