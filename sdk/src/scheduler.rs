//! Schedulers: from changes and times to builds. Called by the author of a scheduler.

mod beside;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use beside::{Call, CallKind, Calls, Follows, Patch, Stamp};

pub use crate::bindings::completions::exports::capstan::plugin::completions::{
    Build as CompletedBuild, CompletedBuildset,
};

pub use crate::bindings::scheduler::exports::capstan::plugin::scheduler::{
    Buildset, Change, Decision, Event, Finished, Timer,
};
pub use crate::{Outcome, PluginError, Problem, Property, SourceStamp, TimestampMs};
use crate::{config, panic};

/// A scheduler; the type's fields are its parameters. It has no side effects: the master stores the new state and the
/// answer together, and makes a call that was cut off again.
pub trait Scheduler: DeserializeOwned {
    /// What it remembers from event to event. Keep it small: it is stored with every event.
    type State: Serialize + DeserializeOwned + Default;

    /// Checks what the schema of the parameters cannot say.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Handles one event.
    fn handle(&self, state: &mut Self::State, now: TimestampMs, event: Event) -> Result<Answer, PluginError>;
}

/// What an event leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Builds to request.
    pub submit: Vec<Buildset>,
    /// Timers to set; one of the same name is replaced.
    pub set_timers: Vec<Timer>,
    /// Timers to forget, by name.
    pub clear_timers: Vec<String>,
}

/// What a scheduler or a change source does when a new version of it takes over from an older one, for
/// `scheduler!(T, migrate)` and `change_source!(T, migrate)`. Without it a version reads what older ones wrote.
pub trait Migrate {
    /// Translates what `from_version` left: the state of a scheduler or the cursor of a change source, as JSON if that version was
    /// written with this crate. An error leaves the old version in use.
    fn migrate(&self, from_version: &str, old: Vec<u8>) -> Result<Vec<u8>, PluginError>;
}

/// Makes a component of a [`Scheduler`]; with `scheduler!(T, migrate)` of one that is [`Migrate`] too, with
/// `scheduler!(T, calls)` of one that [`Calls`], with `scheduler!(T, follows)` of one that [`Follows`], or of several of these.
/// Call it once, at the top of the crate.
#[macro_export]
macro_rules! scheduler {
    ($plugin:ty, $($beside:ident),+) => {
        $crate::scheduler!($plugin);
        $($crate::beside_scheduler!($plugin, $beside);)+
    };
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::scheduler::exports::capstan::plugin::scheduler::{Decision, Event, Guest};
            struct Component;
            impl Guest for Component {
                fn check(config: String) -> Result<(), $crate::PluginError> {
                    $crate::scheduler::entry::check::<$plugin>(&config)
                }
                fn handle(
                    config: String,
                    state: Vec<u8>,
                    now: i64,
                    event: Event,
                ) -> Result<Decision, $crate::PluginError> {
                    $crate::scheduler::entry::handle::<$plugin>(&config, &state, now, event)
                }
            }
            $crate::bindings::scheduler::export_scheduler!(
                Component with_types_in $crate::bindings::scheduler
            );
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> Result<(), $crate::PluginError> = $crate::scheduler::entry::check::<$plugin>;
        $crate::parameters_test!($plugin);
    };
}

/// Exports what a scheduler has beside its world.
#[doc(hidden)]
#[macro_export]
macro_rules! beside_scheduler {
    ($plugin:ty, migrate) => {
        $crate::migration!($plugin);
    };
    ($plugin:ty, calls) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::calls::capstan::plugin::decisions::Decision;
            use $crate::bindings::calls::exports::capstan::plugin::calls::Guest;
            struct Component;
            impl Guest for Component {
                fn describe(config: String) -> Result<String, $crate::PluginError> {
                    $crate::scheduler::entry::describe::<$plugin>(&config)
                }
                fn call(
                    config: String,
                    state: Vec<u8>,
                    now: i64,
                    call: String,
                ) -> Result<Decision, $crate::PluginError> {
                    $crate::scheduler::entry::call::<$plugin>(&config, &state, now, &call).map(Into::into)
                }
            }
    $crate::bindings::calls::export_calls!(Component with_types_in $crate::bindings::calls);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str) -> Result<String, $crate::PluginError> =
            $crate::scheduler::entry::describe::<$plugin>;
    };
    ($plugin:ty, follows) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::calls::capstan::plugin::decisions::Decision;
            use $crate::bindings::completions::exports::capstan::plugin::completions::{
                CompletedBuildset, Guest,
            };
            struct Component;
            impl Guest for Component {
                fn completed(
                    config: String,
                    state: Vec<u8>,
                    now: i64,
                    buildset: CompletedBuildset,
                ) -> Result<Decision, $crate::PluginError> {
                    $crate::scheduler::entry::completed::<$plugin>(&config, &state, now, buildset)
                        .map(Into::into)
                }
            }
            $crate::bindings::completions::export_completions!(
                Component with_types_in $crate::bindings::completions
            );
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(
            &str,
            &[u8],
            i64,
            $crate::scheduler::CompletedBuildset,
        ) -> Result<$crate::scheduler::Decision, $crate::PluginError> =
            $crate::scheduler::entry::completed::<$plugin>;
    };
}

/// Exports [`Migrate`] beside a plugin's own world.
#[doc(hidden)]
#[macro_export]
macro_rules! migration {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::migration::exports::capstan::plugin::migration::Guest;
            struct Component;
            impl Guest for Component {
                fn migrate(
                    config: String,
                    from: String,
                    old: Vec<u8>,
                ) -> Result<Vec<u8>, $crate::PluginError> {
                    $crate::scheduler::entry::migrate::<$plugin>(&config, &from, old)
                }
            }
            $crate::bindings::migration::export_migration!(
                Component with_types_in $crate::bindings::migration
            );
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&str, &str, Vec<u8>) -> Result<Vec<u8>, $crate::PluginError> =
            $crate::scheduler::entry::migrate::<$plugin>;
    };
}

#[doc(hidden)]
pub mod entry {
    use super::*;

    pub fn check<S: Scheduler>(json: &str) -> Result<(), PluginError> {
        panic::report();
        config::check(json, S::check)
    }

    pub fn migrate<S: DeserializeOwned + Migrate>(
        json: &str,
        from: &str,
        old: Vec<u8>,
    ) -> Result<Vec<u8>, PluginError> {
        panic::report();
        config::parse::<S>(json)?.migrate(from, old)
    }

    pub fn handle<S: Scheduler>(
        json: &str,
        state: &[u8],
        now: TimestampMs,
        event: Event,
    ) -> Result<Decision, PluginError> {
        panic::report();
        decide::<S>(json, state, |scheduler, state| {
            scheduler.handle(state, now, event)
        })
    }

    pub fn describe<S: Calls>(json: &str) -> Result<String, PluginError> {
        panic::report();
        Ok(config::parse::<S>(json)?.describe().to_string())
    }

    pub fn call<S: Calls>(
        json: &str,
        state: &[u8],
        now: TimestampMs,
        call: &str,
    ) -> Result<Decision, PluginError> {
        panic::report();
        let call: Call = config::parse(call)?;
        decide::<S>(json, state, |scheduler, state| scheduler.call(state, now, call))
    }

    pub fn completed<S: Follows>(
        json: &str,
        state: &[u8],
        now: TimestampMs,
        buildset: CompletedBuildset,
    ) -> Result<Decision, PluginError> {
        panic::report();
        decide::<S>(json, state, |scheduler, state| {
            scheduler.completed(state, now, buildset)
        })
    }

    fn decide<S: Scheduler>(
        json: &str,
        state: &[u8],
        decide: impl FnOnce(&S, &mut S::State) -> Result<Answer, PluginError>,
    ) -> Result<Decision, PluginError> {
        let scheduler: S = config::parse(json)?;
        let mut state = match state {
            [] => S::State::default(),
            bytes => serde_json::from_slice(bytes).map_err(|error| unreadable("state", &error))?,
        };
        let answer = decide(&scheduler, &mut state)?;
        Ok(Decision {
            state: serde_json::to_vec(&state).map_err(|error| unreadable("state", &error))?,
            submit: answer.submit,
            set_timers: answer.set_timers,
            clear_timers: answer.clear_timers,
        })
    }
}

pub(crate) fn unreadable(what: &str, error: &serde_json::Error) -> PluginError {
    PluginError::Permanent(format!(
        "expected a {what} as this version of the plugin writes it: {error}"
    ))
}
