//! Change sources: what changed since the last look. Called by the author of a change source.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::change_source::exports::capstan::plugin::change_source::{NewChange, PollResult};
pub use crate::host::git;
pub use crate::http;
use crate::params::Span;
pub use crate::scheduler::Migrate;
use crate::scheduler::unreadable;
pub use crate::{PluginError, Problem, Property, TimestampMs};
use crate::{config, panic};

/// A change source; the type's fields are its parameters.
pub trait ChangeSource: DeserializeOwned {
    /// How far it looked. The master stores it together with the changes.
    type Cursor: Serialize + DeserializeOwned;

    /// Checks what the schema of the parameters cannot say.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Looks for changes; there is no cursor the first time.
    fn poll(&self, cursor: Option<Self::Cursor>) -> Result<Poll<Self::Cursor>, PluginError>;
}

/// What a look brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll<C> {
    /// How far it looked.
    pub cursor: C,
    /// What it found, oldest first.
    pub changes: Vec<NewChange>,
    /// When to look again.
    pub poll_again: Span,
}

/// Makes a component of a [`ChangeSource`], and with `change_source!(T, migrate)` of one that is [`Migrate`] too. Call it once,
/// at the top of the crate.
#[macro_export]
macro_rules! change_source {
    ($plugin:ty, migrate) => {
        $crate::change_source!($plugin);
        $crate::migration!($plugin);
    };
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::change_source::exports::capstan::plugin::change_source::{
                Guest, PollResult,
            };
            struct Component;
            impl Guest for Component {
                fn check(config: String) -> Result<(), $crate::PluginError> {
                    $crate::change_source::entry::check::<$plugin>(&config)
                }
                fn poll(config: String, cursor: Vec<u8>) -> Result<PollResult, $crate::PluginError> {
                    $crate::change_source::entry::poll::<$plugin>(&config, &cursor)
                }
            }
            $crate::bindings::change_source::export_change_source!(
                Component with_types_in $crate::bindings::change_source
            );
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> Result<(), $crate::PluginError> = $crate::change_source::entry::check::<$plugin>;
        $crate::parameters_test!($plugin);
    };
}

#[doc(hidden)]
pub mod entry {
    use super::*;

    pub fn check<S: ChangeSource>(json: &str) -> Result<(), PluginError> {
        panic::report();
        config::check(json, S::check)
    }

    pub fn poll<S: ChangeSource>(json: &str, cursor: &[u8]) -> Result<PollResult, PluginError> {
        panic::report();
        let source: S = config::parse(json)?;
        let cursor = match cursor {
            [] => None,
            bytes => Some(serde_json::from_slice(bytes).map_err(|error| unreadable("cursor", &error))?),
        };
        let poll = source.poll(cursor)?;
        let cursor = serde_json::to_vec(&poll.cursor).map_err(|error| unreadable("cursor", &error))?;
        Ok(PollResult {
            cursor,
            changes: poll.changes,
            poll_again_ms: poll.poll_again.ms(),
        })
    }
}
