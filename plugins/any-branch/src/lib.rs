//! The scheduler `any-branch`: builds what changes. Changes of one branch that come soon after each other are collected
//! and built together, at the newest revision, once the branch has been quiet for the tree-stable timer.

use capstan_sdk::params::Span;
use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use scheduling::{ChangeFilter, Pending, Request, Sources, Stable};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AnyBranch {
    tree_stable_timer: Span,
    sources: Sources,
    #[serde(flatten)]
    filter: ChangeFilter,
    #[serde(flatten)]
    request: Request,
}

impl Scheduler for AnyBranch {
    type State = Pending;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.filter.faults();
        problems.extend(
            self.sources
                .fault()
                .map(|fault| capstan_sdk::problem("sources", fault)),
        );
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut Pending, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let stable = Stable {
            timer: self.tree_stable_timer,
            request: self.request.clone(),
            sources: self.sources.clone(),
            together: false,
        };
        Ok(state.handle(&stable, now, &event, |change| self.filter.judge(change)))
    }
}

capstan_sdk::scheduler!(AnyBranch);

#[cfg(test)]
mod tests;
