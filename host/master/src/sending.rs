//! Changes that people and hooks of repositories send, where no change source looks. Asked through the [`Handle`](crate::Handle).

use std::collections::BTreeMap;

use capstan_model::{Change, NewChange, Properties, Property, Timestamp};
use capstan_store::CallProblem;
use serde_json::Value;
use uuid::Uuid;

use crate::Error;
use crate::farm::Farm;

/// The source of such changes.
const SOURCE: &str = "sent";
/// The longest name of anything, in bytes.
const MAX_NAME: usize = 1000;
/// The longest comments, in bytes.
const MAX_COMMENTS: usize = 64 << 10;
/// Files at most.
const MAX_FILES: usize = 10_000;

/// A change as it is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentChange {
    /// The same key again is the same change; none is a new one each time.
    pub key: Option<String>,
    /// Which of a project's repositories this is; empty when there is only one.
    pub codebase: String,
    /// Where the repository is, as a worker can reach it.
    pub repository: String,
    /// The project; may be empty.
    pub project: String,
    /// The branch; none is the repository's default branch.
    pub branch: Option<String>,
    /// The revision.
    pub revision: String,
    /// Who made it.
    pub author: String,
    /// What they say about it.
    pub comments: String,
    /// The files that it touches.
    pub files: Vec<String>,
    /// A free classification.
    pub category: Option<String>,
    /// When it was made; none is now.
    pub when: Option<Timestamp>,
    /// Further facts.
    pub properties: BTreeMap<String, Value>,
}

impl SentChange {
    /// Everything that is wrong with it, by field.
    fn problems(&self) -> Vec<CallProblem> {
        let mut problems = Vec::new();
        let mut found = |path: &str, message: String| {
            problems.push(CallProblem {
                path: path.to_owned(),
                message,
            });
        };
        let empty = |text: &str| text.trim().is_empty();
        if empty(&self.revision) {
            found(
                "revision",
                "expected the revision of the change, found nothing".to_owned(),
            );
        }
        if empty(&self.author) {
            found("author", "expected who made the change, found nothing".to_owned());
        }
        if self.key.as_deref().is_some_and(empty) {
            found(
                "key",
                "expected a key, found nothing; leave it out for a new change".to_owned(),
            );
        }
        let names = [
            ("key", self.key.as_deref()),
            ("codebase", Some(self.codebase.as_str())),
            ("repository", Some(&self.repository)),
            ("project", Some(&self.project)),
            ("branch", self.branch.as_deref()),
            ("revision", Some(&self.revision)),
            ("author", Some(&self.author)),
            ("category", self.category.as_deref()),
        ];
        for (path, name) in names {
            if let Some(fault) = name.and_then(name_fault) {
                found(path, fault);
            }
        }
        for path in ["repository", "branch", "revision"] {
            let name = names
                .iter()
                .find(|(name, _)| *name == path)
                .and_then(|(_, name)| *name);
            if let Some(name) = name.filter(|name| name.starts_with('-')) {
                found(
                    path,
                    format!("expected a name that programs do not take for an option, found {name:?}"),
                );
            }
        }
        if self.comments.len() > MAX_COMMENTS {
            found(
                "comments",
                format!(
                    "expected at most {MAX_COMMENTS} bytes, found {}",
                    self.comments.len()
                ),
            );
        }
        if self.files.len() > MAX_FILES {
            found(
                "files",
                format!("expected at most {MAX_FILES} files, found {}", self.files.len()),
            );
        }
        for (place, file) in self.files.iter().enumerate() {
            let fault = if file.is_empty() {
                Some("expected a path, found nothing".to_owned())
            } else {
                name_fault(file)
            };
            if let Some(fault) = fault {
                found(&format!("files[{place}]"), fault);
                break;
            }
        }
        if let Err(error) = self.labelled().check() {
            found("properties", error.to_string());
        }
        problems
    }

    fn labelled(&self) -> Properties {
        let label = |(name, value): (&String, &Value)| Property {
            name: name.clone(),
            value: value.clone(),
            source: "change".to_owned(),
        };
        self.properties.iter().map(label).collect()
    }

    fn facts(self, key: String, now: Timestamp) -> NewChange {
        NewChange {
            dedup_key: key,
            properties: self.labelled(),
            codebase: self.codebase,
            repository: self.repository,
            project: self.project,
            branch: self.branch.filter(|branch| !branch.is_empty()),
            revision: self.revision,
            author: self.author,
            comments: self.comments,
            files: self.files,
            category: self.category.filter(|category| !category.is_empty()),
            when: self.when.unwrap_or(now),
        }
    }
}

fn name_fault(name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return Some(format!("expected at most {MAX_NAME} bytes, found {}", name.len()));
    }
    let control = name.chars().any(char::is_control);
    control.then(|| format!("expected a name without control characters, found {name:?}"))
}

impl Farm {
    /// Takes in a change as change sources' are taken in; answers it, and whether it is new.
    pub(crate) async fn send_change(&self, sent: SentChange) -> Result<(Change, bool), Error> {
        let problems = sent.problems();
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let key = match &sent.key {
            Some(key) => format!("key/{key}"),
            None => Uuid::new_v4().to_string(),
        };
        let subscribers: Vec<_> = self.plan().schedulers.iter().map(|s| s.name.clone()).collect();
        let now = self.clock.now();
        let facts = sent.facts(key.clone(), now);
        if let Some(change) = self.store.send_change(SOURCE, facts, &subscribers, now).await? {
            return Ok((change, true));
        }
        let known = self.store.change_by_key(SOURCE, &key).await?;
        let known = known.ok_or_else(|| {
            Error::Conflict(format!("the change with the key {key:?} was removed meanwhile"))
        })?;
        Ok((known, false))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let good = SentChange {
            revision: "abc".to_owned(),
            author: "Ann <ann@example.org>".to_owned(),
            files: vec!["a b/ä.c".to_owned()],
            ..SentChange::default()
        };
        assert_eq!(good.problems(), []);
        let bad = SentChange {
            key: Some(String::new()),
            branch: Some("--upload-pack=x".to_owned()),
            revision: String::new(),
            author: "a\nb".to_owned(),
            comments: "x".repeat(MAX_COMMENTS + 1),
            files: vec!["a".to_owned(), String::new()],
            properties: [("x".to_owned(), json!("y".repeat(300 << 10)))].into(),
            ..good
        };
        let paths: Vec<_> = bad.problems().into_iter().map(|problem| problem.path).collect();
        assert_eq!(
            paths,
            [
                "revision",
                "key",
                "author",
                "branch",
                "comments",
                "files[1]",
                "properties"
            ]
        );
    }
}
