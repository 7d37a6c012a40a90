//! Locks: what keeps builds and steps from running side by side. Defined by a plan, kept with builds and steps, granted by
//! the master.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Location;

/// A lock of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its name, unique among locks.
    pub name: String,
    /// How much of it can be held at a time.
    pub limit: u32,
    /// Whether there is one, or one on each worker.
    pub scope: Scope,
    /// Other limits than `limit`, by worker; only with [`Scope::Worker`].
    pub per_worker: BTreeMap<String, u32>,
    /// Where it was written.
    pub location: Location,
}

impl Lock {
    /// How much of it can be held on that worker at a time.
    pub fn limit_on(&self, worker: &str) -> u32 {
        self.per_worker.get(worker).copied().unwrap_or(self.limit)
    }

    /// The most that can be held of it anywhere.
    pub fn most(&self) -> u32 {
        let others = self.per_worker.values().copied();
        others.chain([self.limit]).max().unwrap_or(self.limit)
    }
}

/// What a lock is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// There is one.
    #[default]
    Farm,
    /// There is one on each worker; it is taken on the worker that the build runs on.
    Worker,
}

/// How a lock is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// So much of it; others may hold the rest.
    Shared(u32),
    /// All of it.
    Exclusive,
}

/// One lock as a build or a step wants it. Kept with the row of who holds it, so that a reload changes nothing about that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAccess {
    /// The lock's name.
    pub lock: String,
    /// What the lock is about.
    pub scope: Scope,
    /// How it is to be held.
    pub mode: Mode,
}

impl fmt::Display for LockAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Exclusive => write!(f, "{} (exclusive)", self.lock),
            Mode::Shared(1) => f.write_str(&self.lock),
            Mode::Shared(amount) => write!(f, "{} ({amount} of it)", self.lock),
        }
    }
}
