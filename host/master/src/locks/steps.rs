//! The locks of steps: taken before a step begins, given back when its end is durable. Called by `build`.

use capstan_model::StepId;
use capstan_model::plan::LockList;
use capstan_store::{Build, Record, Step, StepState};

use super::explain::Holder;
use super::{Asked, Turn};
use crate::Error;
use crate::farm::Farm;
use crate::ledger::Ledger;
use crate::rendering;

/// What became of a step that asked for its locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It may begin.
    Yes,
    /// Its build was stopped while it waited.
    Stopped,
    /// It will never have them, for this reason.
    Never(String),
}

/// Takes what a step wants, or waits for it. `in_spite`: the step runs although its build was stopped.
///
/// What it takes is noted in the ledger, so that it is durable with the step's beginning: before that nothing has left the
/// process, and a lock that dies with it is free.
pub(crate) async fn take_step(
    farm: &Farm,
    ledger: &Ledger,
    build: &Build,
    step: &Step,
    locks: &LockList,
    in_spite: bool,
) -> Result<Taken, Error> {
    if locks.is_empty() {
        return Ok(Taken::Yes);
    }
    if step.state != StepState::Pending && farm.locks.has_step(step.id) {
        return Ok(Taken::Yes);
    }
    let wanted = match locks {
        LockList::Fixed(wanted) => wanted.clone(),
        LockList::Function(function) => {
            match super::chosen(farm, build.plan, function, &rendering::context(build)).await? {
                Ok(wanted) => wanted,
                Err(reason) => return Ok(Taken::Never(reason)),
            }
        }
    };
    if wanted.is_empty() {
        return Ok(Taken::Yes);
    }
    let who = Holder::build(build.id, &build.builder, build.number).step(&step.name);
    // What a step that has begun holds was given to it by its row, before any build went on.
    let priority = match step.state {
        StepState::Pending => {
            let requests = farm.store.build_priority(build.id).await?;
            super::priority(requests, farm.plan().builder(&build.made_by))
        }
        _ => 0,
    };
    let note = |waits: Option<String>| {
        let record = Record::Locks {
            step: step.id,
            accesses: wanted.clone(),
            waits,
        };
        ledger.note(farm.clock.now(), record);
    };
    let mut turns = match farm.locks.ask(step.id, who, &build.worker, &wanted, priority) {
        Asked::Held => {
            if step.state == StepState::Pending {
                note(None);
            }
            return Ok(Taken::Yes);
        }
        Asked::Never(reason) => return Ok(Taken::Never(reason)),
        Asked::Waits(turns) => turns,
    };
    let mut stop = farm.stops.signal(build.id, in_spite);
    let mut leave = Leave(Some((farm, step)));
    loop {
        let turn = turns.borrow_and_update().clone();
        match turn {
            Turn::Waits(text) => note(Some(format!("waits for {text}"))),
            Turn::Given => break,
            Turn::Never(reason) => return Ok(Taken::Never(reason)),
        }
        tokio::select! {
            changed = turns.changed() => if changed.is_err() {
                return Err(Error::failed("wait for a lock", "nobody gives it out any more"));
            },
            () = stopped(&mut stop) => return Ok(Taken::Stopped),
        }
    }
    leave.0 = None;
    note(None);
    Ok(Taken::Yes)
}

/// Who stops waiting, for whatever reason, wants nothing any more.
struct Leave<'a>(Option<(&'a Farm, &'a Step)>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some((farm, step)) = self.0 {
            farm.locks.drop_step(step.id);
        }
    }
}

async fn stopped(stop: &mut tokio::sync::watch::Receiver<Option<String>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // Nobody can stop it any more.
        std::future::pending::<()>().await;
    }
}

/// Gives back what a step held, once its end is durable: the next one to have it must not be on record beside this one.
pub(crate) async fn release_step(
    farm: &Farm,
    ledger: &Ledger,
    step: StepId,
    locks: &LockList,
) -> Result<(), Error> {
    if locks.is_empty() {
        return Ok(());
    }
    ledger.commit(farm).await?;
    if farm.locks.drop_step(step) {
        farm.workers_changed.notify_one();
    }
    Ok(())
}
