//! When a schedule is due next, in a time zone whose clocks may jump.

use capstan_sdk::scheduler::TimestampMs;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::cron::{Clock, Set, Times};

/// A 29th of February that is a Monday is at most forty years away.
const FURTHEST_DAYS: usize = 41 * 366;
const MINUTE_MS: i64 = 60_000;

/// Times in a zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) times: Times,
    pub(super) zone: TimeZone,
}

impl Schedule {
    /// The first time that is due after `after`; none if there never is one.
    pub fn next(&self, after: TimestampMs) -> Option<TimestampMs> {
        let start = Timestamp::from_millisecond(after)
            .ok()?
            .to_zoned(self.zone.clone())
            .date();
        // A time of yesterday may have been put off until today, where a zone skipped a whole day.
        let mut date = start.yesterday().ok()?;
        for _ in 0..FURTHEST_DAYS {
            let weekday = date.weekday().to_sunday_zero_offset();
            if self.times.has_date(&date, weekday) {
                let found = match &self.times.clock {
                    Clock::At(times) => self.next_at(date, times, after),
                    Clock::EveryHour(minutes) => self.next_minute(date, *minutes, after),
                };
                if found.is_some() {
                    return found;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// How people write that time.
    pub fn show(&self, at: TimestampMs) -> String {
        let Ok(at) = Timestamp::from_millisecond(at) else {
            return String::new();
        };
        let local = at.to_zoned(self.zone.clone());
        let (date, hour, minute) = (local.date(), local.hour(), local.minute());
        format!(
            "{date} {hour:02}:{minute:02} {}",
            self.zone.iana_name().unwrap_or("UTC")
        )
    }

    /// A time that the clocks skip is as much later; of a time that comes twice, the first counts.
    fn next_at(&self, date: Date, times: &[(i8, i8)], after: TimestampMs) -> Option<TimestampMs> {
        let instant = |&(hour, minute): &(i8, i8)| {
            let local = date.at(hour, minute, 0, 0);
            Some(
                self.zone
                    .to_ambiguous_timestamp(local)
                    .compatible()
                    .ok()?
                    .as_millisecond(),
            )
        };
        times.iter().filter_map(instant).filter(|&at| at > after).min()
    }

    /// Every minute that really passes on this date is looked at: clocks that jump change nothing.
    fn next_minute(&self, date: Date, minutes: Set, after: TimestampMs) -> Option<TimestampMs> {
        let midnight = |date: Date| {
            Some(
                date.to_zoned(self.zone.clone())
                    .ok()?
                    .timestamp()
                    .as_millisecond(),
            )
        };
        let (start, end) = (midnight(date)?, midnight(date.tomorrow().ok()?)?);
        let first = (after + 1).max(start);
        let mut at = first + (-first).rem_euclid(MINUTE_MS);
        while at < end {
            let local = Timestamp::from_millisecond(at).ok()?.to_zoned(self.zone.clone());
            if minutes.has(local.minute()) {
                return Some(at);
            }
            at += MINUTE_MS;
        }
        None
    }
}

impl crate::Times for Schedule {
    fn next(&self, _due: Option<TimestampMs>, now: TimestampMs) -> Option<TimestampMs> {
        Schedule::next(self, now)
    }

    fn show(&self, at: TimestampMs) -> String {
        format!("the time {}", Schedule::show(self, at))
    }
}
