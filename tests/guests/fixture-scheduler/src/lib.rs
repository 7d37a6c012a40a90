//! A scheduler that does what its parameters say: by default it submits a buildset for each change and counts events in
//! its state; with `{"do": "spin"}` and the like it misbehaves.

use serde_json::Value;

wit_bindgen::generate!({ path: "../../../wit", world: "scheduler-plugin" });

use capstan::plugin::log;
use capstan::plugin::types::{PluginError, Problem, Property, SourceStamp};
use exports::capstan::plugin::scheduler::{Buildset, Change, Decision, Event, Guest, Timer};

struct Fixture;
export!(Fixture);

impl Guest for Fixture {
    fn check(config: String) -> Result<(), PluginError> {
        misbehave(&config)?;
        Ok(())
    }

    fn handle(config: String, state: Vec<u8>, now: i64, event: Event) -> Result<Decision, PluginError> {
        let odd = misbehave(&config)?;
        let count = state.first().copied().unwrap_or_default() + 1;
        let mut decision = Decision {
            state: vec![count],
            submit: Vec::new(),
            set_timers: Vec::new(),
            clear_timers: Vec::new(),
        };
        match event {
            Event::Started => decision.set_timers.push(Timer {
                name: "tick".into(),
                at: now + 1000,
            }),
            Event::Change(change) => decision.submit.push(buildset(change)),
            Event::Timer(name) => decision.clear_timers.push(name),
            Event::Finished(finished) => decision.state.extend(finished.builder.into_bytes()),
        }
        match odd.as_str() {
            "bad-json" => decision
                .submit
                .iter_mut()
                .for_each(|set| set.properties[0].value = "{".into()),
            "big-state" => decision.state = vec![0; 2 << 20],
            // Whatever it is woken for, it wants to be woken at a moment that is over.
            "hurry" => {
                log::write(log::Level::Info, "in a hurry");
                decision.set_timers = vec![Timer {
                    name: "again".into(),
                    at: 0,
                }];
                decision.clear_timers.clear();
            }
            "too-many" => decision.clear_timers = vec![String::new(); 2000],
            _ => {}
        }
        Ok(decision)
    }
}

fn buildset(change: Change) -> Buildset {
    Buildset {
        builders: None,
        sources: vec![SourceStamp {
            codebase: change.codebase,
            repository: change.repository,
            project: change.project,
            branch: change.branch,
            revision: Some(change.revision),
        }],
        priority: 5,
        reason: format!("a change by {}", change.author),
        properties: vec![Property {
            name: "files".into(),
            value: format!("{:?}", change.files),
            source: "fixture".into(),
        }],
        changes: vec![change.id],
    }
}

fn misbehave(config: &str) -> Result<String, PluginError> {
    std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &info.to_string())));
    let config: Value =
        serde_json::from_str(config).map_err(|error| PluginError::Permanent(error.to_string()))?;
    let what = config["do"].as_str().unwrap_or_default().to_owned();
    match what.as_str() {
        "spin" => loop {
            std::hint::black_box(());
        },
        "allocate" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        "print" => loop {
            log::write(log::Level::Info, &"spam ".repeat(1000));
        },
        "recurse" => log::write(log::Level::Info, &recurse(1).to_string()),
        "panic" => panic!("told to"),
        "transient" => return Err(PluginError::Transient("not now".into())),
        "permanent" => return Err(PluginError::Permanent("never".into())),
        "invalid" => {
            let problem = |path: &str, message: &str| Problem {
                path: path.into(),
                message: message.into(),
            };
            return Err(PluginError::InvalidConfig(vec![
                problem("do", "expected less"),
                problem("", "bad"),
            ]));
        }
        _ => {}
    }
    Ok(what)
}

fn recurse(n: u64) -> u64 {
    // Through a pointer, so that the compiler makes no loop of it.
    let again: fn(u64) -> u64 = std::hint::black_box(recurse);
    again(n + 1) + 1
}
