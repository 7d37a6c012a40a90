//! Schedulers that build when it is time: what they remember, and what they build then.

use std::collections::BTreeMap;

use capstan_sdk::params::Texts;
use capstan_sdk::problem;
use capstan_sdk::scheduler::{Answer, Buildset, Change, Event, Problem, SourceStamp, Timer, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{ChangeFilter, Request, Sources, Verdict};

/// The scheduler's only timer.
const TIMER: &str = "next";
/// A timer may ring late by this much and still be in time.
const LATE_MS: i64 = 600_000;
/// So many changes of a branch, the newest, are named in a build. The state is stored with every event.
const MOST_CHANGES: usize = 200;

/// When it is time.
pub trait Times {
    /// The first time after now, of a scheduler that was due last at `due`; none if there is none. One that was never due has no `due`.
    fn next(&self, due: Option<TimestampMs>, now: TimestampMs) -> Option<TimestampMs>;
    /// How people write that time.
    fn show(&self, at: TimestampMs) -> String;
}

/// What becomes of times that passed while the master was down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missed {
    #[default]
    Run,
    Skip,
}

/// Parameters that say what to build when it is time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timed {
    branches: Option<Texts>,
    repository: String,
    codebase: String,
    project: String,
    sources: Sources,
    only_if_changed: bool,
    missed: Missed,
    #[serde(flatten)]
    request: Request,
    files: Option<crate::Names>,
    exclude_files: Option<crate::Names>,
    authors: Option<crate::Names>,
    categories: Option<crate::Names>,
    change_properties: BTreeMap<String, crate::Names>,
}

/// When it is due next, and which branches changed since they were built.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Due {
    next: Option<TimestampMs>,
    /// By branch; the empty name is the default branch.
    changed: BTreeMap<String, Changed>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Changed {
    revision: String,
    /// Where the revision is, for a scheduler that names no repository or project itself.
    #[serde(default)]
    repository: String,
    #[serde(default)]
    project: String,
    changes: Vec<i64>,
    /// Whether one of them is a reason to build.
    #[serde(default = "yes")]
    important: bool,
}

fn yes() -> bool {
    true
}

impl Timed {
    /// What is wrong with it, by parameter.
    pub fn faults(&self) -> Vec<Problem> {
        let mut faults = self.filter().faults();
        if self.branches.as_ref().is_some_and(|branches| branches.is_empty()) {
            faults.push(problem("branches", "expected a branch, found an empty list"));
        }
        faults.extend(self.sources.fault().map(|fault| problem("sources", fault)));
        faults
    }

    /// Handles an event of a scheduler that does nothing else.
    pub fn handle(&self, due: &mut Due, times: &dyn Times, now: TimestampMs, event: &Event) -> Answer {
        let mut answer = Answer::default();
        if let Some(reason) = due.look(times, self.runs_late(), now, event, &mut answer) {
            answer.submit = self.build(due, &reason);
        } else if let (Event::Change(change), true) = (event, self.only_if_changed) {
            self.note(due, change);
        }
        answer
    }

    /// Whether times that were missed are made up for.
    fn runs_late(&self) -> bool {
        self.missed == Missed::Run
    }

    fn filter(&self) -> ChangeFilter {
        ChangeFilter::of_facts(
            self.files.clone(),
            self.exclude_files.clone(),
            self.authors.clone(),
            self.categories.clone(),
            self.change_properties.clone(),
        )
    }

    /// Notes a change of what is built here.
    fn note(&self, due: &mut Due, change: &Change) {
        let same = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let branch = change.branch.as_deref().unwrap_or("");
        let branch = match &self.branches {
            Some(branches) if branches.iter().any(|b| b == branch) => branch,
            Some(_) => return,
            // Which branch is the default one, nobody knows here: each may be it.
            None => "",
        };
        if change.codebase != self.codebase
            || !same(&self.repository, &change.repository)
            || !same(&self.project, &change.project)
        {
            return;
        }
        let verdict = self.filter().judge_rest(change);
        if verdict == Verdict::Unwanted {
            return;
        }
        let new = Changed {
            important: false,
            ..Changed::default()
        };
        let changed = due.changed.entry(branch.to_owned()).or_insert(new);
        changed.important |= verdict == Verdict::Important;
        changed.revision.clone_from(&change.revision);
        changed.repository.clone_from(&change.repository);
        changed.project.clone_from(&change.project);
        if changed.changes.len() >= MOST_CHANGES {
            changed.changes.remove(0);
        }
        changed.changes.push(change.id);
    }

    fn build(&self, due: &mut Due, reason: &str) -> Vec<Buildset> {
        let branches = match &self.branches {
            Some(branches) => branches.iter().map(|branch| Some(branch.clone())).collect(),
            None => vec![None],
        };
        let buildset = |branch: Option<String>| {
            let name = branch.as_deref().unwrap_or("");
            let wanted = due.changed.get(name).is_some_and(|changed| changed.important);
            if self.only_if_changed && !wanted {
                return None;
            }
            let changed = due.changed.remove(name).unwrap_or_default();
            // All builders get the same revision, where it is known.
            let revision = Some(changed.revision).filter(|revision| branch.is_some() && !revision.is_empty());
            let own_or = |own: &str, found: String| if own.is_empty() { found } else { own.to_owned() };
            let source = SourceStamp {
                codebase: self.codebase.clone(),
                repository: own_or(&self.repository, changed.repository),
                project: own_or(&self.project, changed.project),
                branch,
                revision,
            };
            let sources = self.sources.over([source]);
            Some(self.request.of(sources, reason, changed.changes))
        };
        branches.into_iter().filter_map(buildset).collect()
    }
}

impl Due {
    /// Sets the timer for the next time; answers the reason to build if it is time now. However many times passed, that is once.
    pub fn look(
        &mut self,
        times: &dyn Times,
        runs_late: bool,
        now: TimestampMs,
        event: &Event,
        answer: &mut Answer,
    ) -> Option<String> {
        let looks = match event {
            Event::Started => true,
            Event::Timer(name) => name == TIMER,
            Event::Change(_) | Event::Finished(_) => false,
        };
        if !looks {
            return None;
        }
        let due = self.next.filter(|&due| due <= now);
        let late = due.is_some_and(|due| now - due > LATE_MS);
        let reason = due.filter(|_| !late || runs_late).map(|due| {
            let missed = if late { ", which the master missed" } else { "" };
            format!("{}{missed}", times.show(due))
        });
        self.next = times.next(due.or(self.next), now);
        match self.next {
            Some(at) => answer.set_timers.push(Timer {
                name: TIMER.to_owned(),
                at,
            }),
            None => answer.clear_timers.push(TIMER.to_owned()),
        }
        reason
    }
}
