//! Steps: guests that can be run again from their beginning. Everything that a step asks of the world goes through its
//! journal; after a restart it is answered from there up to the point where it was left.
//!
//! `run` drives one step; `host` and `commands` answer its calls; `session` is what is known of it at the point where the guest is;
//! `journal` keeps the rows; `deed` is what leaves the process and how it is carried out, with or without an instance.

mod artefacts;
mod calls;
pub(crate) mod canonical;
mod commands;
mod deed;
mod halt;
mod host;
mod journal;
mod patches;
mod port;
mod replay;
mod run;
mod session;
mod spec;
mod triggers;

use std::sync::Arc;
use std::time::Duration;

use capstan_model::journal::{Created, Entry};
use capstan_model::plugin::Rights;
use capstan_model::{EnvValue, Outcome, StepId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use commands::Started;
pub(crate) use host::StepState;
pub use journal::{Mismatch, created_row, kills};
pub use port::{Abandoned, CommandFault, StepPort, StoreFault};
pub(crate) use replay::replay;
pub use replay::{Asked, Message, Past, Replay, Verdict};
pub(crate) use run::run;
pub use spec::Spec;
pub use triggers::{Awaited, Child, Children, Triggered};

use crate::call::{CallError, Trap};
use crate::plugin::Plugin;
pub use calls::{Answered, STEP_CALLS, StepCall};

/// Becomes the reason once the build is stopped.
pub type StopSignal = tokio::sync::watch::Receiver<Option<String>>;

/// One run of one step.
pub struct StepRun {
    /// The plugin that row 0 names.
    pub plugin: Plugin,
    /// The operator's side of its rights.
    pub grants: Arc<Rights>,
    /// Row 0, for a step that has no journal yet; otherwise the journal's own holds.
    pub created: Created,
    /// The journal as stored, row 0 first; empty for a step that begins.
    pub journal: Vec<Entry>,
    /// Part of every command's id.
    pub installation: Uuid,
    /// Part of every command's id.
    pub step: StepId,
    /// The builder's name: some secrets are for some builders only.
    pub builder: String,
    /// The builder's folder on the worker.
    pub builder_dir: String,
    /// Variables of every command of the build; what the step sets itself goes before them.
    pub env: std::collections::BTreeMap<String, EnvValue>,
    /// How long a command runs on while its worker hears nothing from the master.
    pub orphan_timeout_ms: u64,
    /// What to do with the instance while the step waits.
    pub mode: WaitMode,
}

/// What becomes of the instance while a step waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// It stays in memory.
    Warm,
    /// It is dropped, and the step is run again from its journal when the answer is there.
    Replay,
    /// It stays for so long, less if its place is wanted; a wait that lasts longer goes on without it, as with `Replay`.
    WarmFor(Duration),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEnd {
    /// The result.
    pub outcome: Outcome,
    /// The few words that the step set last.
    pub summary: Option<String>,
    /// The result that the step wants its build to end with, and why, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_build: Option<(Outcome, String)>,
    /// Why there is no result of the step's own making.
    pub failure: Option<StepFailure>,
}

/// What kept a step from a result of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum StepFailure {
    /// The plugin says that its parameters are wrong.
    #[error("invalid parameters: {0}")]
    InvalidConfig(String),
    /// The plugin says that it may work later.
    #[error("{0}")]
    Transient(String),
    /// The plugin says that somebody must do something.
    #[error("{0}")]
    Permanent(String),
    /// The guest was ended by the host.
    #[error("the plugin was ended: {0}")]
    Ended(String),
    /// The guest did not ask what it had asked before.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Why a run stopped without an end of the step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The master could not go on, or is not the step's master any more. The journal is as it was: run it again.
    #[error("the step was left as its journal has it: {0}")]
    Abandoned(#[from] Abandoned),
    /// The journal belongs to another component.
    #[error(
        "expected the plugin {expected} that the step began with, found {found}; the master must load the one that it kept"
    )]
    WrongPlugin {
        /// What row 0 names.
        expected: String,
        /// What was handed in.
        found: String,
    },
    /// The stored rows are no journal.
    #[error("expected a step's journal, found {0}")]
    BadJournal(String),
    /// The journal was made under rules that this master does not know.
    #[error(
        "the step was begun by a newer master (host ABI {found}, this one knows {}); upgrade Capstan",
        capstan_model::journal::HOST_ABI
    )]
    NewerHost {
        /// The number in row 0.
        found: u32,
    },
    /// The plugin is no step.
    #[error(transparent)]
    Call(CallError),
}

impl From<Trap> for StepFailure {
    fn from(trap: Trap) -> Self {
        Self::Ended(trap.to_string())
    }
}
