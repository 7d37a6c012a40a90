//! What the scheduler remembers: when it is due next, and which branches changed since they were built.

use std::collections::BTreeMap;

use capstan_sdk::scheduler::{Answer, Buildset, Change, Property, SourceStamp, Timer, TimestampMs};
use serde::{Deserialize, Serialize};

use super::{Missed, Nightly, Schedule};

/// The scheduler's only timer.
pub(crate) const TIMER: &str = "next";
/// A timer may ring late by this much and still be in time.
const LATE_MS: i64 = 600_000;
/// So many changes of a branch, the newest, are named in a build. The state is stored with every event.
const MOST_CHANGES: usize = 200;

/// The scheduler's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    next: Option<TimestampMs>,
    /// By branch; the empty name is the default branch.
    changed: BTreeMap<String, Changed>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Changed {
    revision: String,
    changes: Vec<i64>,
}

impl State {
    /// Builds if it is time, and sets the timer for the next one. However many times passed, it builds once.
    pub(crate) fn look(
        &mut self,
        config: &Nightly,
        schedule: &Schedule,
        now: TimestampMs,
        answer: &mut Answer,
    ) {
        if let Some(due) = self.next.filter(|&due| due <= now) {
            let late = now - due > LATE_MS;
            if !late || config.missed == Missed::Run {
                let mut reason = format!("the time {}", schedule.show(due));
                if late {
                    reason += ", which the master missed";
                }
                answer.submit = self.build(config, &reason);
            }
        }
        self.next = schedule.next(now);
        match self.next {
            Some(at) => answer.set_timers.push(Timer {
                name: TIMER.to_owned(),
                at,
            }),
            None => answer.clear_timers.push(TIMER.to_owned()),
        }
    }

    /// Notes a change of what is built here.
    pub(crate) fn note(&mut self, config: &Nightly, change: &Change) {
        let same = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let branch = change.branch.as_deref().unwrap_or("");
        let branch = match &config.branches {
            Some(branches) if branches.iter().any(|b| b == branch) => branch,
            Some(_) => return,
            // Which branch is the default one, nobody knows here: each may be it.
            None => "",
        };
        if change.codebase != config.codebase
            || !same(&config.repository, &change.repository)
            || !same(&config.project, &change.project)
        {
            return;
        }
        let changed = self.changed.entry(branch.to_owned()).or_default();
        changed.revision.clone_from(&change.revision);
        if changed.changes.len() >= MOST_CHANGES {
            changed.changes.remove(0);
        }
        changed.changes.push(change.id);
    }

    fn build(&mut self, config: &Nightly, reason: &str) -> Vec<Buildset> {
        let branches = match &config.branches {
            Some(branches) => branches.iter().map(|branch| Some(branch.clone())).collect(),
            None => vec![None],
        };
        let mut changed = std::mem::take(&mut self.changed);
        let buildset = |branch: Option<String>| {
            let changed = changed.remove(branch.as_deref().unwrap_or(""));
            if changed.is_none() && config.only_if_changed {
                return None;
            }
            let changed = changed.unwrap_or_default();
            // All builders get the same revision, where it is known.
            let revision = Some(changed.revision).filter(|revision| branch.is_some() && !revision.is_empty());
            Some(config.buildset(branch, revision, reason, changed.changes))
        };
        branches.into_iter().filter_map(buildset).collect()
    }
}

impl Nightly {
    fn buildset(
        &self,
        branch: Option<String>,
        revision: Option<String>,
        reason: &str,
        changes: Vec<i64>,
    ) -> Buildset {
        let property = |(name, value): (&String, &serde_json::Value)| Property {
            name: name.clone(),
            value: value.to_string(),
            source: "scheduler".to_owned(),
        };
        Buildset {
            builders: None,
            sources: vec![SourceStamp {
                codebase: self.codebase.clone(),
                repository: self.repository.clone(),
                project: self.project.clone(),
                branch,
                revision,
            }],
            priority: self.priority,
            reason: reason.to_owned(),
            properties: self.properties.iter().map(property).collect(),
            changes,
        }
    }
}
