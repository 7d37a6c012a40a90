//! A step that asks schedulers for builds, and waits for them. The call has a key that its row of the journal gives, so that a master
//! that takes the step up makes the same call; the wait ends by what the store says of the buildsets.

use std::time::Duration;

use capstan_engine::{Abandoned, Awaited, Child, Children, StopSignal, Triggered};
use capstan_model::BuildsetId;
use capstan_model::plugin::Kind;
use capstan_store::{CallAnswer, ChildSet};
use serde_json::Value;

use super::{Host, abandoned};
use crate::Error;
use crate::farm::Farm;
use crate::locks::{Family, Parent};
use crate::{rebuild, workers};

/// What is waited for may have come with a bell that rang before, and circles may close without one.
const LOOK: Duration = Duration::from_secs(1);
/// Bells are many on a farm that is busy: not looked at more often than this.
const SHORTEST: Duration = Duration::from_millis(100);
/// How long a build that is stopped waits for the answer to a call.
const LAST: Duration = Duration::from_secs(5);

impl Host {
    pub(super) async fn call_scheduler(
        &self,
        seq: u32,
        scheduler: String,
        mut call: Value,
        stop: StopSignal,
    ) -> Result<Triggered, Abandoned> {
        let key = format!("step/{}/{seq}", self.step);
        let parent = self.parent().await?;
        let owner = format!("{}/{}", parent.builder, parent.number);
        if call["reason"].is_null() {
            call["reason"] = format!("triggered by {owner}").into();
        }
        call["owner"] = owner.into();
        let store = &self.farm.store;
        let mut bell = store.work_bell();
        let mut stopped = None;
        loop {
            bell.borrow_and_update();
            let known = store.call_by_key(&key).await.map_err(abandoned)?;
            if let Some(answer) = known.as_ref().and_then(|call| call.answer.clone()) {
                return Ok(told(answer));
            }
            // Nobody answers for one that is gone.
            if let Some(reason) = takes_none(&self.farm, &scheduler) {
                return self
                    .withdraw(
                        &key,
                        &reason,
                        Triggered::Refused(vec![(String::new(), reason.clone())]),
                    )
                    .await;
            }
            if known.is_none() {
                let now = self.farm.clock.now();
                let made = store.call_scheduler_for(parent.build, &scheduler, &key, call.clone(), now);
                match made.await {
                    Ok(_) => continue,
                    Err(capstan_store::Error::Conflict { .. }) => {
                        let reason = format!(
                            "the scheduler is disabled; `capstan scheduler enable {scheduler}` switches it on"
                        );
                        return Ok(Triggered::Refused(vec![(String::new(), reason)]));
                    }
                    Err(error @ capstan_store::Error::Invalid { .. }) => {
                        return Ok(Triggered::Refused(vec![(String::new(), error.to_string())]));
                    }
                    Err(other) => return Err(abandoned(other)),
                }
            }
            let reason = stop.borrow().clone();
            if let Some(reason) = reason {
                let since = stopped.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() > LAST {
                    let text = format!("the build that asked was stopped: {reason}");
                    return self.withdraw(&key, &text, Triggered::Cancelled(reason)).await;
                }
            }
            tokio::select! {
                _ = bell.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Nobody waits for the answer any more: it is not to be given later, either. One that was given meanwhile counts.
    async fn withdraw(&self, key: &str, reason: &str, instead: Triggered) -> Result<Triggered, Abandoned> {
        let (store, now) = (&self.farm.store, self.farm.clock.now());
        let answer = store.withdraw_call(key, reason, now).await.map_err(abandoned)?;
        Ok(answer.map_or(instead, told))
    }

    pub(super) async fn wait_buildsets(
        &self,
        ids: Vec<BuildsetId>,
        give_back: bool,
    ) -> Result<Awaited, Abandoned> {
        let parent = self.parent().await?;
        self.wait_for(&parent, &ids, give_back).await.map_err(abandoned)
    }

    async fn wait_for(&self, parent: &Parent, ids: &[BuildsetId], give_back: bool) -> Result<Awaited, Error> {
        let farm = &*self.farm;
        let mut waiting = Waiting {
            farm,
            parent,
            suspected: false,
        };
        let mut bell = farm.store.work_bell();
        let sets = loop {
            bell.borrow_and_update();
            let sets = farm.store.child_sets(ids).await?;
            if sets.len() < ids.iter().collect::<std::collections::BTreeSet<_>>().len() {
                return Err(Error::failed(
                    "wait for what was asked for",
                    "some of it is not there any more",
                ));
            }
            if sets.iter().all(|set| set.outcome.is_some()) {
                break sets;
            }
            if give_back && !farm.slots.has_given(parent.build) {
                farm.slots.release_slot(parent.build, &parent.worker);
                farm.workers_changed.notify_one();
            }
            if let Some(reason) = waiting.circle(Some(&sets)).await? {
                // Nobody waits for them any more. What has begun may be of use all the same.
                let why = format!("{}/{} waits no more: {reason}", parent.builder, parent.number);
                farm.store.cancel_waiting(ids, &why, farm.clock.now()).await?;
                return Ok(Awaited::Deadlock(reason));
            }
            pause(&mut bell).await;
        };
        if farm.slots.has_given(parent.build) {
            let mut back = farm.slots.take_back(parent.build);
            farm.workers_changed.notify_one();
            waiting.suspected = false;
            while !*back.borrow_and_update() {
                if let Some(reason) = waiting.circle(None).await? {
                    return Ok(Awaited::Deadlock(reason));
                }
                tokio::select! {
                    changed = back.changed() => if changed.is_err() { break },
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
        drop(waiting);
        let mut children = Vec::with_capacity(sets.len());
        for set in sets {
            children.push(self.children(set).await?);
        }
        Ok(Awaited::Completed(children))
    }

    async fn children(&self, set: ChildSet) -> Result<Children, Error> {
        let child = |request: &capstan_store::ChildRequest| {
            let build = request.build.as_ref()?;
            Some(Child {
                builder: build.builder.clone(),
                number: build.number,
                outcome: build.outcome?,
            })
        };
        Ok(Children {
            buildset: set.buildset,
            outcome: set.outcome.unwrap_or(capstan_model::Outcome::Exception),
            builds: set.requests.iter().filter_map(child).collect(),
            scheduler: set.scheduler,
        })
    }

    pub(super) async fn cancel_buildsets(
        &self,
        ids: Vec<BuildsetId>,
        reason: String,
    ) -> Result<(), Abandoned> {
        let parent = self.parent().await?;
        let reason = format!("{}/{} was stopped: {reason}", parent.builder, parent.number);
        for id in ids {
            match rebuild::cancel(&self.farm, id, &reason).await {
                // It has ended meanwhile.
                Ok(_) | Err(Error::Conflict(_) | Error::NotFound { .. }) => {}
                Err(other) => return Err(abandoned(other)),
            }
        }
        Ok(())
    }

    async fn parent(&self) -> Result<Parent, Abandoned> {
        let found = self.build().clone();
        let row = match found {
            Some(row) => row,
            None => {
                let row = self.farm.store.build(self.build_id).await.map_err(abandoned)?;
                std::sync::Arc::new(row.ok_or_else(|| abandoned("its build has no row"))?)
            }
        };
        Ok(Parent {
            build: row.id,
            builder: row.builder.clone(),
            number: row.number,
            worker: row.worker.clone(),
        })
    }
}

/// Who waits; for whatever reason it ends, it waits no more, and its slot counts again.
struct Waiting<'a> {
    farm: &'a Farm,
    parent: &'a Parent,
    /// Whether the last look found a circle: what was read from several places may have changed between.
    suspected: bool,
}

impl Waiting<'_> {
    /// Why waiting will never end, if two looks in a row say so.
    async fn circle(&mut self, children: Option<&[ChildSet]>) -> Result<Option<String>, Error> {
        let plan = self.farm.plan();
        let places = workers::anywhere(self.farm, &plan).await?;
        let running = self.farm.store.running_builds().await?;
        let family = Family {
            parent: self.parent,
            plan: &plan,
            places: &places,
            running: &running,
            folders: &|build| workers::directory(&plan, build),
            given: &|build| self.farm.slots.has_given(build),
            children,
        };
        let found = self.farm.locks.awaits(&family, self.suspected);
        let certain = std::mem::replace(&mut self.suspected, found.is_some());
        Ok(found.filter(|_| certain).map(|circle| {
            let hint = match circle.0.contains("a slot of the worker") {
                true => "; `give_back = True` lets others use the slot of a build that waits",
                false => "",
            };
            format!("waiting would never end: {}{hint}", circle.0)
        }))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.farm.locks.awaits_no_more(self.parent.build);
        self.farm.slots.forget(self.parent.build);
        self.farm.workers_changed.notify_one();
    }
}

async fn pause(bell: &mut tokio::sync::watch::Receiver<()>) {
    tokio::time::sleep(SHORTEST).await;
    tokio::select! {
        _ = bell.changed() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

fn told(answer: CallAnswer) -> Triggered {
    match answer {
        CallAnswer::Made(made) => Triggered::Made(made.into_iter().map(|set| set.buildset).collect()),
        CallAnswer::Refused(problems) => {
            let each = problems.into_iter();
            Triggered::Refused(each.map(|problem| (problem.path, problem.message)).collect())
        }
    }
}

/// Why a scheduler cannot be asked, by the plan in force.
fn takes_none(farm: &Farm, name: &str) -> Option<String> {
    let plan = farm.plan();
    let Some(scheduler) = plan.schedulers.iter().find(|scheduler| scheduler.name == name) else {
        let names: Vec<_> = plan
            .schedulers
            .iter()
            .map(|scheduler| scheduler.name.as_str())
            .collect();
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        return Some(format!(
            "expected a scheduler of the configuration ({known}), found none of this name"
        ));
    };
    match farm.plugin(Kind::Scheduler, name, &scheduler.plugin) {
        Ok((plugin, _)) if plugin.takes_calls() => None,
        Ok((plugin, _)) => Some(format!(
            "it is of {}, which cannot be asked for builds; triggerable, nightly-triggerable and force can",
            plugin.name()
        )),
        Err(error) => Some(error.to_string()),
    }
}
