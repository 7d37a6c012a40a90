//! The words of the field as types: ids, results, properties, changes, plans, plugin manifests. No I/O.
//!
//! Every other crate may use this one; it uses none of them.

mod change;
mod clock;
mod command;
mod digest;
mod id;
pub mod journal;
mod outcome;
pub mod plan;
pub mod plugin;
mod property;

pub use change::{Change, NewChange, SourceStamp};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use command::{
    Channel, CommandId, CommandSpec, Completion, DEFAULT_LOG, EnvValue, Exit, Program, TimeOut,
};
pub use digest::{Digest, InvalidDigest};
pub use id::{
    BuildId, BuilderId, BuildsetId, ChangeId, EventId, LogId, OutboxId, RequestId, SourceStampId, StepId,
    WorkerId,
};
pub use outcome::{Outcome, UnknownOutcome};
pub use property::{Properties, Property};
