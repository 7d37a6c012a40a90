//! Locks: who holds them, who waits, and that nobody waits for ever. One table for the farm; what is held is also in the rows of
//! builds and steps, from which the next master fills its table again.
//!
//! Builds are let through by `gate` when requests are given to workers, steps by `steps` before they begin. Read `unit` for what
//! one lock does, `table` for all of them, `graph` and `deadlock` for those who wait in a circle, `slots` for builds that let
//! others use their place while they wait.

mod children;
mod choice;
mod deadlock;
mod explain;
mod gate;
mod graph;
mod slots;
mod steps;
mod table;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use capstan_model::plan::{Builder, Plan};
use capstan_model::{BuildId, LockAccess, RequestId, StepId};
use capstan_store::LockHold;
use tokio::sync::watch;

pub(crate) use children::{Family, Parent};
pub(crate) use choice::chosen;
pub use explain::{Holder, LockStatus, Obstacle};
pub(crate) use gate::{Admitted, Pass};
pub(crate) use slots::Slots;
pub(crate) use steps::{Taken, release_step, take_step};

use gate::Answers;
use graph::Node;
use table::{LockTable, Owner};

/// Waiting steps whose holders are told anew whenever those change; further back nothing changes for a while.
const TOLD: usize = 16;

/// How a step stands that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// This is in the way.
    Waits(String),
    /// It holds its locks.
    Given,
    /// It will never have them.
    Never(String),
}

/// What came of asking for locks.
enum Asked {
    Held,
    Waits(watch::Receiver<Turn>),
    Never(String),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Locks(Mutex<State>);

#[derive(Default)]
struct State {
    table: LockTable,
    turns: HashMap<StepId, watch::Sender<Turn>>,
    /// What functions answered for requests that then had to wait.
    answers: Answers,
    /// Builds that wait for others, and whom the table knows of because of each.
    parents: HashMap<BuildId, Vec<Node>>,
}

impl Locks {
    /// The locks of a plan that is in force from now on.
    pub fn define(&self, plan: &Plan) {
        self.change(|state| {
            state.table.define(&plan.locks);
            // Other functions may say otherwise.
            state.answers.clear();
            state.refuse_the_hopeless();
        });
    }

    /// Fills the table with what a master before this one gave out, to builds that nobody carries out yet. What was taken for a
    /// request is its build's now, or nobody's. `plan` has the priorities of builders.
    pub fn restore<'a>(&self, holds: impl IntoIterator<Item = &'a LockHold>, plan: &Plan) {
        self.change(|state| {
            for hold in holds {
                let who = Holder::build(hold.build, &hold.builder, hold.number);
                let accesses = state.table.prepare(&hold.accesses);
                let worker = state.table.place(&hold.worker);
                match &hold.step {
                    None => state.table.take(Owner::Build(hold.build), who, &accesses, worker),
                    Some((step, name)) if hold.held => {
                        state
                            .table
                            .take(Owner::Step(*step), who.step(name), &accesses, worker);
                    }
                    Some((step, name)) => {
                        let owner = Owner::Step(*step);
                        if !state.table.holds(owner) {
                            state.table.wait(
                                owner,
                                who.step(name),
                                priority(hold.priority, plan.builder(&hold.made_by)),
                                &accesses,
                                worker,
                            );
                        }
                    }
                }
            }
            state.table.release_requests();
        });
    }

    /// Where requests are asked for locks before they become builds: a copy, which changes nothing until a build is started.
    pub fn pass(&self) -> Pass {
        self.with(|state| Pass::new(state.table.clone(), state.answers.clone()))
    }

    /// Takes what a build of these requests holds until its end, if it still can be had. To be called before the build is made.
    pub fn start(&self, request: RequestId, builder: &str, admitted: &Admitted) -> Result<(), Obstacle> {
        if admitted.accesses.is_empty() {
            return Ok(());
        }
        self.change(|state| {
            let table = &mut state.table;
            let (owner, accesses) = (Owner::Request(request), table.prepare(&admitted.accesses));
            let worker = table.place(&admitted.worker);
            let order = table.order(owner, admitted.priority);
            match table.may_take(&accesses, worker, order) {
                Ok(()) => {
                    table.take(owner, Holder::request(request, builder), &accesses, worker);
                    Ok(())
                }
                Err(blocked) => Err(table.explain(&blocked)),
            }
        })
    }

    /// A function's answer for a request that has to wait: the next pass looks at that before it gives a slot away.
    pub fn learn(&self, request: RequestId, admitted: &Admitted) {
        let key = (request, admitted.worker.clone());
        self.change(|state| state.answers.insert(key, admitted.accesses.clone()));
    }

    /// Whether a step has its locks.
    pub fn has_step(&self, step: StepId) -> bool {
        self.with(|state| state.table.holds(Owner::Step(step)))
    }

    /// What was taken for a request is its build's, or nobody's if there is none.
    pub fn started(&self, request: RequestId, build: Option<(Holder, BuildId)>) {
        self.change(|state| {
            let Some((who, id)) = build else {
                return state.table.release(Owner::Request(request));
            };
            state
                .table
                .pass_on(Owner::Request(request), Owner::Build(id), who);
        });
    }

    /// Notes which requests a pass found to wait for nothing but locks, and lets go of the others but those to `keep`.
    pub fn remember(&self, pass: &Pass, keep: impl Fn(RequestId) -> bool) {
        let nothing = |state: &State| !state.table.has_requests() && state.answers.is_empty();
        if pass.waiting().next().is_none() && self.with(nothing) {
            return;
        }
        self.change(|state| {
            let waiting: BTreeSet<_> = pass.waiting().map(|wait| wait.request).collect();
            state.table.keep_requests(|id| waiting.contains(&id) || keep(id));
            state
                .answers
                .retain(|(id, _), _| waiting.contains(id) || keep(*id) || pass.learnt_later(*id));
            for wait in pass.waiting() {
                let accesses = state.table.prepare(&wait.accesses);
                let worker = state.table.place(&wait.worker);
                let who = Holder::request(wait.request, &wait.builder);
                let owner = Owner::Request(wait.request);
                state.table.wait(owner, who, wait.priority, &accesses, worker);
            }
            state.table.mend_queue();
        });
    }

    /// The requests that wait for locks, with the worker that each would go to.
    pub fn requests(&self) -> Vec<(RequestId, String)> {
        self.with(|state| state.table.requests())
    }

    /// A build has ended: it and its steps hold and want nothing any more.
    pub fn forget(&self, build: BuildId) {
        self.change(|state| {
            state.leave(build);
            for owner in state.table.owners(build) {
                if let Owner::Step(step) = owner {
                    state.turns.remove(&step);
                }
                state.table.give_up(owner);
                state.table.release(owner);
            }
        });
    }

    /// Every lock, with who holds it and who waits for it.
    pub fn status(&self) -> Vec<LockStatus> {
        self.with(|state| state.table.status())
    }

    fn ask(&self, step: StepId, who: Holder, worker: &str, wanted: &[LockAccess], priority: i64) -> Asked {
        self.change(|state| {
            let owner = Owner::Step(step);
            let table = &mut state.table;
            if table.holds(owner) {
                return Asked::Held;
            }
            if let Some(build) = who.build
                && let Some(lock) = table.shares(Owner::Build(build), wanted)
            {
                return Asked::Never(format!("its own build holds the lock {lock} already"));
            }
            let (accesses, worker) = (table.prepare(wanted), table.place(worker));
            let blocked = match table.may_take(&accesses, worker, table.order(owner, priority)) {
                Ok(()) => {
                    table.take(owner, who, &accesses, worker);
                    return Asked::Held;
                }
                Err(blocked) => blocked,
            };
            if blocked.for_ever() {
                return Asked::Never(table.explain(&blocked).to_string());
            }
            let text = table.explain(&blocked).to_string();
            table.wait(owner, who, priority, &accesses, worker);
            if let Some(deadlock) = table.deadlock(owner) {
                table.give_up(owner);
                return Asked::Never(format!("waiting would never end: {}", deadlock.0));
            }
            let sender = state
                .turns
                .entry(step)
                .or_insert_with(|| watch::Sender::new(Turn::Given));
            sender.send_replace(Turn::Waits(text));
            Asked::Waits(sender.subscribe())
        })
    }

    fn drop_step(&self, step: StepId) -> bool {
        self.change(|state| state.drop_step(step))
    }

    fn with<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut state);
        state.settle();
        done
    }
}

/// The priority of a request, or of a step of its build: its own, raised by its builder.
fn priority(own: i32, builder: Option<&Builder>) -> i64 {
    i64::from(own) + i64::from(builder.map_or(0, |builder| builder.queueing.priority))
}

impl State {
    /// Lets those go on who can, and tells those in front what is in their way now.
    fn settle(&mut self) {
        let given = self.table.settle();
        for owner in given {
            if let Owner::Step(step) = owner
                && let Some(turn) = self.turns.get(&step)
            {
                turn.send_replace(Turn::Given);
            }
        }
        if self.turns.is_empty() {
            return;
        }
        let first: Vec<_> = self
            .table
            .first_waiters(TOLD)
            .map(|waiter| waiter.owner)
            .collect();
        for owner in first {
            let (Owner::Step(step), Some(blocked)) = (owner, self.table.blocked(owner)) else {
                continue;
            };
            let text = self.table.explain(&blocked).to_string();
            if let Some(turn) = self.turns.get(&step) {
                turn.send_if_modified(|turn| {
                    let new = Turn::Waits(text);
                    let differs = matches!(turn, Turn::Waits(_)) && *turn != new;
                    if differs {
                        *turn = new;
                    }
                    differs
                });
            }
        }
    }

    /// New limits may have made waiting hopeless: those who wait for more than there is, or in a circle, hear of it. The last
    /// to have come is the first to go.
    fn refuse_the_hopeless(&mut self) {
        let waiting: Vec<_> = self
            .table
            .first_waiters(usize::MAX)
            .map(|waiter| waiter.owner)
            .collect();
        for owner in waiting.into_iter().rev() {
            let Owner::Step(step) = owner else { continue };
            let beyond = self.table.blocked(owner).filter(table::Blocked::for_ever);
            let reason = match beyond {
                Some(blocked) => Some(self.table.explain(&blocked).to_string()),
                None => self
                    .table
                    .deadlock(owner)
                    .map(|deadlock| format!("waiting would never end: {}", deadlock.0)),
            };
            if let Some(reason) = reason {
                self.table.give_up(owner);
                if let Some(turn) = self.turns.get(&step) {
                    turn.send_replace(Turn::Never(reason));
                }
            }
        }
    }

    fn drop_step(&mut self, step: StepId) -> bool {
        let owner = Owner::Step(step);
        let held = self.table.holds(owner);
        self.turns.remove(&step);
        self.table.give_up(owner);
        self.table.release(owner);
        held
    }
}
