//! What the web server and the command line may ask of a running master.

use std::collections::BTreeMap;
use std::sync::Arc;

use capstan_config::Diagnostic;
use capstan_logs::{Artefacts, Logs};
use capstan_model::plan::Plan;
use capstan_model::{
    BuildId, BuildsetId, CallId, Change, Clock, OutboxId, Properties, Property, RequestId, Timestamp,
};
use capstan_store::{Cancelled, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::farm::Farm;
use crate::locks::LockStatus;
use crate::plugins::PluginStatus;
use crate::queue::{QueuePage, Queued};
use crate::retention::{Forecast, Progress};
use crate::schedulers::{Called, SchedulerStatus};
use crate::sending::SentChange;
use crate::{Error, outbox, queue, rebuild, retention};

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

impl Force {
    /// The longest name of a branch, revision, codebase, repository or property, in bytes.
    const MAX_NAME: usize = 1000;
    /// The longest reason, in bytes.
    const MAX_REASON: usize = 2000;
    /// Properties at most.
    const MAX_PROPERTIES: usize = 200;

    /// Whether it makes sense. The parts become arguments of programs, lines of reports and cells of pages.
    pub fn check(&self) -> Result<(), Error> {
        named("branch", self.branch.as_deref().unwrap_or_default())?;
        named("revision", self.revision.as_deref().unwrap_or_default())?;
        named("repository", &self.repository)?;
        named("codebase", &self.codebase)?;
        let reason = self.reason.as_deref().unwrap_or_default();
        if reason.len() > Self::MAX_REASON {
            let most = Self::MAX_REASON;
            return Err(field(
                "reason",
                format!("expected at most {most} bytes, found {}", reason.len()),
            ));
        }
        if self.properties.len() > Self::MAX_PROPERTIES {
            let (most, found) = (Self::MAX_PROPERTIES, self.properties.len());
            return Err(field(
                "properties",
                format!("expected at most {most}, found {found}"),
            ));
        }
        for name in self.properties.keys() {
            if name.is_empty() {
                return Err(field("properties", "expected a name, found nothing".to_owned()));
            }
            named("properties", name)?;
        }
        let given = self.properties.iter().map(|(name, value)| Property {
            name: name.clone(),
            value: value.clone(),
            source: "force".to_owned(),
        });
        let given: Properties = given.collect();
        given
            .check()
            .map_err(|error| field("properties", error.to_string()))
    }
}

fn named(part: &'static str, name: &str) -> Result<(), Error> {
    let most = Force::MAX_NAME;
    let fault = if name.len() > most {
        format!("expected at most {most} bytes, found {}", name.len())
    } else if name.chars().any(char::is_control) {
        format!("expected a name without control characters, found {name:?}")
    } else if name.starts_with('-') {
        format!("expected a name that programs do not take for an option, found {name:?}")
    } else {
        return Ok(());
    };
    Err(field(part, fault))
}

fn field(field: &'static str, reason: String) -> Error {
    Error::Field { field, reason }
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
    /// When it was last heard. A connected one is asked every few seconds.
    #[serde(default)]
    pub last_heard: Option<Timestamp>,
    /// Where it is connected from.
    #[serde(default)]
    pub address: Option<String>,
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

    /// The bytes of artefacts, for reading.
    pub fn artefacts(&self) -> &Artefacts {
        &self.0.artefacts
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

    /// Takes in a change that no change source has found; answers it, and whether it is new.
    pub async fn send_change(&self, change: SentChange) -> Result<(Change, bool), Error> {
        self.0.send_change(change).await
    }

    /// Every scheduler of the plan, in its order.
    pub async fn schedulers(&self) -> Result<Vec<SchedulerStatus>, Error> {
        self.0.schedulers().await
    }

    /// What a scheduler asks a person for: `kind`, `fields` and `builders`. What there is to choose may depend on `values`, an object
    /// with what was filled in so far. One that cannot be asked for builds is a conflict.
    pub async fn describe_scheduler(&self, name: &str, values: &Value) -> Result<Value, Error> {
        self.0.describe_scheduler(name, values).await
    }

    /// Asks a scheduler for builds and waits a while for what it decides. What it refuses is [`Error::Refused`]. The same key again is
    /// the same call.
    pub async fn call_scheduler(&self, name: &str, key: Option<&str>, call: Value) -> Result<Called, Error> {
        self.0.call_scheduler(name, key, call).await
    }

    /// What came of a call.
    pub async fn scheduler_call(&self, name: &str, id: CallId) -> Result<Called, Error> {
        self.0.scheduler_call(name, id).await
    }

    /// Switches a scheduler on or off, across restarts; answers whether it was not so already. What happens while it is off is
    /// dropped.
    pub async fn enable_scheduler(&self, name: &str, enabled: bool) -> Result<bool, Error> {
        self.0.enable_scheduler(name, enabled).await
    }

    /// Stops a build: its commands are ended, steps that always run still run. A build that has ended is a conflict.
    pub async fn stop_build(&self, build: BuildId, reason: &str) -> Result<(), Error> {
        self.0.stop_build(build, reason).await
    }

    /// Cancels a request that has not become a build.
    pub async fn cancel_request(&self, request: RequestId, reason: &str) -> Result<(), Error> {
        self.0.cancel_request(request, reason).await
    }

    /// Asks for a build of what that one built: the same revision, the same properties. One that runs is a conflict.
    pub async fn rebuild(&self, build: BuildId, reason: Option<&str>) -> Result<Forced, Error> {
        rebuild::build(&self.0, build, reason).await
    }

    /// Asks for the builds of a buildset again, or only for those that did not go well. If there are none, that is a conflict.
    pub async fn rebuild_buildset(
        &self,
        buildset: BuildsetId,
        only_failed: bool,
        reason: Option<&str>,
    ) -> Result<Forced, Error> {
        rebuild::buildset(&self.0, buildset, only_failed, reason).await
    }

    /// Cancels what has not ended of a buildset: requests that wait end, builds that serve nobody else are stopped.
    pub async fn cancel_buildset(&self, buildset: BuildsetId, reason: &str) -> Result<Cancelled, Error> {
        rebuild::cancel(&self.0, buildset, reason).await
    }

    /// Has a parked report delivered after all, under the delivery id that it has. One that is not parked is a conflict.
    pub async fn retry_report(&self, report: OutboxId) -> Result<(), Error> {
        outbox::retry(&self.0, report).await
    }

    /// The same for every parked report; answers how many those are.
    pub async fn retry_reports(&self) -> Result<u64, Error> {
        Ok(self.0.store.requeue_reports(self.0.clock.now()).await?)
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

    /// The requests that wait, of every builder or of one, and why: at most `limit`, in the order in which they are served.
    pub async fn queue(&self, builder: Option<&str>, limit: usize) -> Result<QueuePage, Error> {
        queue::queue(&self.0, builder, limit).await
    }

    /// Why these requests wait; those that do not are left out.
    pub async fn why(&self, requests: &[RequestId]) -> Result<Vec<Queued>, Error> {
        queue::of(&self.0, requests).await
    }

    /// What there is, what the rules of retention would remove, and what they did last. Looks at everything.
    pub async fn retention(&self) -> Result<Forecast, Error> {
        retention::forecast(&self.0).await
    }

    /// How far retention is.
    pub fn retention_progress(&self) -> Progress {
        retention::progress(&self.0)
    }

    /// Has the rules of retention carried out now; answers the number that this time has in [`Progress::last`].
    pub fn run_retention(&self) -> u64 {
        retention::ask(&self.0)
    }

    /// Keeps a build for that reason, whatever the rules of retention say; without one it is left to them again.
    pub async fn keep_build(&self, build: BuildId, reason: Option<&str>) -> Result<(), Error> {
        retention::keep(&self.0, build, reason).await
    }

    /// Every lock: who holds it, and who waits for it in which order.
    pub fn locks(&self) -> Vec<LockStatus> {
        self.0.locks.status()
    }

    /// Every plugin file, loaded or not.
    pub fn plugins(&self) -> Vec<PluginStatus> {
        self.0.plugins.load().status(self.0.clock.now())
    }
}

/// A configuration that was refused, for callers that show it.
pub type Diagnostics = Vec<Diagnostic>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_in_a_force_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let property = |name: &str| BTreeMap::from([(name.to_owned(), Value::Null)]);
        let many = (0..=Force::MAX_PROPERTIES).map(|n| (n.to_string(), Value::Null));
        let refused = [
            Force {
                branch: text("--upload-pack=x"),
                ..Force::default()
            },
            Force {
                revision: text("a\nb"),
                ..Force::default()
            },
            Force {
                repository: "x".repeat(Force::MAX_NAME + 1),
                ..Force::default()
            },
            Force {
                codebase: "\0".to_owned(),
                ..Force::default()
            },
            Force {
                reason: text(&"x".repeat(Force::MAX_REASON + 1)),
                ..Force::default()
            },
            Force {
                properties: property(""),
                ..Force::default()
            },
            Force {
                properties: property("\u{1b}"),
                ..Force::default()
            },
            Force {
                properties: many.collect(),
                ..Force::default()
            },
        ];
        let named: Vec<_> = refused
            .iter()
            .map(|force| match force.check() {
                Err(Error::Field { field, .. }) => field,
                other => panic!("expected {force:?} to be refused, got {other:?}"),
            })
            .collect();
        let expected = [
            "branch",
            "revision",
            "repository",
            "codebase",
            "reason",
            "properties",
            "properties",
            "properties",
        ];
        assert_eq!(named, expected);
        let good = Force {
            branch: text("feature/größe 2"),
            reason: text("two\nlines"),
            properties: property("a b"),
            ..Force::default()
        };
        good.check().unwrap();
        Force::default().check().unwrap();
    }
}
