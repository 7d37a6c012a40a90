//! The scheduler `any-branch`: builds what changes. Changes of one branch that come soon after each other are collected
//! and built together, at the newest revision, once the branch has been quiet for the tree-stable timer.

mod filter;
mod pending;

use std::collections::BTreeMap;

use capstan_sdk::params::{Patterns, Span, Texts};
use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use serde::Deserialize;
use serde_json::Value;

use filter::Verdict;
use pending::Pending;

/// The parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnyBranch {
    tree_stable_timer: Span,
    branches: Option<Patterns>,
    exclude_branches: Patterns,
    files: Option<Patterns>,
    exclude_files: Patterns,
    only_important: bool,
    projects: Option<Patterns>,
    repositories: Option<Texts>,
    codebases: Option<Texts>,
    categories: Option<Texts>,
    priority: i32,
    properties: BTreeMap<String, Value>,
}

impl Scheduler for AnyBranch {
    type State = Pending;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let empty = |name: &str, texts: &Option<Texts>| {
            let empty = texts.as_ref().is_some_and(|texts| texts.is_empty());
            empty.then(|| {
                capstan_sdk::problem(
                    name,
                    "expected something to take, found an empty list: nothing would be built",
                )
            })
        };
        let lists = [
            ("repositories", &self.repositories),
            ("codebases", &self.codebases),
            ("categories", &self.categories),
        ];
        let problems: Vec<_> = lists
            .into_iter()
            .filter_map(|(name, texts)| empty(name, texts))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut Pending, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let mut answer = Answer::default();
        match event {
            Event::Started => state.restart(self, now, &mut answer),
            Event::Change(change) => match self.judge(&change) {
                Verdict::Unwanted => {}
                verdict => state.add(self, &change, verdict == Verdict::Important, now, &mut answer),
            },
            Event::Timer(name) => state.ring(self, &name, now, &mut answer),
            Event::Finished(_) => {}
        }
        Ok(answer)
    }
}

capstan_sdk::scheduler!(AnyBranch);

#[cfg(test)]
mod tests;
