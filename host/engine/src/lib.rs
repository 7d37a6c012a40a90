//! The plugin runtime: loads components, checks what they may do, calls them under limits, and keeps the journal
//! with which a step survives the master's restart. The only crate that names wasmtime.
//!
//! It knows neither the store nor the worker link: what it needs of them are ports ([`StepPort`], [`GitPort`],
//! [`HttpPort`], [`FilesPort`], [`StatePort`], [`MailPort`]), which the master implements. The order in which to read it: [`Engine`] (two wasmtime
//! engines, limits), [`Plugin`] (what one file can do), the kinds that are called (`scheduler`, `source`,
//! `reporter`, `generator`), then `step`, whose calls go through the journal.

mod aside;
mod audit;
mod bindings;
mod cache;
mod call;
mod calls;
mod completions;
mod convert;
mod counters;
mod engine;
mod generator;
mod guest;
mod http;
mod inspect;
mod limits;
mod mail;
mod migration;
mod offered;
mod places;
mod plugin;
mod ports;
mod reporter;
mod requests;
mod scheduler;
mod signatures;
mod source;
mod state;
mod step;
mod ticker;
mod wasi;

pub use audit::{Audit, Place, Refused};
pub use call::{CallError, Caller, Problem, Trap};
pub use completions::{Completed, CompletedBuild};
pub use counters::{RefusalCount, Stats};
pub use engine::{Engine, EngineError, Options};
pub use inspect::{LoadError, Outside, inspect};
pub use limits::MAX_COMPONENT;
pub use offered::OFFERED;
pub use plugin::Plugin;
pub use ports::{
    Attachment, Commit, FileFault, FilesPort, GitFault, GitPort, HttpFault, HttpPort, HttpRequest,
    HttpResponse, Mail, MailFault, MailPort, Mailbox, Ports, Reference, StateFault, StatePort,
};
pub use reporter::{Phase, Report, StepResult};
pub use scheduler::{Buildset, Decision, Finished, SchedulerEvent, Timer};
pub use signatures::exported_functions;
pub use source::Poll;
pub use step::{
    Abandoned, Answered, Asked, Awaited, Child, Children, CommandFault, Message, Mismatch, Past, Replay,
    STEP_CALLS, StepCall, StepEnd, StepError, StepFailure, StepPort, StepRun, StopSignal, StoreFault,
    Triggered, Verdict, WaitMode, created_row, kills,
};
