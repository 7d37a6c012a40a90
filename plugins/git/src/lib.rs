//! The step `git`: checks out a repository on the worker, at exactly the revision that the build is about.

mod checkout;
mod names;
mod patch;
mod wanted;

use capstan_sdk::params::Span;
use capstan_sdk::problem;
use capstan_sdk::step::{self, Done, EnvValue, Outcome, Problem, Program, Step, Stop};
use serde::Deserialize;
use serde_json::{Value, json};

use checkout::Worker;

/// The parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Git {
    repository: Option<String>,
    codebase: Option<String>,
    branch: Option<String>,
    revision: Option<String>,
    always_use_latest: bool,
    mode: Mode,
    method: Option<Method>,
    shallow: Shallow,
    submodules: bool,
    tags: bool,
    clobber_on_failure: bool,
    retry: u32,
    retry_delay: Span,
    timeout: Option<Span>,
    workdir: String,
    patch: Option<bool>,
}

impl Default for Git {
    fn default() -> Self {
        Self {
            repository: None,
            codebase: None,
            branch: None,
            revision: None,
            always_use_latest: false,
            mode: Mode::Incremental,
            method: None,
            shallow: Shallow::Whether(false),
            submodules: false,
            tags: false,
            clobber_on_failure: true,
            retry: 2,
            retry_delay: Span::from_secs(5),
            timeout: None,
            workdir: "build".to_owned(),
            patch: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Incremental,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Fresh,
    Clean,
    Clobber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a number of commits")]
enum Shallow {
    Whether(bool),
    Depth(u32),
}

impl Step for Git {
    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut named = |path: &str, text: &Option<String>, check: fn(&str) -> Result<(), String>| {
            if let Some(Err(message)) = text.as_deref().map(check) {
                problems.push(problem(path, message));
            }
        };
        named("repository", &self.repository, names::check_repository);
        named("branch", &self.branch, names::check_branch);
        named("revision", &self.revision, names::check_revision);
        if self.mode == Mode::Incremental && self.method.is_some() {
            problems.push(problem(
                "method",
                "expected mode = \"full\" beside it, found \"incremental\"",
            ));
        }
        if self.revision.is_some() && self.always_use_latest {
            problems.push(problem(
                "revision",
                "expected either `revision` or `always_use_latest`, found both",
            ));
        }
        if self.shallow == Shallow::Depth(0) {
            problems.push(problem("shallow", "expected at least 1, found 0"));
        }
        let root = self
            .workdir
            .split(['/', '\\'])
            .all(|segment| segment.is_empty() || segment == ".");
        if root && self.clobbers() {
            // What would be deleted is the builder's own folder.
            problems.push(problem(
                "workdir",
                "expected a folder of its own for method = \"clobber\"",
            ));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn run(self) -> Result<Outcome, Stop> {
        let patches = patch::read(step::property(patch::PROPERTY))?;
        let wanted = self.wanted(&step::sources(), patches)?;
        let revision = self.check_out(&mut OnWorker(&self), &wanted)?;
        let earlier = if wanted.codebase.is_empty() {
            None
        } else {
            step::property("got_revision")
        };
        step::set_property(
            "got_revision",
            &got_revision(&wanted.codebase, earlier, &revision),
        )?;
        step::set_summary(&wanted.summary(&revision));
        Ok(Outcome::Success)
    }
}

impl Git {
    fn clobbers(&self) -> bool {
        self.mode == Mode::Full && self.method == Some(Method::Clobber)
    }

    fn depth(&self) -> Option<u32> {
        match self.shallow {
            Shallow::Whether(false) => None,
            Shallow::Whether(true) => Some(1),
            Shallow::Depth(depth) => Some(depth),
        }
    }
}

/// A text; where a build has named codebases, an object with a text for each, as Buildbot has it.
fn got_revision(codebase: &str, earlier: Option<Value>, revision: &str) -> Value {
    if codebase.is_empty() {
        return json!(revision);
    }
    let mut all = match earlier {
        Some(Value::Object(all)) => all,
        _ => serde_json::Map::new(),
    };
    all.insert(codebase.to_owned(), json!(revision));
    Value::Object(all)
}

/// The build's real worker.
struct OnWorker<'a>(&'a Git);

impl OnWorker<'_> {
    fn program(&self, program: Program) -> Result<Done, Stop> {
        match self.0.timeout {
            Some(timeout) => program.idle_timeout(timeout).run(),
            None => program.run(),
        }
    }
}

impl Worker for OnWorker<'_> {
    fn run(&mut self, args: &[&str], capture: u32) -> Result<Done, Stop> {
        let mut program = Program::argv(["git"].iter().chain(args).copied());
        for (name, value) in checkout::ENVIRONMENT {
            program = program.env(name, EnvValue::Set(value.to_owned()));
        }
        self.program(program.workdir(&self.0.workdir).capture_stdout(capture))
    }

    fn remove(&mut self) -> Result<Done, Stop> {
        self.program(Program::argv(["rm", "-rf", "--", &self.0.workdir]).workdir("."))
    }

    fn pause(&mut self, span: Span) -> Result<(), Stop> {
        if step::sleep_ms(span.ms()) {
            return Ok(());
        }
        Err(Stop::Outcome(
            Outcome::Cancelled,
            "stopped while waiting to fetch again".to_owned(),
        ))
    }
}

capstan_sdk::step!(Git);

#[cfg(test)]
mod tests;
