//! Commands: what a step asks a worker to run, and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StepId;

/// The log that a command writes to when its step names none.
pub const DEFAULT_LOG: &str = "stdio";

/// The idempotence key of a command: starting the same id twice attaches to the running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub Uuid);

impl CommandId {
    /// The name-based UUID of (installation, step, journal position): the same on every replay.
    pub fn derive(installation: Uuid, step: StepId, seq: u32) -> Self {
        Self(Uuid::new_v5(
            &installation,
            format!("step {step} seq {seq}").as_bytes(),
        ))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CommandId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A program and its arguments, started without a shell.
    Argv(Vec<String>),
    /// A line for the worker's shell (`/bin/sh -c`, `cmd /c`).
    Shell(String),
    /// No program: the worker itself prints this file to standard output, byte by byte and with no secret masked.
    File {
        /// The file, relative to the builder's directory; it must not leave it.
        path: String,
        /// A larger one is refused.
        max_bytes: u64,
    },
}

impl Program {
    /// Whether what it prints is no log for people, but on its way to become an artefact.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// One environment variable of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Set; `${NAME}` is replaced on the worker by its own variable of that name.
    Set(String),
    /// Removed from the worker's own environment.
    Unset,
    /// Set to the secret of that name, which is masked in every log.
    Secret(String),
    /// Set to these, joined with the worker's separator of paths; `${NAME}` as in `Set`. What is empty then is left out.
    Path(Vec<String>),
}

/// A command as a step asks for it. Durable in the journal: it never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// What to execute.
    pub program: Program,
    /// The builder's own directory under the worker's base directory; one path component.
    pub builder_dir: String,
    /// Where to run: relative to the builder's directory, which it must not leave, or in a folder that the worker's own
    /// configuration grants. Made if missing.
    pub workdir: String,
    /// Changes to the worker's own environment.
    pub env: BTreeMap<String, EnvValue>,
    /// The log that receives both pipes.
    pub log: String,
    /// End the command when it prints nothing for so long; `None` is never.
    pub idle_timeout_ms: Option<u64>,
    /// End the command after so long; `None` is never.
    pub total_timeout_ms: Option<u64>,
    /// How long the process tree has between TERM and KILL.
    pub term_grace_ms: u64,
    /// How long it may run on while the worker hears nothing from its master.
    pub orphan_timeout_ms: u64,
    /// How many bytes of standard output come back with the completion (0 is none).
    pub capture_stdout: u32,
}

/// Which time-out ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeOut {
    /// It printed nothing for too long.
    Idle,
    /// It ran for too long.
    Total,
    /// Its worker heard nothing from the master for too long.
    Orphan,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal that Capstan did not send ended it.
    Signal(i32),
    /// A time-out ended it.
    TimedOut(TimeOut),
    /// It was stopped, for this reason.
    Killed(String),
    /// It could not be started, for this reason (no such program, workdir outside, disk full …).
    NotStarted(String),
    /// It was to print a file, and could not.
    NoFile {
        /// What was wrong with the file.
        fault: FileFault,
        /// That in words.
        reason: String,
    },
    /// Nobody knows: its worker or its supervisor vanished.
    Lost(String),
}

/// Why a file was not printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFault {
    /// There is none.
    Missing,
    /// It is no regular file, or not within the builder's directory.
    Invalid,
    /// It is larger than it may be.
    TooLarge,
    /// It cannot be read, or changed while it was read.
    Unreadable,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut(TimeOut::Idle) => f.write_str("timed out: no output"),
            Self::TimedOut(TimeOut::Total) => f.write_str("timed out: ran too long"),
            Self::TimedOut(TimeOut::Orphan) => f.write_str("timed out: the worker lost its master"),
            Self::Killed(reason) => write!(f, "stopped: {reason}"),
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
            Self::NoFile { reason, .. } => f.write_str(reason),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
        }
    }
}

/// The end of a command, as the master knows it once every log byte is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// How it ended.
    pub exit: Exit,
    /// From start to end, by the worker's monotonic clock.
    pub duration_ms: u64,
    /// Bytes of standard output.
    pub stdout_bytes: u64,
    /// Bytes of standard error.
    pub stderr_bytes: u64,
    /// The first `capture_stdout` bytes of standard output.
    #[serde(default)]
    pub stdout: Vec<u8>,
}

/// Which pipe a piece of a log came through. The numbers are part of the log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Channel {
    /// Standard output, or the text of a plugin.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// What the worker says about the command itself.
    Header = 3,
}

impl Channel {
    /// The channel of that number in the log format.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Header]
            .into_iter()
            .find(|&c| c as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replayed_step_presents_the_same_command_id() {
        let farm = Uuid::from_u128(7);
        let id = CommandId::derive(farm, StepId(3), 1);
        assert_eq!(id, CommandId::derive(farm, StepId(3), 1));
        assert_ne!(id, CommandId::derive(farm, StepId(3), 2));
        assert_ne!(id, CommandId::derive(farm, StepId(4), 1));
        assert_ne!(id, CommandId::derive(Uuid::from_u128(8), StepId(3), 1));
    }
}
