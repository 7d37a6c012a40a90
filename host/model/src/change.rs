//! Changes, and the source stamps that requests are made of.

use serde::{Deserialize, Serialize};

use crate::{ChangeId, Properties, Timestamp};

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
}
