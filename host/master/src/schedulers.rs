//! Feeds the schedulers: one task each, which calls the plugin with the next event or timer and commits its decision.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{CallError, Decision, Finished, Plugin, SchedulerEvent};
use capstan_model::plan::{Plan, Scheduler};
use capstan_model::plugin::Kind;
use capstan_store::{Consumed, NewBuildset, Timer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::definitions::Definitions;
use crate::farm::Farm;
use crate::plugins::watch::Advice;
use crate::plugins::{TakenOver, author, take_over};

/// When nothing rings, look again after so long: a clock may have jumped.
const IDLE: Duration = Duration::from_secs(30);
/// How often to see whether the clock was turned back, and by how much it has to be to matter.
const LOOK: Duration = Duration::from_secs(5);
const TURNED_MS: u64 = 5_000;
/// The pause after a call of a version that is on trial failed.
const ON_TRIAL: Duration = Duration::from_millis(100);
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
    let mut bell = farm.store.work_bell();
    let mut attempts = 0;
    loop {
        bell.borrow_and_update();
        let pause = match handle_next(&farm, &scheduler, attempts).await {
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

async fn handle_next(farm: &Farm, scheduler: &Scheduler, attempts: u32) -> Result<Next, Error> {
    let now = farm.clock.now();
    let (consumed, event) = match farm.store.next_event(&scheduler.name).await? {
        Some((id, event)) => (Consumed::Event(id), to_engine(event)),
        None => match farm.store.next_timer(&scheduler.name).await? {
            Some((name, at)) if at <= now => (
                Consumed::Timer {
                    name: name.clone(),
                    at,
                },
                SchedulerEvent::Timer(name),
            ),
            Some((_, at)) => return Ok(Next::Wait(Duration::from_millis(at.since(now) + 1).min(IDLE))),
            None => return Ok(Next::Wait(IDLE)),
        },
    };
    // What was put in its place takes the event; this one is about to be ended.
    if !farm.plan().schedulers.contains(scheduler) {
        return Ok(Next::Wait(IDLE));
    }
    let stored = farm.store.scheduler_state(&scheduler.name).await?;
    let (plugin, caller) = farm.plugin(Kind::Scheduler, &scheduler.name, &scheduler.plugin)?;
    let config = &scheduler.plugin.config;
    let TakenOver { bytes, foreign } = match take_over(&plugin, &caller, config, stored).await {
        Ok(state) => state,
        Err(error) => return Ok(cannot_take_over(farm, &plugin, &error)),
    };
    let answer = plugin.handle(&caller, config, &bytes, now, event).await;
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
    let decision = match answer.and_then(|d| checked(scheduler, d).map_err(|reason| (false, reason))) {
        Ok(decision) => decision,
        Err((true, reason)) => return Ok(Next::Again(reason)),
        Err((false, reason)) => {
            return give_up(farm, scheduler, consumed, &reason).await;
        }
    };
    let decision = to_store(scheduler, &plugin, decision);
    match farm
        .store
        .commit_decision(&scheduler.name, consumed.clone(), decision, now)
        .await
    {
        Ok(_) => Ok(Next::Handled),
        // The event or timer is gone: somebody else handled it, and nothing was written.
        Err(capstan_store::Error::Conflict { .. }) => Ok(Next::Handled),
        // It names something that does not exist, and would do so again.
        Err(error @ capstan_store::Error::Invalid { .. }) => {
            give_up(farm, scheduler, consumed, &error.to_string()).await
        }
        Err(other) => Err(other.into()),
    }
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

fn to_engine(event: capstan_store::SchedulerEvent) -> SchedulerEvent {
    match event {
        capstan_store::SchedulerEvent::Started => SchedulerEvent::Started,
        capstan_store::SchedulerEvent::Change(change) => SchedulerEvent::Change(change),
        capstan_store::SchedulerEvent::Finished(build) => SchedulerEvent::Finished(Finished {
            builder: build.builder,
            number: build.number,
            outcome: build.outcome,
            sources: build.sources,
        }),
    }
}

/// A scheduler may ask for its own builders only.
fn checked(scheduler: &Scheduler, decision: Decision) -> Result<Decision, String> {
    for name in decision
        .submit
        .iter()
        .flat_map(|buildset| buildset.builders.iter().flatten())
    {
        if !scheduler.builders.contains(name) {
            let own = scheduler.builders.join(", ");
            return Err(format!(
                "expected one of the scheduler's builders ({own}), found `{name}`"
            ));
        }
    }
    Ok(decision)
}

fn to_store(scheduler: &Scheduler, plugin: &Plugin, decision: Decision) -> capstan_store::Decision {
    let submit = decision.submit.into_iter().map(|set| NewBuildset {
        scheduler: Some(scheduler.name.clone()),
        builders: set.builders.unwrap_or_else(|| scheduler.builders.clone()),
        sources: set.sources,
        priority: set.priority,
        reason: set.reason,
        properties: set.properties,
        changes: set.changes,
    });
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
