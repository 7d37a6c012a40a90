//! Times of day and fields as cron has them, in a named time zone.

mod cron;
mod fields;
mod occurrences;

use capstan_sdk::params::Texts;
use capstan_sdk::problem;
use capstan_sdk::scheduler::Problem;
use jiff::tz::TimeZone;
use serde::Deserialize;

use fields::{Field, Weekdays};
pub use occurrences::Schedule;

/// Parameters that say when it is time.
#[derive(Clone, Debug, Deserialize)]
pub struct Calendar {
    at: Option<Texts>,
    days: Option<Texts>,
    minute: Option<Field>,
    hour: Option<Field>,
    day_of_month: Option<Field>,
    month: Option<Field>,
    day_of_week: Option<Weekdays>,
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Calendar {
    /// The times; faults are addressed by parameter.
    pub fn schedule(&self) -> Result<Schedule, Problem> {
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

    /// What is wrong with it; times that never come are.
    pub fn fault(&self) -> Option<Problem> {
        match self.schedule() {
            Err(fault) => Some(fault),
            // Any time will do to see whether there is a next one.
            Ok(schedule) if schedule.next(0).is_none() => Some(problem(
                "day_of_month",
                "expected a day that exists in one of the months: these times never come",
            )),
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
