//! The scheduler as the master sees it: events in, builds and timers out.

use std::collections::BTreeMap;

use capstan_sdk::scheduler::{Change, entry};
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1000;

/// Plays the master: keeps the state, the clock and the timers.
struct Master {
    config: String,
    state: Vec<u8>,
    now: i64,
    timers: BTreeMap<String, i64>,
    next_change: i64,
}

/// What one event led to: `branch@revision: changes`.
type Builds = Vec<String>;

impl Master {
    fn new(config: &str) -> Self {
        entry::check::<AnyBranch>(config).unwrap();
        Self {
            config: config.into(),
            state: Vec::new(),
            now: 0,
            timers: BTreeMap::new(),
            next_change: 1,
        }
    }

    fn tell(&mut self, event: Event) -> Builds {
        let decision = entry::handle::<AnyBranch>(&self.config, &self.state, self.now, event).unwrap();
        self.state = decision.state;
        for name in decision.clear_timers {
            self.timers.remove(&name);
        }
        for timer in decision.set_timers {
            self.timers.insert(timer.name, timer.at);
        }
        let show = |set: capstan_sdk::scheduler::Buildset| {
            let (source, ids) = (
                &set.sources[0],
                set.changes.iter().map(i64::to_string).collect::<Vec<_>>(),
            );
            let branch = source.branch.as_deref().unwrap_or("-");
            format!(
                "{branch}@{}: {}",
                source.revision.as_deref().unwrap_or("-"),
                ids.join(" ")
            )
        };
        decision.submit.into_iter().map(show).collect()
    }

    fn change(&mut self, branch: &str, edit: impl FnOnce(&mut Change)) -> Builds {
        let id = self.next_change;
        self.next_change += 1;
        let mut change = Change {
            id,
            source: "poller".into(),
            codebase: String::new(),
            repository: "https://git.example/p.git".into(),
            project: "p".into(),
            branch: Some(branch.into()),
            revision: format!("r{id}"),
            author: "Ada".into(),
            comments: "…".into(),
            files: vec!["src/lib.rs".into()],
            category: None,
            when: self.now,
            properties: Vec::new(),
        };
        edit(&mut change);
        self.tell(Event::Change(change))
    }

    fn push(&mut self, branch: &str) -> Builds {
        self.change(branch, |_| {})
    }

    /// Lets time pass and rings what is due, in order.
    fn pass(&mut self, ms: i64) -> Builds {
        let end = self.now + ms;
        let mut builds = Vec::new();
        while let Some((name, at)) = self
            .timers
            .clone()
            .into_iter()
            .filter(|t| t.1 <= end)
            .min_by_key(|t| t.1)
        {
            self.now = at.max(self.now);
            self.timers.remove(&name);
            builds.extend(self.tell(Event::Timer(name)));
        }
        self.now = end;
        builds
    }
}

#[test]
fn without_a_timer_each_change_is_built_at_once() {
    let mut master = Master::new("{}");
    assert_eq!(master.push("main"), ["main@r1: 1"]);
    assert_eq!(master.push("main"), ["main@r2: 2"]);
    assert!(master.timers.is_empty());
}

#[test]
fn changes_in_a_row_become_one_build_of_the_newest() {
    let mut master = Master::new(r#"{"tree_stable_timer": "10s"}"#);
    assert!(master.push("main").is_empty());
    assert!(master.pass(9 * SECOND).is_empty());
    assert!(master.push("main").is_empty(), "each change starts the time anew");
    assert!(master.pass(9 * SECOND).is_empty());
    assert_eq!(master.pass(SECOND), ["main@r2: 1 2"]);
    assert!(master.pass(60 * SECOND).is_empty());
}

#[test]
fn branches_and_repositories_wait_each_on_their_own() {
    let mut master = Master::new(r#"{"tree_stable_timer": 10}"#);
    master.push("main");
    master.pass(5 * SECOND);
    master.push("devel");
    master.change("main", |change| {
        change.repository = "https://git.example/other.git".into()
    });
    assert_eq!(master.pass(5 * SECOND), ["main@r1: 1"]);
    assert_eq!(master.pass(5 * SECOND), ["devel@r2: 2", "main@r3: 3"]);
}

#[test]
fn filters_leave_out_what_is_not_wanted() {
    for (config, taken) in [
        (r#"{"branches": ["main", "release/*"]}"#, "main release/1"),
        (r#"{"exclude_branches": "wip/**"}"#, "main release/1"),
        (r#"{"projects": "q"}"#, ""),
        (
            r#"{"repositories": "https://git.example/p.git"}"#,
            "main release/1 wip/a/b",
        ),
        (r#"{"repositories": ["https://git.example/q.git"]}"#, ""),
        (r#"{"categories": "release"}"#, ""),
        (r#"{"codebases": [""]}"#, "main release/1 wip/a/b"),
    ] {
        let mut master = Master::new(config);
        let taken_by = ["main", "release/1", "wip/a/b"]
            .into_iter()
            .filter(|branch| !master.push(branch).is_empty());
        assert_eq!(taken_by.collect::<Vec<_>>().join(" "), taken, "{config}");
    }
}

#[test]
fn unimportant_changes_start_no_build_but_are_part_of_the_next() {
    let docs = |change: &mut Change| change.files = vec!["docs/a.md".into()];
    let mut master = Master::new(r#"{"tree_stable_timer": 10, "exclude_files": "docs/**"}"#);
    assert!(master.change("main", docs).is_empty());
    assert!(master.timers.is_empty());
    master.push("main");
    master.pass(9 * SECOND);
    master.change("main", docs);
    assert!(
        master.pass(9 * SECOND).is_empty(),
        "while the time runs, an unimportant change starts it anew"
    );
    assert_eq!(master.pass(SECOND), ["main@r3: 1 2 3"]);

    let mut master = Master::new(r#"{"files": "**/*.rs", "only_important": true}"#);
    assert!(master.change("main", docs).is_empty());
    assert_eq!(master.push("main"), ["main@r2: 2"]);
    assert_eq!(
        master.change("main", |change| change.files.clear()),
        ["main@r3: 3"],
        "unknown files may be any"
    );
}

#[test]
fn a_restart_keeps_what_waits_and_never_prolongs_it() {
    let mut master = Master::new(r#"{"tree_stable_timer": "1h"}"#);
    master.push("main");
    master.timers.clear();
    master.now += 60 * SECOND;
    master.tell(Event::Started);
    assert_eq!(
        master.timers.values().copied().collect::<Vec<_>>(),
        [3600 * SECOND]
    );
    master.config = r#"{"tree_stable_timer": "10s"}"#.into();
    master.tell(Event::Started);
    assert_eq!(master.pass(10 * SECOND), ["main@r1: 1"]);
}

#[test]
fn a_branch_that_is_never_quiet_is_built_all_the_same() {
    let mut master = Master::new(r#"{"tree_stable_timer": "1h"}"#);
    let builds: Vec<_> = (0..1000).flat_map(|_| master.push("main")).collect();
    assert_eq!(builds.len(), 1);
    assert!(builds[0].starts_with("main@r1000: 1 2 3"));
    assert!(master.timers.is_empty());
}

#[test]
fn more_branches_than_there_is_room_for_lose_no_build() {
    let mut master = Master::new(r#"{"tree_stable_timer": "1h"}"#);
    let name = |n: i32| format!("{n}{}", "x".repeat(10_000));
    let mut builds: Vec<_> = (0..50).flat_map(|n| master.push(&name(n))).collect();
    assert!(builds.len() > 5 && builds.len() < 15, "{}", builds.len());
    assert!(
        builds[0].starts_with("0x") && builds[1].starts_with("1x"),
        "the longest waiting first"
    );
    assert!(master.state.len() < 500_000, "{}", master.state.len());
    builds.extend(master.pass(3600 * SECOND));
    assert_eq!(builds.len(), 50);
    assert!(master.timers.is_empty());
}

#[test]
fn an_empty_list_is_refused() {
    let error = entry::check::<AnyBranch>(r#"{"repositories": []}"#).unwrap_err();
    assert!(format!("{error:?}").contains("repositories"), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever comes in whichever order: each change is built exactly once, and soon enough.
    #[test]
    fn every_change_is_built_once(events in prop::collection::vec((0usize..3, 0i64..15_000), 1..40)) {
        let mut master = Master::new(r#"{"tree_stable_timer": "10s"}"#);
        let mut builds = Vec::new();
        for (branch, pause) in &events {
            builds.extend(master.push(["a", "b", "c"][*branch]));
            builds.extend(master.pass(*pause));
        }
        builds.extend(master.pass(10 * SECOND));
        let mut built: Vec<i64> = builds
            .iter()
            .flat_map(|build| build.split_once(": ").unwrap().1.split(' '))
            .map(|id| id.parse().unwrap())
            .collect();
        built.sort_unstable();
        prop_assert_eq!(built, (1..=events.len() as i64).collect::<Vec<_>>());
        prop_assert!(master.timers.is_empty());
    }
}
