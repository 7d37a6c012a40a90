//! A scenario of a step.

use std::collections::BTreeMap;

use capstan_model::plugin::Rights;
use capstan_model::{FileFault, Outcome, SourceStamp};
use serde::Deserialize;

use super::{At, Calls, Check};
use crate::words::{Json, Members, Moment, Span};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub description: Option<String>,
    pub now: Option<Moment>,
    pub parameters: Option<At<Members>>,
    pub grants: Option<Rights>,
    #[serde(default)]
    pub check: Vec<At<Check>>,
    #[serde(default)]
    pub build: Build,
    #[serde(default)]
    pub command: Vec<At<Command>>,
    #[serde(default)]
    pub artefact: Vec<At<Artefact>>,
    #[serde(default)]
    pub trigger: Vec<At<Trigger>>,
    pub expect: Option<Expect>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Build {
    pub step: Option<String>,
    pub seed: Option<u64>,
    pub properties: Members,
    pub sources: Vec<Stamp>,
    pub stop: Option<Stop>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stamp {
    codebase: String,
    repository: String,
    project: String,
    branch: Option<String>,
    revision: Option<String>,
}

impl From<&Stamp> for SourceStamp {
    fn from(stamp: &Stamp) -> Self {
        Self {
            codebase: stamp.codebase.clone(),
            repository: stamp.repository.clone(),
            project: stamp.project.clone(),
            branch: stamp.branch.clone(),
            revision: stamp.revision.clone(),
            patch: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    pub after: Span,
    #[serde(default = "stopped")]
    pub reason: String,
}

fn stopped() -> String {
    "stopped by the scenario".to_owned()
}

/// How commands end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Command {
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub times: Option<u64>,
    pub after: Span,
    pub stdout: String,
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    pub idle_timeout: bool,
    pub total_timeout: bool,
    pub killed: Option<String>,
    pub not_started: Option<String>,
    pub lost: Option<String>,
    #[serde(skip)]
    pub no_file: Option<(FileFault, String)>,
}

/// What files there are on the worker, and what comes of storing them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Artefact {
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub times: Option<u64>,
    pub after: Span,
    pub content: String,
    pub missing: Option<String>,
    pub invalid: Option<String>,
    pub too_large: Option<String>,
    pub unavailable: Option<String>,
    pub lost: Option<String>,
}

impl Artefact {
    /// The command that prints the file.
    pub(crate) fn printed(&self) -> Command {
        let faults = [
            (FileFault::Missing, &self.missing),
            (FileFault::Invalid, &self.invalid),
            (FileFault::TooLarge, &self.too_large),
            (FileFault::Unreadable, &self.unavailable),
        ];
        let fault = faults
            .into_iter()
            .find_map(|(fault, reason)| Some((fault, reason.clone()?)));
        Command {
            after: self.after,
            stdout: self.content.clone(),
            lost: self.lost.clone(),
            no_file: fault,
            ..Command::default()
        }
    }
}

/// What schedulers make of a call, and how it ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Trigger {
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub times: Option<u64>,
    /// How many it makes.
    pub buildsets: u8,
    pub after: Span,
    pub outcome: Option<Outcome>,
    pub builds: Vec<Triggered>,
    pub refused: Option<Vec<Refusal>>,
    pub deadlock: Option<String>,
}

impl Default for Trigger {
    fn default() -> Self {
        Self {
            pattern: None,
            times: None,
            buildsets: 1,
            after: Span::default(),
            outcome: None,
            builds: Vec::new(),
            refused: None,
            deadlock: None,
        }
    }
}

impl Trigger {
    /// The outcome that was said, else the worst of the builds.
    pub(crate) fn worst(&self) -> Outcome {
        let builds = self.builds.iter().map(|build| build.outcome);
        let worst = || builds.reduce(Outcome::worst).unwrap_or(Outcome::Success);
        self.outcome.unwrap_or_else(worst)
    }
}

/// A build that a scheduler was asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Triggered {
    pub builder: String,
    #[serde(default = "first")]
    pub number: u64,
    #[serde(default = "good")]
    pub outcome: Outcome,
}

fn first() -> u64 {
    1
}

fn good() -> Outcome {
    Outcome::Success
}

/// Why a call is refused, and where in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub path: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub outcome: Option<At<Outcome>>,
    pub summary: Option<At<String>>,
    pub error: Option<At<String>>,
    pub said: Option<At<Vec<At<String>>>>,
    pub calls: Option<Calls>,
    pub properties: Option<At<Json>>,
    pub links: Option<At<Json>>,
    pub logs: BTreeMap<String, At<String>>,
    pub artefacts: Option<BTreeMap<String, At<String>>>,
    pub ends_build: Option<At<Outcome>>,
    pub duration: Option<At<Span>>,
}
