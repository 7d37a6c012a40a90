//! What schedulers do, in every language.

use std::sync::Arc;

use capstan_engine::{CallError, Caller, Decision, Finished, Plugin, Ports, SchedulerEvent};
use capstan_model::plugin::Kind;
use capstan_model::{Change, ChangeId, NewChange, Outcome, Properties, SourceStamp, Timestamp};
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
