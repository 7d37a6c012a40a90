//! Reporters: telling people and programs how builds go. Called by the author of a reporter.

use serde::de::DeserializeOwned;

pub use crate::host::reports::{Phase, Report, StepResult};
pub use crate::host::{mail, report_files, state};
pub use crate::http;
pub use crate::{Outcome, PluginError, Problem, Property, SourceStamp};
use crate::{config, panic};

/// A reporter; the type's fields are its parameters.
pub trait Reporter: DeserializeOwned {
    /// Checks what the schema of the parameters cannot say.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Delivers one report. A receiver may see it more than once, always with the same delivery id.
    fn deliver(&self, report: &Report) -> Result<(), PluginError>;
}

/// Makes a component of a [`Reporter`]. Call it once, at the top of the crate.
#[macro_export]
macro_rules! reporter {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::reporter::exports::capstan::plugin::reporter::Guest;
            struct Component;
            impl Guest for Component {
                fn check(config: String) -> Result<(), $crate::PluginError> {
                    $crate::reporter::entry::check::<$plugin>(&config)
                }
                fn deliver(
                    config: String,
                    report: &$crate::reporter::Report,
                ) -> Result<(), $crate::PluginError> {
                    $crate::reporter::entry::deliver::<$plugin>(&config, report)
                }
            }
    $crate::bindings::reporter::export_reporter!(Component with_types_in $crate::bindings::reporter);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str, &$crate::reporter::Report) -> Result<(), $crate::PluginError> =
            $crate::reporter::entry::deliver::<$plugin>;
        $crate::parameters_test!($plugin);
    };
}

#[doc(hidden)]
pub mod entry {
    use super::*;

    pub fn check<R: Reporter>(json: &str) -> Result<(), PluginError> {
        panic::report();
        config::check(json, R::check)
    }

    pub fn deliver<R: Reporter>(json: &str, report: &Report) -> Result<(), PluginError> {
        panic::report();
        config::parse::<R>(json)?.deliver(report)
    }
}
