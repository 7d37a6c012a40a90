//! The step `trigger`: asks schedulers for builds, and waits for them if it is to.

use std::collections::BTreeMap;

use capstan_sdk::problem;
use capstan_sdk::step::{self, Outcome, PluginError, Problem, Step, Stop};
use capstan_sdk::triggers::{self, Completed, TriggerError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    schedulers: Names,
    #[serde(default)]
    wait: bool,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    copy_properties: Vec<String>,
    source: Option<Value>,
    #[serde(default)]
    unimportant: Vec<String>,
    #[serde(default)]
    give_back: bool,
}

/// One name, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl Step for Trigger {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let names = self.schedulers.list();
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                let path = format!("schedulers[{place}]");
                problems.push(problem(
                    path,
                    format!("expected each scheduler once, found `{name}` twice"),
                ));
            }
        }
        for (place, name) in self.unimportant.iter().enumerate() {
            if !names.contains(name) {
                let path = format!("unimportant[{place}]");
                let known = names.join(", ");
                problems.push(problem(
                    path,
                    format!("expected one of `schedulers` ({known}), found `{name}`"),
                ));
            }
        }
        if !self.wait {
            for (given, path) in [
                (self.give_back, "give_back"),
                (!self.unimportant.is_empty(), "unimportant"),
            ] {
                if given {
                    problems.push(problem(
                        path,
                        "expected it with `wait = True` only: nothing is waited for",
                    ));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }

    fn run(self) -> Result<Outcome, Stop> {
        let call = self.call();
        let mut asked: Vec<(&str, Vec<i64>)> = Vec::new();
        for name in self.schedulers.list() {
            match triggers::call(name, &call) {
                Ok(made) => asked.push((name, made)),
                Err(error) => {
                    // What the others have made is not left to itself: it is waited for, or cancelled if that is what happened.
                    let made: Vec<i64> = asked.iter().flat_map(|(_, made)| made).copied().collect();
                    if self.wait && !made.is_empty() {
                        let _ended = triggers::wait(&made, self.give_back);
                    }
                    return Err(about(name, error));
                }
            }
        }
        if !self.wait {
            let texts = asked.iter().map(|(name, made)| said(name, made));
            step::set_summary(&texts.collect::<Vec<_>>().join(", "));
            return Ok(Outcome::Success);
        }
        let names: Vec<_> = asked.iter().map(|(name, _)| *name).collect();
        step::set_summary(&format!("waits for {}", names.join(", ")));
        let all: Vec<i64> = asked.iter().flat_map(|(_, made)| made).copied().collect();
        let ended = triggers::wait(&all, self.give_back)?;
        let texts = asked.iter().map(|(name, made)| told(name, made, &ended));
        step::set_summary(&texts.collect::<Vec<_>>().join(", "));
        Ok(self.result(&asked, &ended))
    }
}

impl Trigger {
    /// What is asked of each scheduler.
    fn call(&self) -> Value {
        let mut properties = Map::new();
        for name in &self.copy_properties {
            if let Some(value) = step::property(name) {
                properties.insert(name.clone(), value);
            }
        }
        properties.extend(
            self.properties
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let sources = match &self.source {
            None => json!("own"),
            Some(Value::String(word)) if word == "latest" => json!([]),
            Some(Value::Object(one)) => json!([one]),
            Some(other) => other.clone(),
        };
        json!({ "properties": properties, "sources": sources })
    }

    /// The worst of the builds that count. What was not needed is as good as what went well.
    fn result(&self, asked: &[(&str, Vec<i64>)], ended: &[Completed]) -> Outcome {
        let counts = asked
            .iter()
            .filter(|(name, _)| !self.unimportant.iter().any(|known| known == name));
        let counting: Vec<i64> = counts.flat_map(|(_, made)| made).copied().collect();
        let results = ended.iter().filter(|set| counting.contains(&set.buildset));
        let worst = results
            .map(|set| set.outcome)
            .max_by_key(|outcome| rank(*outcome));
        worst
            .filter(|outcome| *outcome != Outcome::Skipped)
            .unwrap_or(Outcome::Success)
    }
}

/// How bad a result is.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Skipped => 0,
        Outcome::Success => 1,
        Outcome::Warnings => 2,
        Outcome::Failure => 3,
        Outcome::Exception => 4,
        Outcome::Retry => 5,
        Outcome::Cancelled => 6,
    }
}

/// Says which scheduler refused.
fn about(name: &str, error: TriggerError) -> Stop {
    match Stop::from(error) {
        Stop::Error(PluginError::Permanent(reason)) => {
            Stop::Error(PluginError::Permanent(format!("scheduler `{name}`: {reason}")))
        }
        other => other,
    }
}

fn said(name: &str, made: &[i64]) -> String {
    match made {
        [] => format!("asked {name}, which builds later"),
        _ => format!("triggered {name}"),
    }
}

fn told(name: &str, made: &[i64], ended: &[Completed]) -> String {
    let sets = ended.iter().filter(|set| made.contains(&set.buildset));
    match sets.map(|set| set.outcome).max_by_key(|outcome| rank(*outcome)) {
        Some(outcome) => format!("{name}: {outcome}"),
        None => said(name, made),
    }
}

capstan_sdk::step!(Trigger);

#[cfg(test)]
mod tests;
