//! A git repository as a test describes it: commits, and the branches and tags that point to them.

use std::collections::BTreeMap;

use crate::host::git::{Commit, GitError, Reference};

/// A repository. Commits stay; branches move.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    commits: Vec<Commit>,
    references: BTreeMap<String, String>,
    fault: Option<GitError>,
}

impl Repository {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a commit on top of the one before it.
    pub fn commit(self, revision: &str) -> Self {
        let parents = self.commits.last().map(|commit| commit.revision.clone());
        let number = i64::try_from(self.commits.len()).unwrap_or_default();
        self.with(Commit {
            revision: revision.to_owned(),
            parents: parents.into_iter().collect(),
            author: "Ann <ann@example.org>".to_owned(),
            when_ms: 1_767_225_600_000 + number * 60_000,
            comments: revision.to_owned(),
            files: Vec::new(),
        })
    }

    /// Adds a commit.
    pub fn with(mut self, commit: Commit) -> Self {
        self.commits.push(commit);
        self
    }

    /// Sets a branch.
    pub fn branch(self, name: &str, revision: &str) -> Self {
        self.reference(&format!("refs/heads/{name}"), revision)
    }

    /// Sets a branch, a tag or anything else by its full name.
    pub fn reference(mut self, name: &str, revision: &str) -> Self {
        self.references.insert(name.to_owned(), revision.to_owned());
        self
    }

    /// Removes a branch.
    pub fn without_branch(mut self, name: &str) -> Self {
        self.references.remove(&format!("refs/heads/{name}"));
        self
    }

    /// It cannot be reached.
    pub fn unavailable(mut self, reason: &str) -> Self {
        self.fault = Some(GitError::Unavailable(reason.to_owned()));
        self
    }

    pub(crate) fn references(&self) -> Result<Vec<Reference>, GitError> {
        self.reachable()?;
        let reference = |(name, revision): (&String, &String)| Reference {
            name: name.clone(),
            revision: revision.clone(),
        };
        Ok(self.references.iter().map(reference).collect())
    }

    pub(crate) fn commits(&self, since: &[String], until: &str, limit: u32) -> Result<Vec<Commit>, GitError> {
        self.reachable()?;
        let mut known: Vec<&str> = Vec::new();
        for name in since {
            known.push(self.revision(name)?);
        }
        let mut next = 0;
        while let Some(revision) = known.get(next) {
            next += 1;
            let parents = self.find(revision).map(|commit| &commit.parents);
            for parent in parents.into_iter().flatten() {
                if !known.contains(&parent.as_str()) {
                    known.push(parent);
                }
            }
        }
        let (mut found, mut at) = (Vec::new(), Some(self.revision(until)?));
        while let Some(revision) = at.filter(|revision| !known.contains(revision)) {
            let Some(commit) = self.find(revision).filter(|_| found.len() < limit as usize) else {
                break;
            };
            found.push(commit.clone());
            at = commit.parents.first().map(String::as_str);
        }
        found.reverse();
        Ok(found)
    }

    fn reachable(&self) -> Result<(), GitError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn find(&self, revision: &str) -> Option<&Commit> {
        self.commits.iter().find(|commit| commit.revision == revision)
    }

    /// What a name or a revision means.
    fn revision<'a>(&'a self, name: &'a str) -> Result<&'a str, GitError> {
        let short = || self.references.get(&format!("refs/heads/{name}"));
        let named = self.references.get(name).or_else(short).map(String::as_str);
        let direct = || self.find(name).map(|commit| commit.revision.as_str());
        named
            .or_else(direct)
            .ok_or_else(|| GitError::Unavailable(format!("the name {name} means nothing in the repository")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_those_that_are_new_oldest_first_and_the_newest_of_many() {
        let repository = Repository::new()
            .commit("a")
            .commit("b")
            .commit("c")
            .branch("main", "c");
        let found = |since: &[&str], until: &str, limit| {
            let since: Vec<_> = since.iter().map(|&s| s.to_owned()).collect();
            let commits = repository.commits(&since, until, limit)?;
            Ok::<_, GitError>(commits.into_iter().map(|c| c.revision).collect::<Vec<_>>())
        };
        assert_eq!(found(&[], "refs/heads/main", 10).unwrap(), ["a", "b", "c"]);
        assert_eq!(found(&["a"], "main", 10).unwrap(), ["b", "c"]);
        assert_eq!(found(&[], "c", 2).unwrap(), ["b", "c"]);
        assert!(found(&["c"], "b", 10).unwrap().is_empty());
        assert!(found(&["x"], "c", 10).is_err());
        assert!(repository.unavailable("gone").references().is_err());
    }
}
