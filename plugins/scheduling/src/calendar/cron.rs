//! Fields as cron has them (crontab(5)): `*`, `5`, `1-5`, `*/15`, `10-40/10`, names, and lists of these; beyond that `mon#2` and
//! `fri#last` for days of the week, and `last` for days of the month.

use std::fmt::Write as _;

use jiff::civil::Date;

/// In a set of days of the month: the last one.
const LAST_DAY: u8 = 32;
/// In a set of days of the week: the month's last Sunday; the other days come after it. From 7 on are the first ones, from 14 on
/// the second ones, to the fifth ones.
const LAST_WEEKDAY: u8 = 42;

/// A set of small numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    pub(super) fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|n| n < 64 && self.0 >> n & 1 == 1)
    }

    pub(super) fn add(&mut self, number: u8) {
        self.0 |= 1 << (number & 63);
    }

    pub(super) fn iter(self) -> impl Iterator<Item = i8> {
        (0..64).filter(move |&n| self.has(n))
    }
}

/// One of cron's five fields.
pub(super) struct Kind {
    first: u8,
    last: u8,
    /// Names of the numbers, from `first` on; three letters are enough.
    names: &'static [&'static str],
    example: &'static str,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

pub(super) const MINUTE: Kind = Kind {
    first: 0,
    last: 59,
    names: &[],
    example: "*/15",
};
pub(super) const HOUR: Kind = Kind {
    first: 0,
    last: 23,
    names: &[],
    example: "1-5",
};
pub(super) const DAY: Kind = Kind {
    first: 1,
    last: 31,
    names: &[],
    example: "1,15,last",
};
pub(super) const MONTH: Kind = Kind {
    first: 1,
    last: 12,
    names: &MONTHS,
    example: "jan-mar",
};
/// Sunday is 0, as in cron, where 7 is Sunday too.
pub(super) const WEEKDAY: Kind = Kind {
    first: 0,
    last: 6,
    names: &DAYS,
    example: "mon-fri,sat#1",
};

impl Kind {
    pub(super) fn all(&self) -> Set {
        let mut set = Set::default();
        (self.first..=self.last).for_each(|number| set.add(number));
        set
    }

    pub(super) fn only(&self, number: u8) -> Set {
        let mut set = Set::default();
        set.add(number);
        set
    }

    /// The number in a set of a day that is counted from the month's beginning or end: `mon#2`, `fri#last`, `last`.
    pub(super) fn special(&self, text: &str) -> Option<u8> {
        let is_last = |text: &str| text.eq_ignore_ascii_case("last") || text.eq_ignore_ascii_case("l");
        if self.last == DAY.last && is_last(text.trim()) {
            return Some(LAST_DAY);
        }
        let (day, which) = text.split_once('#').filter(|_| self.last == WEEKDAY.last)?;
        let day = self.normal(self.number(day.trim())?);
        if is_last(which) {
            return Some(LAST_WEEKDAY + day);
        }
        let which = which.parse::<u8>().ok().filter(|which| (1..=5).contains(which))?;
        Some(7 * which + day)
    }

    pub(super) fn numbers(&self, numbers: &[u8]) -> Result<Set, String> {
        let mut set = Set::default();
        for &number in numbers {
            if !(self.first..=self.last).contains(&number) {
                return Err(self.expected(&number.to_string()));
            }
            set.add(number);
        }
        if numbers.is_empty() {
            Err(self.expected("an empty list"))
        } else {
            Ok(set)
        }
    }

    pub(super) fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = Set::default();
        for part in text.split(',') {
            self.parse_part(part.trim(), &mut set)
                .ok_or_else(|| self.expected(&format!("{text:?}")))?;
        }
        Ok(set)
    }

    fn parse_part(&self, part: &str, set: &mut Set) -> Option<()> {
        if let Some(number) = self.special(part) {
            set.add(number);
            return Some(());
        }
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|&step| step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((from, to)) => (self.number(from)?, self.end(to)?),
            None if part.contains('/') => (self.number(range)?, self.last),
            None => (self.number(range)?, self.number(range)?),
        };
        if from > to {
            return None;
        }
        (from..=to)
            .step_by(step.into())
            .for_each(|number| set.add(self.normal(number)));
        Some(())
    }

    /// The end of a range: there Sunday comes after Saturday.
    fn end(&self, text: &str) -> Option<u8> {
        let number = self.number(text)?;
        let sunday = !self.names.is_empty() && self.first == 0 && number == 0 && text != "0";
        Some(if sunday { 7 } else { number })
    }

    fn normal(&self, number: u8) -> u8 {
        if self.first == 0 && self.last == 6 {
            number % 7
        } else {
            number
        }
    }

    fn number(&self, text: &str) -> Option<u8> {
        let last = if self.last == 6 { 7 } else { self.last };
        let number = text
            .parse::<u8>()
            .ok()
            .filter(|number| (self.first..=last).contains(number));
        number.or_else(|| self.named(text))
    }

    /// The number of a name: `mon`, `Monday`.
    pub(super) fn named(&self, text: &str) -> Option<u8> {
        let text = text.trim().to_ascii_lowercase();
        let fits = |name: &&str| **name == text || (text.len() == 3 && name.starts_with(&text));
        let place = self.names.iter().position(fits)?;
        Some(self.first + u8::try_from(place).ok()?)
    }

    fn expected(&self, found: &str) -> String {
        let mut text = format!("expected {} to {}", self.first, self.last);
        if let (Some(first), Some(last)) = (self.names.first(), self.names.last()) {
            let _ = write!(text, ", {first} to {last}");
        }
        let _ = write!(text, ", or a text such as {:?}, found {found}", self.example);
        text
    }
}

/// Which minutes of which days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) clock: Clock,
    days: Set,
    months: Set,
    weekdays: Set,
}

/// Which minutes of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// These times, hour and minute: each once a day.
    At(Vec<(i8, i8)>),
    /// These minutes of every hour that passes.
    EveryHour(Set),
}

impl Times {
    pub(super) fn at(times: Vec<(u8, u8)>, weekdays: Set) -> Self {
        let clock = Clock::At(
            times
                .into_iter()
                .map(|(hour, minute)| (hour as i8, minute as i8))
                .collect(),
        );
        Self {
            clock,
            days: DAY.all(),
            months: MONTH.all(),
            weekdays,
        }
    }

    pub(super) fn fields(minutes: Set, hours: Set, days: Set, months: Set, weekdays: Set) -> Self {
        let clock = if hours == HOUR.all() {
            Clock::EveryHour(minutes)
        } else {
            Clock::At(
                hours
                    .iter()
                    .flat_map(|hour| minutes.iter().map(move |minute| (hour, minute)))
                    .collect(),
            )
        };
        Self {
            clock,
            days,
            months,
            weekdays,
        }
    }

    /// Where days of both the month and the week are given, either will do: so cron has it.
    pub(super) fn has_date(&self, date: &Date, weekday: i8) -> bool {
        let (month, day, last) = (date.month(), date.day(), date.days_in_month());
        let in_month = self.days.has(day) || day == last && self.days.has(LAST_DAY as i8);
        let which = (day - 1) / 7 + 1;
        let in_week = self.weekdays.has(weekday)
            || self.weekdays.has(7 * which + weekday)
            || day + 7 > last && self.weekdays.has(LAST_WEEKDAY as i8 + weekday);
        let both = self.days != DAY.all() && self.weekdays != WEEKDAY.all();
        self.months.has(month)
            && if both {
                in_month || in_week
            } else {
                in_month && in_week
            }
    }
}
