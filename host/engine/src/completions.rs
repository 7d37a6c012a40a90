//! Calls into schedulers that follow others: a buildset of one of those is complete. The master calls and commits the answer.

use capstan_model::{BuildsetId, ChangeId, Outcome, Properties, SourceStamp, Timestamp};
use serde_json::Value;

use crate::bindings::completions::exports::capstan::plugin::completions as wit;
use crate::bindings::types;
use crate::call::{CallError, Caller, call_guest};
use crate::plugin::Plugin;
use crate::scheduler::{Decision, read};
use crate::step::canonical;

/// A buildset whose requests have all ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// The buildset.
    pub id: BuildsetId,
    /// The scheduler that asked for it.
    pub scheduler: String,
    /// The worst of its requests.
    pub outcome: Outcome,
    /// Why it was asked for.
    pub reason: String,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
    /// Its properties.
    pub properties: Properties,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
    /// Its builds, oldest first.
    pub builds: Vec<CompletedBuild>,
}

/// A build of such a buildset.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletedBuild {
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it checked out, with the revisions that it really built as far as they are known.
    pub sources: Vec<SourceStamp>,
}

impl Plugin {
    /// Whether it follows other schedulers.
    pub fn follows(&self) -> bool {
        self.beside().completions.is_some()
    }

    /// Tells a scheduler of a buildset of one that it follows. Nothing has happened until the decision is committed.
    pub async fn completed(
        &self,
        caller: &Caller,
        config: &Value,
        state: &[u8],
        now: Timestamp,
        buildset: Completed,
    ) -> Result<Decision, CallError> {
        let Some(pre) = &self.beside().completions else {
            return Err(self.without("follow others", "completions"));
        };
        let config = canonical::text(config);
        let data = self.deciding(caller, state, now, &[&config, &buildset.id.0.to_string()]);
        let buildset = wit::CompletedBuildset::from(buildset);
        let decision = call_guest!(self, pre, data, |guest, store| guest
            .capstan_plugin_completions()
            .call_completed(&mut store, &config, state, now.0, &buildset))?;
        read(decision.into()).map_err(CallError::Malformed)
    }
}

fn stamps(sources: Vec<SourceStamp>) -> Vec<types::SourceStamp> {
    sources.into_iter().map(types::SourceStamp::from).collect()
}

impl From<Completed> for wit::CompletedBuildset {
    fn from(set: Completed) -> Self {
        let build = |build: CompletedBuild| wit::Build {
            builder: build.builder,
            number: build.number,
            outcome: build.outcome.into(),
            sources: stamps(build.sources),
        };
        Self {
            id: set.id.0,
            scheduler: set.scheduler,
            outcome: set.outcome.into(),
            reason: set.reason,
            sources: stamps(set.sources),
            properties: set.properties.iter().map(types::Property::from).collect(),
            changes: set.changes.into_iter().map(|id| id.0).collect(),
            builds: set.builds.into_iter().map(build).collect(),
        }
    }
}
