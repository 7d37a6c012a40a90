//! The change source `git-poller`: remembers each branch's head and reports what comes on top of it; tags too, if wanted.

mod poll;

use std::collections::BTreeMap;

use capstan_sdk::change_source::git::{self, Commit, GitError};
use capstan_sdk::change_source::{ChangeSource, PluginError, Poll, Problem};
use capstan_sdk::params::{Patterns, Span};
use capstan_sdk::problem;
use serde::{Deserialize, Serialize};

use poll::{Repository, TAGS};

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitPoller {
    repository: String,
    worker_repository: Option<String>,
    branches: Option<Patterns>,
    tags: Option<Patterns>,
    #[serde(default = "a_minute")]
    interval: Span,
    #[serde(default)]
    project: String,
    #[serde(default)]
    codebase: String,
    category: Option<String>,
    #[serde(default)]
    announce_existing: bool,
    #[serde(default = "a_hundred")]
    limit: u32,
}

fn a_minute() -> Span {
    Span::from_secs(60)
}

fn a_hundred() -> u32 {
    100
}

/// The branches' heads at the last look, and what the tags named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heads {
    /// Heads of another repository say nothing about this one.
    repository: String,
    /// Whether tags are among them.
    #[serde(default)]
    tags: bool,
    /// Which tags were looked at. Without it, as an earlier version left it, those that are looked at now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags_like: Option<Patterns>,
    heads: BTreeMap<String, String>,
}

impl ChangeSource for GitPoller {
    type Cursor = Heads;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let urls = [
            ("repository", Some(&self.repository)),
            ("worker_repository", self.worker_repository.as_ref()),
        ];
        for (name, url) in urls {
            if url.is_some_and(|url| url.is_empty() || url.starts_with('-') || url.contains(char::is_control))
            {
                problems.push(problem(name, "expected the URL of a repository"));
            }
        }
        if self.interval.ms() == 0 {
            problems.push(problem("interval", "expected more than nothing, found 0"));
        }
        if self.limit == 0 {
            problems.push(problem("limit", "expected at least 1, found 0"));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn poll(&self, cursor: Option<Heads>) -> Result<Poll<Heads>, PluginError> {
        self.look(&Mirror(&self.repository), cursor)
    }
}

/// The master's mirror of a repository.
struct Mirror<'a>(&'a str);

impl Repository for Mirror<'_> {
    fn heads(&self) -> Result<BTreeMap<String, String>, PluginError> {
        let branch = |reference: git::Reference| {
            let name = match reference.name.strip_prefix("refs/heads/") {
                Some(branch) => branch,
                None if reference.name.starts_with(TAGS) => &reference.name,
                None => return None,
            };
            Some((name.to_owned(), reference.revision))
        };
        Ok(git::fetch(self.0)
            .map_err(explain)?
            .into_iter()
            .filter_map(branch)
            .collect())
    }

    fn commits(&self, since: &[String], until: &str, limit: u32) -> Result<Vec<Commit>, PluginError> {
        git::commits(self.0, since, until, limit).map_err(explain)
    }
}

fn explain(error: GitError) -> PluginError {
    match error {
        GitError::Denied(reason) | GitError::Invalid(reason) => PluginError::Permanent(reason),
        GitError::Unavailable(reason) => PluginError::Transient(reason),
    }
}

capstan_sdk::change_source!(GitPoller);

#[cfg(test)]
mod tests;
