//! A scenario of a change source.

use std::collections::BTreeMap;

use capstan_model::plugin::Rights;
use serde::Deserialize;

use super::reporter::Http;
use super::scheduler::Migrate;
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
    pub cursor: Option<Json>,
    pub migrate: Option<At<Migrate>>,
    #[serde(default)]
    pub http: Vec<At<Http>>,
    #[serde(default)]
    pub poll: Vec<At<Poll>>,
    #[serde(default)]
    pub expect: Expect,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Poll {
    pub after: Option<Span>,
    pub git: BTreeMap<String, Git>,
    pub http: Vec<At<Http>>,
    pub expect: PollExpect,
}

/// A repository from a poll on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Git {
    pub branches: Option<BTreeMap<String, String>>,
    pub tags: Option<BTreeMap<String, String>>,
    pub commits: Vec<Commit>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commit {
    pub revision: String,
    pub parents: Option<Vec<String>>,
    #[serde(default)]
    pub author: String,
    #[serde(default)]
    pub comments: String,
    #[serde(default)]
    pub files: Vec<String>,
    pub when: Option<Moment>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PollExpect {
    pub changes: Option<At<Vec<At<Members>>>>,
    pub poll_again: Option<At<Span>>,
    pub calls: Option<Calls>,
    pub cursor: Option<At<Json>>,
    pub error: Option<At<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub changes: Option<At<Vec<At<Members>>>>,
    pub cursor: Option<At<Json>>,
    pub calls: Option<Calls>,
    pub said: Option<At<Vec<At<String>>>>,
    pub error: Option<At<String>>,
}
