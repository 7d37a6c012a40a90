//! The Starlark side: what configurations can call, and how their values become ours.
//!
//! `evaluate` runs [`Session::run`] in a thread of its own and takes the [`Collector`] back; everything below is
//! private to that.

mod arguments;
mod builders;
mod builtins;
mod collector;
mod conduct;
mod convert;
mod deferred;
mod faults;
mod forms;
mod functions;
mod generators;
mod limits;
mod locks;
mod parameters;
mod pipeline;
mod presets;
mod properties;
mod queueing;
mod read;
mod scan;
mod session;
mod site;
mod used;
mod uses;
mod values;
mod virtual_builders;
mod workers;

pub(crate) use collector::{BuilderDefinition, Collector, Definitions, Harvest, StepDefinition};
pub use functions::{CallLimits, FunctionError, Functions};
pub(crate) use generators::Asker;
pub(crate) use pipeline::{Policy, amiss, is_path};
pub(crate) use session::{STACK_BYTES, Session};
pub(crate) use site::Site;
