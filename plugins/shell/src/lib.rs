//! The step `shell`: runs one command on the worker.

use std::collections::BTreeMap;

use capstan_sdk::params::{Span, Verdict};
use capstan_sdk::problem;
use capstan_sdk::step::{self, Done, EnvValue, Exit, Outcome, Problem, Program, Step, Stop};
use serde::Deserialize;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    command: Line,
    #[serde(default = "build")]
    workdir: String,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    timeout: Option<Span>,
    max_time: Option<Span>,
    term_grace: Option<Span>,
    log: Option<String>,
    #[serde(default)]
    decode_rc: BTreeMap<String, Verdict>,
    timeout_result: Option<Verdict>,
    summary: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a shell line, or a list of a program and its arguments"
)]
enum Line {
    Shell(String),
    Argv(Vec<String>),
}

/// The name of a secret, as a text or as `secret(…)` gives it.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "expected the name of a secret")]
enum Secret {
    Name(String),
    Reference { secret: String },
}

impl Secret {
    fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Reference { secret: name } => name,
        }
    }
}

fn build() -> String {
    "build".to_owned()
}

impl Step for Shell {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let empty = match &self.command {
            Line::Shell(line) => line.trim().is_empty(),
            Line::Argv(argv) => argv.first().is_none_or(String::is_empty),
        };
        if empty {
            problems.push(problem("command", "expected a command, found an empty one"));
        }
        for name in self.env.keys().chain(self.secrets.keys()) {
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.push(problem(
                    "env",
                    format!("expected the name of a variable, found {name:?}"),
                ));
            }
        }
        for name in self.secrets.keys().filter(|name| self.env.contains_key(*name)) {
            problems.push(problem(
                format!("secrets.{name}"),
                "expected another name: `env` sets this variable too",
            ));
        }
        for code in self.decode_rc.keys().filter(|code| code.parse::<i32>().is_err()) {
            problems.push(problem(
                format!("decode_rc.{code}"),
                "expected an exit code, such as \"3\"",
            ));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn run(self) -> Result<Outcome, Stop> {
        let done = self.program().run()?;
        let (outcome, summary) = self.judge(&done);
        if let Some(summary) = summary {
            step::set_summary(&summary);
        }
        Ok(outcome)
    }
}

impl Shell {
    fn program(&self) -> Program {
        let mut program = match &self.command {
            Line::Shell(line) => Program::shell(line),
            Line::Argv(argv) => Program::argv(argv),
        };
        program = program.workdir(&self.workdir);
        for (name, value) in &self.env {
            program = program.env(name, value.clone().map_or(EnvValue::Unset, EnvValue::Set));
        }
        for (name, secret) in &self.secrets {
            program = program.env(name, EnvValue::Secret(secret.name().to_owned()));
        }
        if let Some(log) = &self.log {
            program = program.log(log);
        }
        if let Some(timeout) = self.timeout {
            program = program.idle_timeout(timeout);
        }
        if let Some(max_time) = self.max_time {
            program = program.total_timeout(max_time);
        }
        if let Some(grace) = self.term_grace {
            program = program.term_grace(grace);
        }
        program
    }

    /// The result, and what to say about it.
    fn judge(&self, done: &Done) -> (Outcome, Option<String>) {
        let decoded = match done.exit {
            Exit::Code(code) => self.decode_rc.get(&code.to_string()).copied(),
            Exit::IdleTimeout | Exit::TotalTimeout => self.timeout_result,
            _ => None,
        };
        let outcome = decoded.map_or_else(|| done.outcome(), |verdict| verdict.0);
        let summary = if done.is_success() {
            self.summary.clone()
        } else {
            Some(done.summary())
        };
        (outcome, summary)
    }
}

capstan_sdk::step!(Shell);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(json: &str) -> Shell {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn parameters_become_a_command() {
        let program = shell(
            r#"{"command": ["make", "-j4"], "workdir": "src", "env": {"A": "1", "LANG": null}, "secrets": {"KEY": "deploy", "PIN": {"secret": "pin"}},
                "timeout": "30s", "max_time": 60, "log": "make"}"#,
        )
        .program();
        let expected = Program::argv(["make", "-j4"])
            .workdir("src")
            .env("A", EnvValue::Set("1".into()))
            .env("LANG", EnvValue::Unset)
            .env("KEY", EnvValue::Secret("deploy".into()))
            .env("PIN", EnvValue::Secret("pin".into()))
            .log("make")
            .idle_timeout(Span::from_secs(30))
            .total_timeout(Span::from_secs(60));
        assert_eq!(program, expected);
        assert_eq!(
            shell(r#"{"command": "make | tee x"}"#).program(),
            Program::shell("make | tee x").workdir("build")
        );
    }

    #[test]
    fn the_exit_decides() {
        let shell = shell(r#"{"command": "x", "decode_rc": {"3": "warnings", "0": "skipped"}}"#);
        for (exit, outcome, summary) in [
            (Exit::Code(0), Outcome::Skipped, None),
            (Exit::Code(2), Outcome::Failure, Some("exit code 2")),
            (Exit::Code(3), Outcome::Warnings, Some("exit code 3")),
            (Exit::Signal(11), Outcome::Failure, Some("ended by signal 11")),
            (Exit::IdleTimeout, Outcome::Failure, Some("timed out: no output")),
            (
                Exit::TotalTimeout,
                Outcome::Failure,
                Some("timed out: ran too long"),
            ),
            (
                Exit::Killed("the disk is full".into()),
                Outcome::Exception,
                Some("stopped: the disk is full"),
            ),
            (
                Exit::NotStarted("no such program: foo".into()),
                Outcome::Failure,
                Some("not started: no such program: foo"),
            ),
        ] {
            let judged = shell.judge(&Done {
                exit,
                stdout: Vec::new(),
            });
            assert_eq!(judged, (outcome, summary.map(str::to_owned)));
        }
    }

    #[test]
    fn a_command_that_timed_out_ends_as_it_was_said() {
        let shell = shell(r#"{"command": "x", "timeout_result": "retry", "decode_rc": {"1": "warnings"}}"#);
        for (exit, outcome) in [
            (Exit::IdleTimeout, Outcome::Retry),
            (Exit::TotalTimeout, Outcome::Retry),
            (Exit::Code(1), Outcome::Warnings),
            (Exit::Code(2), Outcome::Failure),
            (Exit::Signal(9), Outcome::Failure),
        ] {
            let stdout = Vec::new();
            assert_eq!(shell.judge(&Done { exit, stdout }).0, outcome);
        }
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (json, path) in [
            (r#"{"command": ""}"#, "command"),
            (r#"{"command": []}"#, "command"),
            (r#"{"command": "x", "env": {"A=B": "1"}}"#, "env"),
            (
                r#"{"command": "x", "env": {"A": "1"}, "secrets": {"A": "s"}}"#,
                "secrets.A",
            ),
            (
                r#"{"command": "x", "decode_rc": {"three": "warnings"}}"#,
                "decode_rc.three",
            ),
        ] {
            let problems = shell(json).check().unwrap_err();
            assert_eq!(problems[0].path, path, "{json}");
        }
        assert!(shell(r#"{"command": "x"}"#).check().is_ok());
    }
}
