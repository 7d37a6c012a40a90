//! What schedulers do, in every language.

use std::sync::Arc;

use capstan_engine::{
    CallError, Caller, Completed, CompletedBuild, Decision, Finished, Plugin, Ports, SchedulerEvent,
};
use capstan_model::plugin::Kind;
use capstan_model::{BuildsetId, Change, ChangeId, NewChange, Outcome, Properties, SourceStamp, Timestamp};
use serde_json::{Value, json};

use crate::support::guests;

fn change(id: i64, branch: &str, comments: &str) -> SchedulerEvent {
    let mut properties = Properties::default();
    properties.set("color", "grün", "source");
    SchedulerEvent::Change(Box::new(Change {
        id: ChangeId(id),
        source: "poller".to_owned(),
        received: Timestamp(1),
        facts: NewChange {
            dedup_key: format!("r{id}"),
            codebase: String::new(),
            project: String::new(),
            category: None,
            when: Timestamp(1),
            repository: "https://git.example.org/a".to_owned(),
            branch: Some(branch.to_owned()),
            revision: format!("r{id}"),
            author: "Ann".to_owned(),
            comments: comments.to_owned(),
            files: vec!["a.c".to_owned(), "ü.c".to_owned()],
            properties,
        },
    }))
}

fn caller() -> Caller {
    Caller {
        owner: "main".to_owned(),
        grants: Arc::default(),
        ports: Ports::nowhere(),
    }
}

async fn handled(
    plugin: &Plugin,
    state: &[u8],
    now: i64,
    event: SchedulerEvent,
) -> Result<Decision, CallError> {
    let config = json!({ "branch": "main", "quiet": 500 });
    plugin
        .handle(&caller(), &config, state, Timestamp(now), event)
        .await
}

#[tokio::test]
async fn a_scheduler_decides_the_same_in_every_language() {
    let finished = |outcome| {
        SchedulerEvent::Finished(Finished {
            builder: "hello".to_owned(),
            number: 7,
            outcome,
            sources: vec![SourceStamp {
                revision: Some("r2".to_owned()),
                ..SourceStamp::default()
            }],
        })
    };
    let mut first: Option<(Vec<Decision>, Value)> = None;
    for (language, plugin) in guests(Kind::Scheduler) {
        let events = [
            SchedulerEvent::Started,
            change(1, "other", "one"),
            change(2, "main", "two"),
            SchedulerEvent::Timer("late ü".to_owned()),
            finished(Outcome::Failure),
            finished(Outcome::Success),
            SchedulerEvent::Started,
        ];
        let mut state = Vec::new();
        let mut decisions = Vec::new();
        for (place, event) in events.into_iter().enumerate() {
            let now = 1_700_000_000_000 + place as i64;
            let mut decision = handled(&plugin, &state, now, event.clone()).await.unwrap();
            // A call that was cut off is made again, and comes to the same.
            assert_eq!(
                handled(&plugin, &state, now, event).await.unwrap(),
                decision,
                "{language}"
            );
            state = std::mem::take(&mut decision.state);
            decisions.push(decision);
        }
        let kept: Value = serde_json::from_slice(&state).unwrap();
        let expected = json!({
            "started": 2, "timers": ["late ü"], "failure": 1, "success": 1, "builder": "hello 7 r2"
        });
        assert_eq!(kept, expected, "{language}");
        let timers: Vec<_> = decisions
            .iter()
            .flat_map(|d| &d.set_timers)
            .map(|t| (t.name.as_str(), t.at.0))
            .collect();
        let at = |place: i64| 1_700_000_000_500 + place;
        assert_eq!(
            timers,
            [("first", at(0)), ("late", at(1)), ("first", at(6))],
            "{language}"
        );
        let submitted = &decisions[2].submit[0];
        assert_eq!(
            (submitted.reason.as_str(), submitted.priority),
            ("2 changes by Ann", 3),
            "{language}"
        );
        assert_eq!(submitted.changes, [ChangeId(1), ChangeId(2)], "{language}");
        assert_eq!(decisions[2].clear_timers, ["late"], "{language}");
        let (same, _) = first.get_or_insert_with(|| (decisions.clone(), kept));
        assert_eq!(&decisions, same, "{language}");
    }
}

#[tokio::test]
async fn a_scheduler_fails_and_migrates_the_same_in_every_language() {
    for (language, plugin) in guests(Kind::Scheduler) {
        let found = handled(&plugin, b"", 1, change(3, "main", "bad")).await;
        assert_eq!(
            found,
            Err(CallError::Permanent("no such change: r3".to_owned())),
            "{language}"
        );
        let found = handled(&plugin, b"no JSON", 1, SchedulerEvent::Started).await;
        let Err(CallError::Permanent(said)) = found else {
            panic!("{language}: {found:?}")
        };
        assert!(
            said.starts_with("expected a state as this version of the plugin writes it"),
            "{language}: {said}"
        );
        let config = json!({ "branch": "main" });
        let moved = plugin
            .migrate(&caller(), &config, "0.0.9", br#"{"started":4}"#)
            .await;
        let moved: Value = serde_json::from_slice(&moved.unwrap().unwrap()).unwrap();
        assert_eq!(moved, json!({ "started": 4, "migrated": "0.0.9" }), "{language}");
    }
}

/// A step of another build, a person or a command line asks: the same form, the same builds, the same refusals.
#[tokio::test]
async fn a_scheduler_is_asked_for_builds_the_same_in_every_language() {
    let config = json!({ "branch": "main", "quiet": 500 });
    let mut first: Option<Decision> = None;
    for (language, plugin) in guests(Kind::Scheduler) {
        assert!(plugin.takes_calls(), "{language}");
        let form = plugin.describe(&caller(), &config).await.unwrap().unwrap();
        let field = json!({ "name": "version", "type": "string", "label": "Ver\u{17e}ion main" });
        assert_eq!(form, json!({ "kind": "force", "fields": [field] }), "{language}");
        let ask = async |call: Value| {
            let now = Timestamp(1_000);
            plugin
                .call(&caller(), &config, b"{\"calls\":1}", now, &call)
                .await
        };
        let call = json!({
            "kind": "force", "owner": "Änn", "reason": "it is time", "builders": ["hello"], "priority": 7,
            "sources": [{ "codebase": "app", "repository": "r", "project": "", "branch": "main", "revision": null }],
            "properties": { "size": [1, { "a": null }] }, "values": { "version": "v\"1\"" },
        });
        let decision = ask(call).await.unwrap();
        let state: Value = serde_json::from_slice(&decision.state).unwrap();
        assert_eq!(state, json!({ "calls": 2 }), "{language}");
        let set = &decision.submit[0];
        let properties: Vec<_> = set
            .properties
            .iter()
            .map(|p| (p.name.as_str(), p.value.clone()))
            .collect();
        let expected = [
            ("version", json!("v\"1\"")),
            ("owner", json!("Änn")),
            ("size", json!([1, { "a": null }])),
        ];
        assert_eq!(properties, expected, "{language}");
        assert_eq!(
            (set.reason.as_str(), set.priority),
            ("it is time", 7),
            "{language}"
        );
        assert_eq!(set.builders, Some(vec!["hello".to_owned()]), "{language}");
        assert_eq!(
            first.get_or_insert_with(|| decision.clone()),
            &decision,
            "{language}"
        );
        let least = ask(json!({ "kind": "trigger", "values": { "version": "1" } }))
            .await
            .unwrap();
        let set = &least.submit[0];
        assert_eq!((set.reason.as_str(), set.priority), ("asked", 1), "{language}");
        assert_eq!((&set.builders, set.sources.len()), (&None, 0), "{language}");
        let Err(CallError::InvalidConfig(problems)) = ask(json!({ "kind": "force", "values": {} })).await
        else {
            panic!("{language}: expected a refusal")
        };
        let said: Vec<_> = problems
            .iter()
            .map(|p| (p.path.as_str(), p.message.as_str()))
            .collect();
        assert_eq!(
            said,
            [("values.version", "expected a version, found none")],
            "{language}"
        );
    }
}

#[tokio::test]
async fn a_scheduler_follows_others_the_same_in_every_language() {
    let config = json!({ "branch": "main" });
    let stamp = |revision: &str| SourceStamp {
        repository: "r".to_owned(),
        revision: Some(revision.to_owned()),
        ..SourceStamp::default()
    };
    let build = |builder: &str, number, outcome| CompletedBuild {
        builder: builder.to_owned(),
        number,
        outcome,
        sources: vec![stamp("r9")],
    };
    let completed = |outcome| {
        let mut properties = Properties::default();
        properties.set("color", "grün", "source");
        Completed {
            id: BuildsetId(5),
            scheduler: "fast".to_owned(),
            outcome,
            reason: "a change".to_owned(),
            sources: vec![stamp("r8")],
            properties,
            changes: vec![ChangeId(3), ChangeId(4)],
            builds: vec![build("linux", 7, Outcome::Success), build("mac", 8, outcome)],
        }
    };
    let mut first: Option<Vec<Decision>> = None;
    for (language, plugin) in guests(Kind::Scheduler) {
        assert!(plugin.follows(), "{language}");
        let tell = async |outcome| {
            let set = completed(outcome);
            plugin
                .completed(&caller(), &config, b"", Timestamp(5), set)
                .await
                .unwrap()
        };
        let decisions = vec![tell(Outcome::Success).await, tell(Outcome::Failure).await];
        let states = decisions
            .iter()
            .map(|d| serde_json::from_slice(&d.state).unwrap());
        let states: Vec<Value> = states.collect();
        let seen = |word: &str| json!({ "seen": format!("fast 5 {word} grün: linux 7 success r9, mac 8 {word} r9") });
        assert_eq!(states, [seen("success"), seen("failure")], "{language}");
        let set = &decisions[0].submit[0];
        assert_eq!(set.reason, "after a change", "{language}");
        assert_eq!(
            (&set.sources[0], &set.changes[..]),
            (&stamp("r8"), &[ChangeId(3), ChangeId(4)][..]),
            "{language}"
        );
        assert!(decisions[1].submit.is_empty(), "{language}");
        assert_eq!(
            first.get_or_insert_with(|| decisions.clone()),
            &decisions,
            "{language}"
        );
    }
}

/// A property may hold what a language cannot: that is lost, and the plugin lives.
#[tokio::test]
async fn an_odd_property_ends_no_scheduler() {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    for (language, plugin) in guests(Kind::Scheduler) {
        for value in [json!("a\u{0}b"), deep.clone()] {
            let mut event = change(2, "main", "two");
            if let SchedulerEvent::Change(change) = &mut event {
                change.facts.properties.set("odd", value, "source");
            }
            let decision = handled(&plugin, b"{\"waiting\":[1]}", 1, event).await;
            assert!(decision.is_ok_and(|d| d.submit.len() == 1), "{language}");
        }
    }
}
