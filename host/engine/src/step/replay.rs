//! Runs a component against a recorded journal with nothing behind it: every call is answered from there, nothing leaves the
//! process. For the author of a plugin who wants to see again what it did, or whether another build of it would do the same.

use std::sync::Arc;

use capstan_model::journal::{Created, Effect, Entry, Kind};
use capstan_model::{CommandId, CommandSpec, Completion, StepId, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::halt::Halt;
use super::journal::check;
use super::port::{Abandoned, CommandFault, StepPort};
use super::run::{Attempt, attempt, conclude, known};
use super::session::Session;
use super::{Mismatch, StepEnd, StepError, StepRun, WaitMode};
use crate::plugin::Plugin;

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// Whether the component did what is recorded.
    pub verdict: Verdict,
    /// What it told its operator meanwhile, through `log`.
    pub messages: Vec<Message>,
    /// What it asked for, in order; the last call may be one that the journal does not have.
    pub calls: Vec<Asked>,
}

/// Whether a component does what a journal has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It made every recorded call and ended as is recorded.
    Agrees(StepEnd),
    /// It made every recorded call, and ended otherwise.
    EndsOtherwise {
        /// What the last row has.
        recorded: StepEnd,
        /// What the component made of the same answers.
        found: StepEnd,
    },
    /// It asked for something else than is recorded.
    Mismatch(Mismatch),
    /// It made every recorded call; then the journal ends, and the step had not.
    JournalEnds(Past),
    /// It made every recorded call and returned; the journal has no last row.
    Returned(StepEnd),
    /// It was ended by the host.
    Trapped {
        /// The row that it had not reached.
        seq: u32,
        /// Whether nothing was recorded after that.
        last: bool,
        /// Why.
        reason: String,
    },
}

/// A call that the journal has no answer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// The row that it would have, or that its `Start` has.
    pub seq: u32,
    /// The call with its parameters, as far as they fit a message.
    pub call: String,
    /// Whether its `Start` is recorded: then the step was waiting for this answer.
    pub waiting: bool,
}

/// A call as the component made it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// Its row, or that of its `Start`.
    pub seq: u32,
    /// `commands.run` …
    pub call: String,
    /// The parameters, as they are compared.
    pub asked: Value,
}

/// A diagnostic message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The row that the component had not reached when it spoke.
    pub seq: u32,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text, cut if it is long.
    pub text: String,
}

/// Runs `plugin` against `journal`. The plugin need not be the one of row 0.
pub(crate) async fn replay(plugin: &Plugin, mut journal: Vec<Entry>) -> Result<Replay, StepError> {
    let created = created(&journal)?;
    known(plugin, &created)?;
    check(&journal).map_err(StepError::BadJournal)?;
    let last = journal.pop_if(|row| row.kind == Kind::Finished);
    let finished = last.and_then(|row| row.response).map(serde_json::from_value);
    let recorded: Option<StepEnd> = finished
        .transpose()
        .map_err(|error| StepError::BadJournal(format!("in the last row: {error}")))?;
    let run = StepRun {
        plugin: plugin.clone(),
        grants: Arc::default(),
        created,
        journal,
        installation: Uuid::nil(),
        step: StepId(0),
        builder: String::new(),
        builder_dir: String::new(),
        env: Default::default(),
        orphan_timeout_ms: 0,
        mode: WaitMode::Warm,
    };
    let (runner, mut session) = Session::open(run, Arc::new(Nowhere), watch::channel(None).1)?;
    session.go_offline();
    let (attempt, mut session) = attempt(&runner, session).await?;
    let verdict = verdict(attempt, &session, recorded)?;
    let heard = session.heard();
    Ok(Replay {
        verdict,
        messages: heard.messages,
        calls: heard.calls,
    })
}

fn created(journal: &[Entry]) -> Result<Created, StepError> {
    let request = journal.first().and_then(|row| row.request.clone());
    let request = request.ok_or_else(|| StepError::BadJournal("nothing in row 0".to_owned()))?;
    serde_json::from_value(request).map_err(|error| StepError::BadJournal(format!("in row 0: {error}")))
}

fn verdict(attempt: Attempt, session: &Session, recorded: Option<StepEnd>) -> Result<Verdict, StepError> {
    Ok(match attempt {
        Attempt::Returned(result) => {
            let found = conclude(session, result);
            match (session.at_end(), recorded) {
                (Err(mismatch), _) => Verdict::Mismatch(mismatch),
                (Ok(()), None) => Verdict::Returned(found),
                (Ok(()), Some(recorded)) if recorded == found => Verdict::Agrees(found),
                (Ok(()), Some(recorded)) => Verdict::EndsOtherwise { recorded, found },
            }
        }
        Attempt::Halted(Halt::Mismatch(mismatch)) => Verdict::Mismatch(mismatch),
        Attempt::Halted(Halt::JournalEnds(past)) if recorded.is_some() && !past.waiting => {
            Verdict::Mismatch(Mismatch {
                seq: past.seq,
                recorded: "none: the step returned".to_owned(),
                requested: past.call,
            })
        }
        Attempt::Halted(Halt::JournalEnds(past)) => Verdict::JournalEnds(past),
        Attempt::Halted(Halt::Trap(trap)) => Verdict::Trapped {
            seq: session.position(),
            last: session.is_live() && recorded.is_none(),
            reason: trap.to_string(),
        },
        Attempt::Halted(Halt::Abandoned(abandoned)) => return Err(abandoned.into()),
        Attempt::Parked(_) => return Err(nothing_leaves().into()),
    })
}

fn nothing_leaves() -> Abandoned {
    Abandoned("nothing leaves the process in a replay".to_owned())
}

/// A master that carries nothing out. Text for logs is thrown away.
struct Nowhere;

impl StepPort for Nowhere {
    fn append(&self, _: Vec<Entry>, _: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Err(nothing_leaves()) }.boxed()
    }

    fn append_start(
        &self,
        _: Vec<Entry>,
        _: Vec<Effect>,
        _: CommandId,
        _: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Err(nothing_leaves()) }.boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        async { Err(nothing_leaves()) }.boxed()
    }

    fn start_command(&self, _: u32, _: CommandId, _: CommandSpec) -> BoxFuture<'_, Result<(), CommandFault>> {
        async { Err(nothing_leaves().into()) }.boxed()
    }

    fn wait_command(&self, _: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        async { Err(nothing_leaves().into()) }.boxed()
    }

    fn kill_command(&self, _: CommandId, _: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Err(nothing_leaves()) }.boxed()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn write_log(&self, _: String, _: u64, _: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }
}
