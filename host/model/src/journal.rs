//! The journal of a step: what it asked for and what it was answered, so that it can be run again from its beginning.
//!
//! Written by the engine, kept by the store. An effect outside the process has two rows: `Start` is durable before
//! anything leaves the process, `End` is durable before the guest sees the answer. A `Start` without its `End` means
//! that the process died between the two; the effect's [`Class`] says what to do then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Timestamp};

/// The number of the host's behaviour towards step guests, kept in row 0. Old numbers keep their behaviour.
pub const HOST_ABI: u32 = 1;

/// One row. `seq` counts from 0 without gaps within a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The position.
    pub seq: u32,
    /// What kind of row this is.
    pub kind: Kind,
    /// The host function: `commands.start`, `build.set-property` …; for `Created` and `Finished` the kind's name.
    pub call: String,
    /// How the call touches the world.
    pub class: Class,
    /// The digest of the canonical form of the request; compared on replay.
    pub request_hash: Digest,
    /// The request; in full for `Created` and `Start`, absent where the hash suffices.
    pub request: Option<Value>,
    /// The answer, for `End`, `Local` and `Finished`.
    pub response: Option<Value>,
    /// When the row was made, by the master's clock.
    pub at: Timestamp,
}

/// The kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Row 0: the request is a [`Created`]. A crash before it means that the step has not begun.
    Created,
    /// An effect is about to leave the process. Pairs with the next `End` that names its `seq` in the request.
    Start,
    /// The answer to the `Start` whose `seq` is this row's request.
    End,
    /// A call that was answered without leaving the process; what it changes commits together with this row.
    Local,
    /// The guest returned: the response is its outcome. Nothing follows.
    Finished,
}

impl Kind {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Start => "start",
            Self::End => "end",
            Self::Local => "local",
            Self::Finished => "finished",
        }
    }
}

/// What an open `Start` means after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Never open: answered without leaving the process.
    Local,
    /// Read again.
    ReadRemote,
    /// Write again: twice is the same as once.
    WriteIdempotent,
    /// Ask again with the same command id: the worker knows whether it has it.
    RunOnce,
    /// Wait for the deadline in the `Start`.
    Timer,
    /// Repeat GET and HEAD; others only where the manifest says that the receiver removes duplicates.
    Http,
}

impl Class {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::ReadRemote => "read-remote",
            Self::WriteIdempotent => "write-idempotent",
            Self::RunOnce => "run-once",
            Self::Timer => "timer",
            Self::Http => "http",
        }
    }
}

/// The request of row 0: all that a step's run depends on and that could change meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The component's bytes.
    pub plugin: Digest,
    /// The plugin's name, for people.
    pub plugin_name: String,
    /// The world that it implements, with the package's version.
    pub world: String,
    /// The host's behaviour: [`HOST_ABI`].
    pub host_abi: u32,
    /// The rendered parameters.
    pub config: Value,
    /// The rendered environment of the builder and the step, where some of it was deferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, crate::EnvValue>>,
    /// The seed of the step's randomness.
    pub seed: u64,
    /// The step's name.
    pub step_name: String,
    /// What the build checks out.
    pub sources: Vec<crate::SourceStamp>,
    /// The build's properties at that moment.
    pub properties: crate::Properties,
}

/// What a row changes in the build; committed together with the row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Sets a property of the build.
    SetProperty(crate::Property),
    /// Sets the step's summary.
    SetSummary(String),
    /// Adds a link to the step.
    AddLink {
        /// The text.
        label: String,
        /// The address.
        url: String,
    },
    /// Ends the build once the step has ended, with this result; the last one counts.
    EndBuild {
        /// The build's result.
        outcome: crate::Outcome,
        /// Why, for people.
        reason: String,
    },
    /// Adds an artefact to the build, whose bytes are stored. Also of an `End`.
    AddArtefact(crate::Stored),
}
