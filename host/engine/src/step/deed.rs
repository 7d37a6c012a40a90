//! What a step asks of the world, as its `Start` rows keep it, and how it is carried out. Works without an instance, so
//! that a waiting step need not keep one.

use std::sync::Arc;

use capstan_model::journal::Class;
use capstan_model::{BuildsetId, CommandId, CommandSpec, Completion, Exit, Stored, Timestamp};
use futures::FutureExt as _;
use futures::future::{BoxFuture, select_all};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StopSignal;
use super::artefacts::take_over;
use super::calls;
use super::port::{Abandoned, CommandFault, StepPort};
use super::triggers::{self, Children};

/// An effect on the world: everything that is needed to carry it out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    Start {
        command: CommandId,
        spec: Box<CommandSpec>,
    },
    Run {
        command: CommandId,
        spec: Box<CommandSpec>,
    },
    /// Starts a command that prints a file, and stores what it printed.
    Publish {
        command: CommandId,
        spec: Box<CommandSpec>,
        name: String,
    },
    Wait {
        command: CommandId,
    },
    WaitAny {
        commands: Vec<CommandId>,
    },
    Kill {
        command: CommandId,
        reason: String,
    },
    Sleep {
        duration_ms: u64,
        deadline: Timestamp,
    },
    /// Asks a scheduler for builds.
    Call {
        scheduler: String,
        call: Value,
    },
    /// Waits for buildsets.
    Await {
        buildsets: Vec<BuildsetId>,
        give_back: bool,
    },
}

/// The request of a `Start` row: what the guest said, for people, and what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub asked: Value,
    #[serde(rename = "do")]
    pub deed: Deed,
}

/// The answer of an `End` or a `Local` row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Nothing to say.
    Done,
    Completed(Completed),
    Cancelled(String),
    WorkerLost(String),
    Invalid(String),
    Denied(String),
    /// There is no such file.
    Missing(String),
    TooLarge(String),
    Unavailable(String),
    /// An artefact, whose row commits with this one.
    Stored(Stored),
    /// The place of the first command that ended.
    Place(u32),
    /// Whether a wait lasted to its end.
    Slept(bool),
    Now(Timestamp),
    /// The buildsets that a scheduler made.
    Called(Vec<BuildsetId>),
    /// What is wrong in a call, by its path there.
    Refused(Vec<(String, String)>),
    Children(Vec<Children>),
    Deadlock(String),
}

/// A completion whose captured output is text where it can be: a journal is read by people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Completed {
    pub exit: Exit,
    pub duration_ms: u64,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    pub stdout: Captured,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Captured {
    Text(String),
    Bytes(Vec<u8>),
}

impl Deed {
    pub(crate) fn call(&self) -> &'static str {
        match self {
            Self::Start { .. } => "commands.start",
            Self::Run { .. } => "commands.run",
            Self::Publish { .. } => "artefacts.publish",
            Self::Wait { .. } => "command.wait",
            Self::WaitAny { .. } => "commands.wait-any",
            Self::Kill { .. } => "command.kill",
            Self::Sleep { .. } => "timers.sleep-ms",
            Self::Call { .. } => "triggers.call",
            Self::Await { .. } => "triggers.wait",
        }
    }

    pub(crate) fn class(&self) -> Class {
        calls::class(self.call())
    }

    /// Whether the answer may take long.
    pub(crate) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Run { .. }
                | Self::Publish { .. }
                | Self::Wait { .. }
                | Self::WaitAny { .. }
                | Self::Sleep { .. }
                | Self::Call { .. }
                | Self::Await { .. }
        )
    }

    /// The command that it starts.
    pub(crate) fn starts(&self) -> Option<(CommandId, &CommandSpec)> {
        match self {
            Self::Start { command, spec }
            | Self::Run { command, spec }
            | Self::Publish { command, spec, .. } => Some((*command, spec)),
            _ => None,
        }
    }
}

/// A deed that is being carried out. It borrows nothing: it outlives the instance that asked for it.
pub(crate) type Wait = BoxFuture<'static, Result<Answer, Abandoned>>;

/// Carries out a deed whose `Start` at `seq` is durable. `running` are the commands of the step that have not ended, which a
/// stopped build ends.
pub(crate) async fn carry_out(
    deed: Deed,
    seq: u32,
    running: Vec<CommandId>,
    port: Arc<dyn StepPort>,
    mut stop: StopSignal,
) -> Result<Answer, Abandoned> {
    let at_once = !deed.waits() && deed.starts().is_none();
    // A call that is on its way may lead to builds: what came of it is worth a moment, also to a build that is stopped.
    let to_the_end = at_once || matches!(deed, Deed::Call { .. });
    let cancelled = deed.cancelled();
    let unwanted = deed.awaited();
    let performed = perform(deed, seq, &*port, stop.clone());
    if to_the_end {
        return performed.await;
    }
    tokio::select! {
        biased;
        answer = performed => answer,
        reason = stopped(&mut stop) => {
            for command in running {
                port.kill_command(command, reason.clone()).await?;
            }
            if !unwanted.is_empty() {
                port.cancel_buildsets(unwanted, reason.clone()).await?;
            }
            Ok(cancelled(reason))
        }
    }
}

/// Takes the deed: who waits for a command need not keep what was started.
async fn perform(deed: Deed, seq: u32, port: &dyn StepPort, stop: StopSignal) -> Result<Answer, Abandoned> {
    match deed {
        Deed::Start { command, spec } => {
            let begun = begin(command, spec, seq, port, stop).await?;
            Ok(begun.unwrap_or(Answer::Done))
        }
        Deed::Run { command, spec } => match begin(command, spec, seq, port, stop).await? {
            Some(lost) => Ok(lost),
            None => completion(port.wait_command(command).await),
        },
        Deed::Publish { command, spec, name } => match begin(command, spec, seq, port, stop).await? {
            Some(lost) => Ok(lost),
            None => Box::pin(publish(command, name, port)).await,
        },
        Deed::Wait { command } => completion(port.wait_command(command).await),
        Deed::WaitAny { commands } => Box::pin(first(&commands, port)).await,
        Deed::Kill { command, reason } => {
            port.kill_command(command, reason).await?;
            Ok(Answer::Done)
        }
        Deed::Sleep { deadline, .. } => {
            port.sleep_until(deadline).await;
            Ok(Answer::Slept(true))
        }
        Deed::Call { scheduler, call } => triggers::ask(port, seq, scheduler, call, stop).await,
        Deed::Await { buildsets, give_back } => triggers::wait(port, buildsets, give_back).await,
    }
}

async fn publish(command: CommandId, name: String, port: &dyn StepPort) -> Result<Answer, Abandoned> {
    match port.wait_command(command).await {
        Ok(completion) => take_over(port, command, name, completion).await,
        Err(CommandFault::Lost(reason)) => Ok(Answer::WorkerLost(reason)),
        Err(CommandFault::Abandoned(abandoned)) => Err(abandoned),
    }
}

/// Hands a command to its worker. An answer means that it was lost.
fn begin(
    command: CommandId,
    spec: Box<CommandSpec>,
    seq: u32,
    port: &dyn StepPort,
    stop: StopSignal,
) -> BoxFuture<'_, Result<Option<Answer>, Abandoned>> {
    async move {
        // Not dispatched for a build that is stopped already: the caller ends it.
        unless_stopped(&stop).await;
        started(port.start_command(seq, command, *spec).await)
    }
    .boxed()
}

impl Deed {
    /// The answer where the build is stopped meanwhile, for this reason.
    fn cancelled(&self) -> fn(String) -> Answer {
        match self {
            // The guest then waits for that command and learns that it is cancelled.
            Self::WaitAny { .. } => |_| Answer::Place(0),
            Self::Sleep { .. } => |_| Answer::Slept(false),
            Self::Start { .. }
            | Self::Run { .. }
            | Self::Publish { .. }
            | Self::Wait { .. }
            | Self::Kill { .. }
            | Self::Call { .. }
            | Self::Await { .. } => Answer::Cancelled,
        }
    }

    /// The buildsets that it waits for.
    fn awaited(&self) -> Vec<BuildsetId> {
        match self {
            Self::Await { buildsets, .. } => buildsets.clone(),
            _ => Vec::new(),
        }
    }
}

fn started(dispatched: Result<(), CommandFault>) -> Result<Option<Answer>, Abandoned> {
    match dispatched {
        Ok(()) => Ok(None),
        Err(CommandFault::Lost(reason)) => Ok(Some(Answer::WorkerLost(reason))),
        Err(CommandFault::Abandoned(abandoned)) => Err(abandoned),
    }
}

fn completion(ended: Result<Completion, CommandFault>) -> Result<Answer, Abandoned> {
    match ended {
        Ok(Completion {
            exit: Exit::Lost(reason),
            ..
        })
        | Err(CommandFault::Lost(reason)) => Ok(Answer::WorkerLost(reason)),
        Ok(completion) => Ok(Answer::Completed(completion.into())),
        Err(CommandFault::Abandoned(abandoned)) => Err(abandoned),
    }
}

/// The place of the first command that has ended; of several, the first in the list. A lost one has ended.
async fn first(commands: &[CommandId], port: &dyn StepPort) -> Result<Answer, Abandoned> {
    if commands.is_empty() {
        return Ok(Answer::Place(0));
    }
    let waits = commands.iter().map(|&command| port.wait_command(command));
    let (ended, place, _others) = select_all(waits).await;
    match ended {
        Err(CommandFault::Abandoned(abandoned)) => Err(abandoned),
        Ok(_) | Err(CommandFault::Lost(_)) => Ok(Answer::Place(u32::try_from(place).unwrap_or(u32::MAX))),
    }
}

/// Waits for the stop of the build. A signal whose sender is gone never comes.
async fn stopped(stop: &mut StopSignal) -> String {
    let reason = stop
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|reason| reason.clone());
    match reason {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

async fn unless_stopped(stop: &StopSignal) {
    if stop.borrow().is_some() {
        std::future::pending().await
    }
}

impl From<Completion> for Completed {
    fn from(completion: Completion) -> Self {
        let Completion {
            exit,
            duration_ms,
            stdout_bytes,
            stderr_bytes,
            stdout,
        } = completion;
        let stdout = match String::from_utf8(stdout) {
            Ok(text) => Captured::Text(text),
            Err(error) => Captured::Bytes(error.into_bytes()),
        };
        Self {
            exit,
            duration_ms,
            stdout_bytes,
            stderr_bytes,
            stdout,
        }
    }
}

impl Captured {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}
