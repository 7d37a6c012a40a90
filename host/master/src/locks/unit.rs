//! One lock at one place: how much of it is held, and who waits for it in which order.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use capstan_model::Mode;

use super::table::Owner;

/// A place in the order of those who wait: by priority, then first come first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Order(Reverse<i64>, u64);

impl Order {
    /// Before everybody: nobody keeps it back but those who hold something.
    pub const FIRST: Self = Self(Reverse(i64::MAX), 0);

    /// Behind all of that priority.
    pub const fn last(priority: i64) -> Self {
        Self(Reverse(priority), u64::MAX)
    }

    pub(super) const fn new(priority: i64, ticket: u64) -> Self {
        Self(Reverse(priority), ticket)
    }

    pub(super) const fn priority(self) -> i64 {
        self.0.0
    }

    pub(super) const fn ticket(self) -> u64 {
        self.1
    }
}

/// Why something cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Others hold it.
    Held,
    /// It is free, or part of it is, but others came first.
    Ahead,
    /// There is never so much of it.
    Beyond,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    pub capacity: u32,
    used: u64,
    whole: u32,
    pub holders: Vec<Owner>,
    pub waiting: BTreeMap<Order, Mode>,
}

impl Unit {
    /// So much of a lock, of which nobody holds anything.
    pub fn of(capacity: u32) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Whether somebody of that order could have so much now.
    pub fn fits(&self, mode: Mode, order: Order) -> Result<(), Cause> {
        if let Mode::Shared(amount) = mode
            && amount > self.capacity
        {
            return Err(Cause::Beyond);
        }
        let mut free = u64::from(self.capacity).saturating_sub(self.used);
        let amount = match mode {
            Mode::Exclusive if self.used == 0 && self.whole == 0 => None,
            Mode::Shared(amount) if self.whole == 0 && u64::from(amount) <= free => Some(u64::from(amount)),
            _ => return Err(Cause::Held),
        };
        // Ends early: each of those before it keeps at least one.
        for (_, ahead) in self.waiting.range(..order) {
            let (Mode::Shared(kept), Some(amount)) = (ahead, amount) else {
                return Err(Cause::Ahead);
            };
            free = free.saturating_sub(u64::from(*kept));
            if amount > free {
                return Err(Cause::Ahead);
            }
        }
        Ok(())
    }

    pub fn take(&mut self, owner: Owner, mode: Mode) {
        match mode {
            Mode::Exclusive => self.whole += 1,
            Mode::Shared(amount) => self.used += u64::from(amount),
        }
        self.holders.push(owner);
    }

    pub fn release(&mut self, owner: Owner, mode: Mode) {
        match mode {
            Mode::Exclusive => self.whole = self.whole.saturating_sub(1),
            Mode::Shared(amount) => self.used = self.used.saturating_sub(u64::from(amount)),
        }
        self.holders.retain(|holder| *holder != owner);
    }

    /// How much of it is held, and whether somebody has all of it.
    pub fn in_use(&self) -> (u64, bool) {
        (self.used, self.whole > 0)
    }
}
