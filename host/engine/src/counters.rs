//! What a plugin did since it was loaded: counted where calls are made and rights are checked, shown by the master.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use capstan_model::plugin::Refusal;

/// How often a plugin was called and what came of it, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instances that were made. A step that waits without one makes several.
    pub calls: u64,
    /// Instances that have ended by themselves or were ended; the rest run, or were dropped while they ran.
    pub ended: u64,
    /// Of those, the ones without a good answer, traps among them. The failure of a command is no failure of its step.
    pub failures: u64,
    /// Instances that had to be ended.
    pub traps: u64,
    /// Requests that were denied.
    pub refusals: u64,
    /// The time of all that have ended, without what they waited for: commands, servers, durable rows.
    pub time: Duration,
    /// The longest of these times.
    pub longest: Duration,
}

impl Stats {
    /// The time of one call, on average.
    pub fn mean(&self) -> Duration {
        let ended = u32::try_from(self.ended.max(1)).unwrap_or(u32::MAX);
        self.time / ended
    }
}

/// One value that a plugin was refused, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// Which right, value and side.
    pub refusal: Refusal,
    /// How often.
    pub count: u64,
    /// When it happened last.
    pub last: Instant,
}

/// Counts, shared by all calls of one plugin.
#[derive(Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    ended: AtomicU64,
    failures: AtomicU64,
    traps: AtomicU64,
    refusals: AtomicU64,
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    refused: Mutex<BTreeMap<String, RefusalCount>>,
}

/// One call that is being made.
pub(crate) struct Call<'a> {
    counters: &'a Counters,
    began: Instant,
}

impl Counters {
    const MAX_VALUES: usize = 100;

    /// Counts an instance that is about to be made.
    pub(crate) fn call(&self) -> Call<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call {
            counters: self,
            began: Instant::now(),
        }
    }

    pub(crate) fn trapped(&self) {
        self.traps.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one, whose value is cut.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let key = format!("{} {:?} {}", refusal.right.as_str(), refusal.side, refusal.value);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused.contains_key(&key) && refused.len() >= Self::MAX_VALUES {
            let oldest = refused.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                refused.remove(&oldest);
            }
        }
        let last = Instant::now();
        let known = refused.entry(key).or_insert_with(|| RefusalCount {
            refusal: refusal.clone(),
            count: 0,
            last,
        });
        known.count += 1;
        known.last = last;
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            calls: read(&self.calls),
            ended: read(&self.ended),
            failures: read(&self.failures),
            traps: read(&self.traps),
            refusals: read(&self.refusals),
            time: Duration::from_nanos(read(&self.nanoseconds)),
            longest: Duration::from_nanos(read(&self.longest)),
        }
    }

    /// The last first.
    pub(crate) fn refusals(&self) -> Vec<RefusalCount> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = refused.values().cloned().collect();
        all.sort_by_key(|known| std::cmp::Reverse(known.last));
        all
    }
}

impl Call<'_> {
    /// Counts its end; `away` is what it waited for.
    pub(crate) fn ended(self, away: Duration, failed: bool) {
        let took = self.began.elapsed().saturating_sub(away);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counters = self.counters;
        counters.ended.fetch_add(1, Ordering::Relaxed);
        counters.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        counters.nanoseconds.fetch_add(took, Ordering::Relaxed);
        counters.longest.fetch_max(took, Ordering::Relaxed);
    }
}
