//! The worker's end. One machine for the life of the daemon, over any number of connections.
//!
//! The daemon restores what its state folder holds ([`Worker::restore`]), reports what its supervisors do, hands over what
//! the master says, and carries out the [`Action`]s. For each open log it asks [`Worker::next_piece`] what to send.

use std::collections::BTreeMap;

use capstan_model::{CommandId, CommandSpec, Exit, Timestamp};

use super::Violation;
use crate::control::{ExitReport, FromMaster, FromWorker, Held, Hello, ResumeAction, Welcome};

/// What the daemon has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this on the control stream.
    Send(FromWorker),
    /// Keep the epoch on disk before anything that follows is done.
    RememberEpoch(u64),
    /// Start a supervisor. Then report [`Worker::started`], [`Worker::grew`] and [`Worker::exited`].
    Start {
        /// Which command; never held before.
        id: CommandId,
        /// What to run.
        spec: Box<CommandSpec>,
        /// Values of its secrets.
        secrets: BTreeMap<String, String>,
    },
    /// Open a log stream with this header, then send what [`Worker::next_piece`] names.
    OpenLog {
        /// Whose log.
        id: CommandId,
        /// Where it goes on.
        offset: u64,
    },
    /// The log has grown, or its end is known: ask [`Worker::next_piece`] again.
    LogReady(CommandId),
    /// Stop the command's process tree.
    Kill {
        /// Which command.
        id: CommandId,
        /// Why.
        reason: String,
    },
    /// The master will never ask for this again: stop it if it runs, remove all that is kept of it.
    Remove(CommandId),
    /// The conversation has begun: everything of the `Hello` is settled.
    Ready,
    /// The master ends the connection.
    Close {
        /// Why.
        reason: String,
        /// Dialling again is useless.
        fatal: bool,
    },
}

/// A part of a spool to be written to the log stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The offset of its first byte.
    pub from: u64,
    /// The offset behind its last byte; equal to `from` only when `last`.
    pub to: u64,
    /// Finish the stream after this.
    pub last: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Worker {
    epoch_seen: u64,
    stage: Stage,
    commands: BTreeMap<CommandId, Command>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Away,
    Greeting,
    Ready,
}

#[derive(Debug, Default)]
struct Command {
    started: Option<Timestamp>,
    length: u64,
    exit: Option<ExitReport>,
    durable: u64,
    /// The log stream of this connection.
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// Where the master asked to go on.
    offset: u64,
    /// What was handed to the stream.
    sent: u64,
    finished: bool,
}

impl Worker {
    /// A machine that has seen this master epoch (0: none).
    pub fn new(epoch_seen: u64) -> Self {
        Self {
            epoch_seen,
            ..Self::default()
        }
    }

    /// Adds a command that the state folder holds; only before the first connection.
    pub fn restore(
        &mut self,
        id: CommandId,
        started: Option<Timestamp>,
        length: u64,
        exit: Option<ExitReport>,
    ) {
        self.commands.insert(
            id,
            Command {
                started,
                length,
                exit,
                ..Command::default()
            },
        );
    }

    /// A connection is there: greets the master. `hello` carries who we are; what we hold and have seen is filled in.
    pub fn connected(&mut self, hello: Hello) -> Vec<Action> {
        self.disconnected();
        self.stage = Stage::Greeting;
        let held = |(id, command): (&CommandId, &Command)| Held {
            id: *id,
            length: command.length,
            exit: command.exit.clone(),
        };
        let commands = self.commands.iter().map(held).collect();
        vec![Action::Send(FromWorker::Hello(Hello {
            epoch_seen: self.epoch_seen,
            commands,
            ..hello
        }))]
    }

    /// The connection is gone. Commands go on.
    pub fn disconnected(&mut self) {
        self.stage = Stage::Away;
        self.commands
            .values_mut()
            .for_each(|command| command.stream = None);
    }

    /// The master says something. After a violation the connection has to be closed and [`Worker::disconnected`] called.
    pub fn received(&mut self, message: FromMaster) -> Result<Vec<Action>, Violation> {
        match (self.stage, message) {
            (Stage::Greeting, FromMaster::Welcome(welcome)) => self.welcome(welcome),
            (_, FromMaster::Ping { nonce }) => Ok(vec![Action::Send(FromWorker::Pong { nonce })]),
            (_, FromMaster::Goodbye { reason, fatal }) => Ok(vec![Action::Close { reason, fatal }]),
            (_, FromMaster::Unknown) => Ok(vec![]),
            (Stage::Ready, message) => self.ordered(message),
            (_, other) => Err(Violation::Unexpected {
                expected: "a welcome",
                found: name(&other),
            }),
        }
    }

    /// The command's supervisor runs.
    pub fn started(&mut self, id: CommandId, at: Timestamp) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id) else {
            return vec![];
        };
        command.started = Some(at);
        self.say(FromWorker::Started { id, at })
    }

    /// The command's spool has so many bytes of whole frames now.
    pub fn grew(&mut self, id: CommandId, length: u64) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id) else {
            return vec![];
        };
        if length <= command.length || command.exit.is_some() {
            return vec![];
        }
        command.length = length;
        log_ready(id, command)
    }

    /// The command has ended and its spool is complete.
    pub fn exited(&mut self, id: CommandId, report: ExitReport) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id).filter(|c| c.exit.is_none()) else {
            return vec![];
        };
        command.length = report.log_length;
        command.exit = Some(report);
        let mut actions = log_ready(id, command);
        actions.extend(self.report_exit(id));
        actions
    }

    /// The rest of the command's log cannot be read. Nobody will ever have it, so the command is lost, and ended if it runs.
    pub fn unreadable(&mut self, id: CommandId, reason: String) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id) else {
            return vec![];
        };
        let mut actions = lost(id, command, command.durable, reason);
        if let Some(stream) = &mut command.stream {
            stream.finished = true;
        }
        actions.extend(self.report_exit(id));
        actions
    }

    /// What to write to the command's log stream next, at most `max` bytes; it counts as sent from now on. `None`: nothing
    /// now, an [`Action::LogReady`] will tell.
    pub fn next_piece(&mut self, id: CommandId, max: u64) -> Option<Piece> {
        let command = self.commands.get_mut(&id)?;
        let stream = command.stream.as_mut().filter(|stream| !stream.finished)?;
        let from = stream.sent;
        let to = command.length.min(from.saturating_add(max)).max(from);
        let last = command.exit.is_some() && to >= command.length;
        if to == from && !last {
            return None;
        }
        stream.sent = to;
        stream.finished = last;
        Some(Piece { from, to, last })
    }

    /// Whether the master knows us on the present connection.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The highest epoch seen.
    pub fn epoch_seen(&self) -> u64 {
        self.epoch_seen
    }

    /// Every command that is held.
    pub fn held(&self) -> impl Iterator<Item = CommandId> + '_ {
        self.commands.keys().copied()
    }

    /// How much of a command's log survives here only: what is below is durable at the master.
    pub fn durable(&self, id: CommandId) -> Option<u64> {
        self.commands.get(&id).map(|command| command.durable)
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<Vec<Action>, Violation> {
        if welcome.epoch < self.epoch_seen {
            return Err(Violation::Fenced {
                seen: self.epoch_seen,
                found: welcome.epoch,
            });
        }
        let mut actions = Vec::new();
        if welcome.epoch > self.epoch_seen {
            self.epoch_seen = welcome.epoch;
            actions.push(Action::RememberEpoch(welcome.epoch));
        }
        self.stage = Stage::Ready;
        for resume in welcome.commands {
            match resume.action {
                ResumeAction::From(offset) => actions.extend(self.resume(resume.id, offset)),
                ResumeAction::Forget => actions.extend(self.forget(resume.id)),
            }
        }
        actions.push(Action::Ready);
        Ok(actions)
    }

    fn ordered(&mut self, message: FromMaster) -> Result<Vec<Action>, Violation> {
        match message {
            FromMaster::Start { id, spec, secrets } => Ok(self.start(id, spec, secrets)),
            FromMaster::Kill { id, reason } => {
                let runs = self
                    .commands
                    .get(&id)
                    .is_some_and(|command| command.exit.is_none());
                Ok(if runs {
                    vec![Action::Kill { id, reason }]
                } else {
                    vec![]
                })
            }
            FromMaster::Ack {
                id,
                received,
                durable,
            } => self.acknowledged(id, received, durable),
            FromMaster::Forget { id } => Ok(self.forget(id)),
            other => Err(Violation::Unexpected {
                expected: "an order or an acknowledgement",
                found: name(&other),
            }),
        }
    }

    fn start(
        &mut self,
        id: CommandId,
        spec: Box<CommandSpec>,
        secrets: BTreeMap<String, String>,
    ) -> Vec<Action> {
        let Some(command) = self.commands.get(&id) else {
            self.commands.insert(id, Command::default());
            let mut actions = vec![Action::Start { id, spec, secrets }];
            actions.extend(self.resume(id, 0));
            return actions;
        };
        // Attach: it runs or has ended already.
        let started = command
            .started
            .map(|at| Action::Send(FromWorker::Started { id, at }));
        // A welcome that did not mention it leaves the master's length open; what it has, it ignores.
        let unopened = command.stream.is_none().then_some(command.durable);
        let mut actions: Vec<_> = started.into_iter().collect();
        actions.extend(unopened.map(|offset| self.resume(id, offset)).unwrap_or_default());
        actions
    }

    fn resume(&mut self, id: CommandId, offset: u64) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id) else {
            return vec![];
        };
        let mut actions = Vec::new();
        if offset > command.length {
            // A crash of the machine took the end of the spool, and with it the command.
            let reason = "the end of its log was lost on the worker".to_owned();
            actions.extend(lost(id, command, offset, reason));
        }
        command.durable = offset;
        command.stream = Some(Stream {
            offset,
            sent: offset,
            finished: false,
        });
        actions.push(Action::OpenLog { id, offset });
        actions.extend(self.report_exit(id));
        actions
    }

    fn acknowledged(&mut self, id: CommandId, received: u64, durable: u64) -> Result<Vec<Action>, Violation> {
        let Some(command) = self.commands.get_mut(&id) else {
            return Ok(vec![]);
        };
        let sent = command
            .stream
            .as_ref()
            .map_or(command.length, |stream| command.length.max(stream.offset));
        let found = received.max(durable);
        if found > sent {
            return Err(Violation::Acknowledged { id, sent, found });
        }
        command.durable = command.durable.max(durable);
        Ok(vec![])
    }

    fn forget(&mut self, id: CommandId) -> Vec<Action> {
        self.commands
            .remove(&id)
            .map(|_| Action::Remove(id))
            .into_iter()
            .collect()
    }

    fn report_exit(&self, id: CommandId) -> Vec<Action> {
        match self.commands.get(&id).and_then(|command| command.exit.clone()) {
            Some(report) => self.say(FromWorker::Exited { id, report }),
            None => vec![],
        }
    }

    fn say(&self, message: FromWorker) -> Vec<Action> {
        if self.is_ready() {
            vec![Action::Send(message)]
        } else {
            vec![]
        }
    }
}

fn log_ready(id: CommandId, command: &Command) -> Vec<Action> {
    command
        .stream
        .as_ref()
        .map(|_| Action::LogReady(id))
        .into_iter()
        .collect()
}

/// Ends a command whose log ends at `length`, because that is all that the master has and all that it will get.
fn lost(id: CommandId, command: &mut Command, length: u64, reason: String) -> Vec<Action> {
    let runs = command.exit.is_none();
    let known = command
        .exit
        .take()
        .map_or((0, 0, 0), |e| (e.duration_ms, e.stdout_bytes, e.stderr_bytes));
    command.length = length;
    command.exit = Some(ExitReport {
        exit: Exit::Lost(reason.clone()),
        duration_ms: known.0,
        log_length: length,
        stdout_bytes: known.1,
        stderr_bytes: known.2,
    });
    if runs {
        vec![Action::Kill { id, reason }]
    } else {
        vec![]
    }
}

fn name(message: &FromMaster) -> &'static str {
    match message {
        FromMaster::Welcome(_) => "a second welcome",
        FromMaster::Start { .. } => "a start",
        FromMaster::Kill { .. } => "a kill",
        FromMaster::Ack { .. } => "an acknowledgement",
        FromMaster::Forget { .. } => "a forget",
        FromMaster::Ping { .. } => "a ping",
        FromMaster::Goodbye { .. } => "a goodbye",
        FromMaster::Unknown => "a message of a newer version",
    }
}
