//! Write plugins for Capstan in Rust: a trait per kind of plugin, parameters as a `serde` type, and one macro that makes
//! a component of it.
//!
//! ```no_run
//! use capstan_sdk::step::{Outcome, Program, Step, Stop};
//!
//! #[derive(serde::Deserialize)]
//! struct Make {
//!     target: String,
//! }
//!
//! impl Step for Make {
//!     fn run(self) -> Result<Outcome, Stop> {
//!         Ok(Program::argv(["make", &self.target]).run()?.outcome())
//!     }
//! }
//!
//! capstan_sdk::step!(Make);
//! ```
//!
//! A plugin is built for the bare WASM target: no clock, no randomness, no files, no sockets but through the interfaces
//! of its kind. Natively its pure parts run in ordinary tests; a call to the master panics there.

#[doc(hidden)]
pub mod bindings;
pub mod change_source;
mod config;
pub mod log;
mod panic;
pub mod params;
pub mod reporter;
pub mod scheduler;
pub mod step;

pub use bindings::shared::capstan::plugin::types::{
    Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs,
};
pub use config::problem;
