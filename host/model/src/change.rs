//! Changes, and the source stamps that requests are made of; a stamp may carry a patch.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ChangeId, Digest, Properties, Timestamp};

/// A change as a change source reports it, before the store has given it an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewChange {
    /// Unique within the change source: the same key twice is the same change.
    pub dedup_key: String,
    /// Which of a project's repositories this is; empty when there is only one.
    pub codebase: String,
    /// Where the repository is, as a worker can reach it.
    pub repository: String,
    /// The project, for filters and people; may be empty.
    pub project: String,
    /// The branch, without `refs/heads/`.
    pub branch: Option<String>,
    /// The exact revision.
    pub revision: String,
    /// Who wrote it.
    pub author: String,
    /// What they said about it.
    pub comments: String,
    /// The files it touches; bounded by the source.
    pub files: Vec<String>,
    /// A free classification for filters.
    pub category: Option<String>,
    /// When it was made, by its author's clock.
    pub when: Timestamp,
    /// Further facts.
    pub properties: Properties,
}

/// A change that the store holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The key.
    pub id: ChangeId,
    /// The change source that reported it.
    pub source: String,
    /// When the master accepted it, by the master's clock.
    pub received: Timestamp,
    /// What was reported.
    #[serde(flatten)]
    pub facts: NewChange,
}

/// What to check out for one codebase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceStamp {
    /// The codebase; empty when a build has only one.
    pub codebase: String,
    /// Where the repository is.
    pub repository: String,
    /// The project; may be empty.
    pub project: String,
    /// The branch; `None` is the repository's default branch.
    pub branch: Option<String>,
    /// The revision; `None` is the newest of the branch at checkout.
    pub revision: Option<String>,
    /// What is applied after the checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
}

impl SourceStamp {
    /// Sets the revision that a build really got, as its property `got_revision` tells: a text, or texts by codebase.
    pub fn pin(&mut self, got: Option<&Value>) {
        let revision = match got {
            Some(Value::String(revision)) if self.codebase.is_empty() => Some(revision.as_str()),
            Some(Value::Object(revisions)) => revisions.get(&self.codebase).and_then(Value::as_str),
            _ => None,
        };
        if let Some(revision) = revision {
            self.revision = Some(revision.to_owned());
        }
    }
}

/// A change that is not committed. Its text is kept once, by its digest, however many stamps have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Patch {
    /// The text's digest.
    pub digest: Digest,
    /// The text's length.
    pub bytes: u64,
    /// How many leading folders of its paths to leave out.
    pub level: u32,
    /// The folder of the checkout that it applies to; empty is the top.
    #[serde(default)]
    pub subdirectory: String,
    /// Who wrote it; may be empty.
    #[serde(default)]
    pub author: String,
    /// What they say about it; may be empty.
    #[serde(default)]
    pub comment: String,
}

/// The largest text of a patch, in bytes.
pub const MAX_PATCH: usize = 1 << 20;
/// More leading folders no path has.
const MAX_LEVEL: u32 = 100;
/// The longest folder, author and comment of a patch, in bytes.
const MAX_WORDS: usize = 4096;

impl Patch {
    /// Describes a text.
    pub fn of(text: &str) -> Self {
        Self {
            digest: Digest::of(text.as_bytes()),
            bytes: text.len() as u64,
            level: 1,
            subdirectory: String::new(),
            author: String::new(),
            comment: String::new(),
        }
    }

    /// Reads one that stands in a call with its text: `body`, and as far as they are given `level` and the other words. What is
    /// wrong is told by its field.
    pub fn read(given: &Value) -> Result<(Self, &str), (&'static str, String)> {
        let text = given["body"].as_str().unwrap_or_default();
        let word = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
        let level = given["level"].as_u64().unwrap_or(1);
        let patch = Self {
            level: u32::try_from(level).unwrap_or(u32::MAX),
            subdirectory: word("subdirectory"),
            author: word("author"),
            comment: word("comment"),
            ..Self::of(text)
        };
        match patch.fault(text) {
            Some(fault) => Err(fault),
            None => Ok((patch, text)),
        }
    }

    /// What is wrong with it and its text: the field, and what is expected there.
    pub fn fault(&self, text: &str) -> Option<(&'static str, String)> {
        let words = [
            ("subdirectory", &self.subdirectory),
            ("author", &self.author),
            ("comment", &self.comment),
        ];
        if text.trim().is_empty() {
            let fault = "expected a unified diff, found an empty text: nothing was changed";
            return Some(("body", fault.to_owned()));
        }
        if text.len() > MAX_PATCH {
            let found = text.len();
            return Some((
                "body",
                format!("expected at most {MAX_PATCH} bytes, found {found}"),
            ));
        }
        if let Some(at) = text.find('\0') {
            let fault = format!(
                "expected a text, found a zero byte at {at}; `git diff --binary` makes one of any file"
            );
            return Some(("body", fault));
        }
        if self.level > MAX_LEVEL {
            let found = self.level;
            return Some(("level", format!("expected at most {MAX_LEVEL}, found {found}")));
        }
        if let Some((name, words)) = words.into_iter().find(|(_, words)| words.len() > MAX_WORDS) {
            let found = words.len();
            return Some((name, format!("expected at most {MAX_WORDS} bytes, found {found}")));
        }
        if !is_inside(&self.subdirectory) {
            let found = &self.subdirectory;
            return Some((
                "subdirectory",
                format!("expected a folder of the checkout, found {found:?}"),
            ));
        }
        None
    }
}

/// Whether a path leads nowhere but down.
fn is_inside(path: &str) -> bool {
    !path.starts_with('/')
        && !path.contains(['\\', ':', '\0', '\n'])
        && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_a_text_for_a_folder_of_the_checkout() {
        let text = "--- a/x\n+++ b/x\n";
        assert_eq!(Patch::of(text).fault(text), None);
        let with = |change: fn(&mut Patch)| {
            let mut patch = Patch::of(text);
            change(&mut patch);
            patch.fault(text).map(|(field, _)| field)
        };
        assert_eq!(with(|patch| patch.subdirectory = "lib/core".into()), None);
        for folder in ["..", "a/../b", "/etc", "c:x", "a\\b", "a\nb"] {
            let patch = Patch {
                subdirectory: folder.into(),
                ..Patch::of(text)
            };
            assert_eq!(
                patch.fault(text).map(|(field, _)| field),
                Some("subdirectory"),
                "{folder}"
            );
        }
        assert_eq!(with(|patch| patch.level = 101), Some("level"));
        assert_eq!(with(|patch| patch.comment = "x".repeat(5000)), Some("comment"));
        for text in [" \n", "a\0b", &"x".repeat(MAX_PATCH + 1)] {
            assert_eq!(Patch::of(text).fault(text).map(|(field, _)| field), Some("body"));
        }
    }
}
