//! A command specification while the guest builds it, and the command that comes of it.

use std::collections::BTreeMap;

use capstan_model::plugin::Right;
use capstan_model::{CommandSpec, DEFAULT_LOG, EnvValue, Program};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::guest::Guest;
use crate::limits::MAX_PAYLOAD;

const DEFAULT_WORKDIR: &str = "build";
const DEFAULT_IDLE_MS: u64 = 20 * 60 * 1000;
const DEFAULT_GRACE_MS: u64 = 10_000;
const MAX_CAPTURE: u32 = 65_536;

/// What the guest asked for so far.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    program: Program,
    workdir: String,
    env: BTreeMap<String, EnvValue>,
    log: String,
    idle_timeout_ms: u64,
    total_timeout_ms: u64,
    term_grace_ms: u64,
    capture_stdout: u32,
}

/// What a build adds to each of its commands.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub builder_dir: String,
    pub env: BTreeMap<String, EnvValue>,
    pub orphan_timeout_ms: u64,
}

impl Spec {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program,
            workdir: DEFAULT_WORKDIR.to_owned(),
            env: BTreeMap::new(),
            log: DEFAULT_LOG.to_owned(),
            idle_timeout_ms: DEFAULT_IDLE_MS,
            total_timeout_ms: 0,
            term_grace_ms: DEFAULT_GRACE_MS,
            capture_stdout: 0,
        }
    }

    pub(crate) fn set_workdir(&mut self, path: String) {
        self.workdir = path;
    }

    pub(crate) fn set_env(&mut self, name: String, value: EnvValue) {
        self.env.insert(name, value);
    }

    pub(crate) fn set_log(&mut self, name: String) {
        self.log = name;
    }

    pub(crate) fn set_idle_timeout(&mut self, ms: u64) {
        self.idle_timeout_ms = ms;
    }

    pub(crate) fn set_total_timeout(&mut self, ms: u64) {
        self.total_timeout_ms = ms;
    }

    pub(crate) fn set_term_grace(&mut self, ms: u64) {
        self.term_grace_ms = ms;
    }

    pub(crate) fn set_capture_stdout(&mut self, bytes: u32) {
        self.capture_stdout = bytes.min(MAX_CAPTURE);
    }

    /// About how many bytes it holds.
    pub(crate) fn size(&self) -> usize {
        let program: usize = match &self.program {
            Program::Argv(argv) => argv.iter().map(|word| word.len() + 24).sum(),
            Program::Shell(line) => line.len(),
            Program::File { path, .. } => path.len(),
        };
        let value = |value: &EnvValue| match value {
            EnvValue::Set(text) | EnvValue::Secret(text) => text.len(),
            EnvValue::Path(entries) => entries.iter().map(|entry| entry.len() + 24).sum(),
            EnvValue::Unset => 0,
        };
        let env: usize = self.env.iter().map(|(name, v)| name.len() + value(v) + 48).sum();
        program + env + self.workdir.len() + self.log.len()
    }

    /// The request as it is compared on replay: what the guest said where it differs from the defaults, and nothing
    /// that the master adds.
    pub(crate) fn asked(&self) -> Value {
        let plain = members(&Self::new(self.program.clone()));
        let mut own = members(self);
        own.retain(|name, value| name == "program" || plain.get(name) != Some(value));
        Value::Object(own)
    }

    /// Whether a worker could carry it out.
    pub(crate) fn check(&self) -> Result<(), String> {
        let size = self.size();
        if size > MAX_PAYLOAD {
            return Err(format!(
                "expected a command of at most {MAX_PAYLOAD} bytes, found {size}"
            ));
        }
        self.check_program()?;
        if climbs(&self.workdir) {
            return Err(format!(
                "expected a workdir inside the builder's directory, found {:?}",
                self.workdir
            ));
        }
        if !is_log_name(&self.log) {
            return Err(format!(
                "expected the name of a log, found {:?}",
                self.log.chars().take(100).collect::<String>()
            ));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("expected the name of a variable, found {name:?}"));
            }
            if matches!(value, EnvValue::Set(text) if text.contains('\0')) {
                return Err(format!("the value of the variable {name} holds a zero byte"));
            }
        }
        Ok(())
    }

    fn check_program(&self) -> Result<(), String> {
        let zero = |text: &String| text.contains('\0');
        match &self.program {
            Program::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
                Err("expected a program, found an empty list".to_owned())
            }
            Program::Shell(line) if line.trim().is_empty() => {
                Err("expected a command line, found an empty one".to_owned())
            }
            Program::Argv(argv) if argv.iter().any(zero) => Err("an argument holds a zero byte".to_owned()),
            Program::Shell(line) if zero(line) => Err("the command line holds a zero byte".to_owned()),
            Program::Argv(_) | Program::Shell(_) => Ok(()),
            // A guest's specification is never one of these.
            Program::File { .. } => Err("expected a program, found a file".to_owned()),
        }
    }

    /// Whether this plugin may run it.
    pub(crate) fn allowed(&self, guest: &Guest) -> Result<(), String> {
        let program = match &self.program {
            Program::Argv(argv) => argv.first().map_or("", String::as_str),
            Program::Shell(_) | Program::File { .. } => "sh",
        };
        guest.allow(Right::Commands, program)?;
        self.env.values().try_for_each(|value| match value {
            EnvValue::Secret(secret) => guest.allow_secret(secret),
            EnvValue::Set(_) | EnvValue::Path(_) | EnvValue::Unset => Ok(()),
        })
    }

    /// The name of the log that it asks for.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// The whole specification.
    pub(crate) fn with(&self, around: &Surroundings, log: String) -> CommandSpec {
        let time = |ms| if ms == 0 { None } else { Some(ms) };
        let mut env = around.env.clone();
        env.extend(self.env.clone());
        CommandSpec {
            program: self.program.clone(),
            builder_dir: around.builder_dir.clone(),
            workdir: self.workdir.clone(),
            env,
            log,
            idle_timeout_ms: time(self.idle_timeout_ms),
            total_timeout_ms: time(self.total_timeout_ms),
            term_grace_ms: self.term_grace_ms,
            orphan_timeout_ms: around.orphan_timeout_ms,
            capture_stdout: self.capture_stdout,
        }
    }
}

fn members(spec: &Spec) -> Map<String, Value> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Whether a path could name a place outside the folder that it is relative to.
pub(super) fn leads_out(path: &str) -> bool {
    climbs(path) || path.starts_with(['/', '\\'])
}

/// Whether a path goes up. Which absolute ones a command may run in is up to its worker.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| segment == "..") || path.contains('\0')
}

/// A name that is a file name on every system and reads well on a page.
pub(crate) fn is_log_name(name: &str) -> bool {
    let fits = |c: char| !c.is_control() && !"/\\:*?\"<>|".contains(c);
    !name.trim().is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(fits)
}
