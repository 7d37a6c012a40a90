//! When it is due.

use proptest::prelude::*;

use super::*;

fn calendar(json: &str) -> Calendar {
    serde_json::from_str(json).unwrap()
}

fn ms(utc: &str) -> i64 {
    utc.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The next times after `after`, in UTC.
fn times(json: &str, after: &str, count: usize) -> String {
    let schedule = calendar(json).schedule().unwrap();
    let mut at = ms(after);
    let next = |_| {
        at = schedule.next(at).unwrap();
        let text = jiff::Timestamp::from_millisecond(at).unwrap().to_string();
        text.trim_end_matches(":00Z").replace('T', " ")
    };
    (0..count).map(next).collect::<Vec<_>>().join(", ")
}

#[test]
fn times_come_as_the_fields_say() {
    for (json, after, expected) in [
        (
            r#"{"at": "03:30"}"#,
            "2026-11-21T03:29:59Z",
            "2026-11-21 03:30, 2026-11-22 03:30",
        ),
        (
            r#"{"at": "03:30"}"#,
            "2026-11-21T03:30:00Z",
            "2026-11-22 03:30, 2026-11-23 03:30",
        ),
        (
            r#"{"at": ["15:00", "3:00"], "days": ["monday", "Thu"]}"#,
            "2026-11-21T00:00:00Z",
            "2026-11-23 03:00, 2026-11-23 15:00, 2026-11-26 03:00",
        ),
        (
            r#"{"hour": 3, "minute": 30}"#,
            "2026-11-21T04:00:00Z",
            "2026-11-22 03:30",
        ),
        (
            r#"{"minute": "*/20"}"#,
            "2026-11-21T23:35:00Z",
            "2026-11-21 23:40, 2026-11-22 00:00, 2026-11-22 00:20",
        ),
        (
            r#"{"hour": [1, 13]}"#,
            "2026-11-21T01:00:00Z",
            "2026-11-21 13:00, 2026-11-22 01:00",
        ),
        (
            r#"{"hour": 0, "day_of_week": "mon-fri"}"#,
            "2026-11-20T12:00:00Z",
            "2026-11-23 00:00, 2026-11-24 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_week": "sat-sun"}"#,
            "2026-11-20T12:00:00Z",
            "2026-11-21 00:00, 2026-11-22 00:00, 2026-11-28 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_week": "5-7"}"#,
            "2026-11-19T12:00:00Z",
            "2026-11-20 00:00, 2026-11-21 00:00, 2026-11-22 00:00, 2026-11-27 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_week": ["sunday"]}"#,
            "2026-11-20T12:00:00Z",
            "2026-11-22 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_month": 31}"#,
            "2026-11-21T00:00:00Z",
            "2026-12-31 00:00, 2027-01-31 00:00, 2027-03-31 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_month": 29, "month": "feb"}"#,
            "2097-01-01T00:00:00Z",
            "2104-02-29 00:00",
        ),
        (
            r#"{"at": "03:30", "days": ["mon#1", "fri#last"]}"#,
            "2026-11-21T00:00:00Z",
            "2026-11-27 03:30, 2026-12-07 03:30, 2026-12-25 03:30",
        ),
        (
            r#"{"hour": 0, "day_of_week": "tue#2,sun#5"}"#,
            "2026-11-21T00:00:00Z",
            "2026-11-29 00:00, 2026-12-08 00:00, 2027-01-12 00:00, 2027-01-31 00:00",
        ),
        (
            r#"{"hour": 0, "day_of_month": "15,last"}"#,
            "2027-01-31T12:00:00Z",
            "2027-02-15 00:00, 2027-02-28 00:00, 2027-03-15 00:00",
        ),
        // Every 28 years.
        (
            r#"{"hour": 0, "day_of_week": "mon#5", "month": 2}"#,
            "2026-11-21T00:00:00Z",
            "2044-02-29 00:00",
        ),
        // Days of the month and of the week: either will do.
        (
            r#"{"hour": 0, "day_of_month": 1, "day_of_week": "mon"}"#,
            "2026-11-28T00:00:00Z",
            "2026-11-30 00:00, 2026-12-01 00:00, 2026-12-07 00:00",
        ),
        (
            r#"{"minute": "5-10/5,50", "hour": "8-9"}"#,
            "2026-11-21T00:00:00Z",
            "2026-11-21 08:05, 2026-11-21 08:10, 2026-11-21 08:50, 2026-11-21 09:05",
        ),
        (
            r#"{"at": "03:30", "timezone": "Asia/Kolkata"}"#,
            "2026-11-21T00:00:00Z",
            "2026-11-21 22:00",
        ),
    ] {
        assert_eq!(
            times(json, after, expected.split(", ").count()),
            expected,
            "{json}"
        );
    }
}

#[test]
fn clocks_that_jump_neither_lose_nor_repeat_a_night() {
    for (json, after, expected) in [
        // Madrid, 29 March: 02:00 becomes 03:00, so 02:30 runs at 03:30 summer time.
        (
            r#"{"at": "02:30", "timezone": "Europe/Madrid"}"#,
            "2026-03-28T00:00:00Z",
            "2026-03-28 01:30, 2026-03-29 01:30, 2026-03-30 00:30",
        ),
        // 25 October: 03:00 becomes 02:00, and 02:30 runs once, the first time.
        (
            r#"{"at": "02:30", "timezone": "Europe/Madrid"}"#,
            "2026-10-24T12:00:00Z",
            "2026-10-25 00:30, 2026-10-26 01:30",
        ),
        // A time that was put off and one that was not may meet; they are one.
        (
            r#"{"at": ["02:30", "03:30"], "timezone": "Europe/Madrid"}"#,
            "2026-03-28T12:00:00Z",
            "2026-03-29 01:30, 2026-03-30 00:30",
        ),
        // Each hour that passes: none is left out, none is counted twice.
        (
            r#"{"minute": 30, "timezone": "Europe/Madrid"}"#,
            "2026-03-29T00:00:00Z",
            "2026-03-29 00:30, 2026-03-29 01:30, 2026-03-29 02:30",
        ),
        (
            r#"{"minute": 30, "timezone": "Europe/Madrid"}"#,
            "2026-10-24T23:00:00Z",
            "2026-10-24 23:30, 2026-10-25 00:30, 2026-10-25 01:30, 2026-10-25 02:30",
        ),
        // Half an hour, at Lord Howe.
        (
            r#"{"at": "02:15", "timezone": "Australia/Lord_Howe"}"#,
            "2026-10-03T00:00:00Z",
            "2026-10-03 15:45, 2026-10-04 15:15",
        ),
        // The clocks may jump at midnight.
        (
            r#"{"at": "00:00", "timezone": "America/Santiago"}"#,
            "2026-09-05T12:00:00Z",
            "2026-09-06 04:00, 2026-09-07 03:00",
        ),
        // Samoa went without 30 December 2011.
        (
            r#"{"at": "12:00", "timezone": "Pacific/Apia"}"#,
            "2011-12-29T12:00:00Z",
            "2011-12-29 22:00, 2011-12-30 22:00, 2011-12-31 22:00",
        ),
    ] {
        assert_eq!(
            times(json, after, expected.split(", ").count()),
            expected,
            "{json}"
        );
    }
}

#[test]
fn a_wrong_parameter_is_named() {
    for (json, path, text) in [
        ("{}", "at", "expected times: either `at`"),
        (
            r#"{"at": "25:00"}"#,
            "at",
            "expected a time of day such as \"03:30\", found \"25:00\"",
        ),
        (r#"{"at": "03:30", "hour": 3}"#, "hour", "found both"),
        (
            r#"{"days": ["monday"], "hour": 3}"#,
            "days",
            "expected `at` beside it",
        ),
        (
            r#"{"at": "03:30", "days": ["mo"]}"#,
            "days",
            "expected the name of a day, such as \"monday\" or \"mon#1\", found \"mo\"",
        ),
        (
            r#"{"hour": 24}"#,
            "hour",
            "expected 0 to 23, or a text such as \"1-5\", found 24",
        ),
        (r#"{"minute": "*/0"}"#, "minute", "found \"*/0\""),
        (r#"{"minute": "5-1"}"#, "minute", "found \"5-1\""),
        (r#"{"minute": ""}"#, "minute", "found \"\""),
        (
            r#"{"month": "janvier"}"#,
            "month",
            "expected 1 to 12, january to december",
        ),
        (
            r#"{"day_of_week": "8"}"#,
            "day_of_week",
            "expected 0 to 6, sunday to saturday",
        ),
        (
            r#"{"hour": 0, "day_of_month": 30, "month": 2}"#,
            "day_of_month",
            "expected a day that exists",
        ),
        (
            r#"{"at": "03:30", "timezone": "Europe/Atlantis"}"#,
            "timezone",
            "found \"Europe/Atlantis\"",
        ),
        (r#"{"hour": 0, "day_of_week": "mon#6"}"#, "day_of_week", "mon#6"),
        (r#"{"at": "03:30", "days": ["mon#0"]}"#, "days", "mon#0"),
        (
            r#"{"hour": 0, "day_of_month": "30", "month": "feb"}"#,
            "day_of_month",
            "never come",
        ),
    ] {
        let problem = calendar(json).fault().unwrap();
        assert_eq!(problem.path, path, "{json}");
        assert!(problem.message.contains(text), "{json}: {}", problem.message);
    }
    let error = serde_json::from_str::<Calendar>(r#"{"day_of_week": 0}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected names of days"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// The next time is after now, fits the fields, and there is none between.
    #[test]
    fn the_next_time_is_the_first_that_fits(
        after in 1_600_000_000_000i64..2_000_000_000_000,
        hour in 0u8..24,
        minute in 0u8..60,
        zone in prop::sample::select(vec!["UTC", "Europe/Madrid", "America/New_York", "Asia/Kathmandu"]),
    ) {
        let schedule = calendar(&format!(r#"{{"hour": {hour}, "minute": {minute}, "timezone": "{zone}"}}"#));
        let schedule = schedule.schedule().unwrap();
        let next = schedule.next(after).unwrap();
        prop_assert!(next > after && next - after <= 25 * 3_600_000);
        prop_assert_eq!(schedule.next(next - 1), Some(next));
        let local = jiff::Timestamp::from_millisecond(next).unwrap().to_zoned(schedule.zone.clone());
        // Of a time that was put off, only the hour is another.
        prop_assert_eq!(local.minute() as u8, minute);
        prop_assert!(local.hour() as u8 == hour || local.hour() as u8 == hour + 1);
    }
}
