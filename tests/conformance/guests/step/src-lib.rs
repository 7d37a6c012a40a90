//! Does what its script says; what it was answered becomes the property `trace`.

use std::collections::BTreeMap;

use capstan_sdk::artefacts::{self, Artefact};
use capstan_sdk::params::Span;
use capstan_sdk::step::{
    Command, Done, EnvValue, Outcome, PluginError, Problem, Program, Step, Stop, add_link, end_build, name, now, property, seed,
    set_property, set_summary, sleep_ms, sources, wait_any, write_log,
};
use capstan_sdk::prelude::{Value, json};
use capstan_sdk::triggers::{self, Completed};
use capstan_sdk::{log, parameters, problem};

#[parameters]
struct Conformance {
    script: Vec<Op>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    note: String,
}

#[parameters]
#[derive(Default)]
#[serde(default)]
struct Op {
    r#do: String,
    argv: Option<Vec<String>>,
    shell: Option<String>,
    workdir: Option<String>,
    env: BTreeMap<String, Option<String>>,
    secrets: BTreeMap<String, String>,
    timeout: Option<Span>,
    max_time: Option<Span>,
    term_grace: Option<Span>,
    log: Option<String>,
    capture: u32,
    which: usize,
    span: Span,
    name: String,
    value: Value,
    text: String,
    url: String,
    outcome: String,
}

impl Step for Conformance {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.note == "bad" {
            problems.push(problem("note", "expected a good note, found bad"));
        }
        for name in self.env.keys().filter(|name| name.contains(' ')) {
            problems.push(problem(format!("env.{name}"), "expected a name without blanks"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn run(self) -> Result<Outcome, Stop> {
        let mut started = Vec::new();
        let mut asked = Vec::new();
        let mut trace = Vec::new();
        for op in &self.script {
            let answer = match op.r#do.as_str() {
                "trigger" => {
                    let made = triggers::call(&op.name, &op.value)?;
                    asked.extend(&made);
                    made.len().to_string()
                }
                "await" => {
                    let ended = triggers::wait(&asked, true)?;
                    ended.iter().map(completed).collect::<Vec<_>>().join(", ")
                }
                "build-with" => {
                    build_with(&op.name)?;
                    String::new()
                }
                _ => play(op, &mut started)?,
            };
            trace.push(format!("{}: {answer}", op.r#do));
        }
        set_property("trace", &json!(trace))?;
        Ok(Outcome::Warnings)
    }
}

fn play(op: &Op, started: &mut Vec<Command>) -> Result<String, Stop> {
    Ok(match op.r#do.as_str() {
        "run" => said(&program(op).run()?),
        "check" => {
            let done = program(op).run()?;
            if !done.is_success() {
                return Err(Stop::Outcome(done.outcome(), done.summary()));
            }
            said(&done)
        }
        "start" => {
            started.push(program(op).start()?);
            String::new()
        }
        "wait-all" => wait_all(started)?,
        "kill" => {
            started[op.which].kill(&op.text);
            String::new()
        }
        "sleep" => sleep_ms(op.span.ms()).to_string(),
        "now" => now().to_string(),
        "seed" => seed().to_string(),
        "name" => name(),
        "sources" => all_sources(),
        "publish" => stored(&artefacts::publish(&op.text, &op.name)?),
        "artefact" => stored(&artefacts::write(&op.name, op.text.as_bytes())?),
        "get" => property(&op.name).unwrap_or_default().to_string(),
        "set" => {
            set_property(&op.name, &op.value)?;
            String::new()
        }
        other => tell(other, op)?,
    })
}

fn tell(what: &str, op: &Op) -> Result<String, Stop> {
    match what {
        "summary" => set_summary(&op.text),
        "link" => add_link(&op.text, &op.url),
        "text" => write_log(op.log.as_deref().unwrap_or_default(), &op.text),
        "log" => log::info(&op.text),
        "end-build" => end_build(outcome(&op.outcome), &op.text),
        "stop" => return Err(Stop::Outcome(outcome(&op.outcome), op.text.clone())),
        "transient" => return Err(PluginError::Transient(op.text.clone()).into()),
        "permanent" => return Err(PluginError::Permanent(op.text.clone()).into()),
        "bug" => panic!("{}", op.text),
        _ => {}
    }
    Ok(String::new())
}

fn outcome(word: &str) -> Outcome {
    match word {
        "skipped" => Outcome::Skipped,
        "failure" => Outcome::Failure,
        other => panic!("expected an outcome, found {other}"),
    }
}

fn stored(artefact: &Artefact) -> String {
    format!("{} {} {}", artefact.name, artefact.size, &artefact.sha256[..8])
}

// ANCHOR: asks
/// Has a scheduler build what this build builds; what does not succeed ends the step.
fn build_with(scheduler: &str) -> Result<(), Stop> {
    let call = json!({ "sources": "own", "properties": { "channel": "beta" } });
    let made = triggers::call(scheduler, &call)?;
    for completed in triggers::wait(&made, true)? {
        for build in &completed.builds {
            let line = format!("{}/{}: {}\n", build.builder, build.number, build.outcome);
            write_log("builds", &line);
        }
        if completed.outcome != Outcome::Success {
            let summary = format!("{scheduler}: {}", completed.outcome);
            return Err(Stop::Outcome(completed.outcome, summary));
        }
    }
    Ok(())
}
// ANCHOR_END: asks

fn completed(found: &Completed) -> String {
    let mut words = vec![found.scheduler.clone(), found.outcome.to_string()];
    let builds = found.builds.iter();
    words.extend(builds.map(|build| format!("{}/{} {}", build.builder, build.number, build.outcome)));
    words.join(" ")
}

fn wait_all(started: &[Command]) -> Result<String, Stop> {
    let mut left: Vec<(usize, &Command)> = started.iter().enumerate().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let commands: Vec<_> = left.iter().map(|(_, command)| *command).collect();
        let (place, command) = left.remove(wait_any(&commands) as usize);
        let ended = command.wait()?;
        let done = Done {
            exit: ended.exit,
            stdout: ended.stdout,
        };
        order.push(format!("{place} {}", said(&done)));
    }
    Ok(order.join(", "))
}

fn all_sources() -> String {
    let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let all = sources().into_iter();
    all.map(|s| format!("{} {} {}", s.repository, word(s.branch), word(s.revision)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn program(op: &Op) -> Program {
    let mut program = match (&op.argv, &op.shell) {
        (Some(argv), _) => Program::argv(argv.iter().map(String::as_str)),
        (None, shell) => Program::shell(shell.clone().unwrap_or_default()),
    };
    for (name, value) in &op.env {
        let value = value.clone().map_or(EnvValue::Unset, EnvValue::Set);
        program = program.env(name, value);
    }
    for (name, secret) in &op.secrets {
        program = program.env(name, EnvValue::Secret(secret.clone()));
    }
    if let Some(path) = &op.workdir {
        program = program.workdir(path);
    }
    if let Some(log) = &op.log {
        program = program.log(log);
    }
    if let Some(span) = op.timeout {
        program = program.idle_timeout(span);
    }
    if let Some(span) = op.max_time {
        program = program.total_timeout(span);
    }
    if let Some(span) = op.term_grace {
        program = program.term_grace(span);
    }
    program.capture_stdout(op.capture)
}

fn said(done: &Done) -> String {
    format!("{} [{}]", done.summary(), done.text())
}

capstan_sdk::step!(Conformance);
