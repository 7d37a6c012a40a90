//! Running a scenario of a scheduler: events along a virtual timeline, timers that fire by themselves.

use std::collections::BTreeMap;

use capstan_engine::{
    Buildset, CallError, Completed, CompletedBuild, Decision, Finished, Ports, SchedulerEvent,
};
use capstan_model::{BuildsetId, Change, ChangeId, NewChange, Timestamp};
use serde_json::{Value, json};

use crate::Run;
use crate::fit;
use crate::format::At;
use crate::format::scheduler::{self as format, Event, EventExpect, File, Migrate};
use crate::format::step::Stamp;
use crate::judge::{by_name, bytes, properties, remembered};
use crate::listen::unheard;
use crate::time::Time;
use crate::world::MOST_CALLS;

/// What happens to a scheduler.
#[derive(Clone, Debug)]
enum Happening {
    Event(SchedulerEvent),
    /// It is asked for builds.
    Call(Value),
    /// A buildset of one that it follows is complete.
    Completed(Box<Completed>),
}

/// A scheduler as the master keeps it.
struct Kept {
    now: Timestamp,
    state: Vec<u8>,
    timers: BTreeMap<String, Timestamp>,
    requests: Vec<Value>,
    next_change: i64,
}

pub(crate) fn run(run: &mut Run<'_>, file: &File) {
    let mut kept = Kept {
        now: run.judge.beginning,
        state: file
            .state
            .as_ref()
            .map(|state| bytes(&state.0))
            .unwrap_or_default(),
        timers: BTreeMap::new(),
        requests: Vec::new(),
        next_change: 1,
    };
    if let Some(migrate) = &file.migrate {
        match migrated(run, migrate, &kept.state) {
            Some(state) => kept.state = state,
            None => return,
        }
    }
    let mut failed = None;
    for event in &file.event {
        failed = one(run, &mut kept, event).err();
        if failed.is_some() {
            break;
        }
    }
    let last = kept.now.plus_ms(file.until.unwrap_or_default().0);
    if failed.is_none() {
        failed = pass(run, &mut kept, last).err();
    }
    let expect = &file.expect;
    run.judge
        .failure::<()>("the scheduler", expect.error.as_ref(), failed.as_deref(), None);
    run.judge
        .list("request", expect.requests.as_ref(), &kept.requests);
    run.judge
        .list("timer", expect.timers.as_ref(), &timers(&kept.timers));
    run.judge
        .value("state", expect.state.as_ref(), &remembered(&kept.state));
    run.judge.calls(expect.calls.as_ref(), &[]);
}

/// What a plugin makes of what an older version left; none if that ends the scenario.
pub(crate) fn migrated(run: &mut Run<'_>, migrate: &At<Migrate>, old: &[u8]) -> Option<Vec<u8>> {
    let (caller, file) = (run.caller(Ports::nowhere()), migrate.get_ref());
    let called = run.plugin.migrate(&caller, &run.parameters, &file.from, old);
    run.report.calls += 1;
    let answer = match Time::new(run.judge.beginning).run(called) {
        Ok(Ok(Some(new))) => Ok(new),
        Ok(Ok(None)) => Err("the plugin has no `migrate`".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(stuck) => Err(stuck.to_string()),
    };
    let failed = answer.as_ref().err().map(String::as_str);
    run.judge
        .failure("migrate", file.error.as_ref(), failed, Some(migrate));
    let new = answer.ok()?;
    run.judge
        .value("migrate", file.expect.as_ref(), &remembered(&new));
    Some(new)
}

/// Lets one event happen. The error ends the scenario.
fn one(run: &mut Run<'_>, kept: &mut Kept, event: &At<Event>) -> Result<(), String> {
    let facts = event.get_ref();
    let after = kept.now.plus_ms(facts.after.unwrap_or_default().0);
    let at = facts.at.map_or(after, |at| at.at(run.judge.beginning));
    if at < kept.now || (facts.at.is_some() && facts.after.is_some()) {
        let now = run.judge.since(kept.now.0);
        run.judge.fault(
            Some(event),
            format!("event: expected either `after` or an `at` that is not before {now}, where the event before is"),
        );
        return Ok(());
    }
    pass(run, kept, at)?;
    let happens = match event_of(facts, kept, run.judge.beginning) {
        Ok(happens) => happens,
        Err(text) => {
            run.judge.fault(Some(event), text);
            return Ok(());
        }
    };
    if let Happening::Event(SchedulerEvent::Timer(name)) = &happens {
        kept.timers.remove(name);
    }
    let answer = handle(run, kept, happens)?;
    let expect = facts.expect.clone().unwrap_or_default();
    let failed = answer.as_ref().err().map(ToString::to_string);
    if expect.error.is_none()
        && let Some(text) = failed
    {
        return Err(text);
    }
    run.judge
        .failure("event", expect.error.as_ref(), failed.as_deref(), Some(event));
    if let Ok(decision) = answer {
        judge(run, kept, &expect, &decision);
    }
    Ok(())
}

fn judge(run: &mut Run<'_>, kept: &Kept, expect: &EventExpect, decision: &Decision) {
    let requests: Vec<Value> = decision.submit.iter().map(|set| request(kept.now, set)).collect();
    run.judge.list("request", expect.requests.as_ref(), &requests);
    let set = decision
        .set_timers
        .iter()
        .map(|timer| (timer.name.clone(), timer.at))
        .collect();
    run.judge.list("timer", expect.timers.as_ref(), &timers(&set));
    if let Some(cleared) = expect
        .cleared
        .as_ref()
        .filter(|cleared| *cleared.get_ref() != decision.clear_timers)
    {
        let message = format!(
            "cleared: expected {:?}, found {:?}",
            cleared.get_ref(),
            decision.clear_timers
        );
        run.judge.fault(Some(cleared), message);
    }
    run.judge
        .value("state", expect.state.as_ref(), &remembered(&decision.state));
}

/// Lets time pass; timers that become due fire at their time.
fn pass(run: &mut Run<'_>, kept: &mut Kept, until: Timestamp) -> Result<(), String> {
    loop {
        let due = kept.timers.iter().filter(|(_, at)| **at <= until);
        let Some((name, at)) = due
            .min_by_key(|(_, at)| **at)
            .map(|(name, at)| (name.clone(), *at))
        else {
            kept.now = kept.now.max(until);
            return Ok(());
        };
        kept.timers.remove(&name);
        kept.now = kept.now.max(at);
        let shown = format!("timer `{name}` at {}", run.judge.since(kept.now.0));
        handle(run, kept, Happening::Event(SchedulerEvent::Timer(name)))?
            .map_err(|error| format!("{shown}: {error}"))?;
    }
}

/// Calls the scheduler, twice, and takes over what it decides. The outer error ends the scenario.
fn handle(
    run: &mut Run<'_>,
    kept: &mut Kept,
    event: Happening,
) -> Result<Result<Decision, CallError>, String> {
    if run.report.calls as usize >= MOST_CALLS {
        return Err(format!(
            "expected at most {MOST_CALLS} calls, found more: does time go on?"
        ));
    }
    let caller = run.caller(Ports::nowhere());
    let time = Time::new(kept.now);
    let decide = |event| {
        let (plugin, parameters, state, now) = (&run.plugin, &run.parameters, &kept.state, kept.now);
        let answer = match event {
            Happening::Event(event) => time.run(plugin.handle(&caller, parameters, state, now, event)),
            Happening::Call(call) => time.run(plugin.call(&caller, parameters, state, now, &call)),
            Happening::Completed(set) => time.run(plugin.completed(&caller, parameters, state, now, *set)),
        };
        answer.map_err(|stuck| stuck.to_string())
    };
    let (first, second) = (decide(event.clone())?, unheard(|| decide(event.clone()))?);
    run.report.calls += 2;
    if first != second {
        let shown = |answer| fit::cut(&format!("{answer:?}"));
        return Err(format!(
            "it does not repeat itself\n  event:  {}\n  first:  {}\n  second: {}",
            fit::cut(&format!("{event:?}")),
            shown(&first),
            shown(&second)
        ));
    }
    if let Ok(decision) = &first {
        kept.state.clone_from(&decision.state);
        for name in &decision.clear_timers {
            kept.timers.remove(name);
        }
        let set = decision
            .set_timers
            .iter()
            .map(|timer| (timer.name.clone(), timer.at));
        kept.timers.extend(set);
        kept.requests
            .extend(decision.submit.iter().map(|set| request(kept.now, set)));
    }
    Ok(first)
}

fn timers(timers: &BTreeMap<String, Timestamp>) -> Vec<Value> {
    let mut all: Vec<_> = timers.iter().map(|(name, at)| (at.0, name)).collect();
    all.sort();
    all.into_iter()
        .map(|(at, name)| json!({ "name": name, "at": at }))
        .collect()
}

fn request(at: Timestamp, set: &Buildset) -> Value {
    json!({
        "at": at.0, "builders": set.builders, "sources": set.sources, "priority": set.priority,
        "reason": set.reason, "properties": by_name(&set.properties), "changes": set.changes,
    })
}

/// What a table means.
fn event_of(event: &Event, kept: &mut Kept, beginning: Timestamp) -> Result<Happening, String> {
    let mut beside = Vec::new();
    if let Some(call) = &event.call {
        beside.push(Happening::Call(call.0.clone()));
    }
    if let Some(set) = &event.completed {
        beside.push(Happening::Completed(Box::new(completed_of(set))));
    }
    let mut all = Vec::new();
    if event.started {
        all.push(SchedulerEvent::Started);
    }
    if let Some(change) = &event.change {
        all.push(SchedulerEvent::Change(Box::new(change_of(
            change, kept, beginning,
        ))));
    }
    if let Some(name) = &event.timer {
        all.push(SchedulerEvent::Timer(name.clone()));
    }
    if let Some(finished) = &event.finished {
        all.push(SchedulerEvent::Finished(Finished {
            builder: finished.builder.clone(),
            number: finished.number,
            outcome: finished.outcome,
            sources: finished.sources.iter().map(Into::into).collect(),
        }));
    }
    let mut all: Vec<_> = all.into_iter().map(Happening::Event).chain(beside).collect();
    match (all.pop(), all.is_empty()) {
        (Some(event), true) => Ok(event),
        (found, _) => {
            let number = all.len() + usize::from(found.is_some());
            Err(format!(
                "event: expected one of `started = true`, `change`, `timer`, `finished`, `call` and `completed`, found {number}"
            ))
        }
    }
}

fn completed_of(set: &format::Completed) -> Completed {
    let stamps = |list: &[Stamp]| list.iter().map(Into::into).collect();
    let build = |build: &format::Finished| CompletedBuild {
        builder: build.builder.clone(),
        number: build.number,
        outcome: build.outcome,
        sources: stamps(&build.sources),
    };
    Completed {
        id: BuildsetId(set.id),
        scheduler: set.scheduler.clone(),
        outcome: set.outcome,
        reason: set.reason.clone(),
        sources: stamps(&set.sources),
        properties: properties(&set.properties),
        changes: set.changes.iter().copied().map(ChangeId).collect(),
        builds: set.builds.iter().map(build).collect(),
    }
}

fn change_of(change: &format::Change, kept: &mut Kept, beginning: Timestamp) -> Change {
    let id = change.id.unwrap_or(kept.next_change);
    kept.next_change = id.saturating_add(1);
    let when = change.when.map_or(kept.now, |when| when.at(beginning));
    Change {
        id: ChangeId(id),
        source: change.source.clone(),
        received: kept.now,
        facts: NewChange {
            dedup_key: format!("change-{id}"),
            codebase: change.codebase.clone(),
            repository: change.repository.clone(),
            project: change.project.clone(),
            branch: change.branch.clone(),
            revision: change.revision.clone(),
            author: change.author.clone(),
            comments: change.comments.clone(),
            files: change.files.clone(),
            category: change.category.clone(),
            when,
            properties: properties(&change.properties),
        },
    }
}
