//! The scheduler `branch`: builds one branch. Changes that come soon after each other are collected, whatever their codebase, and
//! built together once the branch has been quiet for the tree-stable timer.

use capstan_sdk::params::Span;
use capstan_sdk::problem;
use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use scheduling::{ChangeFilter, Pending, Request, Sources, Stable, Verdict};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Branch {
    /// Empty is the repository's default branch, where a change source does not name it.
    branch: String,
    tree_stable_timer: Span,
    sources: Sources,
    #[serde(flatten)]
    filter: ChangeFilter,
    #[serde(flatten)]
    request: Request,
}

impl Scheduler for Branch {
    type State = Pending;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.filter.faults();
        problems.extend(self.sources.fault().map(|fault| problem("sources", fault)));
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
            together: true,
        };
        let answer = state.handle(&stable, now, &event, |change| {
            if change.branch.as_deref().unwrap_or("") == self.branch {
                self.filter.judge_rest(change)
            } else {
                Verdict::Unwanted
            }
        });
        Ok(answer)
    }
}

capstan_sdk::scheduler!(Branch);

#[cfg(test)]
mod tests;
