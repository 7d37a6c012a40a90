//! Scenario files: what a plugin's author says the host answers, what happens when, and what the plugin is to make of it. Runs
//! the real component against them, in virtual time and with nothing behind it, then repeats what it saw: a step from every
//! prefix of its journal, any other call once more. `capstan plugin test` uses it; the format is in the README.
//!
//! The order in which to read it: [`Scenario`], `format` (the file), one module for each kind of plugin, `world` and
//! `step/farm` (who answers), `judge` (who compares).

mod call;
mod fault;
mod fit;
mod format;
mod generator;
mod judge;
mod listen;
mod parameters;
mod reporter;
mod repository;
mod rules;
mod scheduler;
mod source;
mod step;
mod time;
mod words;
mod world;

use std::sync::Arc;

use capstan_engine::{CallError, Caller, Engine, Plugin, Ports};
use capstan_model::Timestamp;
use capstan_model::plugin::{Kind, Rights};
use serde::Serialize;
use serde_json::Value;

pub use fault::Fault;
pub use listen::Message;

use crate::fault::Source;
use crate::format::{At, Body, Check, Frame};
use crate::judge::Judge;
use crate::time::Time;
use crate::words::Moment;

/// The largest scenario file, in bytes.
pub const MAX_FILE: usize = format::MAX_FILE;

/// When scenarios begin that do not say it: 2026-01-01T00:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);

/// One scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    source: Source,
    frame: Frame,
    body: Body,
}

/// What came of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What is wrong; nothing if it passed.
    pub faults: Vec<Fault>,
    /// How often the plugin was called, repetitions included.
    pub calls: u64,
    /// How often the plugin called the host, the first time.
    pub host_calls: u64,
    /// From how many prefixes of its journal a step was run again.
    pub prefixes: usize,
    /// What the plugin said through `log`, repetitions left out.
    pub said: Vec<Message>,
}

/// What every kind's run needs.
struct Run<'a> {
    engine: &'a Engine,
    plugin: &'a Plugin,
    parameters: Value,
    grants: Arc<Rights>,
    judge: Judge<'a>,
    report: Report,
}

impl Scenario {
    /// Reads a file for plugins of this kind. `file` is its name in faults.
    pub fn parse(file: &str, text: &str, kind: Kind) -> Result<Self, Fault> {
        let source = Source::new(file, text);
        let (frame, body) = format::parse(&source, text, kind)?;
        Ok(Self { source, frame, body })
    }

    /// What its author says of it.
    pub fn description(&self) -> Option<&str> {
        self.frame.description.as_deref()
    }

    /// Runs it. Takes as long as the plugin computes; call it where blocking is allowed.
    pub fn run(&self, engine: &Engine, plugin: &Plugin) -> Report {
        // Virtual time goes on when nothing else does. On a thread without an executor the engine hands nothing to other threads,
        // of which this one would not know that they are at work.
        let run = || self.played(engine, plugin);
        match std::thread::scope(|scope| scope.spawn(run).join()) {
            Ok(report) => report,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn played(&self, engine: &Engine, plugin: &Plugin) -> Report {
        let parameters = self.frame.parameters.as_ref();
        let parameters = parameters
            .map(|given| given.get_ref().0.clone())
            .unwrap_or_default();
        let asked = || plugin.manifest().rights.clone();
        let mut run = Run {
            engine,
            plugin,
            parameters: Value::Object(parameters),
            grants: Arc::new(self.frame.grants.clone().unwrap_or_else(asked)),
            judge: Judge::new(&self.source, self.beginning()),
            report: Report::default(),
        };
        let ((), said) = listen::listen(|| {
            for check in &self.frame.checks {
                run.check(check);
            }
            if self.has_run() && run.parameters_fit(self.frame.parameters.as_ref()) {
                match &self.body {
                    Body::Step(file) => step::run(&mut run, file),
                    Body::Scheduler(file) => scheduler::run(&mut run, file),
                    Body::Source(file) => source::run(&mut run, file),
                    Body::Reporter(file) => reporter::run(&mut run, file),
                    Body::Generator(file) => generator::run(&mut run, file),
                }
            }
        });
        self.judge_said(&mut run, &said);
        let mut report = run.report;
        report.faults = run.judge.faults;
        report.said = said;
        report
    }

    fn beginning(&self) -> Timestamp {
        let now = match &self.body {
            Body::Step(file) => file.now,
            Body::Scheduler(file) => file.now,
            Body::Source(file) => file.now,
            Body::Reporter(file) => file.now,
            Body::Generator(_) => None,
        };
        now.map_or(BEGINNING, |now: Moment| now.at(BEGINNING))
    }

    /// A file may hold nothing but checks of parameters.
    fn has_run(&self) -> bool {
        match &self.body {
            Body::Step(file) => file.expect.is_some() || file.check.is_empty(),
            Body::Scheduler(file) => {
                !file.event.is_empty() || file.migrate.is_some() || file.check.is_empty()
            }
            Body::Source(file) => !file.poll.is_empty() || file.migrate.is_some() || file.check.is_empty(),
            Body::Reporter(file) => !file.report.is_empty() || file.check.is_empty(),
            Body::Generator(file) => file.expect.is_some() || file.check.is_empty(),
        }
    }

    fn judge_said(&self, run: &mut Run<'_>, said: &[Message]) {
        let expected = match &self.body {
            Body::Step(file) => file.expect.as_ref().and_then(|expect| expect.said.as_ref()),
            Body::Scheduler(file) => file.expect.said.as_ref(),
            Body::Source(file) => file.expect.said.as_ref(),
            Body::Reporter(file) => file.expect.said.as_ref(),
            Body::Generator(file) => file.expect.as_ref().and_then(|expect| expect.said.as_ref()),
        };
        run.judge.said(expected, said);
    }
}

impl Run<'_> {
    fn caller(&self, ports: Ports) -> Caller {
        Caller {
            owner: "scenario".to_owned(),
            grants: Arc::clone(&self.grants),
            ports,
        }
    }

    /// What a configuration would say of parameters.
    fn problems(&mut self, parameters: &Value) -> Result<Vec<(String, String)>, String> {
        let pair = |problem: capstan_engine::Problem| (problem.path, problem.message);
        let by_schema = parameters::problems(self.plugin.manifest(), parameters)?;
        if !by_schema.is_empty() {
            return Ok(by_schema.into_iter().map(pair).collect());
        }
        self.report.calls += 1;
        let checked = Time::new(BEGINNING).run(async {
            match self.plugin.kind() {
                // It has no other way to say what is wrong with them.
                Kind::Generator => self.plugin.generate(parameters).await.map(drop),
                _ => self.plugin.check(parameters).await,
            }
        });
        match checked.map_err(|stuck| stuck.to_string())? {
            Ok(()) => Ok(Vec::new()),
            Err(CallError::InvalidConfig(problems)) => Ok(problems.into_iter().map(pair).collect()),
            Err(other) => Err(other.to_string()),
        }
    }

    fn parameters_fit(&mut self, given: Option<&At<words::Members>>) -> bool {
        let parameters = self.parameters.clone();
        let problems = match self.problems(&parameters) {
            Ok(problems) => problems,
            Err(text) => vec![(String::new(), text)],
        };
        for (path, message) in &problems {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!("{path}: ")
            };
            self.judge.fault(given, format!("parameters: {place}{message}"));
        }
        problems.is_empty()
    }

    fn check(&mut self, check: &At<Check>) {
        let (expected, parameters) = (&check.get_ref().problems, &check.get_ref().parameters.0);
        let found = match self.problems(parameters) {
            Ok(found) => found,
            Err(text) => return self.judge.fault(Some(check), format!("check: {text}")),
        };
        let fits = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(expected, (path, message))| {
                fit::text(&expected.path, path) && fit::text(&expected.message, message)
            });
        if fits {
            return;
        }
        let list = |lines: Vec<String>| match lines.is_empty() {
            true => " none".to_owned(),
            false => lines.iter().map(|line| format!("\n    {line}")).collect(),
        };
        let expected = expected.iter().map(|p| format!("{}: {}", p.path, p.message));
        let found = found
            .iter()
            .map(|(path, message)| format!("{path}: {}", fit::cut(message)));
        let message = format!(
            "check: the problems differ\n  expected:{}\n  found:{}",
            list(expected.collect()),
            list(found.collect())
        );
        self.judge.fault(Some(check), message);
    }
}
