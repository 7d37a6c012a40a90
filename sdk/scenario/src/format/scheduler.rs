//! A scenario of a scheduler.

use capstan_model::Outcome;
use capstan_model::plugin::Rights;
use serde::Deserialize;

use super::step::Stamp;
use super::{At, Calls, Check};
use crate::words::{Json, Members, Moment, Span};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub description: Option<String>,
    pub now: Option<Moment>,
    pub until: Option<Span>,
    pub parameters: Option<At<Members>>,
    pub grants: Option<Rights>,
    #[serde(default)]
    pub check: Vec<At<Check>>,
    pub state: Option<Json>,
    pub migrate: Option<At<Migrate>>,
    #[serde(default)]
    pub event: Vec<At<Event>>,
    #[serde(default)]
    pub expect: Expect,
}

/// A new version takes over from an older one before anything else happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migrate {
    pub from: String,
    /// The state or cursor that comes of it.
    pub expect: Option<At<Json>>,
    pub error: Option<At<String>>,
}

/// What happens; exactly one of the first six is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Event {
    pub started: bool,
    pub change: Option<Change>,
    pub timer: Option<String>,
    pub finished: Option<Finished>,
    /// What it is asked for, as the interface `calls` has it.
    pub call: Option<Json>,
    pub completed: Option<Completed>,
    pub after: Option<Span>,
    pub at: Option<Moment>,
    pub expect: Option<EventExpect>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    pub id: Option<i64>,
    pub source: String,
    pub codebase: String,
    pub repository: String,
    pub project: String,
    pub branch: Option<String>,
    pub revision: String,
    pub author: String,
    pub comments: String,
    pub files: Vec<String>,
    pub category: Option<String>,
    pub when: Option<Moment>,
    pub properties: Members,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    pub builder: String,
    #[serde(default = "one")]
    pub number: u64,
    #[serde(default = "success")]
    pub outcome: Outcome,
    #[serde(default)]
    pub sources: Vec<Stamp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Completed {
    #[serde(default = "first")]
    pub id: i64,
    pub scheduler: String,
    #[serde(default = "success")]
    pub outcome: Outcome,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub sources: Vec<Stamp>,
    #[serde(default)]
    pub properties: Members,
    #[serde(default)]
    pub changes: Vec<i64>,
    #[serde(default)]
    pub builds: Vec<Finished>,
}

fn first() -> i64 {
    1
}

fn one() -> u64 {
    1
}

fn success() -> Outcome {
    Outcome::Success
}

/// What one event leads to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventExpect {
    pub requests: Option<At<Vec<At<Members>>>>,
    pub timers: Option<At<Vec<At<Members>>>>,
    pub cleared: Option<At<Vec<String>>>,
    pub state: Option<At<Json>>,
    pub error: Option<At<String>>,
}

/// What all of it leads to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub requests: Option<At<Vec<At<Members>>>>,
    pub timers: Option<At<Vec<At<Members>>>>,
    pub state: Option<At<Json>>,
    pub said: Option<At<Vec<At<String>>>>,
    pub error: Option<At<String>>,
    pub calls: Option<Calls>,
}
