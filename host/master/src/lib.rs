//! The master: takes changes from sources to schedulers, requests to workers, builds through their steps, and reports to
//! people. It owns the tasks; what is durable is in the store, what is logged in the log store.
//!
//! Read it in the order of a change's life: [`Master::start`] wires everything, `sources` polls, `schedulers` decides,
//! `pairing` and `dispatch` give requests to workers, `build` and `step` carry builds out, `commands` and `workers` stand
//! between steps and the link, `outbox` tells people. The web server and the command line use the [`Handle`].

mod audit;
mod build;
mod commands;
mod configuration;
mod definitions;
mod dispatch;
mod error;
mod farm;
mod files;
mod functions;
mod git;
mod handle;
mod http;
mod interruptions;
mod kept;
mod ledger;
mod locks;
mod mail;
mod outbox;
mod pairing;
mod pipelines;
mod plugins;
mod properties;
mod queue;
mod rebuild;
mod rendering;
mod report;
mod retention;
mod schedulers;
mod sealing;
mod secrets;
mod sending;
mod service;
mod sources;
mod step;
mod stopping;
mod stops;
mod workers;

pub use configuration::{BuiltIn, Configured, configure, engine};
pub use error::Error;
pub use files::Folder as ReportFolder;
pub use handle::{About, Diagnostics, Force, Forced, Handle, Invitation, Reloaded, WorkerStatus};
pub use http::Client as HttpClient;
pub use locks::{Holder, LockStatus, Obstacle};
pub use pairing::{Hindrance, Lines, Place, Places, Running, Trial, Why};
pub use plugins::{PluginState, PluginStatus, RefusedUse, Registry};
pub use queue::{QueuePage, Queued};
pub use retention::{Forecast, Progress, Removed, Run, Weighed};
pub use schedulers::{Called, SchedulerStatus};
pub use sending::SentChange;
pub use service::{Master, Options};
