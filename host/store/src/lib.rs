//! The store: what the master must not forget, in SQLite or PostgreSQL, one transaction for each thing that happens.
//! The only crate that names sqlx. `master` writes through it; `web` reads through it.
//!
//! Read `store` and `writer` for how transactions are made, `sql` and `dialect` for how one body of each statement
//! serves both databases, then any file for its aggregate. Not here: what a decision should be, the bytes of logs,
//! secrets.

mod applying;
mod artefacts;
mod bells;
mod blame;
mod blobs;
mod builders;
mod builds;
mod buildsets;
mod cancelling;
mod changes;
mod charge;
mod children;
mod commands;
mod dialect;
mod error;
mod events;
mod finishing;
mod installation;
mod interruptions;
mod invites;
mod journal;
mod kept;
mod likeness;
mod listing;
mod locks;
mod logs;
mod migrations;
mod options;
mod outbox;
mod overview;
mod pipelines;
mod plans;
mod quarantines;
mod queue;
mod record;
mod refusals;
mod requests;
mod retention;
mod schedulers;
mod sql;
mod stamps;
mod steps;
mod store;
mod versions;
mod workers;
mod writer;

pub use applying::Applied;
pub use blame::{Blame, Suspect};
pub use builders::Builder;
pub use builds::{Build, BuildFinish, BuildState, CreatedBuild, NewBuild, RunningBuild};
pub use buildsets::{Buildset, NewBuildset, Submitted};
pub use cancelling::Cancelled;
pub use changes::{ChangeFilter, SourceStatus};
pub use charge::Owner;
pub use children::{ChildRequest, ChildSet, Kin};
pub use commands::{Command, CommandLog, CommandState, NewCommand};
pub use error::{Error, InviteError};
pub use events::{Event, EventFilter};
pub use interruptions::{Away, Interruption, InterruptionKind};
pub use journal::{Excerpt, JournalGlance};
pub use kept::MOST_KEPT;
pub use listing::BuildFilter;
pub use locks::LockHold;
pub use logs::Log;
pub use options::{DatabaseUrl, Options, Synchronous};
pub use outbox::{Known, LONGEST_PAUSE_MS, NewReport, Report, ReportState, Requeued};
pub use overview::{BuildGlance, BuilderHistory};
pub use pipelines::Unfolded;
pub use quarantines::Quarantine;
pub use queue::{QueueEntry, RequestFeed};
pub use record::Record;
pub use refusals::{NewRefusal, Refusal};
pub use requests::{PendingRequest, Request, RequestFilter, RequestState};
pub use retention::{Aged, AgedPage, File, FileRemoval, Gone, OldBuild, Slice, Total, Totals, Weight};
pub use schedulers::{
    Answer as CallAnswer, Call, CallProblem, CompletedBuild, CompletedBuildset, Consumed, Decision, DueTimer,
    Finished, SchedulerEvent, SchedulerStatus, Timer,
};
pub use sql::UnknownWord;
pub use steps::{Link, NewStep, Origin, Progress, Step, StepState};
pub use store::Store;
pub use versions::{InForce, Memory, Version};
pub use workers::{Certificate, NewCertificate, Worker};
