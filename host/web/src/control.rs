//! What the web server asks of the master, and the master's answers in this server's words.
//!
//! Every call that changes something goes through [`Control`]; the tests of this crate implement it without a farm.

use std::sync::Arc;

use axum::http::StatusCode;
use capstan_master::{
    About, Called, Error as Refusal, Force, Forced, Forecast, Handle, Invitation, LockStatus, PluginStatus,
    Progress, QueuePage, Queued, Reloaded, SchedulerStatus, SentChange, WorkerStatus,
};
use capstan_model::plan::Plan;
use capstan_model::{BuildId, BuildsetId, CallId, Change, OutboxId, RequestId, Timestamp};
use capstan_store::Cancelled;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

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
    /// Every lock: who holds it and who waits.
    fn locks(&self) -> Vec<LockStatus>;
    /// The requests that wait, of every builder or of one, and why: at most `limit`, in the order in which they are served.
    fn queue<'a>(&'a self, builder: Option<&'a str>, limit: usize) -> Answer<'a, QueuePage>;
    /// Why these requests wait; those that do not are left out.
    fn why<'a>(&'a self, requests: &'a [RequestId]) -> Answer<'a, Vec<Queued>>;
    /// Asks for a build.
    fn force<'a>(&'a self, builder: &'a str, force: Force) -> Answer<'a, Forced>;
    /// Takes in a change; answers it, and whether it is new.
    fn send_change(&self, change: SentChange) -> Answer<'_, (Change, bool)>;
    /// Every scheduler of the plan.
    fn schedulers(&self) -> Answer<'_, Vec<SchedulerStatus>>;
    /// What a scheduler asks a person for who has filled in `values` so far.
    fn describe_scheduler<'a>(&'a self, name: &'a str, values: &'a Value) -> Answer<'a, Value>;
    /// Asks a scheduler for builds.
    fn call_scheduler<'a>(&'a self, name: &'a str, key: Option<&'a str>, call: Value) -> Answer<'a, Called>;
    /// What came of a call.
    fn scheduler_call<'a>(&'a self, name: &'a str, id: CallId) -> Answer<'a, Called>;
    /// Switches a scheduler on or off; answers whether that changed anything.
    fn enable_scheduler<'a>(&'a self, name: &'a str, enabled: bool) -> Answer<'a, bool>;
    /// Stops a build.
    fn stop<'a>(&'a self, build: BuildId, reason: &'a str) -> Answer<'a, ()>;
    /// Cancels a request.
    fn cancel<'a>(&'a self, request: RequestId, reason: &'a str) -> Answer<'a, ()>;
    /// Asks for a build of the same again.
    fn rebuild<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, Forced>;
    /// Asks for a buildset again, or for what did not go well in it.
    fn rebuild_buildset<'a>(
        &'a self,
        buildset: BuildsetId,
        only_failed: bool,
        reason: Option<&'a str>,
    ) -> Answer<'a, Forced>;
    /// Cancels what has not ended of a buildset.
    fn cancel_buildset<'a>(&'a self, buildset: BuildsetId, reason: &'a str) -> Answer<'a, Cancelled>;
    /// Has a parked report delivered after all.
    fn retry_report(&self, report: OutboxId) -> Answer<'_, ()>;
    /// The same for every parked report; answers how many those are.
    fn retry_reports(&self) -> Answer<'_, u64>;
    /// Loads plugins and configuration again.
    fn reload(&self) -> Answer<'_, Reloaded>;
    /// What there is, and what the rules of retention would remove.
    fn retention(&self) -> Answer<'_, Forecast>;
    /// How far it is with that.
    fn retention_progress(&self) -> Progress;
    /// Has them carried out; answers the number of that time.
    fn run_retention(&self) -> u64;
    /// Keeps a build whatever they say, with the reason, or leaves it to them again.
    fn keep<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, ()>;
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

    fn locks(&self) -> Vec<LockStatus> {
        self.locks()
    }

    fn queue<'a>(&'a self, builder: Option<&'a str>, limit: usize) -> Answer<'a, QueuePage> {
        async move { Ok(self.queue(builder, limit).await?) }.boxed()
    }

    fn why<'a>(&'a self, requests: &'a [RequestId]) -> Answer<'a, Vec<Queued>> {
        async move { Ok(self.why(requests).await?) }.boxed()
    }

    fn force<'a>(&'a self, builder: &'a str, force: Force) -> Answer<'a, Forced> {
        async { Ok(self.force(builder, force).await?) }.boxed()
    }

    fn send_change(&self, change: SentChange) -> Answer<'_, (Change, bool)> {
        async { Ok(self.send_change(change).await?) }.boxed()
    }

    fn schedulers(&self) -> Answer<'_, Vec<SchedulerStatus>> {
        async { Ok(self.schedulers().await?) }.boxed()
    }

    fn describe_scheduler<'a>(&'a self, name: &'a str, values: &'a Value) -> Answer<'a, Value> {
        async move { Ok(self.describe_scheduler(name, values).await?) }.boxed()
    }

    fn call_scheduler<'a>(&'a self, name: &'a str, key: Option<&'a str>, call: Value) -> Answer<'a, Called> {
        async move { Ok(self.call_scheduler(name, key, call).await?) }.boxed()
    }

    fn scheduler_call<'a>(&'a self, name: &'a str, id: CallId) -> Answer<'a, Called> {
        async move { Ok(self.scheduler_call(name, id).await?) }.boxed()
    }

    fn enable_scheduler<'a>(&'a self, name: &'a str, enabled: bool) -> Answer<'a, bool> {
        async move { Ok(self.enable_scheduler(name, enabled).await?) }.boxed()
    }

    fn stop<'a>(&'a self, build: BuildId, reason: &'a str) -> Answer<'a, ()> {
        async move { Ok(self.stop_build(build, reason).await?) }.boxed()
    }

    fn cancel<'a>(&'a self, request: RequestId, reason: &'a str) -> Answer<'a, ()> {
        async move { Ok(self.cancel_request(request, reason).await?) }.boxed()
    }

    fn rebuild<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, Forced> {
        async move { Ok(self.rebuild(build, reason).await?) }.boxed()
    }

    fn rebuild_buildset<'a>(
        &'a self,
        buildset: BuildsetId,
        only_failed: bool,
        reason: Option<&'a str>,
    ) -> Answer<'a, Forced> {
        async move { Ok(self.rebuild_buildset(buildset, only_failed, reason).await?) }.boxed()
    }

    fn cancel_buildset<'a>(&'a self, buildset: BuildsetId, reason: &'a str) -> Answer<'a, Cancelled> {
        async move { Ok(self.cancel_buildset(buildset, reason).await?) }.boxed()
    }

    fn retry_report(&self, report: OutboxId) -> Answer<'_, ()> {
        async move { Ok(self.retry_report(report).await?) }.boxed()
    }

    fn retry_reports(&self) -> Answer<'_, u64> {
        async { Ok(self.retry_reports().await?) }.boxed()
    }

    fn reload(&self) -> Answer<'_, Reloaded> {
        async { Ok(self.reload().await?) }.boxed()
    }

    fn retention(&self) -> Answer<'_, Forecast> {
        async { Ok(self.retention().await?) }.boxed()
    }

    fn retention_progress(&self) -> Progress {
        self.retention_progress()
    }

    fn run_retention(&self) -> u64 {
        self.run_retention()
    }

    fn keep<'a>(&'a self, build: BuildId, reason: Option<&'a str>) -> Answer<'a, ()> {
        async move { Ok(self.keep_build(build, reason).await?) }.boxed()
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
            Refusal::Refused(problems) => Self::refused(
                message,
                problems
                    .into_iter()
                    .map(|problem| (problem.path, problem.message))
                    .collect(),
            ),
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
