//! Builds that a step asks the farm's schedulers for, and waits for. Called by the author of a step type.

use serde_json::Value;

pub use crate::host::triggers::{Completed, TriggerError, TriggeredBuild};
use crate::step::Stop;
use crate::{Outcome, PluginError};

/// Asks a scheduler for builds; answers its buildsets, of which there may be none. The call is an object with, as far as they are
/// given, `reason`, `builders`, `properties`, `priority` and `sources`: a list of source stamps, or `"own"` for what the build
/// itself checks out, at the revisions that it got.
pub fn call(scheduler: &str, call: &Value) -> Result<Vec<i64>, TriggerError> {
    crate::host::triggers::call(scheduler, &call.to_string())
}

/// Waits until each of these buildsets is complete. With `give_back` others may use the build's slot on its worker meanwhile.
pub fn wait(buildsets: &[i64], give_back: bool) -> Result<Vec<Completed>, TriggerError> {
    crate::host::triggers::wait(buildsets, give_back)
}

impl From<TriggerError> for Stop {
    /// What is wrong in a call, and a right that is missing, are faults of the configuration.
    fn from(error: TriggerError) -> Self {
        match error {
            TriggerError::Cancelled(reason) => {
                Self::Outcome(Outcome::Cancelled, format!("stopped: {reason}"))
            }
            TriggerError::Deadlock(reason) => Self::Outcome(Outcome::Exception, reason),
            TriggerError::Denied(reason) => Self::Error(PluginError::Permanent(reason)),
            TriggerError::Refused(problems) => {
                let text = problems.iter().map(|problem| match problem.path.as_str() {
                    "" => problem.message.clone(),
                    path => format!("{path}: {}", problem.message),
                });
                Self::Error(PluginError::Permanent(text.collect::<Vec<_>>().join("; ")))
            }
        }
    }
}
