//! Feeds the schedulers: one task each, which calls the plugin with the next event or timer and commits its decision.

mod asking;
mod choices;
mod choosing;
mod judging;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use asking::followers;
pub use asking::{Called, SchedulerStatus};
use capstan_engine::{CallError, Completed, CompletedBuild, Decision, Finished, Plugin, SchedulerEvent};
use capstan_model::plan::{Plan, Scheduler};
use capstan_model::plugin::Kind;
use capstan_model::{Outcome, Timestamp};
use capstan_store::{CallProblem, CompletedBuildset, Consumed, NewBuildset, Timer};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::farm::Farm;
use crate::plugins::watch::Advice;
use crate::plugins::{TakenOver, author, take_over};
use crate::{Error, rebuild};

/// When nothing rings, look again after so long: a clock may have jumped.
const IDLE: Duration = Duration::from_secs(30);
/// How often to see whether the clock was turned back, and by how much it has to be to matter.
const LOOK: Duration = Duration::from_secs(5);
const TURNED_MS: u64 = 5_000;
/// The pause after a call of a version that is on trial failed.
const ON_TRIAL: Duration = Duration::from_millis(100);
/// Who is woken by a timer is not woken by the next one before so long: one that asks for a moment that is over would keep the
/// database busy without end.
const SHORTEST: Duration = Duration::from_millis(200);
/// Attempts at one event before it is given up; each is reported.
const ATTEMPTS: u32 = 5;

/// Runs until `shutdown`. A call that is cut off because its scheduler changed is made again: it changed nothing.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut plans = farm.plans();
    let mut tasks = Definitions::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        let wanted = plan.schedulers.iter().map(|s| (s.name.clone(), s.clone()));
        tasks.replace(wanted, |scheduler| serve(farm.clone(), scheduler));
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = plans.changed() => if changed.is_err() { return },
            never = watch_clock(&farm, &plan) => match never {},
        }
    }
}

/// Tells the schedulers to look anew when the clock was turned back, as after a restart: what they wait for would come too late
/// by as much. When it was turned forward, timers are due early, and `serve` looks by itself.
async fn watch_clock(farm: &Farm, plan: &Plan) -> Infallible {
    loop {
        let (before, began) = (farm.clock.now(), Instant::now());
        tokio::time::sleep(LOOK).await;
        let expected = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let back = before.plus_ms(expected).since(farm.clock.now());
        if back < TURNED_MS {
            continue;
        }
        tracing::warn!(
            seconds = back / 1000,
            "the clock was turned back; schedulers look anew"
        );
        for scheduler in &plan.schedulers {
            let started = capstan_store::SchedulerEvent::Started;
            let told = farm
                .store
                .enqueue_event(&scheduler.name, started, farm.clock.now())
                .await;
            if let Err(error) = told {
                tracing::error!(scheduler = scheduler.name, %error, "failed to tell a scheduler of the clock");
            }
        }
    }
}

async fn serve(farm: Arc<Farm>, scheduler: Scheduler) {
    let mut bell = farm.store.scheduler_bell(&scheduler.name);
    let mut attempts = 0;
    // Whether it was said that it wants to be woken too early.
    let mut told = false;
    loop {
        bell.borrow_and_update();
        let pause = match handle_next(&farm, &scheduler, attempts, &mut told).await {
            Ok(Next::Handled) => {
                attempts = 0;
                continue;
            }
            Ok(Next::Again(reason)) => {
                attempts += 1;
                tracing::warn!(
                    scheduler = scheduler.name,
                    reason,
                    attempts,
                    "a scheduler's call failed"
                );
                tokio::time::sleep(Duration::from_secs(1 << attempts.min(6))).await;
                continue;
            }
            Ok(Next::Soon(reason)) => {
                tracing::warn!(
                    scheduler = scheduler.name,
                    reason,
                    "a scheduler's new version failed"
                );
                tokio::time::sleep(ON_TRIAL).await;
                continue;
            }
            Ok(Next::Wait(pause)) => pause,
            Err(error) => {
                tracing::error!(scheduler = scheduler.name, %error, "failed to serve a scheduler");
                Duration::from_secs(5)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = bell.changed() => if changed.is_err() { return },
        }
    }
}

enum Next {
    Handled,
    /// The call failed, and counts as one of the attempts at its event.
    Again(String),
    /// A version that may be given up soon failed: the event waits for whichever version is in force then.
    Soon(String),
    Wait(Duration),
}

async fn handle_next(
    farm: &Farm,
    scheduler: &Scheduler,
    attempts: u32,
    told: &mut bool,
) -> Result<Next, Error> {
    let now = farm.clock.now();
    let (consumed, event) = match farm.store.next_event(&scheduler.name).await? {
        Some((id, event)) => (Consumed::Event(id), event.into()),
        None => match farm.store.next_timer(&scheduler.name).await? {
            Some((name, at)) if at <= now => (
                Consumed::Timer {
                    name: name.clone(),
                    at,
                },
                Told::Event(SchedulerEvent::Timer(name)),
            ),
            Some((_, at)) => return Ok(Next::Wait(Duration::from_millis(at.since(now) + 1).min(IDLE))),
            None => return Ok(Next::Wait(IDLE)),
        },
    };
    // What was put in its place takes the event; this one is about to be ended.
    let plan = farm.plan();
    if !plan.schedulers.contains(scheduler) {
        return Ok(Next::Wait(IDLE));
    }
    if !farm.store.scheduler_enabled(&scheduler.name).await? {
        farm.store.drop_events(&scheduler.name, now).await?;
        return Ok(Next::Wait(IDLE));
    }
    let stored = farm.store.scheduler_state(&scheduler.name).await?;
    let event = match event {
        Told::Event(SchedulerEvent::Change(change)) => {
            match judging::change(farm, &plan, scheduler, change).await? {
                Some(change) => Told::Event(SchedulerEvent::Change(change)),
                None => return pass_over(farm, scheduler, consumed, stored).await,
            }
        }
        other => other,
    };
    let (plugin, caller) = farm.plugin(Kind::Scheduler, &scheduler.name, &scheduler.plugin)?;
    let config = &scheduler.plugin.config;
    let TakenOver { bytes, foreign } = match take_over(&plugin, &caller, config, stored).await {
        Ok(state) => state,
        Err(error) => return Ok(cannot_take_over(farm, &plugin, &error)),
    };
    let is_call = matches!(event, Told::Call(_));
    let answer = match event {
        Told::Event(event) => plugin.handle(&caller, config, &bytes, now, event).await,
        Told::Completed(set) => plugin.completed(&caller, config, &bytes, now, *set).await,
        Told::Call(call) => {
            let config = choices::live(farm, &plan, scheduler, &call["values"], &call["builders"]).await?;
            plugin.call(&caller, &config, &bytes, now, &call).await
        }
    };
    // Nothing is wrong with the plugin: whoever asked is told what is wrong with the question.
    if let (true, Err(CallError::InvalidConfig(found))) = (is_call, &answer) {
        return refuse(farm, scheduler, consumed, asking::problems(found.clone())).await;
    }
    let advice = match &answer {
        // It has written nothing yet: the version before can go on where it was.
        Err(CallError::Permanent(_) | CallError::Malformed(_) | CallError::InvalidConfig(_)) if foreign => {
            farm.unfit(&plugin)
        }
        Err(CallError::Trap(_)) => farm.trapped(&plugin),
        _ => Advice::Usual,
    };
    let answer = match answer {
        Err(error) if advice != Advice::Usual => return Ok(Next::Soon(error.to_string())),
        other => other,
    };
    let answer = answer.map_err(|e| match e {
        CallError::Transient(reason) => (true, reason),
        other => (attempts + 1 < ATTEMPTS, other.to_string()),
    });
    let decision = match answer {
        Ok(decision) => decision,
        Err((true, reason)) => return Ok(Next::Again(reason)),
        Err((false, reason)) => {
            return give_up(farm, scheduler, consumed, &reason).await;
        }
    };
    let mut decision = match choosing::choose(farm, &plan, scheduler, decision).await? {
        Ok(decision) => decision,
        Err(message) if is_call => {
            let path = "builders".to_owned();
            return refuse(farm, scheduler, consumed, vec![CallProblem { path, message }]).await;
        }
        Err(reason) => return give_up(farm, scheduler, consumed, &reason).await,
    };
    for set in &mut decision.submit {
        judging::priority(farm, &plan, scheduler, set).await?;
    }
    let mut decision = to_store(&plan, scheduler, &plugin, decision);
    if matches!(consumed, Consumed::Timer { .. })
        && let Some((name, at)) = not_at_once(&mut decision.set_timers, now)
        && !std::mem::replace(told, true)
    {
        tracing::warn!(
            scheduler = scheduler.name,
            timer = name,
            asked_ms = at.0.saturating_sub(now.0),
            pause_ms = SHORTEST.as_millis(),
            "a scheduler that was woken asks to be woken again at once; it is woken after the shortest pause"
        );
    }
    match farm
        .store
        .commit_decision(&scheduler.name, consumed.clone(), decision, now)
        .await
    {
        Ok(_) => Ok(Next::Handled),
        // The event or timer is gone: somebody else handled it, and nothing was written.
        Err(capstan_store::Error::Conflict { .. }) => Ok(Next::Handled),
        // It names something that does not exist, and would do so again.
        Err(error @ capstan_store::Error::Invalid { .. }) if is_call => {
            let message = error.to_string();
            let path = String::new();
            refuse(farm, scheduler, consumed, vec![CallProblem { path, message }]).await
        }
        Err(error @ capstan_store::Error::Invalid { .. }) => {
            give_up(farm, scheduler, consumed, &error.to_string()).await
        }
        Err(other) => Err(other.into()),
    }
}

/// Puts timers that are due at once off by the shortest pause; answers the first of them, as it was asked for.
fn not_at_once(timers: &mut [Timer], now: Timestamp) -> Option<(String, Timestamp)> {
    let earliest = now.plus_ms(i64::try_from(SHORTEST.as_millis()).unwrap_or(i64::MAX));
    let mut first = None;
    for timer in timers.iter_mut().filter(|timer| timer.at < earliest) {
        let asked = std::mem::replace(&mut timer.at, earliest);
        first.get_or_insert_with(|| (timer.name.clone(), asked));
    }
    first
}

/// A new version cannot read what the one before remembered. No event is given up for that: the version is, if there is one to
/// go back to, or else somebody has to bring a better one.
fn cannot_take_over(farm: &Farm, plugin: &Plugin, error: &CallError) -> Next {
    let reason = format!("it cannot take over the state of another version: {error}");
    match error {
        CallError::Transient(_) => Next::Again(reason),
        CallError::Trap(_) => match farm.trapped(plugin) {
            Advice::Usual => Next::Again(reason),
            Advice::Again | Advice::Wait => Next::Soon(reason),
        },
        _ => match farm.unfit(plugin) {
            Advice::Usual => Next::Again(reason),
            Advice::Again | Advice::Wait => Next::Soon(reason),
        },
    }
}

/// Consumes an event that a function of the configuration kept from the scheduler: nothing has happened to it.
async fn pass_over(
    farm: &Farm,
    scheduler: &Scheduler,
    consumed: Consumed,
    stored: Option<capstan_store::Memory>,
) -> Result<Next, Error> {
    let (state, by) = stored.map_or_else(Default::default, |memory| (memory.bytes, memory.by));
    let unchanged = capstan_store::Decision {
        state,
        by,
        ..capstan_store::Decision::default()
    };
    let now = farm.clock.now();
    match farm
        .store
        .commit_decision(&scheduler.name, consumed, unchanged, now)
        .await
    {
        Ok(_) | Err(capstan_store::Error::Conflict { .. }) => Ok(Next::Handled),
        Err(other) => Err(other.into()),
    }
}

/// Consumes an event without a decision; the scheduler's page says why.
async fn give_up(
    farm: &Farm,
    scheduler: &Scheduler,
    consumed: Consumed,
    reason: &str,
) -> Result<Next, Error> {
    tracing::error!(scheduler = scheduler.name, reason, "an event was given up");
    farm.store
        .scheduler_failed(&scheduler.name, consumed, reason, farm.clock.now())
        .await?;
    Ok(Next::Handled)
}

/// Answers a call that asks for what cannot be.
async fn refuse(
    farm: &Farm,
    scheduler: &Scheduler,
    consumed: Consumed,
    problems: Vec<CallProblem>,
) -> Result<Next, Error> {
    let now = farm.clock.now();
    let refused = farm
        .store
        .refuse_call(&scheduler.name, consumed, problems, now)
        .await;
    match refused {
        Ok(()) | Err(capstan_store::Error::Conflict { .. }) => Ok(Next::Handled),
        Err(other) => Err(other.into()),
    }
}

/// What a scheduler is told, by the function of its plugin that is.
enum Told {
    Event(SchedulerEvent),
    Completed(Box<Completed>),
    Call(Value),
}

impl From<capstan_store::SchedulerEvent> for Told {
    fn from(event: capstan_store::SchedulerEvent) -> Self {
        use capstan_store::SchedulerEvent as Stored;
        match event {
            Stored::Started => Self::Event(SchedulerEvent::Started),
            Stored::Change(change) => Self::Event(SchedulerEvent::Change(change)),
            Stored::Finished(build) => Self::Event(SchedulerEvent::Finished(Finished {
                builder: build.builder,
                number: build.number,
                outcome: build.outcome,
                sources: build.sources,
            })),
            Stored::Completed(set) => Self::Completed(Box::new(completed(*set))),
            Stored::Call(call) => Self::Call(call),
        }
    }
}

fn completed(set: CompletedBuildset) -> Completed {
    let build = |build: capstan_store::CompletedBuild| CompletedBuild {
        builder: build.builder,
        number: build.number,
        outcome: build.outcome,
        sources: build.sources,
    };
    let buildset = set.buildset;
    Completed {
        id: buildset.id,
        scheduler: buildset.scheduler.unwrap_or_default(),
        outcome: buildset.outcome.unwrap_or(Outcome::Skipped),
        reason: buildset.reason,
        sources: buildset.sources,
        properties: buildset.properties,
        changes: buildset.changes,
        builds: set.builds.into_iter().map(build).collect(),
    }
}

fn to_store(
    plan: &Plan,
    scheduler: &Scheduler,
    plugin: &Plugin,
    decision: Decision,
) -> capstan_store::Decision {
    let submit = decision.submit.into_iter().map(|set| NewBuildset {
        scheduler: Some(scheduler.name.clone()),
        builders: set.builders.unwrap_or_else(|| scheduler.builders.clone()),
        sources: set.sources,
        priority: set.priority,
        reason: set.reason,
        properties: set.properties,
        changes: set.changes,
        ..NewBuildset::default()
    });
    let submit = submit.map(|set| rebuild::obliged(plan, Some(scheduler), set));
    capstan_store::Decision {
        state: decision.state,
        by: Some(author(plugin)),
        buildsets: submit.collect(),
        set_timers: decision
            .set_timers
            .into_iter()
            .map(|t| Timer {
                name: t.name,
                at: t.at,
            })
            .collect(),
        clear_timers: decision.clear_timers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_over_is_put_off_and_named_as_it_was_asked_for() {
        let timer = |name: &str, at: i64| Timer {
            name: name.to_owned(),
            at: Timestamp(at),
        };
        let now = Timestamp(10_000);
        let mut timers = [timer("later", 60_000), timer("over", -5), timer("now", 10_000)];
        assert_eq!(
            not_at_once(&mut timers, now),
            Some(("over".to_owned(), Timestamp(-5)))
        );
        assert_eq!(
            timers,
            [
                timer("later", 60_000),
                timer("over", 10_200),
                timer("now", 10_200)
            ]
        );
        assert_eq!(
            not_at_once(&mut timers, now),
            None,
            "what is far enough off stays"
        );
    }
}
