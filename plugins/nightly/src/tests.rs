//! When it is due, and what it builds then.

use capstan_sdk::scheduler::{Buildset, Change, entry};
use proptest::prelude::*;

use super::*;

fn nightly(json: &str) -> Nightly {
    serde_json::from_str(json).unwrap()
}

fn ms(utc: &str) -> i64 {
    utc.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The next times after `after`, in UTC.
fn times(json: &str, after: &str, count: usize) -> String {
    let schedule = nightly(json).schedule().unwrap();
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
            "expected the name of a day, such as \"monday\", found \"mo\"",
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
        (
            r#"{"at": "03:30", "branches": []}"#,
            "branches",
            "found an empty list",
        ),
    ] {
        let problems = nightly(json).check().unwrap_err();
        assert_eq!(problems[0].path, path, "{json}");
        assert!(
            problems[0].message.contains(text),
            "{json}: {}",
            problems[0].message
        );
    }
    let error = serde_json::from_str::<Nightly>(r#"{"day_of_week": 0}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected names of days"), "{error}");
}

/// Plays the master.
struct Master {
    config: String,
    state: Vec<u8>,
    timer: Option<i64>,
}

impl Master {
    fn new(config: &str) -> Self {
        entry::check::<Nightly>(config).unwrap();
        Self {
            config: config.into(),
            state: Vec::new(),
            timer: None,
        }
    }

    fn tell(&mut self, now: &str, event: Event) -> Vec<Buildset> {
        let decision = entry::handle::<Nightly>(&self.config, &self.state, ms(now), event).unwrap();
        self.state = decision.state;
        self.timer = decision
            .set_timers
            .first()
            .map_or(self.timer, |timer| Some(timer.at));
        decision.submit
    }

    fn start(&mut self, now: &str) -> Vec<Buildset> {
        self.tell(now, Event::Started)
    }

    fn ring(&mut self, now: &str) -> Vec<Buildset> {
        assert!(self.timer.is_some_and(|at| at <= ms(now)), "the timer is not due");
        self.tell(now, Event::Timer("next".into()))
    }

    fn change(&mut self, id: i64, branch: &str) {
        let change = Change {
            id,
            source: "poller".into(),
            codebase: String::new(),
            repository: "r".into(),
            project: "p".into(),
            branch: Some(branch.into()),
            revision: format!("rev{id}"),
            author: "Ada".into(),
            comments: "…".into(),
            files: Vec::new(),
            category: None,
            when: 0,
            properties: Vec::new(),
        };
        assert!(
            self.tell("2026-11-21T12:00:00Z", Event::Change(change))
                .is_empty()
        );
    }
}

fn branches(builds: &[Buildset]) -> Vec<Option<&str>> {
    builds
        .iter()
        .map(|set| set.sources[0].branch.as_deref())
        .collect()
}

#[test]
fn it_builds_each_branch_at_its_time() {
    let mut master = Master::new(
        r#"{"at": "03:30", "timezone": "Europe/Madrid", "branches": ["main", "devel"], "repository": "r",
            "properties": {"kind": "nightly"}}"#,
    );
    assert!(master.start("2026-11-20T12:00:00Z").is_empty());
    assert_eq!(master.timer, Some(ms("2026-11-21T02:30:00Z")));
    let builds = master.ring("2026-11-21T02:30:00Z");
    assert_eq!(branches(&builds), [Some("main"), Some("devel")]);
    assert_eq!(builds[0].reason, "the time 2026-11-21 03:30 Europe/Madrid");
    assert_eq!(
        (
            builds[0].properties[0].name.as_str(),
            builds[0].properties[0].value.as_str()
        ),
        ("kind", "\"nightly\"")
    );
    assert_eq!(master.timer, Some(ms("2026-11-22T02:30:00Z")));
    // The master may be told twice.
    assert!(
        master
            .tell("2026-11-21T02:30:00Z", Event::Timer("next".into()))
            .is_empty()
    );
}

#[test]
fn times_that_were_missed_are_made_up_for_once() {
    let mut master = Master::new(r#"{"at": "03:30"}"#);
    master.start("2026-11-18T12:00:00Z");
    let builds = master.start("2026-11-21T12:00:00Z");
    assert_eq!(branches(&builds), [None]);
    assert_eq!(
        builds[0].reason,
        "the time 2026-11-19 03:30 UTC, which the master missed"
    );
    assert_eq!(master.timer, Some(ms("2026-11-22T03:30:00Z")));
    assert!(master.start("2026-11-21T12:00:01Z").is_empty());

    let mut master = Master::new(r#"{"at": "03:30", "missed": "skip"}"#);
    master.start("2026-11-18T12:00:00Z");
    assert!(master.start("2026-11-21T12:00:00Z").is_empty());
    assert_eq!(
        master.ring("2026-11-22T03:35:00Z").len(),
        1,
        "a few minutes late is in time"
    );
}

#[test]
fn only_what_changed_is_built() {
    let mut master =
        Master::new(r#"{"at": "03:30", "branches": ["main", "devel"], "only_if_changed": true}"#);
    master.start("2026-11-20T12:00:00Z");
    assert!(master.ring("2026-11-21T03:30:00Z").is_empty());
    for (id, branch) in [(1, "main"), (2, "wip"), (3, "main")] {
        master.change(id, branch);
    }
    let builds = master.ring("2026-11-22T03:30:00Z");
    assert_eq!(branches(&builds), [Some("main")]);
    assert_eq!(
        (
            builds[0].changes.as_slice(),
            builds[0].sources[0].revision.as_deref()
        ),
        (&[1, 3][..], Some("rev3"))
    );
    assert!(master.ring("2026-11-23T03:30:00Z").is_empty());
    (10..1500).for_each(|id| master.change(id, "main"));
    assert!(master.state.len() < 10_000, "{}", master.state.len());
}

#[test]
fn a_new_schedule_replaces_the_timer() {
    let mut master = Master::new(r#"{"at": "03:30"}"#);
    master.start("2026-11-20T12:00:00Z");
    master.config = r#"{"at": "20:00"}"#.into();
    assert!(master.start("2026-11-20T12:01:00Z").is_empty());
    assert_eq!(master.timer, Some(ms("2026-11-20T20:00:00Z")));
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
        let schedule = nightly(&format!(r#"{{"hour": {hour}, "minute": {minute}, "timezone": "{zone}"}}"#));
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
