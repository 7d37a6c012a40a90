//! Locks in words: who holds what, and what keeps somebody from having it. Shown by `why`, on pages and in the REST interface.

use std::fmt;

use capstan_model::{BuildId, Lock, Mode, RequestId, Scope};
use serde::{Deserialize, Serialize};

use super::table::{Blocked, LockTable, Owner, Waiter, Want};
use super::unit::Cause;

/// Those that a sentence names before it says that there are others.
const NAMED: usize = 3;
/// Those of each kind that are listed.
const LISTED: usize = 20;

/// A build, or a step of it, that holds locks or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The build; none for a request that has no build yet.
    pub build: Option<BuildId>,
    /// That request.
    pub request: Option<RequestId>,
    /// The builder.
    pub builder: String,
    /// The build's number within its builder.
    pub number: u64,
    /// The step's name, if it is a step's lock.
    pub step: Option<String>,
}

impl Holder {
    /// A build.
    pub fn build(id: BuildId, builder: &str, number: u64) -> Self {
        Self {
            build: Some(id),
            request: None,
            builder: builder.to_owned(),
            number,
            step: None,
        }
    }

    /// A step of that build.
    pub fn step(self, name: &str) -> Self {
        Self {
            step: Some(name.to_owned()),
            ..self
        }
    }

    /// A request.
    pub fn request(id: RequestId, builder: &str) -> Self {
        Self {
            build: None,
            request: Some(id),
            builder: builder.to_owned(),
            number: 0,
            step: None,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.request, &self.step) {
            (Some(id), _) => write!(f, "request {id} for {}", self.builder),
            (None, None) => write!(f, "{}/{}", self.builder, self.number),
            (None, Some(step)) => write!(f, "{}/{} (step {step})", self.builder, self.number),
        }
    }
}

/// What keeps somebody from taking a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The lock.
    pub lock: String,
    /// The worker whose lock it is; none for one of the farm.
    pub worker: Option<String>,
    /// How much is wanted; without an amount all of it.
    pub amount: Option<u32>,
    /// How much there is.
    pub limit: u32,
    /// Who holds some of it; not all if those are many.
    pub holders: Vec<Holder>,
    /// Who waits for it and comes first; not all if those are many.
    pub ahead: Vec<Holder>,
    /// Whether there is never so much of it, so that waiting does not help.
    pub never: bool,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lock {}", self.lock)?;
        if let Some(worker) = &self.worker {
            write!(f, " on {worker}")?;
        }
        if self.never {
            let amount = self.amount.unwrap_or(self.limit);
            return write!(
                f,
                ", of which there are {} and {amount} are wanted: it can never be had",
                self.limit
            );
        }
        match (self.holders.as_slice(), self.ahead.as_slice()) {
            ([], []) => Ok(()),
            ([], ahead) => write!(f, ", for which {} came first", some(ahead)),
            (holders, []) => write!(f, ", held by {}", some(holders)),
            (holders, ahead) => write!(f, ", held by {}; {} came first", some(holders), some(ahead)),
        }
    }
}

fn some(holders: &[Holder]) -> String {
    let named: Vec<_> = holders.iter().take(NAMED).map(ToString::to_string).collect();
    let others = if holders.len() > NAMED { " and others" } else { "" };
    format!("{}{others}", named.join(", "))
}

/// A lock at one place, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Its name.
    pub lock: String,
    /// What it is about.
    pub scope: Scope,
    /// The worker whose lock it is; none for one of the farm, and for one that nobody uses on any worker now.
    pub worker: Option<String>,
    /// How much there is; none for one that the configuration does not have any more.
    pub limit: Option<u32>,
    /// How much of it is held.
    pub used: u64,
    /// Whether one has all of it.
    pub exclusive: bool,
    /// Who holds it; the first of them if those are many.
    pub holders: Vec<Holder>,
    /// Who waits for it, in order; the first of them if those are many.
    pub waiting: Vec<Holder>,
    /// How many wait.
    pub waiters: usize,
}

impl LockTable {
    /// In words what keeps somebody back.
    pub fn explain(&self, blocked: &Blocked) -> Obstacle {
        let Blocked { want, cause, order } = *blocked;
        let entry = &self.entries[want.lock];
        let worker = self.worker(want);
        let unit = entry.units.get(want.place.0);
        let limit = match (&entry.rule, &worker) {
            (None, _) => u32::MAX,
            (Some(rule), None) => rule.limit,
            (Some(rule), Some(worker)) => rule.limit_on(worker),
        };
        let (mut holders, mut ahead) = (Vec::new(), Vec::new());
        if let Some(unit) = unit.filter(|_| cause != Cause::Beyond) {
            holders = self.holders(&unit.holders);
            let before = unit.waiting.range(..order).take(LISTED);
            ahead.extend(before.filter_map(|(order, _)| Some(self.waiting.get(order)?.who.clone())));
        }
        Obstacle {
            lock: entry.name.clone(),
            worker,
            amount: match want.mode {
                Mode::Exclusive => None,
                Mode::Shared(amount) => Some(amount),
            },
            limit,
            holders,
            ahead,
            never: cause == Cause::Beyond,
        }
    }

    /// Every lock of the configuration, and every other that somebody holds.
    pub fn status(&self) -> Vec<LockStatus> {
        let mut all = Vec::new();
        for entry in &self.entries {
            let before = all.len();
            for (place, unit) in entry.units.iter().enumerate() {
                let (used, exclusive) = unit.in_use();
                if unit.holders.is_empty() && unit.waiting.is_empty() {
                    continue;
                }
                let worker = place
                    .checked_sub(1)
                    .and_then(|place| self.workers.get(place))
                    .cloned();
                let waiting = unit
                    .waiting
                    .keys()
                    .take(LISTED)
                    .filter_map(|order| self.waiting.get(order));
                all.push(LockStatus {
                    lock: entry.name.clone(),
                    scope: if worker.is_some() {
                        Scope::Worker
                    } else {
                        Scope::Farm
                    },
                    limit: entry.rule.is_some().then_some(unit.capacity),
                    worker,
                    used,
                    exclusive,
                    holders: self.holders(&unit.holders),
                    waiting: waiting.map(|waiter| waiter.who.clone()).collect(),
                    waiters: unit.waiting.len(),
                });
            }
            if let Some(rule) = entry.rule.as_ref().filter(|_| all.len() == before) {
                all.push(idle(rule));
            }
        }
        all.sort_by(|a, b| (&a.lock, &a.worker).cmp(&(&b.lock, &b.worker)));
        all
    }

    pub(super) fn worker(&self, want: Want) -> Option<String> {
        let place = want.place.0.checked_sub(1)?;
        self.workers.get(place).cloned()
    }

    fn holders(&self, owners: &[Owner]) -> Vec<Holder> {
        let held = owners.iter().filter_map(|owner| self.held.get(owner));
        held.take(LISTED).map(|held| held.who.clone()).collect()
    }

    /// The first so many of the steps that wait, in order.
    pub(super) fn first_waiters(&self, most: usize) -> impl Iterator<Item = &Waiter> {
        let steps = self
            .waiting
            .values()
            .filter(|waiter| matches!(waiter.owner, Owner::Step(_)));
        steps.take(most)
    }
}

fn idle(rule: &Lock) -> LockStatus {
    LockStatus {
        lock: rule.name.clone(),
        scope: rule.scope,
        worker: None,
        limit: Some(rule.limit),
        used: 0,
        exclusive: false,
        holders: Vec::new(),
        waiting: Vec::new(),
        waiters: 0,
    }
}
