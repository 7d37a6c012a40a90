//! The schedulers: each once in Buildbot's words and once in Capstan's, in `cases.json`.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stream::Change;

/// One scheduler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its name on both sides.
    pub name: String,
    /// Whom it asks.
    pub builders: Vec<String>,
    /// The class and its arguments; `drive.py` reads it.
    pub buildbot: Value,
    /// The component and its parameters.
    pub capstan: Use,
}

/// A component with its parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Use {
    /// Its name.
    pub plugin: String,
    /// Its parameters.
    pub config: Value,
}

/// All that a run needs beside the changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// When both masters start: seconds since the Unix epoch.
    pub begin: i64,
    /// When they stop.
    #[serde(default)]
    pub end: i64,
    /// How long each build takes, in seconds.
    pub duration: i64,
    /// The schedulers.
    pub cases: Vec<Case>,
}

impl Plan {
    /// Two days later than the last change: timers have run out, and two nights have passed.
    pub fn ending_after(self, changes: &[Change]) -> Self {
        let last = changes.last().map_or(self.begin, |change| change.at);
        Self {
            end: last + 2 * 24 * 3600,
            ..self
        }
    }
}

/// What `cases.json` says.
pub fn plan() -> Result<Plan> {
    serde_json::from_str(include_str!("../cases.json")).context("expected cases.json to be a plan")
}
