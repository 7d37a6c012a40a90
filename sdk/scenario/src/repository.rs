//! A git repository as a scenario describes it: commits that stay, branches and tags that move.

use std::collections::BTreeMap;

use capstan_engine::{Commit, GitFault, Reference};
use capstan_model::Timestamp;

use crate::format::source::Git;

/// How far commits are apart whose time is not said.
const APART_MS: i64 = 60_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Repository {
    commits: Vec<Commit>,
    references: BTreeMap<String, String>,
    fault: Option<String>,
}

impl Repository {
    /// Takes over what a poll says of it.
    pub(crate) fn update(&mut self, git: &Git, beginning: Timestamp) {
        for commit in &git.commits {
            let number = i64::try_from(self.commits.len()).unwrap_or_default();
            let usual = beginning.plus_ms(number * APART_MS);
            let parent = || {
                self.commits
                    .last()
                    .map(|last| last.revision.clone())
                    .into_iter()
                    .collect()
            };
            self.commits.push(Commit {
                revision: commit.revision.clone(),
                parents: commit.parents.clone().unwrap_or_else(parent),
                author: commit.author.clone(),
                when_ms: commit.when.map_or(usual, |when| when.at(beginning)).0,
                comments: commit.comments.clone(),
                files: commit.files.clone(),
            });
        }
        for (names, prefix) in [(&git.branches, "refs/heads/"), (&git.tags, "refs/tags/")] {
            let Some(names) = names else { continue };
            self.references.retain(|name, _| !name.starts_with(prefix));
            let full = names
                .iter()
                .map(|(name, revision)| (format!("{prefix}{name}"), revision.clone()));
            self.references.extend(full);
        }
        self.fault.clone_from(&git.error);
    }

    pub(crate) fn references(&self) -> Result<Vec<Reference>, GitFault> {
        self.reachable()?;
        let reference = |(name, revision): (&String, &String)| Reference {
            name: name.clone(),
            revision: revision.clone(),
        };
        Ok(self.references.iter().map(reference).collect())
    }

    /// The commits that `until` reaches and none of `since` does, oldest first, along first parents.
    pub(crate) fn commits(&self, since: &[String], until: &str, limit: u32) -> Result<Vec<Commit>, GitFault> {
        self.reachable()?;
        let mut known: Vec<&str> = Vec::new();
        for name in since {
            known.push(self.revision(name)?);
        }
        let mut next = 0;
        while let Some(revision) = known.get(next).copied() {
            next += 1;
            let parents = self.find(revision).map(|commit| &commit.parents);
            for parent in parents.into_iter().flatten() {
                if !known.contains(&parent.as_str()) {
                    known.push(parent);
                }
            }
        }
        let (mut found, mut at) = (Vec::new(), Some(self.revision(until)?));
        while let Some(commit) = at
            .filter(|revision| !known.contains(revision))
            .and_then(|r| self.find(r))
        {
            if found.len() >= limit as usize || found.len() >= self.commits.len() {
                break;
            }
            found.push(commit.clone());
            at = commit.parents.first().map(String::as_str);
        }
        found.reverse();
        Ok(found)
    }

    fn reachable(&self) -> Result<(), GitFault> {
        self.fault
            .clone()
            .map_or(Ok(()), |text| Err(GitFault::Unavailable(text)))
    }

    fn find(&self, revision: &str) -> Option<&Commit> {
        self.commits.iter().find(|commit| commit.revision == revision)
    }

    /// What a name or a revision means.
    fn revision<'a>(&'a self, name: &'a str) -> Result<&'a str, GitFault> {
        let short = || self.references.get(&format!("refs/heads/{name}"));
        let named = self.references.get(name).or_else(short).map(String::as_str);
        let direct = || self.find(name).map(|commit| commit.revision.as_str());
        let unknown = || GitFault::Unavailable(format!("the scenario has no commit, branch or tag {name}"));
        named.or_else(direct).ok_or_else(unknown)
    }
}
