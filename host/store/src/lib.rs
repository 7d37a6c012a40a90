//! The store: what the master must not forget, in SQLite or PostgreSQL, one transaction for each thing that happens.
//! The only crate that names sqlx. `master` writes through it; `web` reads through it.
//!
//! Read `store` and `writer` for how transactions are made, `sql` and `dialect` for how one body of each statement
//! serves both databases, then any file for its aggregate. Not here: what a decision should be, the bytes of logs,
//! secrets.

mod blobs;
mod builders;
mod builds;
mod buildsets;
mod changes;
mod charge;
mod commands;
mod dialect;
mod error;
mod events;
mod installation;
mod interruptions;
mod invites;
mod journal;
mod kept;
mod listing;
mod logs;
mod migrations;
mod options;
mod outbox;
mod overview;
mod plans;
mod record;
mod refusals;
mod requests;
mod schedulers;
mod sql;
mod stamps;
mod steps;
mod store;
mod versions;
mod workers;
mod writer;

pub use builders::Builder;
pub use builds::{Build, BuildFinish, BuildState, CreatedBuild, NewBuild, RunningBuild};
pub use buildsets::{Buildset, NewBuildset, Submitted};
pub use changes::{ChangeFilter, SourceStatus};
pub use charge::Owner;
pub use commands::{Command, CommandLog, CommandState, NewCommand};
pub use error::{Error, InviteError};
pub use events::{Event, EventFilter};
pub use interruptions::{Away, Interruption, InterruptionKind};
pub use journal::{Excerpt, JournalGlance};
pub use kept::MOST_KEPT;
pub use listing::BuildFilter;
pub use logs::Log;
pub use options::{DatabaseUrl, Options, Synchronous};
pub use outbox::{Known, LONGEST_PAUSE_MS, NewReport, Report, ReportState};
pub use overview::{BuildGlance, BuilderHistory};
pub use record::Record;
pub use refusals::{NewRefusal, Refusal};
pub use requests::{PendingRequest, Request, RequestFilter, RequestState};
pub use schedulers::{Consumed, Decision, DueTimer, Finished, SchedulerEvent, SchedulerStatus, Timer};
pub use sql::UnknownWord;
pub use steps::{Link, NewStep, Origin, Progress, Step, StepState};
pub use store::Store;
pub use versions::{InForce, Memory, Version};
pub use workers::{Certificate, NewCertificate, Worker};
