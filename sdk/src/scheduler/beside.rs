//! What a scheduler may do beside handling events: be asked for builds, and follow other schedulers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, CompletedBuildset, Decision, Scheduler};
use crate::bindings::calls::capstan::plugin::decisions;
use crate::{PluginError, SourceStamp, TimestampMs};

/// A scheduler that can be asked for builds: by a step of another build, by a person, from a command line. For
/// `scheduler!(T, calls)`.
pub trait Calls: Scheduler {
    /// What to ask a person for: an object with `kind` ("trigger", "force" or "try") and `fields`, a list of objects with at
    /// least `name`, `type` and `label`.
    fn describe(&self) -> Value;

    /// Handles one call. [`PluginError::InvalidConfig`] says what is wrong in it, field by field; nothing has happened then.
    fn call(&self, state: &mut Self::State, now: TimestampMs, call: Call) -> Result<Answer, PluginError>;
}

/// A scheduler that is told of each complete buildset of those that it follows. For `scheduler!(T, follows)`. It follows those that
/// its parameters name whose schema has the format `scheduler`.
pub trait Follows: Scheduler {
    /// Handles one of them.
    fn completed(
        &self,
        state: &mut Self::State,
        now: TimestampMs,
        buildset: CompletedBuildset,
    ) -> Result<Answer, PluginError>;
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallKind {
    /// A step of another build.
    Trigger,
    /// A person, with a form.
    Force,
    /// A person, with a patch that is not committed.
    Try,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who asks.
    pub kind: CallKind,
    /// Their name, for people.
    #[serde(default)]
    pub owner: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// Some of the scheduler's builders; none is all.
    #[serde(default)]
    pub builders: Option<Vec<String>>,
    /// What to check out.
    #[serde(default)]
    pub sources: Vec<Stamp>,
    /// Properties for the builds.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// What was filled in, by field.
    #[serde(default)]
    pub values: Map<String, Value>,
    /// What is not committed.
    #[serde(default)]
    pub patch: Option<Patch>,
    /// Higher is sooner; none is as the scheduler likes.
    #[serde(default)]
    pub priority: Option<i32>,
}

/// What to check out, as it stands in a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stamp {
    /// The codebase; empty where there is only one.
    pub codebase: String,
    /// Its repository.
    pub repository: String,
    /// Its project.
    pub project: String,
    /// None is the repository's default branch.
    pub branch: Option<String>,
    /// None is the newest revision of the branch.
    pub revision: Option<String>,
}

impl From<Stamp> for SourceStamp {
    fn from(stamp: Stamp) -> Self {
        Self {
            codebase: stamp.codebase,
            repository: stamp.repository,
            project: stamp.project,
            branch: stamp.branch,
            revision: stamp.revision,
        }
    }
}

/// A change that is not committed. The master keeps its text, and puts the patch on the sources of what comes of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Patch {
    /// The length of its text, a unified diff.
    pub bytes: u64,
    /// The digest of its text.
    pub digest: String,
    /// How many leading folders of its paths to leave out.
    #[serde(default = "one")]
    pub level: u32,
    /// The folder that it applies to; empty is the top.
    pub subdirectory: String,
    /// The codebase that it is of; empty where there is only one.
    pub codebase: String,
    /// Who wrote it.
    pub author: String,
    /// What they say about it.
    pub comment: String,
}

fn one() -> u32 {
    1
}

impl From<Decision> for decisions::Decision {
    fn from(decision: Decision) -> Self {
        let buildset = |set: super::Buildset| decisions::Buildset {
            builders: set.builders,
            sources: set.sources,
            priority: set.priority,
            reason: set.reason,
            properties: set.properties,
            changes: set.changes,
        };
        let timer = |timer: super::Timer| decisions::Timer {
            name: timer.name,
            at: timer.at,
        };
        Self {
            state: decision.state,
            submit: decision.submit.into_iter().map(buildset).collect(),
            set_timers: decision.set_timers.into_iter().map(timer).collect(),
            clear_timers: decision.clear_timers,
        }
    }
}
