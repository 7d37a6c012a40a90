//! Steps: what a builder does. Called by the author of a step type.
//!
//! A step must be deterministic: after a restart of the master it is run again from its beginning, and what it asks for
//! must be the same. Use [`now`] and [`seed`], never a clock or randomness of the language's own.

mod program;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::build as host;
pub use crate::host::clock::now;
pub use crate::host::commands::{Command, CommandError, Exit, wait_any};
pub use crate::host::entropy::seed;
pub use crate::host::timers::sleep_ms;
pub use crate::{Outcome, PluginError, Problem, Property, SourceStamp};
use crate::{config, panic};

pub use program::{Done, EnvValue, Program};

/// A step type; the type's fields are its parameters.
pub trait Step: DeserializeOwned {
    /// Checks what the schema of the parameters cannot say.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Does the step.
    fn run(self) -> Result<Outcome, Stop>;
}

/// Why a step ends before its end; what `?` carries out of [`Step::run`].
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// With this result, and a few words for the people who look at it.
    Outcome(Outcome, String),
    /// With a fault of the plugin, its parameters or the farm.
    Error(PluginError),
}

impl Stop {
    /// The code under test is at fault.
    pub fn failure(summary: impl Into<String>) -> Self {
        Self::Outcome(Outcome::Failure, summary.into())
    }
}

impl From<PluginError> for Stop {
    fn from(error: PluginError) -> Self {
        Self::Error(error)
    }
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Cancelled(reason) => {
                Self::Outcome(Outcome::Cancelled, format!("stopped: {reason}"))
            }
            CommandError::WorkerLost(reason) => {
                Self::Outcome(Outcome::Retry, format!("worker lost: {reason}"))
            }
            CommandError::Invalid(reason) | CommandError::Denied(reason) => {
                Self::Error(PluginError::Permanent(reason))
            }
        }
    }
}

/// The step's name in the configuration.
pub fn name() -> String {
    host::step_name()
}

/// What the build was asked to check out.
pub fn sources() -> Vec<SourceStamp> {
    host::sources()
}

/// The value of a property of the build.
pub fn property(name: &str) -> Option<Value> {
    serde_json::from_str(&host::get_property(name)?.value).ok()
}

/// Sets a property of the build.
pub fn set_property(name: &str, value: &Value) -> Result<(), Stop> {
    host::set_property(name, &value.to_string()).map_err(|reason| Stop::Error(PluginError::Permanent(reason)))
}

/// Says in a few words how the step goes, or went.
pub fn set_summary(text: &str) {
    host::set_summary(text);
}

/// Has the build end when this step has returned, with this result, whatever came before. Steps that always run still do.
pub fn end_build(outcome: Outcome, reason: &str) {
    crate::host::ending::end_build(outcome, reason);
}

/// Shows a link on the step.
pub fn add_link(label: &str, url: &str) {
    host::add_link(label, url);
}

/// Appends text to a log of this step, which is made if it does not exist.
pub fn write_log(name: &str, text: &str) {
    host::write_log(name, text);
}

/// Makes a component of a [`Step`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! step {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::step::exports::capstan::plugin::step::Guest;
            struct Component;
            impl Guest for Component {
                fn check(config: String) -> Result<(), $crate::PluginError> {
                    $crate::step::entry::check::<$plugin>(&config)
                }
                fn run(config: String) -> Result<$crate::Outcome, $crate::PluginError> {
                    $crate::step::entry::run::<$plugin>(&config)
                }
            }
    $crate::bindings::step::export_step!(Component with_types_in $crate::bindings::step);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> Result<$crate::Outcome, $crate::PluginError> =
            $crate::step::entry::run::<$plugin>;
        $crate::parameters_test!($plugin);
    };
}

#[doc(hidden)]
pub mod entry {
    use super::*;

    pub fn check<S: Step>(json: &str) -> Result<(), PluginError> {
        panic::report();
        config::check(json, S::check)
    }

    pub fn run<S: Step>(json: &str) -> Result<Outcome, PluginError> {
        panic::report();
        match config::parse::<S>(json)?.run() {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Outcome(outcome, summary)) => {
                set_summary(&summary);
                Ok(outcome)
            }
            Err(Stop::Error(error)) => Err(error),
        }
    }
}
