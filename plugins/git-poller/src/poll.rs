//! From the heads of the last look and those of this one to changes.

use std::collections::BTreeMap;

use capstan_sdk::change_source::git::Commit;
use capstan_sdk::change_source::{NewChange, PluginError, Poll};
use capstan_sdk::params::Span;
use capstan_sdk::{Property, log, serde_json};

use super::{GitPoller, Heads};

/// With so many changes in one answer, the rest waits for the next look, which comes at once.
const MOST_CHANGES: usize = 1000;
/// The master takes a cursor of at most a MiB.
const MOST_BYTES: usize = 900_000;
/// What full names of tags begin with; those of branches are cut.
pub(crate) const TAGS: &str = "refs/tags/";
/// The category of a tag's change, and the property that has its name.
const TAG: &str = "tag";
/// Less than this is no pause; the master has its own shortest one.
const AT_ONCE: Span = Span::from_ms(1);

/// What a look needs of a repository.
pub(crate) trait Repository {
    /// Brings it up to date and answers its branches, and its tags by their full names, with their heads.
    fn heads(&self) -> Result<BTreeMap<String, String>, PluginError>;
    /// What `until` reaches and none of `since` does, oldest first: the newest `limit` of them.
    fn commits(&self, since: &[String], until: &str, limit: u32) -> Result<Vec<Commit>, PluginError>;
}

impl GitPoller {
    pub(crate) fn look(
        &self,
        repository: &impl Repository,
        cursor: Option<Heads>,
    ) -> Result<Poll<Heads>, PluginError> {
        let mut heads = repository.heads()?;
        heads.retain(|name, _| match (name.strip_prefix(TAGS), &self.tags) {
            (Some(tag), Some(tags)) => tags.matches(tag),
            (Some(_), None) => false,
            (None, _) => self
                .branches
                .as_ref()
                .is_none_or(|patterns| patterns.matches(name)),
        });
        self.check_size(&heads)?;
        let known = cursor.filter(|cursor| cursor.repository == self.repository);
        if known.is_none() && !self.announce_existing {
            log::info(&format!(
                "{}: {} branches, waiting for changes",
                self.repository,
                heads.len()
            ));
            return Ok(self.seen(heads, Vec::new(), self.interval));
        }
        // Tags that were there before somebody asked for them are nothing new, as branches are not at the first look.
        let (had_tags, tags_like) = match &known {
            Some(cursor) => (cursor.tags, cursor.tags_like.clone()),
            None => (false, None),
        };
        let asked_before = |tag: &str| had_tags && tags_like.as_ref().is_none_or(|tags| tags.matches(tag));
        let is_new_tag = |tag: &str| self.announce_existing || asked_before(tag);
        let known = known.map(|cursor| cursor.heads).unwrap_or_default();
        let mut changes = Vec::new();
        let mut seen = BTreeMap::new();
        let mut pause = self.interval;
        for (branch, head) in heads {
            let before = known.get(&branch);
            let tag = branch.strip_prefix(TAGS);
            let old_tag = before.is_none() && tag.is_some_and(|tag| !is_new_tag(tag));
            if before == Some(&head) || old_tag {
                seen.insert(branch, head);
            } else if changes.len() >= MOST_CHANGES {
                // As it was, so that the next look finds it.
                seen.extend(before.map(|before| (branch, before.clone())));
                pause = AT_ONCE;
            } else {
                // A tag names one commit, whatever it named before.
                let before = before.filter(|_| tag.is_none());
                let commits = self.new_commits(repository, before, &head)?;
                changes.extend(commits.into_iter().map(|commit| self.change(&branch, commit)));
                seen.insert(branch, head);
            }
        }
        Ok(self.seen(seen, changes, pause))
    }

    fn check_size(&self, heads: &BTreeMap<String, String>) -> Result<(), PluginError> {
        let bytes: usize = heads
            .iter()
            .map(|(branch, head)| branch.len() + head.len() + 6)
            .sum();
        if bytes <= MOST_BYTES {
            return Ok(());
        }
        let (url, count) = (&self.repository, heads.len());
        let text = format!("{url} has {count} branches, more than can be watched; name some in `branches`");
        Err(PluginError::Permanent(text))
    }

    fn seen(
        &self,
        heads: BTreeMap<String, String>,
        changes: Vec<NewChange>,
        poll_again: Span,
    ) -> Poll<Heads> {
        Poll {
            cursor: Heads {
                repository: self.repository.clone(),
                tags: self.tags.is_some(),
                tags_like: self.tags.clone(),
                heads,
            },
            changes,
            poll_again,
        }
    }

    /// What came on top of the old head. A new branch, and one that was set back, has nothing on top: there the head
    /// itself is the change. That the same commit was reported before is for the master to see, by its key.
    fn new_commits(
        &self,
        repository: &impl Repository,
        before: Option<&String>,
        head: &str,
    ) -> Result<Vec<Commit>, PluginError> {
        if let Some(before) = before {
            match repository.commits(std::slice::from_ref(before), head, self.limit) {
                Ok(commits) if !commits.is_empty() => return Ok(commits),
                Ok(_) => {}
                // After a forced push the old head may be gone for good.
                Err(PluginError::Transient(reason)) => {
                    log::warn(&format!("{before} is not there any more: {reason}"))
                }
                Err(other) => return Err(other),
            }
        }
        repository.commits(&[], head, 1)
    }

    fn change(&self, branch: &str, commit: Commit) -> NewChange {
        let tag = branch.strip_prefix(TAGS);
        let category = tag.map(|_| TAG.to_owned()).or_else(|| self.category.clone());
        let property = |tag: &str| Property {
            name: TAG.to_owned(),
            value: serde_json::Value::from(tag).to_string(),
            source: String::new(),
        };
        NewChange {
            dedup_key: format!("{branch}@{}", commit.revision),
            codebase: self.codebase.clone(),
            repository: self
                .worker_repository
                .as_ref()
                .unwrap_or(&self.repository)
                .clone(),
            project: self.project.clone(),
            branch: Some(branch.to_owned()),
            revision: commit.revision,
            author: commit.author,
            comments: commit.comments,
            files: commit.files,
            category,
            when: commit.when_ms,
            properties: tag.map(property).into_iter().collect(),
        }
    }
}
