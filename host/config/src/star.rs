//! The Starlark side: what configurations can call, and how their values become ours.
//!
//! `evaluate` runs [`Session::run`] in a thread of its own and takes the [`Collector`] back; everything below is
//! private to that.

mod arguments;
mod builtins;
mod collector;
mod convert;
mod faults;
mod limits;
mod read;
mod scan;
mod session;
mod site;
mod values;

pub(crate) use collector::{Collector, Definitions, Harvest};
pub(crate) use session::{STACK_BYTES, Session};
pub(crate) use site::Site;
