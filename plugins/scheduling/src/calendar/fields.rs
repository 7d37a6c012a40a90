//! The forms in which people write times, and from them a [`Times`].

use capstan_sdk::problem;
use capstan_sdk::scheduler::Problem;
use serde::Deserialize;

use super::Calendar;
use super::cron::{self, Set, Times};

/// A field as cron has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, a list of numbers, or a text such as \"*/15\""
)]
pub(super) enum Field {
    One(u8),
    Several(Vec<u8>),
    Text(String),
}

/// Days of the week. A bare number is none: Buildbot counts from Monday, cron from Sunday.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected names of days, such as [\"monday\"], or a text such as \"mon-fri\""
)]
pub(super) enum Weekdays {
    Names(Vec<String>),
    Text(String),
}

impl Calendar {
    /// When to build; faults are addressed by parameter.
    pub(super) fn times(&self) -> Result<Times, Problem> {
        match &self.at {
            Some(at) => self.times_of_day(at),
            None => self.times_of_fields(),
        }
    }

    fn times_of_day(&self, at: &[String]) -> Result<Times, Problem> {
        let others = [
            ("minute", self.minute.is_some()),
            ("hour", self.hour.is_some()),
            ("day_of_month", self.day_of_month.is_some()),
            ("month", self.month.is_some()),
            ("day_of_week", self.day_of_week.is_some()),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, given)| *given) {
            return Err(problem(
                name,
                "expected either `at` and `days` or fields as cron has them, found both",
            ));
        }
        let times = at
            .iter()
            .map(|text| time_of_day(text))
            .collect::<Result<Vec<_>, _>>()?;
        if times.is_empty() {
            return Err(problem("at", "expected a time of day, found an empty list"));
        }
        let weekdays = match &self.days {
            Some(days) => names(days).map_err(|text| problem("days", text))?,
            None => cron::WEEKDAY.all(),
        };
        Ok(Times::at(times, weekdays))
    }

    fn times_of_fields(&self) -> Result<Times, Problem> {
        if self.days.is_some() {
            return Err(problem("days", "expected `at` beside it, such as at = \"03:30\""));
        }
        let given = self.minute.is_some() || self.hour.is_some() || self.day_of_month.is_some();
        if !given && self.month.is_none() && self.day_of_week.is_none() {
            return Err(problem(
                "at",
                "expected times: either `at`, or fields such as `hour` and `minute`",
            ));
        }
        let weekdays = match &self.day_of_week {
            None => Ok(cron::WEEKDAY.all()),
            Some(Weekdays::Names(days)) => names(days),
            Some(Weekdays::Text(text)) => cron::WEEKDAY.parse(text),
        };
        let minutes = self.minute.as_ref().map_or(Ok(cron::MINUTE.only(0)), |field| {
            field.set(&cron::MINUTE, "minute")
        })?;
        let set = |field: &Option<Field>, kind: &cron::Kind, name: &str| {
            field
                .as_ref()
                .map_or(Ok(kind.all()), |field| field.set(kind, name))
        };
        Ok(Times::fields(
            minutes,
            set(&self.hour, &cron::HOUR, "hour")?,
            set(&self.day_of_month, &cron::DAY, "day_of_month")?,
            set(&self.month, &cron::MONTH, "month")?,
            weekdays.map_err(|text| problem("day_of_week", text))?,
        ))
    }
}

impl Field {
    fn set(&self, kind: &cron::Kind, name: &str) -> Result<Set, Problem> {
        let set = match self {
            Self::Text(text) => kind.parse(text),
            Self::One(number) => kind.numbers(std::slice::from_ref(number)),
            Self::Several(numbers) => kind.numbers(numbers),
        };
        set.map_err(|text| problem(name, text))
    }
}

fn names(days: &[String]) -> Result<Set, String> {
    if days.is_empty() {
        return Err("expected a day, found an empty list".to_owned());
    }
    let mut set = Set::default();
    for day in days {
        let number = cron::WEEKDAY.special(day).or_else(|| cron::WEEKDAY.named(day));
        set.add(number.ok_or_else(|| {
            format!("expected the name of a day, such as \"monday\" or \"mon#1\", found {day:?}")
        })?);
    }
    Ok(set)
}

fn time_of_day(text: &str) -> Result<(u8, u8), Problem> {
    let read = || {
        let (hour, minute) = text.split_once(':')?;
        let time = (hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?);
        (time.0 < 24 && time.1 < 60).then_some(time)
    };
    read().ok_or_else(|| {
        problem(
            "at",
            format!("expected a time of day such as \"03:30\", found {text:?}"),
        )
    })
}
