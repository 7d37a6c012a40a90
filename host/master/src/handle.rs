//! What the web server and the command line may ask of a running master.

use std::collections::BTreeMap;
use std::sync::Arc;

use capstan_config::Diagnostic;
use capstan_logs::Logs;
use capstan_model::plan::Plan;
use capstan_model::{BuildId, BuildsetId, Clock, RequestId, Timestamp};
use capstan_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::farm::Farm;
use crate::plugins::PluginStatus;

/// A running master. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Farm>);

/// What somebody who forces a build asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Force {
    /// The branch; none is the repository's default.
    pub branch: Option<String>,
    /// The revision; none is the newest of the branch.
    pub revision: Option<String>,
    /// The repository; empty leaves it to the builder's steps.
    pub repository: String,
    /// The codebase; empty when there is only one.
    pub codebase: String,
    /// Why, for people.
    pub reason: Option<String>,
    /// Properties of the build.
    pub properties: BTreeMap<String, Value>,
    /// Higher is sooner.
    pub priority: i32,
}

/// What a force became.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forced {
    /// The buildset.
    pub buildset: BuildsetId,
    /// Its requests, one per builder.
    pub requests: Vec<RequestId>,
}

/// What a reload changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// What was added, removed or changed, a line each.
    pub changes: Vec<String>,
    /// What is allowed but looks wrong.
    pub warnings: Vec<String>,
}

/// An invitation for a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// The join string: good for one use.
    pub join: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// A worker as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Whether it has joined and was not revoked.
    pub enrolled: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it has been connected, or silent.
    pub since: Option<Timestamp>,
    /// Why it gets no builds, if somebody paused it.
    pub paused: Option<String>,
    /// How many builds it runs at a time.
    pub slots: u32,
    /// Its labels, reported and configured.
    pub labels: Vec<String>,
    /// What it says of its machine.
    pub facts: BTreeMap<String, String>,
    /// The builds that run on it.
    pub builds: Vec<BuildId>,
}

/// The master itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// The farm's title.
    pub title: String,
    /// The public address of its pages, without a slash at the end.
    pub url: String,
    /// The version of the program.
    pub version: String,
    /// How often a master was started on this farm.
    pub epoch: u64,
    /// When this one was started.
    pub started: Timestamp,
}

impl Handle {
    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The logs, for reading.
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        self.0.plan()
    }

    /// The master itself.
    pub fn about(&self) -> About {
        self.0.about()
    }

    /// Asks for a build of `builder`.
    pub async fn force(&self, builder: &str, force: Force) -> Result<Forced, Error> {
        self.0.force(builder, force).await
    }

    /// Stops a build: its commands are ended, steps that always run still run. A build that has ended is a conflict.
    pub async fn stop_build(&self, build: BuildId, reason: &str) -> Result<(), Error> {
        self.0.stop_build(build, reason).await
    }

    /// Cancels a request that has not become a build.
    pub async fn cancel_request(&self, request: RequestId, reason: &str) -> Result<(), Error> {
        self.0.cancel_request(request, reason).await
    }

    /// Reads the plugin folder and the configuration again and applies them, all or nothing.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        self.0.reload().await
    }

    /// Invites a worker: a join string that is good for one use within `ttl_ms`.
    pub async fn invite(&self, worker: &str, ttl_ms: u64) -> Result<Invitation, Error> {
        self.0.invite(worker, ttl_ms).await
    }

    /// Gives a worker no new builds.
    pub async fn pause_worker(&self, worker: &str, reason: &str) -> Result<(), Error> {
        self.0.pause_worker(worker, Some(reason)).await
    }

    /// Gives a worker builds again.
    pub async fn unpause_worker(&self, worker: &str) -> Result<(), Error> {
        self.0.pause_worker(worker, None).await
    }

    /// Ends a worker's membership and its connection at once; a new invitation lets it join again.
    pub async fn revoke_worker(&self, worker: &str) -> Result<(), Error> {
        self.0.revoke_worker(worker).await
    }

    /// Every worker that is configured or has joined, by name.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, Error> {
        self.0.workers().await
    }

    /// Every plugin file, loaded or not.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        self.0.plugins.load().status()
    }
}

/// A configuration that was refused, for callers that show it.
pub type Diagnostics = Vec<Diagnostic>;
