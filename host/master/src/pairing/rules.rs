//! What else has a say in which request starts where, beside workers and order: locks, and the functions of the configuration.

use std::collections::{HashMap, HashSet};

use capstan_model::plan::Builder;
use capstan_model::{RequestId, Timestamp};
use capstan_store::QueueEntry;

/// What keeps builds back although a worker is free, and is given out with them: locks.
pub(crate) trait Gate {
    /// Takes what a build of the request needs on that worker, or says what is in the way. Asked in the order in which
    /// requests are served.
    fn take(&mut self, builder: &Builder, request: &QueueEntry, worker: &str) -> Result<(), Barrier>;
}

/// What is in the way of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Barrier {
    /// Whether no other worker would do.
    pub everywhere: bool,
    /// What it is, for people.
    pub reason: String,
}

/// What a configuration decides by functions of its own. Each answers in bounded time; a function that fails gives the answer
/// that is stated here, and is logged.
pub(crate) trait Hooks: Send + Sync {
    /// Whether functions were asked for long enough: what was decided until now is carried out first.
    fn spent(&self) -> bool {
        false
    }

    /// The order in which builders with waiting requests are served; those that it leaves out come last. Otherwise, and when it
    /// fails, whose most urgent request comes first is first.
    fn order(&self, _waiting: &[&str]) -> Option<Vec<String>> {
        None
    }

    /// Whether a request that is like another may be served by the same build. When it fails: no.
    fn together(&self, _builder: &Builder, _request: &QueueEntry, _other: &QueueEntry) -> bool {
        true
    }

    /// Which of the free workers takes it, least busy first. Otherwise, and when it fails, the least busy one.
    fn next_worker(&self, _builder: &Builder, _request: &QueueEntry, _free: &[&str]) -> Choice {
        Choice::LeastBusy
    }

    /// Whether it may start there now. When it fails: not now.
    fn may_start(&self, _builder: &Builder, _request: &QueueEntry, _worker: &str) -> Verdict {
        Verdict::Yes
    }
}

/// A configuration without functions.
pub(crate) struct NoHooks;

impl Hooks for NoHooks {}

/// Nothing is in the way.
pub(crate) struct NoGate;

impl Gate for NoGate {
    fn take(&mut self, _: &Builder, _: &QueueEntry, _: &str) -> Result<(), Barrier> {
        Ok(())
    }
}

/// Which worker takes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    LeastBusy,
    This(String),
    /// None of the free ones: it waits.
    None(Hold),
}

/// Whether a request may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    /// It waits; others of the builder may start.
    No(Hold),
    /// The worker gets no builds for a while; the request may go elsewhere.
    Quarantine(Hold),
}

/// Something waits until it is asked about again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub reason: String,
    pub until: Timestamp,
}

/// What the configuration's functions said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    pub requests: HashMap<RequestId, Hold>,
    pub workers: HashMap<String, Hold>,
    pub agreed: Agreed,
}

/// A request that a function kept is not asked about again before so long, unless it says otherwise.
pub(crate) const RETRY_MS: i64 = 30_000;

/// What functions said yes to. It counts until all requests were asked about: a round that is cut short is followed by one that asks
/// about others, also where it is locks that keep those of the first. Never for longer than a no: the world goes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agreed {
    /// Which request may start where.
    pub starts: HashSet<(RequestId, String)>,
    /// Which worker a request goes to if just these are free: a digest of their names.
    pub choices: HashMap<(RequestId, u64), Choice>,
    /// Until when all of it counts; known from the first look at the clock on.
    pub until: Option<Timestamp>,
}

impl Agreed {
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.choices.is_empty()
    }

    fn expire(&mut self, now: Timestamp) {
        match self.until {
            _ if self.is_empty() => self.until = None,
            None => self.until = Some(now.plus_ms(RETRY_MS)),
            Some(until) if until <= now => *self = Self::default(),
            Some(_) => {}
        }
    }

    /// Adds what another round heard.
    pub fn extend(&mut self, more: Self) {
        self.starts.extend(more.starts);
        self.choices.extend(more.choices);
    }
}

impl Holds {
    /// Forgets what is over; answers when the next one is.
    pub fn expire(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.requests.retain(|_, hold| hold.until > now);
        self.workers.retain(|_, hold| hold.until > now);
        self.agreed.expire(now);
        let all = self.requests.values().chain(self.workers.values());
        all.map(|hold| hold.until).min()
    }
}
