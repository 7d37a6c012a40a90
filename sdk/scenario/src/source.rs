//! Running a scenario of a change source: poll by poll, each made twice.

use capstan_engine::{CallError, Poll};
use serde_json::{Value, json};

use crate::Run;
use crate::fit;
use crate::format::At;
use crate::format::source::{self as format, File};
use crate::judge::{by_name, bytes, remembered};
use crate::listen::unheard;
use crate::scheduler::migrated;
use crate::time::Time;
use crate::world::{Inner, World, http_rules};

pub(crate) fn run(run: &mut Run<'_>, file: &File) {
    let world = World::new(Inner {
        http: http_rules(&file.http),
        ..Inner::default()
    });
    let mut cursor = file
        .cursor
        .as_ref()
        .map(|cursor| bytes(&cursor.0))
        .unwrap_or_default();
    if let Some(migrate) = &file.migrate {
        match migrated(run, migrate, &cursor) {
            Some(new) => cursor = new,
            None => return,
        }
    }
    let time = Time::new(run.judge.beginning);
    let (mut again_ms, mut changes, mut failed) = (0, Vec::new(), None);
    for poll in &file.poll {
        let facts = poll.get_ref();
        let pause = facts.after.map_or(again_ms, |after| after.0);
        time.set(time.now().plus_ms(pause));
        prepare(run, &world, facts);
        let start = world.inner().begin();
        let answer = twice(run, &world, &time, &cursor, start);
        run.judge
            .calls(facts.expect.calls.as_ref(), &world.inner().calls(start));
        match answer {
            Ok(Ok(found)) => {
                again_ms = i64::try_from(found.poll_again_ms).unwrap_or(i64::MAX);
                cursor.clone_from(&found.cursor);
                let new = judge(run, poll, &found);
                changes.extend(new);
            }
            Ok(Err(error)) if facts.expect.error.is_some() => {
                run.judge.text(
                    "poll: error",
                    facts.expect.error.as_ref(),
                    Some(&error.to_string()),
                );
            }
            Ok(Err(error)) => failed = Some(error.to_string()),
            Err(text) => failed = Some(text),
        }
        if failed.is_some() {
            break;
        }
    }
    if let Some(text) = world.inner().missing.clone() {
        run.judge.whole(text);
    }
    let expect = &file.expect;
    run.judge.failure::<()>(
        "the change source",
        expect.error.as_ref(),
        failed.as_deref(),
        None,
    );
    run.judge.list("change", expect.changes.as_ref(), &changes);
    run.judge
        .value("cursor", expect.cursor.as_ref(), &remembered(&cursor));
    run.judge.calls(expect.calls.as_ref(), &world.inner().calls(0));
    run.report.host_calls += world.inner().count() as u64;
}

fn prepare(run: &Run<'_>, world: &World, poll: &format::Poll) {
    let mut inner = world.inner();
    inner.http_once = http_rules(&poll.http);
    for (url, git) in &poll.git {
        inner
            .git
            .entry(url.clone())
            .or_default()
            .update(git, run.judge.beginning);
    }
}

/// Polls, then polls again with the same answers. The error says how the two differ.
fn twice(
    run: &mut Run<'_>,
    world: &std::sync::Arc<World>,
    time: &Time,
    cursor: &[u8],
    start: usize,
) -> Result<Result<Poll, CallError>, String> {
    let caller = run.caller(world.ports());
    let poll = || {
        let call = run.plugin.poll(&caller, &run.parameters, cursor);
        time.run(call).map_err(|stuck| stuck.to_string())
    };
    let first = poll()?;
    world.inner().repeat(start);
    let second = unheard(poll)?;
    run.report.calls += 2;
    same(world, &format!("{first:?}"), &format!("{second:?}"))?;
    Ok(first)
}

/// Whether a repeated call made the same calls and came to the same.
pub(crate) fn same(world: &World, first: &str, second: &str) -> Result<(), String> {
    let mut inner = world.inner();
    inner.repeated();
    if let Some((call, recorded, found)) = &inner.difference {
        return Err(format!(
            "it does not repeat itself: call {call} differs\n  recorded: {recorded}\n  found:    {found}"
        ));
    }
    if first == second {
        return Ok(());
    }
    let (first, second) = (fit::cut(first), fit::cut(second));
    Err(format!(
        "it does not repeat itself\n  first:  {first}\n  second: {second}"
    ))
}

/// Compares one poll, and answers its changes.
fn judge(run: &mut Run<'_>, poll: &At<format::Poll>, found: &Poll) -> Vec<Value> {
    let expect = &poll.get_ref().expect;
    run.judge.failure("poll", expect.error.as_ref(), None, Some(poll));
    let changes: Vec<Value> = found.changes.iter().map(change).collect();
    run.judge.list("change", expect.changes.as_ref(), &changes);
    run.judge
        .value("cursor", expect.cursor.as_ref(), &remembered(&found.cursor));
    if let Some(again) = &expect.poll_again {
        let found = crate::words::Span(i64::try_from(found.poll_again_ms).unwrap_or(i64::MAX));
        if *again.get_ref() != found {
            let message = format!(
                "poll_again: expected {}, found {}",
                again.get_ref().text(),
                found.text()
            );
            run.judge.fault(Some(again), message);
        }
    }
    changes
}

fn change(change: &capstan_model::NewChange) -> Value {
    let mut value = json!(change);
    value["properties"] = by_name(&change.properties);
    value
}
