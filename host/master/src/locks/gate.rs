//! The locks of builds, asked for while requests are given to workers. Works on a copy of the table, so that it can be asked by
//! whoever wants to know why a request waits, too.

use std::collections::{HashMap, HashSet};

use capstan_model::plan::{Builder, LockList};
use capstan_model::{LockAccess, RequestId};
use capstan_store::QueueEntry;

use super::explain::Holder;
use super::priority;
use super::table::{LockTable, Owner};
use crate::pairing::{Barrier, Gate};

/// What a build will hold, and on which worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub accesses: Vec<LockAccess>,
    pub worker: String,
    pub priority: i64,
}

/// A request that could start but for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub request: RequestId,
    pub builder: String,
    pub accesses: Vec<LockAccess>,
    pub worker: String,
    pub priority: i64,
}

/// What functions answered, by request and worker.
pub(super) type Answers = HashMap<(RequestId, String), Vec<LockAccess>>;

/// One round of giving requests to workers.
#[derive(Default)]
pub(crate) struct Pass {
    table: LockTable,
    answers: Answers,
    /// Requests whose functions are still to be asked, as their workers are known now.
    open: HashSet<RequestId>,
    /// Those let through, with their priority.
    admitted: HashMap<RequestId, i64>,
    /// In the order in which they were asked about.
    waiting: Vec<Waits>,
}

impl Pass {
    pub(super) fn new(table: LockTable, answers: Answers) -> Self {
        Self {
            table,
            answers,
            ..Self::default()
        }
    }

    /// Which of these requests was let through, and its priority.
    pub fn let_through(&self, requests: &[RequestId]) -> Option<(RequestId, i64)> {
        requests
            .iter()
            .find_map(|id| Some((*id, *self.admitted.get(id)?)))
    }

    /// Whether a function was to be asked for that request after this pass: what it answered is news.
    pub(super) fn learnt_later(&self, request: RequestId) -> bool {
        self.open.contains(&request)
    }

    /// Those who wait for nothing but locks.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waits> {
        self.waiting
            .iter()
            .filter(|wait| !self.admitted.contains_key(&wait.request))
    }

    fn ask(
        &mut self,
        builder: &Builder,
        request: &QueueEntry,
        worker: &str,
        wanted: &[LockAccess],
    ) -> Result<(), Barrier> {
        let priority = priority(request.priority, Some(builder));
        let owner = Owner::Request(request.id);
        let who = Holder::request(request.id, &builder.name);
        let (accesses, place) = (self.table.prepare(wanted), self.table.place(worker));
        match self
            .table
            .may_take(&accesses, place, self.table.order(owner, priority))
        {
            Ok(()) => {
                self.table.take(owner, who, &accesses, place);
                self.admitted.insert(request.id, priority);
                Ok(())
            }
            Err(blocked) => {
                let reason = self.table.explain(&blocked).to_string();
                // It waits for the first worker that it was asked for; what waits for ever keeps nobody back.
                if !blocked.for_ever()
                    && !self
                        .waiting
                        .iter()
                        .rev()
                        .take(20)
                        .any(|wait| wait.request == request.id)
                {
                    self.table.wait(owner, who, priority, &accesses, place);
                    self.waiting.push(Waits {
                        request: request.id,
                        builder: builder.name.clone(),
                        accesses: wanted.to_vec(),
                        worker: worker.to_owned(),
                        priority,
                    });
                }
                Err(Barrier {
                    everywhere: blocked.everywhere(),
                    reason: format!("it waits for {reason}"),
                })
            }
        }
    }
}

impl Gate for Pass {
    fn take(&mut self, builder: &Builder, request: &QueueEntry, worker: &str) -> Result<(), Barrier> {
        match &builder.locks {
            LockList::Fixed(wanted) if wanted.is_empty() => Ok(()),
            LockList::Fixed(wanted) => self.ask(builder, request, worker, wanted),
            LockList::Function(_) => match self.answers.get(&(request.id, worker.to_owned())).cloned() {
                Some(wanted) => self.ask(builder, request, worker, &wanted),
                None => {
                    self.open.insert(request.id);
                    self.admitted
                        .insert(request.id, priority(request.priority, Some(builder)));
                    Ok(())
                }
            },
        }
    }
}
