//! The Starlark side: what configurations can call, and how their values become ours.
//!
//! `evaluate` runs [`Session::run`] in a thread of its own and takes the [`Collector`] back; everything below is
//! private to that.

mod arguments;
mod builtins;
mod collector;
mod conduct;
mod convert;
mod deferred;
mod faults;
mod functions;
mod limits;
mod locks;
mod properties;
mod queueing;
mod read;
mod scan;
mod session;
mod site;
mod values;

pub(crate) use collector::{BuilderDefinition, Collector, Definitions, Harvest, StepDefinition};
pub use functions::{CallLimits, FunctionError, Functions};
pub(crate) use session::{STACK_BYTES, Session};
pub(crate) use site::Site;
