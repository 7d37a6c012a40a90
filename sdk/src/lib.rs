//! Write plugins for Capstan in Rust: a trait per kind of plugin, parameters as a type, and one macro that makes a component
//! of it.
//!
//! ```no_run
//! use capstan_sdk::prelude::*;
//!
//! /// Runs make.
//! #[parameters]
//! struct Make {
//!     /// What to make.
//!     target: String,
//!     /// How many jobs at once.
//!     #[serde(default = "two")]
//!     jobs: u32,
//! }
//!
//! fn two() -> u32 {
//!     2
//! }
//!
//! impl Step for Make {
//!     fn run(self) -> Result<Outcome, Stop> {
//!         let jobs = format!("-j{}", self.jobs);
//!         Ok(Program::argv(["make", &jobs, &self.target]).run()?.outcome())
//!     }
//! }
//!
//! capstan_sdk::step!(Make);
//! # fn main() {}
//! ```
//!
//! A plugin is built for the bare WASM target: no clock, no randomness, no files, no sockets but through the interfaces
//! of its kind. Natively it runs in ordinary tests against the scripted host of [`test`](crate::test).

#[cfg(test)]
extern crate self as capstan_sdk;

pub mod artefacts;
#[doc(hidden)]
pub mod bindings;
pub mod change_source;
mod config;
pub mod generator;
mod host;
pub mod http;
pub mod log;
mod panic;
pub mod params;
pub mod prelude;
pub mod random;
pub mod reporter;
pub mod scheduler;
#[doc(hidden)]
pub mod schema;
pub mod step;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;
pub mod triggers;

pub use bindings::shared::capstan::plugin::types::{
    Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs,
};
pub use capstan_sdk_macros::{parameters, remembered};
pub use config::problem;
pub use {schemars, serde, serde_json};

/// The word of configurations and pages: `success`, `failure` …
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Success => "success",
            Self::Warnings => "warnings",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Exception => "exception",
            Self::Retry => "retry",
            Self::Cancelled => "cancelled",
        })
    }
}
