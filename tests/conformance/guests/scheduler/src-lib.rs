//! Builds a branch at every second change, later if it has to; counts what it is told.

use std::collections::BTreeMap;

use capstan_sdk::scheduler::{
    Answer, Buildset, Change, Event, Migrate, Outcome, PluginError, Property, Scheduler, SourceStamp, Timer,
    TimestampMs,
};
use capstan_sdk::prelude::{Value, json};
use capstan_sdk::{parameters, serde_json};

#[parameters]
struct Conformance {
    branch: String,
    #[serde(default = "a_second")]
    quiet: i64,
}

fn a_second() -> i64 {
    1000
}

type State = BTreeMap<String, Value>;

impl Scheduler for Conformance {
    type State = State;

    fn handle(&self, state: &mut State, now: TimestampMs, event: Event) -> Result<Answer, PluginError> {
        let timer = |name: &str| Answer {
            set_timers: vec![Timer {
                name: name.to_owned(),
                at: now + self.quiet,
            }],
            ..Answer::default()
        };
        match event {
            Event::Started => {
                count(state, "started");
                Ok(timer("first"))
            }
            Event::Change(change) if change.comments == "bad" => {
                Err(PluginError::Permanent(format!("no such change: {}", change.revision)))
            }
            Event::Change(change) => {
                let waiting = push(state, "waiting", json!(change.id));
                if change.branch.as_ref() != Some(&self.branch) || waiting < 2 {
                    return Ok(timer("late"));
                }
                Ok(Answer {
                    submit: vec![buildset(state, change)],
                    clear_timers: vec!["late".to_owned()],
                    ..Answer::default()
                })
            }
            Event::Timer(name) => {
                push(state, "timers", json!(name));
                Ok(Answer::default())
            }
            Event::Finished(build) => {
                let failed = build.outcome == Outcome::Failure;
                count(state, if failed { "failure" } else { "success" });
                let revision = build.sources[0].revision.clone().unwrap_or_default();
                let line = format!("{} {} {revision}", build.builder, build.number);
                state.insert("builder".to_owned(), json!(line));
                Ok(Answer::default())
            }
        }
    }
}

fn count(state: &mut State, name: &str) {
    let before = state.get(name).and_then(Value::as_i64).unwrap_or_default();
    state.insert(name.to_owned(), json!(before + 1));
}

fn push(state: &mut State, name: &str, value: Value) -> usize {
    let list = state.entry(name.to_owned()).or_insert_with(|| json!([]));
    let list = list.as_array_mut().expect("this plugin keeps a list here");
    list.push(value);
    list.len()
}

fn buildset(state: &mut State, change: Change) -> Buildset {
    let waiting = state.remove("waiting").unwrap_or_default();
    let changes: Vec<i64> = serde_json::from_value(waiting).expect("this plugin keeps numbers here");
    let color = change.properties.iter().find(|p| p.name == "color");
    let property = |name: &str, value: String| Property {
        name: name.to_owned(),
        value,
        source: String::new(),
    };
    Buildset {
        builders: Some(vec!["hello".to_owned()]),
        priority: 3,
        reason: format!("{} changes by {}", changes.len(), change.author),
        properties: vec![
            property("files", json!(change.files).to_string()),
            property("color", color.map(|p| p.value.clone()).unwrap_or_default()),
        ],
        sources: vec![SourceStamp {
            codebase: String::new(),
            repository: change.repository,
            project: String::new(),
            branch: change.branch,
            revision: Some(change.revision),
        }],
        changes,
    }
}

impl Migrate for Conformance {
    fn migrate(&self, from_version: &str, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let mut state: State = serde_json::from_slice(&old).unwrap_or_default();
        state.insert("migrated".to_owned(), json!(from_version));
        serde_json::to_vec(&state).map_err(|error| PluginError::Permanent(error.to_string()))
    }
}

capstan_sdk::scheduler!(Conformance, migrate);
