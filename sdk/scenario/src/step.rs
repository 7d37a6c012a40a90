//! Running a scenario of a step: once to its end, then again from the prefixes of its journal.

mod asked;
mod farm;
mod schedulers;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use capstan_engine::{StepEnd, StepError, StepFailure, StepPort, StepRun, WaitMode};
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI};
use capstan_model::{Outcome, StepId, Timestamp};
use futures::future::{Either, select};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Run;
use crate::fit;
use crate::format::step::{Expect, File};
use crate::judge::properties;
use crate::listen::unheard;
use crate::rules::{Rule, Rules};
use crate::time::Time;
use asked::calls;
use farm::{Farm, Known, Said};

/// From how many prefixes a long journal is run again, and how many rows all of them may replay.
const MOST_PREFIXES: usize = 200;
const MOST_REPLAYED: usize = 500_000;

/// One run of the step and what it left.
struct Ran {
    end: Result<StepEnd, String>,
    took_ms: u64,
    farm: Arc<Farm>,
}

pub(crate) fn run(run: &mut Run<'_>, file: &File) {
    let first = start(run, file, Vec::new(), Known::default());
    let journal = first.farm.journal_rows();
    judge(run, file, &first, &journal);
    if first.end.is_ok() {
        unheard(|| again(run, file, &first, &journal));
    }
}

/// Runs the step from a journal, which is empty for one that begins.
fn start(run: &mut Run<'_>, file: &File, journal: Vec<Entry>, known: Known) -> Ran {
    run.report.calls += 1;
    let beginning = run.judge.beginning;
    let began = journal.last().map_or(beginning, |row| row.at);
    let time = Arc::new(Time::new(began));
    let rules = Rules::new(file.command.iter().map(|rule| Rule {
        pattern: rule.get_ref().pattern.clone(),
        times: rule.get_ref().times,
        answer: rule.get_ref().clone(),
    }));
    let files = Rules::new(file.artefact.iter().map(|rule| Rule {
        pattern: rule.get_ref().pattern.clone(),
        times: rule.get_ref().times,
        answer: rule.get_ref().clone(),
    }));
    let triggers = Rules::new(file.trigger.iter().map(|rule| Rule {
        pattern: rule.get_ref().pattern.clone(),
        times: rule.get_ref().times,
        answer: rule.get_ref().clone(),
    }));
    let said = Said {
        commands: rules,
        files,
        triggers,
    };
    let farm = Arc::new(Farm::new(Arc::clone(&time), said, journal.clone(), known));
    let step = StepRun {
        plugin: run.plugin.clone(),
        grants: Arc::clone(&run.grants),
        created: created(run, file),
        journal,
        installation: Uuid::nil(),
        step: StepId(1),
        builder: "scenario".to_owned(),
        builder_dir: "scenario".to_owned(),
        env: BTreeMap::new(),
        orphan_timeout_ms: 600_000,
        mode: WaitMode::Warm,
    };
    let (sender, signal) = watch::channel(None);
    let running = run
        .engine
        .run_step(step, Arc::clone(&farm) as Arc<dyn StepPort>, signal);
    let stop = async {
        if let Some(stop) = &file.build.stop {
            time.until(beginning.plus_ms(stop.after.0)).await;
            sender.send_replace(Some(stop.reason.clone()));
        }
        std::future::pending::<()>().await;
    };
    let ended = time.run(async {
        match select(running, pin!(stop)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), running)) => running.await,
        }
    });
    let end = match ended {
        Ok(ended) => ended.map_err(|error: StepError| farm.missing().unwrap_or_else(|| error.to_string())),
        Err(stuck) => Err(stuck.to_string()),
    };
    Ran {
        end,
        took_ms: time.now().since(beginning),
        farm,
    }
}

fn created(run: &Run<'_>, file: &File) -> Created {
    let build = &file.build;
    Created {
        plugin: run.plugin.digest(),
        plugin_name: run.plugin.name().to_owned(),
        world: run.plugin.world(),
        host_abi: HOST_ABI,
        config: run.parameters.clone(),
        env: None,
        seed: build.seed.unwrap_or(1),
        step_name: build.step.clone().unwrap_or_else(|| "scenario".to_owned()),
        sources: build.sources.iter().map(Into::into).collect(),
        properties: properties(&build.properties),
    }
}

/// Compares the first run with what is expected.
fn judge(run: &mut Run<'_>, file: &File, ran: &Ran, journal: &[Entry]) {
    let expect = file.expect.clone().unwrap_or_default();
    let made = unheard(|| Time::new(Timestamp(0)).run(run.engine.replay(run.plugin, journal.to_vec())));
    let made = match made {
        Ok(Ok(replay)) => calls(&replay.calls, &ran.farm),
        _ => Vec::new(),
    };
    run.report.host_calls += made.len() as u64;
    match &ran.end {
        Ok(end) => judge_end(run, &expect, end),
        Err(text) => run.judge.whole(format!("the step came to no end: {text}")),
    }
    let (mut set, mut links) = (Map::new(), Vec::new());
    for effect in ran.farm.effects() {
        match effect {
            Effect::SetProperty(property) => {
                set.insert(property.name, property.value);
            }
            Effect::AddLink { label, url } => links.push(json!({ "label": label, "url": url })),
            Effect::SetSummary(_) | Effect::AddArtefact(_) | Effect::EndBuild { .. } => {}
        }
    }
    run.judge
        .value("properties", expect.properties.as_ref(), &Value::Object(set));
    run.judge
        .value("links", expect.links.as_ref(), &Value::Array(links));
    let logs = ran.farm.logs();
    for (name, text) in &expect.logs {
        let found = logs.get(name).map(String::as_str);
        run.judge.text(&format!("the log {name}"), Some(text), found);
    }
    if let Some(expected) = &expect.artefacts {
        let stored = ran.farm.artefacts();
        for (name, text) in expected {
            let found = stored.get(name).map(|content| String::from_utf8_lossy(content));
            run.judge
                .text(&format!("the artefact {name}"), Some(text), found.as_deref());
        }
        for name in stored.keys().filter(|name| !expected.contains_key(*name)) {
            run.judge
                .whole(format!("artefacts: expected no `{name}`, found one"));
        }
    }
    if let Some(duration) = &expect.duration {
        let (wanted, found) = (
            *duration.get_ref(),
            crate::words::Span(ran.took_ms.try_into().unwrap_or(i64::MAX)),
        );
        if wanted != found {
            let message = format!("duration: expected {}, found {}", wanted.text(), found.text());
            run.judge.fault(Some(duration), message);
        }
    }
    run.judge.calls(expect.calls.as_ref(), &made);
}

fn judge_end(run: &mut Run<'_>, expect: &Expect, end: &StepEnd) {
    let failure = end.failure.as_ref().map(ToString::to_string);
    let judge = &mut run.judge;
    judge.failure::<()>("the step", expect.error.as_ref(), failure.as_deref(), None);
    let wanted = expect.outcome.as_ref().map(|outcome| *outcome.get_ref());
    // One that is expected to fail has the result that its failure means.
    let usual = expect.error.is_none().then_some(Outcome::Success);
    if let Some(wanted) = wanted.or(usual).filter(|wanted| *wanted != end.outcome) {
        let said = end
            .summary
            .as_ref()
            .map(|text| format!(" ({})", fit::cut(text)))
            .unwrap_or_default();
        if end.failure.is_none() || expect.error.is_some() || expect.outcome.is_some() {
            let message = format!("outcome: expected {wanted}, found {}{said}", end.outcome);
            judge.fault(expect.outcome.as_ref(), message);
        }
    }
    judge.text("summary", expect.summary.as_ref(), end.summary.as_deref());
    if let Some(wanted) = &expect.ends_build {
        let found = end.ends_build.as_ref().map(|(outcome, _)| *outcome);
        if found != Some(*wanted.get_ref()) {
            let found = found.map_or("that it goes on", Outcome::as_str);
            let message = format!("ends_build: expected {}, found {found}", wanted.get_ref());
            judge.fault(Some(wanted), message);
        }
    }
}

/// Runs the step from prefixes of its journal; it must come to the same.
fn again(run: &mut Run<'_>, file: &File, first: &Ran, journal: &[Entry]) {
    let rows = journal.len().saturating_sub(1);
    let number = rows.min(MOST_PREFIXES).min(MOST_REPLAYED / rows.max(1));
    for place in 0..number {
        let prefix = 1 + place * rows / number;
        let kept = journal[..prefix].to_vec();
        let known = first.farm.known(&kept);
        let ran = start(run, file, kept, known);
        run.report.prefixes += 1;
        if let Some(difference) = difference(first, journal, &ran) {
            return run.judge.whole(format!(
                "the step does not repeat itself: run again from its first {prefix} rows, {difference}"
            ));
        }
    }
}

fn difference(first: &Ran, journal: &[Entry], again: &Ran) -> Option<String> {
    if let Ok(StepEnd {
        failure: Some(StepFailure::Mismatch(mismatch)),
        ..
    }) = &again.end
    {
        let (recorded, found) = (fit::cut(&mismatch.recorded), fit::cut(&mismatch.requested));
        return Some(format!(
            "row {} differs\n  recorded: {recorded}\n  found:    {found}",
            mismatch.seq
        ));
    }
    let found = again.farm.journal_rows();
    let longer = journal.len().max(found.len());
    let same = |one: Option<&Entry>, other: Option<&Entry>| match (one, other) {
        (Some(one), Some(other)) => one.call == other.call && one.request_hash == other.request_hash,
        _ => false,
    };
    if let Some(row) = (0..longer).find(|&row| !same(journal.get(row), found.get(row))) {
        let text = |rows: &[Entry]| match rows.get(row) {
            Some(entry) => {
                let asked = entry.request.as_ref().map(|request| &request["asked"]);
                format!("{} {}", entry.call, asked.map(fit::shown).unwrap_or_default())
            }
            None => "nothing more".to_owned(),
        };
        let (recorded, found) = (text(journal), text(&found));
        return Some(format!(
            "row {row} differs\n  recorded: {recorded}\n  found:    {found}"
        ));
    }
    if again.end != first.end {
        return Some(format!(
            "it ends otherwise\n  recorded: {}\n  found:    {}",
            end(&first.end),
            end(&again.end)
        ));
    }
    (again.farm.logs() != first.farm.logs()).then(|| "it writes other text into its logs".to_owned())
}

fn end(end: &Result<StepEnd, String>) -> String {
    match end {
        Ok(StepEnd {
            outcome,
            summary,
            failure,
            ..
        }) => {
            let text = failure
                .as_ref()
                .map(ToString::to_string)
                .or_else(|| summary.clone());
            format!("{outcome} {}", fit::cut(&text.unwrap_or_default()))
        }
        Err(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use capstan_engine::{Engine, Options};

    use super::*;
    use crate::Report;
    use crate::fault::Source;
    use crate::judge::Judge;

    /// A guest has nothing to be nondeterministic with, so its parameters change under it.
    #[test]
    fn a_step_that_does_otherwise_when_it_is_run_again_is_told_with_both_calls() {
        let options = Options {
            step_instances: 2,
            call_instances: 2,
            ..Options::default()
        };
        let engine = Engine::new(options).unwrap();
        let (_, bytes) = capstan_builtin::components()
            .iter()
            .find(|(name, _)| *name == "shell")
            .unwrap();
        let plugin = engine.load(bytes).unwrap();
        let source = Source::new("tests/a.toml", "");
        let mut run = Run {
            engine: &engine,
            plugin: &plugin,
            parameters: json!({ "command": ["make", "all"] }),
            grants: Arc::new(plugin.manifest().rights.clone()),
            judge: Judge::new(&source, Timestamp(0)),
            report: Report::default(),
        };
        let file: File = toml::from_str("").unwrap();
        let first = start(&mut run, &file, Vec::new(), Known::default());
        let mut journal = first.farm.journal_rows();
        again(&mut run, &file, &first, &journal);
        assert_eq!(
            (run.judge.faults.len(), run.report.prefixes),
            (0, journal.len() - 1)
        );
        journal[0].request.as_mut().unwrap()["config"]["command"][1] = json!("none");
        again(&mut run, &file, &first, &journal);
        let text = run.judge.faults[0].to_string();
        assert!(
            text.contains("the step does not repeat itself: run again from its first 1 rows, row 1 differs"),
            "{text}"
        );
        let (recorded, found) = (r#"recorded: commands.run"#, r#"found:    commands.run"#);
        assert!(text.contains(recorded) && text.contains(found), "{text}");
        assert!(
            text.contains(r#"["make","all"]"#) && text.contains(r#"["make","none"]"#),
            "{text}"
        );
    }
}
