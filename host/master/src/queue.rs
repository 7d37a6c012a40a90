//! The requests that wait, in memory: loaded once, then kept up by what commits tell. The dispatcher pairs them; people ask
//! through the [`Handle`](crate::Handle) what waits and why.

use std::collections::HashMap;
use std::sync::Arc;

use capstan_model::plan::Plan;
use capstan_model::{RequestId, Timestamp};
use capstan_store::{Quarantine, QueueEntry, RequestFeed, Store};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::farm::Farm;
use crate::handle::WorkerStatus;
use crate::pairing::{
    Agreed, Gate, Hindrance, Hold, Holds, Hooks, Index, Lines, Paired, Places, Rules, Running, Standing, Why,
    pair, why,
};
use crate::{Error, workers};

mod hooks;
mod verdict;

pub(crate) use hooks::{Complaints, Functional, LIMITS, are_in};
pub(crate) use verdict::shown;

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The request.
    pub entry: QueueEntry,
    /// Its place in the whole queue, from 1.
    pub place: usize,
    /// Why it waits.
    pub why: Why,
}

/// The first of the requests that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePage {
    /// How many wait, listed or not.
    pub total: usize,
    /// The first of them, in the order in which they are served.
    pub first: Vec<Queued>,
}

/// What every task shares of the queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    pub complaints: Complaints,
}

/// The queue as it is.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `None` until the first load, and whenever something may have been missed.
    feed: Option<RequestFeed>,
    lines: Lines,
    index: Option<Index>,
    pub holds: Holds,
}

impl Queue {
    /// An empty queue that knows which workers are in quarantine. The requests are read when they are first asked for.
    pub async fn open(store: &Store, now: Timestamp) -> Result<Self, Error> {
        let known = store.quarantines(now).await?.into_iter();
        let hold = |known: Quarantine| {
            let hold = Hold {
                reason: known.reason,
                until: known.until,
            };
            (known.worker, hold)
        };
        let mut state = State::default();
        state.holds.workers = known.map(hold).collect();
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            complaints: Complaints::default(),
        })
    }

    /// A person says that a worker is well again; `durable` makes that so. What a function says of it meanwhile comes before or after both.
    pub async fn end_quarantine<E>(
        &self,
        worker: &str,
        durable: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        let mut state = self.state.lock().await;
        // Before: who is cut off while he waits may have made it durable.
        let hold = state.holds.workers.remove(worker);
        let ended = durable.await;
        if let (Err(_), Some(hold)) = (&ended, hold) {
            state.holds.workers.insert(worker.to_owned(), hold);
        }
        ended
    }

    /// The queue with all that was committed before this was called.
    pub async fn current(&self, store: &Store) -> Result<OwnedMutexGuard<State>, Error> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        // It is put back when all that it told has been taken over: who is cut off between leaves a doubt, and all is read again.
        let (feed, touched) = match state.feed.take() {
            Some(mut feed) => {
                let touched = feed.take();
                (feed, touched)
            }
            None => (store.request_feed(), None),
        };
        match touched {
            None => {
                let entries = store.queue_entries().await?;
                state.lines = Lines::of(entries);
            }
            Some(touched) if touched.is_empty() => {}
            Some(touched) => {
                let entries = store.queue_entries_of(&touched).await?;
                touched.iter().for_each(|id| state.lines.remove(*id));
                entries.into_iter().for_each(|entry| state.lines.put(entry));
            }
        }
        state.feed = Some(feed);
        Ok(state)
    }
}

impl State {
    /// Whether that request waits.
    pub fn holds(&self, request: RequestId) -> bool {
        self.lines.get(request).is_some()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Decides what starts where.
    pub fn pair(
        &mut self,
        plan: &Arc<Plan>,
        places: &mut Places,
        hooks: &dyn Hooks,
        gate: &mut dyn Gate,
    ) -> Paired {
        self.use_plan(plan);
        places.retain(|worker, _| !self.holds.workers.contains_key(worker));
        let Some(index) = &self.index else {
            return Paired::default();
        };
        let mut rules = Rules {
            hooks,
            gate,
            holds: &self.holds,
        };
        let paired = pair(index, &self.lines, places, &mut rules);
        let holds = paired.holds.clone();
        self.holds.requests.extend(holds.requests);
        self.holds.workers.extend(holds.workers);
        match paired.again {
            true => self.holds.agreed.extend(holds.agreed),
            false => self.holds.agreed = Agreed::default(),
        }
        paired
    }

    /// Makes durable that these workers are in quarantine. If that fails nobody knows of it, and functions say so again.
    pub async fn keep_quarantines(
        &mut self,
        begun: &HashMap<String, Hold>,
        store: &Store,
        now: Timestamp,
    ) -> Result<(), Error> {
        if begun.is_empty() {
            return Ok(());
        }
        let rows = begun.iter().map(|(worker, hold)| Quarantine {
            worker: worker.clone(),
            reason: hold.reason.clone(),
            until: hold.until,
        });
        let kept = store.set_quarantines(rows.collect(), now).await;
        if kept.is_err() {
            self.holds.workers.retain(|worker, _| !begun.contains_key(worker));
        }
        Ok(kept?)
    }

    fn use_plan(&mut self, plan: &Arc<Plan>) {
        if !self.index.as_ref().is_some_and(|index| index.is_of(plan)) {
            self.index = Some(Index::new(Arc::clone(plan)));
            // Other functions may say otherwise of a request. A worker that one of them found broken stays so until its time is over.
            self.holds.requests.clear();
            self.holds.agreed = Agreed::default();
        }
    }

    /// Why these wait; those that do not are left out.
    fn why(
        &mut self,
        plan: &Arc<Plan>,
        standings: &[Standing],
        wanted: &[RequestId],
        gate: &mut dyn Gate,
    ) -> HashMap<RequestId, Why> {
        self.use_plan(plan);
        let Some(index) = &self.index else {
            return HashMap::new();
        };
        let mut rules = Rules {
            // Functions are not called to tell people: what they said no to is among the holds.
            hooks: &crate::pairing::NoHooks,
            gate,
            holds: &self.holds,
        };
        why(index, &self.lines, standings, &mut rules, wanted)
    }
}

/// The requests that wait, of every builder or of one: at most `limit`, in the order in which they are served.
pub(crate) async fn queue(farm: &Farm, builder: Option<&str>, limit: usize) -> Result<QueuePage, Error> {
    let plan = farm.plan();
    let mut state = farm.queue.current(&farm.store).await?;
    if state.is_empty() {
        return Ok(QueuePage::default());
    }
    state.use_plan(&plan);
    let order = order(&state);
    let fits = |id: &RequestId| {
        builder.is_none_or(|name| state.lines.get(*id).is_some_and(|entry| &*entry.builder == name))
    };
    let (mut total, mut first) = (0, Vec::new());
    for (place, id) in (1..).zip(order) {
        if fits(&id) {
            total += 1;
            if first.len() < limit {
                first.push((place, id));
            }
        }
    }
    drop(state);
    Ok(QueuePage {
        total,
        first: explain(farm, &plan, first).await?,
    })
}

/// Those of these requests that wait, and why.
pub(crate) async fn of(farm: &Farm, wanted: &[RequestId]) -> Result<Vec<Queued>, Error> {
    let plan = farm.plan();
    let mut state = farm.queue.current(&farm.store).await?;
    if !wanted.iter().any(|id| state.lines.get(*id).is_some()) {
        return Ok(Vec::new());
    }
    state.use_plan(&plan);
    let places: HashMap<_, _> = order(&state).into_iter().zip(1..).collect();
    drop(state);
    let known = wanted.iter().filter_map(|id| Some((*places.get(id)?, *id)));
    explain(farm, &plan, known.collect()).await
}

/// Adds to each why it waits; those that wait no more are left out.
async fn explain(
    farm: &Farm,
    plan: &Arc<Plan>,
    first: Vec<(usize, RequestId)>,
) -> Result<Vec<Queued>, Error> {
    // Read before the queue is held: the dispatcher does not wait for it.
    let mut standings = standings(farm, plan).await?;
    let mut state = farm.queue.current(&farm.store).await?;
    for standing in &mut standings {
        let hold = state.holds.workers.get(&standing.name);
        if let (None, Some(hold)) = (&standing.absent, hold) {
            standing.absent = Some(Hindrance::Quarantined(hold.reason.clone()));
        }
    }
    let ids: Vec<_> = first.iter().map(|(_, id)| *id).collect();
    let mut reasons = state.why(plan, &standings, &ids, &mut farm.locks.pass());
    let queued = first.into_iter().filter_map(|(place, id)| {
        let entry = state.lines.get(id)?.clone();
        let why = reasons.remove(&id)?;
        Some(Queued { entry, place, why })
    });
    Ok(queued.collect())
}

/// Every request, in the order in which they are served.
fn order(state: &State) -> Vec<RequestId> {
    let mut turns: Vec<_> = state
        .lines
        .iter()
        .flat_map(|(name, line)| {
            let builder = state.index.as_ref().and_then(|index| index.builder(name));
            let added = builder.map_or(0, |(_, builder)| builder.queueing.priority);
            line.turns()
                .map(move |(priority, id)| (std::cmp::Reverse(priority.0.saturating_add(added)), id))
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, id)| id).collect()
}

/// How the workers of the plan stand.
async fn standings(farm: &Farm, plan: &Plan) -> Result<Vec<Standing>, Error> {
    let status = workers::status(farm).await?;
    let mut running: HashMap<String, (Vec<Running>, Vec<String>)> = HashMap::new();
    for build in farm.store.running_builds().await? {
        let there = running.entry(build.worker.clone()).or_default();
        there.1.push(workers::directory(plan, &build));
        there.0.push(Running {
            build: build.id,
            builder: build.builder,
            number: build.number,
            worker: build.worker,
        });
    }
    let rows = farm.store.workers().await?.into_iter();
    let revoked: HashMap<_, _> = rows.map(|row| (row.name, row.revoked.is_some())).collect();
    let configured = status.into_iter().filter(|worker| worker.configured);
    let standing = configured.map(|worker| {
        let (running, directories) = running.remove(&worker.name).unwrap_or_default();
        Standing {
            absent: absence(&worker, revoked.get(&worker.name).copied().unwrap_or(false)),
            labels: worker.labels.into_iter().collect(),
            slots: worker.slots,
            running,
            directories,
            name: worker.name,
        }
    });
    Ok(standing.collect())
}

/// What keeps a worker from taking any build.
fn absence(worker: &WorkerStatus, revoked: bool) -> Option<Hindrance> {
    if revoked {
        Some(Hindrance::Revoked)
    } else if !worker.enrolled {
        Some(Hindrance::NeverJoined)
    } else if let Some(reason) = &worker.paused {
        Some(Hindrance::Paused(reason.clone()))
    } else if !worker.connected {
        Some(Hindrance::Silent(worker.since))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_forgets_what_functions_said_of_requests_and_not_of_workers() {
        let hold = || Hold {
            reason: "disk full".to_owned(),
            until: Timestamp(1000),
        };
        let mut state = State::default();
        state.use_plan(&Arc::new(Plan::default()));
        state.holds.requests.insert(RequestId(1), hold());
        state.holds.workers.insert("w1".to_owned(), hold());
        state.use_plan(&Arc::new(Plan::default()));
        assert!(
            state.holds.requests.is_empty(),
            "another function may let it start"
        );
        assert_eq!(state.holds.workers.get("w1"), Some(&hold()));
        state.holds.expire(Timestamp(1000));
        assert!(state.holds.workers.is_empty(), "it comes to its end all the same");
    }
}
