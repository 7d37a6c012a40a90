//! Running a scenario of a reporter: report by report, each delivered twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use capstan_engine::{CallError, Phase, Report, StepResult};
use capstan_model::{Outcome, Timestamp};
use serde_json::Value;

use crate::Run;
use crate::fit;
use crate::format::At;
use crate::format::reporter::{self as format, File};
use crate::judge::{bytes, properties, remembered};
use crate::listen::unheard;
use crate::source::same;
use crate::time::Time;
use crate::words::Json;
use crate::world::{Inner, World, fault_rules, http_rules};

/// How long a build took that does not say it.
const USUAL_MS: i64 = 60_000;

pub(crate) fn run(run: &mut Run<'_>, file: &File) {
    let state = file.state.iter();
    let state = state.map(|(key, value)| (key.clone(), bytes(&value.0)));
    let world = World::new(Inner {
        http: http_rules(&file.http),
        file_faults: fault_rules(&file.file),
        mail_faults: fault_rules(&file.mail),
        state: state.collect(),
        ..Inner::default()
    });
    let mut failed = None;
    for (place, item) in file.report.iter().enumerate() {
        let start = world.inner().begin();
        let report = report(item.get_ref(), place + 1, run.judge.beginning);
        let answer = twice(run, &world, &report, start);
        let expect = &item.get_ref().expect;
        run.judge
            .calls(expect.calls.as_ref(), &world.inner().calls(start));
        match answer {
            Ok(Ok(())) => run
                .judge
                .failure("report", expect.error.as_ref(), None, Some(item)),
            Ok(Err(error)) if expect.error.is_some() => {
                run.judge
                    .text("report: error", expect.error.as_ref(), Some(&error.to_string()));
            }
            Ok(Err(error)) => failed = failed.or_else(|| Some(number(place, item, &error.to_string()))),
            Err(text) => {
                failed = Some(text);
                break;
            }
        }
    }
    let inner = world.inner();
    run.report.host_calls += inner.count() as u64;
    if let Some(text) = &inner.missing {
        run.judge.whole(text.clone());
    }
    let expect = &file.expect;
    run.judge
        .failure::<()>("the reporter", expect.error.as_ref(), failed.as_deref(), None);
    run.judge.calls(expect.calls.as_ref(), &inner.calls(0));
    for (path, text) in &expect.files {
        let found = inner.files.get(path).map(String::as_str);
        run.judge.text(&format!("the file {path}"), Some(text), found);
    }
    run.judge.list("mail", expect.mails.as_ref(), &inner.mails);
    if let Some(expected) = &expect.state
        && let Err(text) = compare_state(expected.get_ref(), &inner.state)
    {
        run.judge.fault(Some(expected), format!("state: {text}"));
    }
}

/// Compares all that it remembers.
fn compare_state(expected: &BTreeMap<String, Json>, found: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    for (key, Json(value)) in expected {
        let kept = found.get(key).map(Vec::as_slice);
        compare_kept(value, kept).map_err(|differs| format!("{key}: {differs}"))?;
    }
    match found.keys().find(|key| !expected.contains_key(*key)) {
        Some(key) => Err(format!("expected no more, found the key `{key}`")),
        None => Ok(()),
    }
}

/// Compares one value. What is no text means its JSON; a text means those bytes, or the JSON of that text: what keeps JSON
/// puts quotes around it.
fn compare_kept(expected: &Value, kept: Option<&[u8]>) -> Result<(), String> {
    let Some(kept) = kept else {
        return fit::value(expected, &Value::Null);
    };
    let raw = Value::from(String::from_utf8_lossy(kept).into_owned());
    match fit::value(expected, &raw) {
        Ok(()) => Ok(()),
        Err(_) => fit::value(expected, &remembered(kept)),
    }
}

fn number(place: usize, item: &At<format::Report>, error: &str) -> String {
    let builder = item.get_ref().builder.as_deref().unwrap_or(BUILDER);
    format!("report {} (of {builder}): {error}", place + 1)
}

/// Delivers a report, then again with the same answers. The error says how the two differ.
fn twice(
    run: &mut Run<'_>,
    world: &Arc<World>,
    report: &Report,
    start: usize,
) -> Result<Result<(), CallError>, String> {
    let (caller, time) = (run.caller(world.ports()), Time::new(run.judge.beginning));
    let deliver = || {
        let call = run.plugin.deliver(&caller, &run.parameters, report);
        time.run(call).map_err(|stuck| stuck.to_string())
    };
    let first = deliver()?;
    world.inner().repeat(start);
    let second = unheard(deliver)?;
    run.report.calls += 2;
    same(world, &format!("{first:?}"), &format!("{second:?}"))?;
    Ok(first)
}

const BUILDER: &str = "hello";

fn report(given: &format::Report, place: usize, beginning: Timestamp) -> Report {
    let phase = given.phase.unwrap_or(Phase::Finished);
    let over = phase == Phase::Finished;
    let builder = given.builder.clone().unwrap_or_else(|| BUILDER.to_owned());
    let number = given.number.unwrap_or(place as u64);
    let started = given.started.map_or(beginning, |at| at.at(beginning));
    let usual = over.then(|| started.plus_ms(USUAL_MS));
    Report {
        delivery_id: given
            .delivery_id
            .clone()
            .unwrap_or_else(|| format!("delivery-{place}")),
        phase,
        url: given
            .url
            .clone()
            .unwrap_or_else(|| format!("https://ci.example.org/builders/{builder}/{number}")),
        made_by: builder.clone(),
        builder,
        number,
        worker: given.worker.clone().unwrap_or_else(|| "w1".to_owned()),
        reason: given.reason.clone(),
        outcome: given.outcome.or_else(|| over.then_some(Outcome::Success)),
        previous_outcome: given.previous_outcome,
        summary: given.summary.clone(),
        sources: given.sources.iter().map(Into::into).collect(),
        properties: properties(&given.properties),
        steps: given.steps.iter().map(step).collect(),
        started,
        finished: given.finished.map(|at| at.at(beginning)).or(usual),
    }
}

fn step(step: &format::Step) -> StepResult {
    StepResult {
        name: step.name.clone(),
        outcome: step.outcome,
        summary: step.summary.clone(),
    }
}
