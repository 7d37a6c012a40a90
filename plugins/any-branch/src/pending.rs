//! The changes that wait for their branch to become quiet: the scheduler's state.

use capstan_sdk::scheduler::{Answer, Buildset, Change, Property, SourceStamp, Timer, TimestampMs};
use serde::{Deserialize, Serialize};

use super::AnyBranch;

/// A branch with more waiting changes than this is built without waiting longer: it never becomes quiet.
const MOST_CHANGES: usize = 1000;
/// The state is stored with every event, and the master takes no more than a MiB of it. Over this many bytes, about, the
/// branch that has waited longest makes room.
const MOST_BYTES: usize = 400_000;

/// Branches that wait, the one that has waited longest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    branches: Vec<Branch>,
    /// Timers are named by number: a branch's name may be anything.
    last_timer: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Branch {
    codebase: String,
    repository: String,
    branch: Option<String>,
    /// Of the newest change, like the revision.
    project: String,
    revision: String,
    changes: Vec<i64>,
    /// None while only unimportant changes wait.
    timer: Option<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    name: u64,
    until: TimestampMs,
}

impl Pending {
    /// The configuration may have changed: no branch waits longer than it would now, and none for ever.
    pub(crate) fn restart(&mut self, config: &AnyBranch, now: TimestampMs, answer: &mut Answer) {
        let latest = now.saturating_add_unsigned(config.tree_stable_timer.ms());
        for branch in &mut self.branches {
            if let Some(waiting) = &mut branch.timer {
                waiting.until = waiting.until.min(latest);
                answer.set_timers.push(Timer {
                    name: waiting.name.to_string(),
                    at: waiting.until,
                });
            }
        }
    }

    /// Takes in a change that the filters let through.
    pub(crate) fn add(
        &mut self,
        config: &AnyBranch,
        change: &Change,
        important: bool,
        now: TimestampMs,
        answer: &mut Answer,
    ) {
        let at_once = config.tree_stable_timer.ms() == 0;
        let place = self.place(change);
        let branch = &mut self.branches[place];
        branch.changes.push(change.id);
        branch.revision.clone_from(&change.revision);
        branch.project.clone_from(&change.project);
        if important && !at_once {
            let name = branch.timer.map_or(self.last_timer + 1, |waiting| waiting.name);
            self.last_timer = self.last_timer.max(name);
            let until = now.saturating_add_unsigned(config.tree_stable_timer.ms());
            branch.timer = Some(Waiting { name, until });
            answer.set_timers.push(Timer {
                name: name.to_string(),
                at: until,
            });
        }
        let full = branch.changes.len() >= MOST_CHANGES;
        let waits = branch.timer.is_some();
        if (important && at_once) || (full && waits) {
            self.submit(config, place, answer);
        } else if full {
            // Only unimportant ones: the oldest is the least missed.
            branch.changes.remove(0);
        }
        self.make_room(config, answer);
    }

    /// A timer is due; the master may ring late, and twice.
    pub(crate) fn ring(&mut self, config: &AnyBranch, name: &str, now: TimestampMs, answer: &mut Answer) {
        let named = |branch: &Branch| {
            branch
                .timer
                .is_some_and(|waiting| waiting.name.to_string() == name)
        };
        let Some(place) = self.branches.iter().position(named) else {
            return;
        };
        match self.branches[place].timer {
            Some(waiting) if waiting.until > now => {
                answer.set_timers.push(Timer {
                    name: name.to_owned(),
                    at: waiting.until,
                });
            }
            _ => self.submit(config, place, answer),
        }
    }

    /// Where the change's branch is, made if it is not there.
    fn place(&mut self, change: &Change) -> usize {
        let same = |b: &Branch| {
            b.branch == change.branch && b.codebase == change.codebase && b.repository == change.repository
        };
        if let Some(place) = self.branches.iter().position(same) {
            return place;
        }
        self.branches.push(Branch {
            codebase: change.codebase.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
            project: String::new(),
            revision: String::new(),
            changes: Vec::new(),
            timer: None,
        });
        self.branches.len() - 1
    }

    /// A branch with unimportant changes only is forgotten; a build comes rather too early than never.
    fn make_room(&mut self, config: &AnyBranch, answer: &mut Answer) {
        while self.branches.iter().map(Branch::bytes).sum::<usize>() > MOST_BYTES {
            match self.branches.iter().position(|branch| branch.timer.is_none()) {
                Some(place) => drop(self.branches.remove(place)),
                None => self.submit(config, 0, answer),
            }
        }
    }

    fn submit(&mut self, config: &AnyBranch, place: usize, answer: &mut Answer) {
        let branch = self.branches.remove(place);
        if let Some(waiting) = branch.timer {
            let name = waiting.name.to_string();
            answer.set_timers.retain(|timer| timer.name != name);
            answer.clear_timers.push(name);
        }
        answer.submit.push(branch.buildset(config));
    }
}

impl Branch {
    /// About how much it takes in the state.
    fn bytes(&self) -> usize {
        let names = [&self.codebase, &self.repository, &self.project, &self.revision].map(String::len);
        let branch = self.branch.as_ref().map_or(0, String::len);
        150 + names.iter().sum::<usize>() + branch + 10 * self.changes.len()
    }

    fn buildset(self, config: &AnyBranch) -> Buildset {
        let count = match self.changes.len() {
            1 => "1 change".to_owned(),
            n => format!("{n} changes"),
        };
        let place = self
            .branch
            .as_ref()
            .map_or("the default branch".to_owned(), |name| format!("branch {name}"));
        let property = |(name, value): (&String, &serde_json::Value)| Property {
            name: name.clone(),
            value: value.to_string(),
            source: "scheduler".to_owned(),
        };
        Buildset {
            builders: None,
            sources: vec![SourceStamp {
                codebase: self.codebase,
                repository: self.repository,
                project: self.project,
                branch: self.branch,
                revision: Some(self.revision),
            }],
            priority: config.priority,
            reason: format!("{count} on {place}"),
            properties: config.properties.iter().map(property).collect(),
            changes: self.changes,
        }
    }
}
