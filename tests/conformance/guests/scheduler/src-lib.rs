//! Builds a branch at every second change, later if it has to; counts what it is told.

use std::collections::BTreeMap;

use capstan_sdk::scheduler::{
    Answer, Buildset, Call, Calls, Change, CompletedBuildset, Event, Follows, Migrate, Outcome, PluginError, Property,
    Scheduler, SourceStamp, Timer, TimestampMs,
};
use capstan_sdk::prelude::{Value, json};
use capstan_sdk::{parameters, problem, serde_json};

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

impl Calls for Conformance {
    fn describe(&self) -> Value {
        let label = format!("Ver\u{17e}ion {}", self.branch);
        json!({ "kind": "force", "fields": [{ "name": "version", "type": "string", "label": label }] })
    }

    fn call(&self, state: &mut State, now: TimestampMs, call: Call) -> Result<Answer, PluginError> {
        let version = call.values.get("version").and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(version) = version else {
            let fault = problem("values.version", "expected a version, found none");
            return Err(PluginError::InvalidConfig(vec![fault]));
        };
        count(state, "calls");
        let property = |name: &str, value: Value| Property {
            name: name.to_owned(),
            value: value.to_string(),
            source: String::new(),
        };
        Ok(Answer {
            submit: vec![Buildset {
                builders: call.builders,
                sources: call.sources.into_iter().map(SourceStamp::from).collect(),
                priority: call.priority.unwrap_or(1),
                reason: call.reason.unwrap_or_else(|| "asked".to_owned()),
                properties: vec![
                    property("version", json!(version)),
                    property("owner", json!(call.owner)),
                    property("size", json!(call.properties.get("size"))),
                ],
                changes: Vec::new(),
            }],
            set_timers: vec![Timer {
                name: "after".to_owned(),
                at: now + self.quiet,
            }],
            clear_timers: vec!["before".to_owned()],
        })
    }
}

fn word(outcome: Outcome) -> &'static str {
    if outcome == Outcome::Success { "success" } else { "failure" }
}

impl Follows for Conformance {
    fn completed(
        &self,
        state: &mut State,
        _now: TimestampMs,
        set: CompletedBuildset,
    ) -> Result<Answer, PluginError> {
        let color = set.properties.iter().find(|p| p.name == "color").map(|p| p.value.trim_matches('"'));
        let builds = set.builds.iter().map(|b| {
            let revision = b.sources[0].revision.as_deref().unwrap_or_default();
            format!("{} {} {} {revision}", b.builder, b.number, word(b.outcome))
        });
        let builds = builds.collect::<Vec<_>>().join(", ");
        let color = color.unwrap_or_default();
        let seen = format!("{} {} {} {color}: {builds}", set.scheduler, set.id, word(set.outcome));
        state.insert("seen".to_owned(), json!(seen));
        let mut answer = Answer::default();
        if set.outcome == Outcome::Success {
            answer.submit.push(Buildset {
                builders: None,
                sources: set.sources,
                priority: 0,
                reason: format!("after {}", set.reason),
                properties: Vec::new(),
                changes: set.changes,
            });
        }
        Ok(answer)
    }
}

impl Migrate for Conformance {
    fn migrate(&self, from_version: &str, old: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let mut state: State = serde_json::from_slice(&old).unwrap_or_default();
        state.insert("migrated".to_owned(), json!(from_version));
        serde_json::to_vec(&state).map_err(|error| PluginError::Permanent(error.to_string()))
    }
}

capstan_sdk::scheduler!(Conformance, migrate, calls, follows);
