//! What it builds, when it is time.

use capstan_sdk::scheduler::{Buildset, Change, entry};

use super::*;

fn ms(utc: &str) -> i64 {
    utc.parse::<jiff::Timestamp>().unwrap().as_millisecond()
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

#[test]
fn a_wrong_parameter_is_named() {
    for (json, path) in [
        (r#"{"at": "03:30", "branches": []}"#, "branches"),
        (r#"{"at": "03:30", "timezone": "Europe/Atlantis"}"#, "timezone"),
        (r#"{"at": "03:30", "files": "~("}"#, "files"),
    ] {
        match entry::check::<Nightly>(json) {
            Err(PluginError::InvalidConfig(problems)) => assert_eq!(problems[0].path, path, "{json}"),
            other => panic!("expected a problem, found {other:?}"),
        }
    }
}
