//! Which waiting requests become builds on which workers, and why the others wait. Pure but for what it asks of its [`Hooks`]:
//! the dispatcher calls `pair` with what is, and carries it out; `queue` calls `why` for people.
//!
//! Read `pair` here, then `lines` for the order, `board` for the workers, `rules` for what else has a say, `why`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use capstan_model::RequestId;
use capstan_model::plan::Builder;
use capstan_store::QueueEntry;

mod bits;
mod board;
mod index;
mod lines;
mod rules;
mod trial;
mod why;

pub use board::{Place, Places};
pub use lines::Lines;
pub use trial::Trial;
pub use why::{Hindrance, Running, Why};

pub(crate) use board::{is_fit, is_named};
pub(crate) use index::{Index, wants};
pub(crate) use rules::{
    Agreed, Barrier, Choice, Gate, Hold, Holds, Hooks, NoGate, NoHooks, RETRY_MS, Verdict,
};
pub(crate) use why::{Standing, why};

use board::Board;
use lines::{Line, Turn};

/// A build to be made. The newest request is what is built; the others are served by the same build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    pub builder: String,
    pub worker: String,
    /// Oldest first.
    pub requests: Vec<RequestId>,
}

/// What came of pairing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paired {
    pub pairings: Vec<Pairing>,
    /// Requests that had a worker, and what kept them.
    pub kept: HashMap<RequestId, String>,
    /// Builders of which nothing can start, and what keeps them.
    pub closed: HashMap<String, String>,
    /// What functions said.
    pub holds: Holds,
    /// Whether it stopped before it had asked about all, as functions were asked often enough for once.
    pub again: bool,
}

impl Paired {
    /// Whether another round would not be this one again.
    pub fn has_moved(&self) -> bool {
        let holds = &self.holds;
        let silent = holds.requests.is_empty() && holds.workers.is_empty() && holds.agreed.is_empty();
        !(self.pairings.is_empty() && silent)
    }
}

/// What has a say.
pub(crate) struct Rules<'r> {
    pub hooks: &'r dyn Hooks,
    pub gate: &'r mut dyn Gate,
    /// What functions said before.
    pub holds: &'r Holds,
}

/// Requests that functions are asked about at a time: others are not kept waiting for longer by slow ones.
const MOST_ASKED: usize = 200;
/// Workers about which functions are asked for one request when there is something in the way of the best.
const MOST_TRIED: usize = 20;

/// Pairs the waiting requests, most urgent first, with the places.
pub(crate) fn pair(index: &Index, lines: &Lines, places: &Places, rules: &mut Rules<'_>) -> Paired {
    let mut round = Round {
        index,
        lines,
        board: Board::new(places),
        rules,
        served: HashSet::new(),
        asked: 0,
        done: Paired::default(),
    };
    let mut heads = round.heads();
    while !round.board.is_full()
        && let Some(Reverse(head)) = heads.pop()
    {
        if round.asked >= MOST_ASKED || round.rules.hooks.spent() {
            round.done.again = true;
            break;
        }
        heads.extend(round.serve(head).map(Reverse));
    }
    round.done
}

/// The next request of a builder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    /// Where a function wants the builder.
    rank: usize,
    turn: Turn,
    /// The request's turn in its line, without what the builder adds.
    own: Turn,
    builder: usize,
}

struct Round<'a, 'r, 'x> {
    index: &'a Index,
    lines: &'a Lines,
    board: Board<'a>,
    rules: &'x mut Rules<'r>,
    /// Requests that a build serves which was not made for them.
    served: HashSet<RequestId>,
    asked: usize,
    done: Paired,
}

/// What became of a request.
enum Fate {
    Started,
    /// It waits, others of the builder may start.
    Waits,
    /// None of the builder's requests can start.
    Closed,
}

impl<'a> Round<'a, '_, '_> {
    fn heads(&self) -> BinaryHeap<Reverse<Head>> {
        let known = self.lines.iter().filter_map(|(name, line)| {
            let (place, builder) = self.index.builder(name)?;
            Some((place, builder, line.first()?))
        });
        let known: Vec<_> = known.collect();
        let names: Vec<_> = known
            .iter()
            .map(|(_, builder, _)| builder.name.as_str())
            .collect();
        let order = self.rules.hooks.order(&names);
        let ranks: HashMap<_, _> = order.iter().flatten().map(String::as_str).zip(0..).collect();
        let head = |(place, builder, own): (usize, &Builder, Turn)| {
            let rank = ranks.get(builder.name.as_str()).copied().unwrap_or(ranks.len());
            Reverse(head(rank, place, builder, own))
        };
        known.into_iter().map(head).collect()
    }

    /// Starts that request if it can be; answers the builder's next one.
    fn serve(&mut self, head: Head) -> Option<Head> {
        let builder = self.index.plan().builders.get(head.builder)?;
        let line = self.lines.line(&builder.name)?;
        let request = self.lines.get(head.own.1)?;
        if matches!(self.try_start(head.builder, builder, line, request), Fate::Closed) {
            return None;
        }
        let next = line.after(head.own).find(|turn| !self.served.contains(&turn.1))?;
        Some(self::head(head.rank, head.builder, builder, next))
    }

    fn try_start(&mut self, place: usize, builder: &'a Builder, line: &Line, request: &QueueEntry) -> Fate {
        let mut open = self.board.open(self.index, place, builder);
        if open.is_empty() {
            return Fate::Closed;
        }
        if let Some(hold) = self.rules.holds.requests.get(&request.id) {
            self.done.kept.insert(request.id, hold.reason.clone());
            return Fate::Waits;
        }
        let asks = builder.queueing.next_worker.is_some() || builder.queueing.may_start.is_some();
        let tries = if asks { MOST_TRIED } else { usize::MAX };
        for _ in 0..tries {
            let worker = match self.choose(builder, request, &open) {
                Ok(Some(worker)) => worker,
                Ok(None) => break,
                Err(hold) => return self.hold(request, hold),
            };
            let name = self.board.name(worker);
            match self.ask(builder, request, name) {
                Verdict::Yes => {}
                Verdict::No(hold) => return self.hold(request, hold),
                Verdict::Quarantine(hold) => {
                    self.board.close(worker);
                    open.remove(worker);
                    self.done
                        .kept
                        .insert(request.id, format!("{name}: {}", hold.reason));
                    self.done.holds.workers.insert(name.to_owned(), hold);
                    continue;
                }
            }
            match self.rules.gate.take(builder, request, name) {
                Ok(()) => {
                    self.start(worker, (place, builder), line, request);
                    return Fate::Started;
                }
                Err(barrier) => {
                    if barrier.everywhere && builder.locks.fixed().is_some() {
                        // What is in the way of the first is in the way of those behind it.
                        self.done.closed.insert(builder.name.clone(), barrier.reason);
                        return Fate::Closed;
                    }
                    self.done.kept.insert(request.id, barrier.reason);
                    if barrier.everywhere {
                        return Fate::Waits;
                    }
                    open.remove(worker);
                }
            }
        }
        if !asks
            && open.is_empty()
            && builder.locks.fixed().is_some()
            && let Some(reason) = self.done.kept.get(&request.id)
        {
            // No worker has them for the first: none has them for those behind it.
            self.done.closed.insert(builder.name.clone(), reason.clone());
            return Fate::Closed;
        }
        Fate::Waits
    }

    fn choose(
        &mut self,
        builder: &Builder,
        request: &QueueEntry,
        open: &bits::Bits,
    ) -> Result<Option<usize>, Hold> {
        if builder.queueing.next_worker.is_none() {
            return Ok(self.board.least_busy(open));
        }
        let order = self.board.by_load(open);
        let names: Vec<_> = order.iter().map(|&worker| self.board.name(worker)).collect();
        if names.is_empty() {
            return Ok(None);
        }
        match self.chosen(builder, request, &names) {
            Choice::LeastBusy => Ok(order.first().copied()),
            Choice::This(name) => Ok(self.board.find(&name).filter(|&worker| open.has(worker))),
            Choice::None(hold) => Err(hold),
        }
    }

    fn chosen(&mut self, builder: &Builder, request: &QueueEntry, free: &[&str]) -> Choice {
        // Of which workers are free, however busy: that changes with each build.
        let mut names = free.to_vec();
        names.sort_unstable();
        let mut digest = DefaultHasher::new();
        names.hash(&mut digest);
        let key = (request.id, digest.finish());
        if let Some(choice) = self.rules.holds.agreed.choices.get(&key) {
            return choice.clone();
        }
        self.asked += 1;
        let choice = self.rules.hooks.next_worker(builder, request, free);
        // Those it says no to are held.
        if !matches!(choice, Choice::None(_)) {
            self.done.holds.agreed.choices.insert(key, choice.clone());
        }
        choice
    }

    fn ask(&mut self, builder: &Builder, request: &QueueEntry, worker: &str) -> Verdict {
        if builder.queueing.may_start.is_none() {
            return Verdict::Yes;
        }
        let key = (request.id, worker.to_owned());
        if self.rules.holds.agreed.starts.contains(&key) {
            return Verdict::Yes;
        }
        self.asked += 1;
        let verdict = self.rules.hooks.may_start(builder, request, worker);
        if verdict == Verdict::Yes {
            self.done.holds.agreed.starts.insert(key);
        }
        verdict
    }

    fn hold(&mut self, request: &QueueEntry, hold: Hold) -> Fate {
        self.done.kept.insert(request.id, hold.reason.clone());
        self.done.holds.requests.insert(request.id, hold);
        Fate::Waits
    }

    /// The requests that one build of this one serves, oldest first.
    fn together(&mut self, builder: &Builder, line: &Line, request: &QueueEntry) -> Vec<RequestId> {
        if !builder.collapse {
            return vec![request.id];
        }
        // A function may have left some of those that are alike to builds of their own, or keep them waiting.
        let (before, now) = (&self.rules.holds.requests, &self.done.holds.requests);
        let free = line
            .group(request)
            .filter(|id| !self.served.contains(id) && !before.contains_key(id) && !now.contains_key(id));
        if builder.queueing.collapse.is_none() {
            return free.collect();
        }
        // It is asked about so many; the rest has a build of its own.
        let asked = free.filter(|id| *id != request.id).take(MOST_ASKED);
        let others: Vec<_> = asked.filter_map(|id| self.lines.get(id)).collect();
        self.asked += others.len();
        let mut all = vec![request.id];
        let others = others.into_iter();
        all.extend(
            others
                .filter(|other| self.rules.hooks.together(builder, request, other))
                .map(|other| other.id),
        );
        all.sort_unstable();
        all
    }

    fn start(
        &mut self,
        worker: usize,
        (place, builder): (usize, &'a Builder),
        line: &Line,
        request: &QueueEntry,
    ) {
        let requests = self.together(builder, line, request);
        self.done.kept.remove(&request.id);
        self.served.extend(&requests);
        self.board.occupy(worker, self.index.directory(place));
        self.done.pairings.push(Pairing {
            builder: builder.name.clone(),
            worker: self.board.name(worker).to_owned(),
            requests,
        });
    }
}

fn head(rank: usize, place: usize, builder: &Builder, own: Turn) -> Head {
    Head {
        rank,
        turn: why::raised(own, builder),
        own,
        builder: place,
    }
}

#[cfg(test)]
mod tests;
