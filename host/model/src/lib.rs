//! The words of the field as types: ids, results, properties, changes, plans, plugin manifests. No I/O.
//!
//! Every other crate may use this one; it uses none of them.

mod artefact;
mod change;
mod clock;
mod command;
pub mod deferred;
mod digest;
mod figures;
mod id;
pub mod journal;
mod labels;
mod lock;
mod name;
mod outcome;
mod pipeline;
pub mod plan;
pub mod plugin;
pub mod property;
mod shell;
mod standing;
mod virtual_builder;

pub use artefact::{Artefact, BadName, MAX_ARTEFACT_NAME, Stored, check_artefact_name};
pub use change::{Change, MAX_PATCH, NewChange, Patch, SourceStamp};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use command::{
    Channel, CommandId, CommandSpec, Completion, DEFAULT_LOG, EnvValue, Exit, FileFault, Program, TimeOut,
};
pub use deferred::Deferred;
pub use digest::{Digest, Hasher, InvalidDigest};
pub use figures::{counted, sized};
pub use id::{
    BuildId, BuilderId, BuildsetId, CallId, ChangeId, EventId, LogId, OutboxId, RequestId, SourceStampId,
    StepId, WorkerId,
};
pub use labels::{Asked, BadLabels, Labels};
pub use lock::{Lock, LockAccess, Mode, Scope};
pub use name::{MAX_NAME, is_name};
pub use outcome::{Outcome, UnknownOutcome};
pub use pipeline::{AllowedStep, PIPELINE, Pipeline};
pub use property::{BadProperties, Properties, Property};
pub use shell::shell_word;
pub use standing::{Condition, EndBuildOn, Rules, Standing};
pub use virtual_builder::VirtualBuilder;
