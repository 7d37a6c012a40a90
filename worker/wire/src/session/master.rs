//! The master's end of one connection. The link hands over what the worker says and what its log streams bring, asks the
//! port to store it, and carries out the [`Action`]s.

use std::collections::{BTreeMap, HashMap};

use capstan_model::{CommandId, CommandSpec, Exit, Timestamp};
use uuid::Uuid;

use super::Violation;
use crate::PROTOCOL_MINOR;
use crate::control::{ExitReport, FromMaster, FromWorker, Hello, Resume, ResumeAction, Welcome};

/// What the link has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this on the control stream.
    Send(FromMaster),
    /// Ask what becomes of the commands that the worker holds, then call [`Master::welcome`].
    Greet(Hello),
    /// The worker runs this command, since then by its own clock.
    Started(CommandId, Timestamp),
    /// The command has ended and all of its log is durable: record it, then [`Master::forget`]. Comes once a connection.
    Completed(CommandId, ExitReport),
    /// The worker takes no new commands.
    Leaving,
    /// The worker lives.
    Alive,
}

/// What to do with a new log stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Read it.
    Read,
    /// Nobody wants it: stop it.
    Unwanted,
}

/// See the module.
#[derive(Debug)]
pub struct Master {
    installation: Uuid,
    epoch: u64,
    name: String,
    stage: Stage,
    exits: HashMap<CommandId, ExitReport>,
    commands: HashMap<CommandId, Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Greeting,
    Ready,
}

#[derive(Debug, Default)]
struct Command {
    received: u64,
    durable: u64,
    exit: Option<ExitReport>,
    /// A log stream was opened on this connection.
    opened: bool,
    /// That stream has ended.
    ended: bool,
    completed: bool,
}

impl Master {
    /// The master's end of a new connection from the worker that its certificate calls `name`.
    pub fn new(installation: Uuid, epoch: u64, name: String) -> Self {
        let (exits, commands) = (HashMap::new(), HashMap::new());
        Self {
            installation,
            epoch,
            name,
            stage: Stage::Waiting,
            exits,
            commands,
        }
    }

    /// The worker says something.
    pub fn received(&mut self, message: FromWorker) -> Result<Vec<Action>, Violation> {
        match (self.stage, message) {
            (Stage::Waiting, FromWorker::Hello(hello)) => self.hello(hello),
            (Stage::Waiting, other) => Err(Violation::Unexpected {
                expected: "a hello",
                found: name(&other),
            }),
            (_, FromWorker::Hello(_)) => Err(Violation::Unexpected {
                expected: "one hello",
                found: "a second hello",
            }),
            (_, FromWorker::Started { id, at }) => Ok(vec![Action::Started(id, at)]),
            (_, FromWorker::Exited { id, report }) => self.exited(id, report),
            (_, FromWorker::Pong { .. }) => Ok(vec![Action::Alive]),
            (_, FromWorker::Leaving) => Ok(vec![Action::Leaving]),
            (_, FromWorker::Unknown) => Ok(vec![]),
        }
    }

    /// What becomes of the commands of the `Hello`. Those not named are kept by the worker and not sent.
    pub fn welcome(&mut self, commands: Vec<Resume>) -> Result<Vec<Action>, Violation> {
        self.stage = Stage::Ready;
        let mut exits = std::mem::take(&mut self.exits);
        let mut settled = Vec::new();
        for resume in &commands {
            let ResumeAction::From(offset) = resume.action else {
                continue;
            };
            self.commands.insert(
                resume.id,
                Command {
                    received: offset,
                    durable: offset,
                    ..Command::default()
                },
            );
            // A log that became shorter than ours is for the worker to explain, once it knows what we have.
            let whole =
                |report: &ExitReport| report.log_length >= offset || matches!(report.exit, Exit::Lost(_));
            if let Some(report) = exits.remove(&resume.id).filter(whole) {
                settled.extend(self.exited(resume.id, report)?);
            }
        }
        let welcome = Welcome {
            minor: PROTOCOL_MINOR,
            installation: self.installation,
            epoch: self.epoch,
            name: self.name.clone(),
            commands,
        };
        settled.insert(0, Action::Send(FromMaster::Welcome(welcome)));
        Ok(settled)
    }

    /// Sends a command to the worker; it attaches if it holds the command already. Only after the welcome.
    pub fn start(
        &mut self,
        id: CommandId,
        spec: Box<CommandSpec>,
        secrets: BTreeMap<String, String>,
    ) -> Vec<Action> {
        self.commands.entry(id).or_default();
        vec![Action::Send(FromMaster::Start { id, spec, secrets })]
    }

    /// Stops a command.
    pub fn kill(&mut self, id: CommandId, reason: String) -> Vec<Action> {
        vec![Action::Send(FromMaster::Kill { id, reason })]
    }

    /// The command's end is recorded, or nobody wants it any more: the worker removes it.
    pub fn forget(&mut self, id: CommandId) -> Vec<Action> {
        self.commands.remove(&id);
        vec![Action::Send(FromMaster::Forget { id })]
    }

    /// A log stream with this header has come.
    pub fn stream_opened(&mut self, id: CommandId, offset: u64) -> Result<Stream, Violation> {
        self.ready("a log stream")?;
        let Some(command) = self.commands.get_mut(&id) else {
            return Ok(Stream::Unwanted);
        };
        if command.opened {
            return Err(Violation::SecondStream(id));
        }
        command.opened = true;
        if offset > command.received {
            return Err(Violation::Gap {
                id,
                expected: command.received,
                found: offset,
            });
        }
        Ok(Stream::Read)
    }

    /// `length` bytes of whole frames have come, beginning at `offset`. Returns how many of them, from the front, are known
    /// already; the rest is to be stored. `None`: nobody wants them any more.
    pub fn log_bytes(&mut self, id: CommandId, offset: u64, length: u64) -> Result<Option<u64>, Violation> {
        let Some(command) = self.commands.get_mut(&id) else {
            return Ok(None);
        };
        if offset > command.received {
            return Err(Violation::Gap {
                id,
                expected: command.received,
                found: offset,
            });
        }
        let end = offset.saturating_add(length);
        match &mut command.exit {
            // What was under way when its worker gave the rest up.
            Some(exit) if matches!(exit.exit, Exit::Lost(_)) => {
                exit.log_length = exit.log_length.max(end);
            }
            Some(exit) if end > exit.log_length => {
                return Err(Violation::Length {
                    id,
                    expected: exit.log_length,
                    found: end,
                });
            }
            _ => {}
        }
        let known = (command.received - offset).min(length);
        command.received = command.received.max(end);
        Ok(Some(known))
    }

    /// The log is durable up to here.
    pub fn stored(&mut self, id: CommandId, durable: u64) -> Vec<Action> {
        let Some(command) = self.commands.get_mut(&id) else {
            return vec![];
        };
        command.durable = command.durable.max(durable);
        command.received = command.received.max(durable);
        let ack = FromMaster::Ack {
            id,
            received: command.received,
            durable: command.durable,
        };
        let mut actions = vec![Action::Send(ack)];
        actions.extend(completed(id, command));
        actions
    }

    /// Nobody wants the command's log any more. What the worker says of it is ignored until the next connection.
    pub fn abandon(&mut self, id: CommandId) {
        self.commands.remove(&id);
    }

    /// The log stream was finished by the worker, `pending` bytes into a frame.
    pub fn stream_ended(&mut self, id: CommandId, pending: usize) -> Result<(), Violation> {
        let Some(command) = self.commands.get_mut(&id) else {
            return Ok(());
        };
        if pending > 0 {
            return Err(Violation::Torn { id, pending });
        }
        command.ended = true;
        check_length(id, command)
    }

    /// Whether the worker was welcomed.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    fn hello(&mut self, hello: Hello) -> Result<Vec<Action>, Violation> {
        if hello.epoch_seen > self.epoch {
            return Err(Violation::Fenced {
                seen: hello.epoch_seen,
                found: self.epoch,
            });
        }
        self.stage = Stage::Greeting;
        let ended = hello
            .commands
            .iter()
            .filter_map(|held| Some((held.id, held.exit.clone()?)));
        self.exits = ended.collect();
        Ok(vec![Action::Greet(hello)])
    }

    fn exited(&mut self, id: CommandId, mut report: ExitReport) -> Result<Vec<Action>, Violation> {
        self.ready("the end of a command")?;
        // It crossed our `Forget` on the way.
        let Some(command) = self.commands.get_mut(&id) else {
            return Ok(vec![]);
        };
        if let Exit::Lost(_) = report.exit {
            // A crash of its machine can take the end of a spool that we have.
            report.log_length = report.log_length.max(command.received);
        }
        if report.log_length < command.received {
            return Err(Violation::Length {
                id,
                expected: report.log_length,
                found: command.received,
            });
        }
        match report.exit {
            // Also of one that had ended well: the rest of its log will not come.
            Exit::Lost(_) => command.exit = Some(report),
            _ => {
                command.exit.get_or_insert(report);
            }
        }
        check_length(id, command)?;
        Ok(completed(id, command).into_iter().collect())
    }

    fn ready(&self, found: &'static str) -> Result<(), Violation> {
        if self.is_ready() {
            Ok(())
        } else {
            Err(Violation::Unexpected {
                expected: "a hello",
                found,
            })
        }
    }
}

/// The completion equation: every byte that the command wrote is durable.
fn completed(id: CommandId, command: &mut Command) -> Option<Action> {
    let report = command.exit.as_ref()?;
    if command.completed || command.durable != report.log_length {
        return None;
    }
    command.completed = true;
    Some(Action::Completed(id, report.clone()))
}

/// A stream that the worker finished brought all of the log.
fn check_length(id: CommandId, command: &Command) -> Result<(), Violation> {
    match &command.exit {
        Some(exit) if command.ended && command.received != exit.log_length => Err(Violation::Length {
            id,
            expected: exit.log_length,
            found: command.received,
        }),
        _ => Ok(()),
    }
}

fn name(message: &FromWorker) -> &'static str {
    match message {
        FromWorker::Hello(_) => "a hello",
        FromWorker::Started { .. } => "a started",
        FromWorker::Exited { .. } => "the end of a command",
        FromWorker::Pong { .. } => "a pong",
        FromWorker::Leaving => "a leaving",
        FromWorker::Unknown => "a message of a newer version",
    }
}
