//! A scenario of a reporter.

use std::collections::BTreeMap;

use capstan_engine::Phase;
use capstan_model::Outcome;
use capstan_model::plugin::Rights;
use serde::Deserialize;

use super::step::Stamp;
use super::{At, Calls, Check};
use crate::words::{Json, Members, Moment};

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
    pub http: Vec<At<Http>>,
    #[serde(default)]
    pub file: Vec<At<Fails>>,
    #[serde(default)]
    pub mail: Vec<At<Fails>>,
    #[serde(default)]
    pub state: BTreeMap<String, Json>,
    #[serde(default)]
    pub report: Vec<At<Report>>,
    #[serde(default)]
    pub expect: Expect,
}

/// What servers answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub times: Option<u64>,
    pub status: Option<u16>,
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub json: Option<Json>,
    pub error: Option<String>,
}

/// What fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fails {
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub times: Option<u64>,
    pub error: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Report {
    pub delivery_id: Option<String>,
    pub phase: Option<Phase>,
    pub builder: Option<String>,
    pub number: Option<u64>,
    pub url: Option<String>,
    pub worker: Option<String>,
    pub reason: String,
    pub outcome: Option<Outcome>,
    pub previous_outcome: Option<Outcome>,
    pub summary: String,
    pub sources: Vec<Stamp>,
    pub properties: Members,
    pub steps: Vec<Step>,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
    pub expect: ReportExpect,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub name: String,
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub summary: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReportExpect {
    pub error: Option<At<String>>,
    pub calls: Option<Calls>,
    pub said: Option<At<Vec<At<String>>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub error: Option<At<String>>,
    pub calls: Option<Calls>,
    pub said: Option<At<Vec<At<String>>>>,
    pub files: BTreeMap<String, At<String>>,
    pub state: Option<At<BTreeMap<String, Json>>>,
    pub mails: Option<At<Vec<At<Members>>>>,
}
