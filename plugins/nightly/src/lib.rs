//! The scheduler `nightly`: builds at set times in a named time zone.

mod cron;
mod fields;
mod occurrences;
mod state;

use std::collections::BTreeMap;

use capstan_sdk::params::Texts;
use capstan_sdk::problem;
use capstan_sdk::scheduler::{Answer, Event, PluginError, Problem, Scheduler, TimestampMs};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use fields::{Field, Weekdays};
use occurrences::Schedule;
use state::State;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nightly {
    at: Option<Texts>,
    days: Option<Texts>,
    minute: Option<Field>,
    hour: Option<Field>,
    day_of_month: Option<Field>,
    month: Option<Field>,
    day_of_week: Option<Weekdays>,
    #[serde(default = "utc")]
    timezone: String,
    branches: Option<Texts>,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    codebase: String,
    #[serde(default)]
    project: String,
    #[serde(default)]
    only_if_changed: bool,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
}

/// What becomes of times that passed while the master was down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missed {
    #[default]
    Run,
    Skip,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Scheduler for Nightly {
    type State = State;

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        match self.schedule() {
            Err(fault) => problems.push(fault),
            // Any time will do to see whether there is a next one.
            Ok(schedule) if schedule.next(0).is_none() => {
                problems.push(problem(
                    "day_of_month",
                    "expected a day that exists in one of the months",
                ));
            }
            Ok(_) => {}
        }
        if self.branches.as_ref().is_some_and(|branches| branches.is_empty()) {
            problems.push(problem("branches", "expected a branch, found an empty list"));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn handle(&self, state: &mut State, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let schedule = self
            .schedule()
            .map_err(|fault| PluginError::InvalidConfig(vec![fault]))?;
        let mut answer = Answer::default();
        match event {
            Event::Started => state.look(self, &schedule, now, &mut answer),
            Event::Timer(name) if name == state::TIMER => state.look(self, &schedule, now, &mut answer),
            Event::Change(change) if self.only_if_changed => state.note(self, &change),
            Event::Change(_) | Event::Timer(_) | Event::Finished(_) => {}
        }
        Ok(answer)
    }
}

impl Nightly {
    fn schedule(&self) -> Result<Schedule, Problem> {
        let zone = TimeZone::get(&self.timezone).map_err(|_| {
            let found = format!(
                "expected a time zone such as \"Europe/Madrid\", found {:?}",
                self.timezone
            );
            problem("timezone", found)
        })?;
        Ok(Schedule {
            times: self.times()?,
            zone,
        })
    }
}

capstan_sdk::scheduler!(Nightly);

#[cfg(test)]
mod tests;
