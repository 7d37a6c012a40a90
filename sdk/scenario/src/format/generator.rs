//! A scenario of a generator.

use capstan_model::plugin::Rights;
use serde::Deserialize;

use super::{At, Check};
use crate::words::Members;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub description: Option<String>,
    pub parameters: Option<At<Members>>,
    pub grants: Option<Rights>,
    #[serde(default)]
    pub check: Vec<At<Check>>,
    pub expect: Option<Expect>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub builders: Option<At<Vec<At<Members>>>>,
    pub schedulers: Option<At<Vec<At<Members>>>>,
    pub remarks: Option<At<Vec<At<String>>>>,
    pub said: Option<At<Vec<At<String>>>>,
    /// Of an answer that is no problem of the parameters.
    pub error: Option<At<String>>,
}
