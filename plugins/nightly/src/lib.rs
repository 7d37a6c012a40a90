//! The scheduler `nightly`: builds at set times in a named time zone.

use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use scheduling::{Calendar, Due, Timed};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
pub struct Nightly {
    #[serde(flatten)]
    calendar: Calendar,
    #[serde(flatten)]
    timed: Timed,
}

impl Scheduler for Nightly {
    type State = Due;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let problems: Vec<_> = self
            .calendar
            .fault()
            .into_iter()
            .chain(self.timed.faults())
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut Due, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let schedule = self.calendar.schedule();
        let schedule = schedule.map_err(|fault| PluginError::InvalidConfig(vec![fault]))?;
        Ok(self.timed.handle(state, &schedule, now, &event))
    }
}

capstan_sdk::scheduler!(Nightly);

#[cfg(test)]
mod tests;
