//! The changes that wait for their branch to become quiet: the scheduler's state.

use capstan_sdk::params::Span;
use capstan_sdk::scheduler::{Answer, Buildset, Change, Event, SourceStamp, Timer, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{Request, Sources, Verdict, count};

/// A branch with more waiting changes than this is built without waiting longer: it never becomes quiet.
const MOST_CHANGES: usize = 1000;
/// The state is stored with every event, and the master takes no more than a MiB of it. Over this many bytes, about, the
/// branch that has waited longest makes room.
const MOST_BYTES: usize = 400_000;

/// How changes are collected, and what is asked for then.
#[derive(Clone, Debug, Default)]
pub struct Stable {
    /// How long a branch has to be quiet.
    pub timer: Span,
    /// For all builds.
    pub request: Request,
    /// What to check out of codebases that did not change.
    pub sources: Sources,
    /// Whether changes of all codebases and repositories become one build: there is one branch for them.
    pub together: bool,
}

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
    /// Of other codebases, where all of them become one build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Other>,
}

/// What the newest change of another codebase says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Other {
    codebase: String,
    repository: String,
    branch: Option<String>,
    project: String,
    revision: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    name: u64,
    until: TimestampMs,
}

impl Pending {
    /// Handles an event of a scheduler that does nothing else.
    pub fn handle(
        &mut self,
        config: &Stable,
        now: TimestampMs,
        event: &Event,
        judge: impl FnOnce(&Change) -> Verdict,
    ) -> Answer {
        let mut answer = Answer::default();
        match event {
            Event::Started => self.restart(config, now, &mut answer),
            Event::Change(change) => match judge(change) {
                Verdict::Unwanted => {}
                verdict => self.add(config, change, verdict == Verdict::Important, now, &mut answer),
            },
            Event::Timer(name) => self.ring(config, name, now, &mut answer),
            Event::Finished(_) => {}
        }
        answer
    }

    /// The configuration may have changed: no branch waits longer than it would now, and none for ever.
    fn restart(&mut self, config: &Stable, now: TimestampMs, answer: &mut Answer) {
        let latest = now.saturating_add_unsigned(config.timer.ms());
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
    fn add(
        &mut self,
        config: &Stable,
        change: &Change,
        important: bool,
        now: TimestampMs,
        answer: &mut Answer,
    ) {
        let at_once = config.timer.ms() == 0;
        let place = self.place(config, change);
        let branch = &mut self.branches[place];
        branch.changes.push(change.id);
        branch.note(change);
        // As in Buildbot: an unimportant change starts no timer, but while one runs the tree is not stable.
        if (important || branch.timer.is_some()) && !at_once {
            let name = branch.timer.map_or(self.last_timer + 1, |waiting| waiting.name);
            self.last_timer = self.last_timer.max(name);
            let until = now.saturating_add_unsigned(config.timer.ms());
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
    fn ring(&mut self, config: &Stable, name: &str, now: TimestampMs, answer: &mut Answer) {
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
    fn place(&mut self, config: &Stable, change: &Change) -> usize {
        let same = |b: &Branch| {
            config.together
                || b.branch == change.branch
                    && b.codebase == change.codebase
                    && b.repository == change.repository
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
            others: Vec::new(),
        });
        self.branches.len() - 1
    }

    /// A branch with unimportant changes only is forgotten; a build comes rather too early than never.
    fn make_room(&mut self, config: &Stable, answer: &mut Answer) {
        while self.branches.iter().map(Branch::bytes).sum::<usize>() > MOST_BYTES {
            match self.branches.iter().position(|branch| branch.timer.is_none()) {
                Some(place) => drop(self.branches.remove(place)),
                None => self.submit(config, 0, answer),
            }
        }
    }

    fn submit(&mut self, config: &Stable, place: usize, answer: &mut Answer) {
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
    /// Remembers the newest revision of the change's codebase.
    fn note(&mut self, change: &Change) {
        if change.codebase == self.codebase {
            self.repository.clone_from(&change.repository);
            self.branch.clone_from(&change.branch);
            self.revision.clone_from(&change.revision);
            self.project.clone_from(&change.project);
            return;
        }
        self.others.retain(|other| other.codebase != change.codebase);
        self.others.push(Other {
            codebase: change.codebase.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
            project: change.project.clone(),
            revision: change.revision.clone(),
        });
    }

    /// About how much it takes in the state.
    fn bytes(&self) -> usize {
        let names = [&self.codebase, &self.repository, &self.project, &self.revision].map(String::len);
        let branch = self.branch.as_ref().map_or(0, String::len);
        let others = self.others.iter().map(|other| {
            let names = [
                &other.codebase,
                &other.repository,
                &other.project,
                &other.revision,
            ]
            .map(String::len);
            100 + names.iter().sum::<usize>() + other.branch.as_ref().map_or(0, String::len)
        });
        150 + names.iter().sum::<usize>() + branch + others.sum::<usize>() + 10 * self.changes.len()
    }

    fn buildset(self, config: &Stable) -> Buildset {
        let place = self
            .branch
            .as_ref()
            .map_or("the default branch".to_owned(), |name| format!("branch {name}"));
        let reason = format!("{} on {place}", count(self.changes.len()));
        let own = SourceStamp {
            codebase: self.codebase,
            repository: self.repository,
            project: self.project,
            branch: self.branch,
            revision: Some(self.revision),
        };
        let others = self.others.into_iter().map(|other| SourceStamp {
            codebase: other.codebase,
            repository: other.repository,
            project: other.project,
            branch: other.branch,
            revision: Some(other.revision),
        });
        let sources = config.sources.over(std::iter::once(own).chain(others));
        config.request.of(sources, reason, self.changes)
    }
}
