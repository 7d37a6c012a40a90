//! A command as a step builds it, and how it ended.

use super::{Command, Exit, Outcome, Stop};
use crate::host::commands::{self, Spec};
use crate::params::Span;

/// What to run; everything but the program has a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    line: Line,
    workdir: Option<String>,
    env: Vec<(String, EnvValue)>,
    log: Option<String>,
    idle_timeout: Option<Span>,
    total_timeout: Option<Span>,
    term_grace: Option<Span>,
    capture_stdout: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Line {
    Argv(Vec<String>),
    Shell(String),
}

/// One variable of a command's environment.
#[derive(Clone, Debug, PartialEq)]
pub enum EnvValue {
    /// Set; `${NAME}` in it is replaced on the worker by its own variable.
    Set(String),
    /// Removed from the worker's own environment.
    Unset,
    /// Set to the secret of that name, which is masked in every log.
    Secret(String),
}

impl Program {
    /// A program and its arguments, without a shell.
    pub fn argv<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Line::Argv(argv.into_iter().map(Into::into).collect()))
    }

    /// A line for the worker's shell.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::new(Line::Shell(line.into()))
    }

    fn new(line: Line) -> Self {
        Self {
            line,
            workdir: None,
            env: Vec::new(),
            log: None,
            idle_timeout: None,
            total_timeout: None,
            term_grace: None,
            capture_stdout: 0,
        }
    }

    /// Runs in this folder of the builder's directory; `build` by default.
    pub fn workdir(mut self, path: impl Into<String>) -> Self {
        self.workdir = Some(path.into());
        self
    }

    /// Sets, removes or fills a variable.
    pub fn env(mut self, name: impl Into<String>, value: EnvValue) -> Self {
        self.env.push((name.into(), value));
        self
    }

    /// Writes to this log; `stdio` by default. A name that the step used already gets a number.
    pub fn log(mut self, name: impl Into<String>) -> Self {
        self.log = Some(name.into());
        self
    }

    /// Ends it when it printed nothing for so long; 0 is never; 20 minutes by default.
    pub fn idle_timeout(mut self, span: Span) -> Self {
        self.idle_timeout = Some(span);
        self
    }

    /// Ends it after so long; 0 is never, the default.
    pub fn total_timeout(mut self, span: Span) -> Self {
        self.total_timeout = Some(span);
        self
    }

    /// Leaves its processes so long between TERM and KILL; 10 seconds by default.
    pub fn term_grace(mut self, span: Span) -> Self {
        self.term_grace = Some(span);
        self
    }

    /// Brings so many bytes of standard output back, at most 65536; none by default.
    pub fn capture_stdout(mut self, bytes: u32) -> Self {
        self.capture_stdout = bytes;
        self
    }

    /// Runs it and waits for its end.
    pub fn run(&self) -> Result<Done, Stop> {
        let done = commands::run(&self.spec())?;
        Ok(Done {
            exit: done.exit,
            stdout: done.stdout,
        })
    }

    /// Starts it; started commands go on side by side.
    pub fn start(&self) -> Result<Command, Stop> {
        Ok(commands::start(&self.spec())?)
    }

    fn spec(&self) -> Spec {
        let spec = match &self.line {
            Line::Argv(argv) => Spec::argv(argv),
            Line::Shell(line) => Spec::shell(line),
        };
        for (name, value) in &self.env {
            match value {
                EnvValue::Set(text) => spec.set_env(name, text),
                EnvValue::Unset => spec.unset_env(name),
                EnvValue::Secret(secret) => spec.set_secret_env(name, secret),
            }
        }
        self.workdir.as_ref().inspect(|path| spec.set_workdir(path));
        self.log.as_ref().inspect(|name| spec.set_log(name));
        self.idle_timeout.inspect(|span| spec.set_idle_timeout(span.ms()));
        self.total_timeout
            .inspect(|span| spec.set_total_timeout(span.ms()));
        self.term_grace.inspect(|span| spec.set_term_grace(span.ms()));
        if self.capture_stdout > 0 {
            spec.set_capture_stdout(self.capture_stdout);
        }
        spec
    }
}

/// How a command ended, once every byte of its output is stored.
#[derive(Clone, Debug)]
pub struct Done {
    /// How it ended.
    pub exit: Exit,
    /// The start of standard output, as far as it was asked for.
    pub stdout: Vec<u8>,
}

impl Done {
    /// Whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        matches!(self.exit, Exit::Code(0))
    }

    /// The usual result of a step that runs just this: code 0 is success, being stopped by the farm (its disk is full, say) is
    /// an exception, the rest failure. A build that somebody stops has no end to judge: its call answers `cancelled`.
    pub fn outcome(&self) -> Outcome {
        match self.exit {
            Exit::Code(0) => Outcome::Success,
            Exit::Killed(_) => Outcome::Exception,
            _ => Outcome::Failure,
        }
    }

    /// How it ended, in a few words.
    pub fn summary(&self) -> String {
        match &self.exit {
            Exit::Code(0) => "done".to_owned(),
            Exit::Code(code) => format!("exit code {code}"),
            Exit::Signal(signal) => format!("ended by signal {signal}"),
            Exit::IdleTimeout => "timed out: no output".to_owned(),
            Exit::TotalTimeout => "timed out: ran too long".to_owned(),
            Exit::Killed(reason) => format!("stopped: {reason}"),
            Exit::NotStarted(reason) => format!("not started: {reason}"),
        }
    }

    /// Standard output as text, without the white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}
