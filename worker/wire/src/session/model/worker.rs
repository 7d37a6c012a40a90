//! The worker of the simulation: its disk, its supervisors, and the daemon that drives the machine.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::{Exit, Timestamp};
use uuid::Uuid;

use super::flaw::Flaw;
use super::hello;
use super::link::{Link, Stream};
use super::world::{Broken, World, id_of, number_of};
use crate::control::{ExitReport, FromMaster, FromWorker, Welcome};
use crate::session::worker::Action;
use crate::session::{Master, Violation, Worker};

#[derive(Default)]
pub(super) struct Machine {
    pub session: Worker,
    /// What is on disk: a folder for each command.
    pub folders: BTreeMap<usize, Folder>,
    pub epoch: u64,
    /// The commands that the present daemon knows of.
    pub known: BTreeSet<usize>,
    /// Supervisors that were started and have not looked at their folder yet. They outlive the daemon.
    pub supervisors: Vec<usize>,
    /// The connection that the daemon talks through, alive or not.
    pub attached: Option<u64>,
    /// The highest epoch of a master that it followed since its folder is there.
    pub followed: u64,
}

#[derive(Default)]
pub(super) struct Folder {
    pub started: bool,
    pub frames: usize,
    pub exit: Option<ExitReport>,
    /// It is to stop.
    stop: bool,
    /// Its supervisor is gone without a word.
    doomed: bool,
    /// It goes as soon as it has ended.
    unwanted: bool,
}

impl World {
    fn spool_length(&self, command: usize) -> u64 {
        self.machine
            .folders
            .get(&command)
            .map_or(0, |folder| self.facts[command].script.length(folder.frames))
    }

    pub fn supervise(&mut self, n: u64) -> Result<(), Broken> {
        let waiting = self.machine.supervisors.len();
        if waiting == 0 {
            return Ok(());
        }
        let command = self.machine.supervisors.swap_remove(n as usize % waiting);
        let careless = self.flaw == Some(Flaw::StartsWithoutLooking);
        let Some(folder) = self.machine.folders.get_mut(&command) else {
            return Ok(());
        };
        if folder.exit.is_some() || (folder.started && !careless) {
            self.seen.note("a supervisor that was not the first");
            return self.follow(command);
        }
        if folder.stop {
            return self.ends(command, Exit::Killed("stopped".to_owned()));
        }
        folder.started = true;
        let facts = &mut self.facts[command];
        facts.executions += 1;
        if facts.executions > 1 + facts.excused {
            return Err(Broken(format!("command {command} was started twice")));
        }
        if !self.machine.known.contains(&command) {
            self.seen.note("a supervisor that started late");
            return Ok(());
        }
        self.seen.told += 1;
        let actions = self.machine.session.started(id_of(command), Timestamp(1));
        self.worker_does(actions)
    }

    /// Another supervisor was first: the daemon looks at what it does.
    fn follow(&mut self, command: usize) -> Result<(), Broken> {
        let length = self.spool_length(command);
        let folder = self.machine.folders.get(&command);
        let Some(folder) = folder.filter(|_| self.machine.known.contains(&command)) else {
            return Ok(());
        };
        let (id, exit) = (id_of(command), folder.exit.clone());
        let mut actions = match folder.started {
            true => self.machine.session.started(id, Timestamp(1)),
            false => Vec::new(),
        };
        actions.extend(match exit {
            Some(report) => self.machine.session.exited(id, report),
            None => self.machine.session.grew(id, length),
        });
        self.worker_does(actions)
    }

    /// A command writes its next frame, or ends.
    pub fn write(&mut self, n: u64) -> Result<(), Broken> {
        let running = |folder: &Folder| folder.started && folder.exit.is_none();
        let all = self.machine.folders.iter().filter(|(_, f)| running(f));
        let count = all.clone().count();
        let Some((&command, folder)) = all.clone().nth(n as usize % count.max(1)) else {
            return Ok(());
        };
        let facts = &mut self.facts[command];
        if folder.doomed {
            self.ends(command, Exit::Lost("its machine lost power".to_owned()))
        } else if folder.stop {
            self.ends(command, Exit::Killed("stopped".to_owned()))
        } else if folder.frames < facts.script.frames() {
            let frames = folder.frames + 1;
            facts.written = facts.written.max(frames);
            let length = facts.script.length(frames);
            if let Some(folder) = self.machine.folders.get_mut(&command) {
                folder.frames = frames;
            }
            if !self.machine.known.contains(&command) {
                return Ok(());
            }
            self.seen.told += 1;
            let actions = self.machine.session.grew(id_of(command), length);
            self.worker_does(actions)
        } else if facts.script.is_endless() {
            Ok(())
        } else {
            self.ends(command, Exit::Code(0))
        }
    }

    fn ends(&mut self, command: usize, exit: Exit) -> Result<(), Broken> {
        let report = ExitReport {
            exit,
            duration_ms: 1,
            log_length: self.spool_length(command),
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        let Some(folder) = self.machine.folders.get_mut(&command) else {
            return Ok(());
        };
        folder.exit = Some(report.clone());
        if !self.machine.known.contains(&command) {
            return Ok(());
        }
        if folder.unwanted {
            self.machine.folders.remove(&command);
            self.machine.known.remove(&command);
        }
        self.seen.told += 1;
        let actions = self.machine.session.exited(id_of(command), report);
        self.worker_does(actions)
    }

    /// The daemon copies a piece of a spool to its stream.
    pub fn send(&mut self, n: u64, max: u64) -> Result<(), Broken> {
        let careless = self.flaw == Some(Flaw::ResumesWhereItLikes);
        let Some(link) = attached(&mut self.links, self.machine.attached) else {
            return Ok(());
        };
        let count = link.streams.iter().filter(|stream| !stream.finished).count();
        let mut open = link.streams.iter_mut().filter(|stream| !stream.finished);
        let Some(stream) = open.nth(n as usize % count.max(1)) else {
            return Ok(());
        };
        let command = stream.command;
        let Some(piece) = self.machine.session.next_piece(id_of(command), max) else {
            return Ok(());
        };
        self.seen.told += 1;
        stream.finished |= piece.last;
        if piece.to == piece.from {
            return Ok(());
        }
        let back = if careless {
            stream.offset.min(piece.from)
        } else {
            0
        };
        let (from, to) = (piece.from - back, piece.to - back);
        let bytes = &self.facts[command].script.log[from as usize..to as usize];
        stream.on_the_way.extend(bytes);
        if piece.to > self.spool_length(command) {
            return Err(Broken(format!(
                "the worker sends more of command {command} than it has"
            )));
        }
        Ok(())
    }

    /// Commands on disk that the daemon does not know are taken up before each connection.
    fn take_up_folders(&mut self) {
        let blind = self.flaw == Some(Flaw::OverlooksWhatRuns);
        for (&command, folder) in &self.machine.folders {
            let there = folder.exit.is_some() || (folder.started && !blind);
            if there && self.machine.known.insert(command) {
                let length = self.facts[command].script.length(folder.frames);
                let started = folder.started.then_some(Timestamp(1));
                self.machine
                    .session
                    .restore(id_of(command), started, length, folder.exit.clone());
            }
        }
    }

    /// The daemon dials, and leaves what connection it had.
    pub fn dial(&mut self) -> Result<(), Broken> {
        self.seen.told += 1;
        self.machine.session.disconnected();
        self.take_up_folders();
        self.dialled += 1;
        let session = Master::new(Uuid::nil(), self.master.epoch, "w".to_owned());
        self.links.push(Link::new(self.dialled, session));
        self.machine.attached = Some(self.dialled);
        let actions = self.machine.session.connected(hello());
        self.worker_does(actions)
    }

    pub fn restart_daemon(&mut self) {
        self.machine.attached = None;
        self.machine.session = Worker::new(self.machine.epoch);
        self.machine.known.clear();
        self.machine
            .folders
            .values_mut()
            .for_each(|folder| folder.unwanted = false);
    }

    /// What ran is over, and the ends of some spools are gone.
    pub fn lose_power(&mut self, n: u64) {
        self.restart_daemon();
        self.machine.supervisors.clear();
        self.machine.folders.retain(|command, folder| {
            folder.started || folder.exit.is_some() || (n >> (command % 16)) & 1 == 0
        });
        for (&command, folder) in &mut self.machine.folders {
            self.facts[command].lost = true;
            if folder.started && folder.exit.is_none() {
                folder.frames -= folder.frames.min((n >> (command % 8)) as usize % 4);
                folder.doomed = true;
            }
        }
    }

    pub fn lose_memory(&mut self) {
        for command in self.machine.folders.keys() {
            let facts = &mut self.facts[*command];
            facts.lost = true;
            // Nobody can know of it any more: the master sends it again, as one that never arrived.
            facts.excused += u32::from(self.master.logs[*command].is_empty());
        }
        self.machine = Machine::default();
    }

    /// For a moment the worker meets a master that was replaced: neither may follow the other.
    pub fn meet_old_master(&mut self) -> Result<(), Broken> {
        let Some(old) = self.machine.followed.checked_sub(1) else {
            return Ok(());
        };
        self.machine.attached = None;
        let greeting = self.machine.session.connected(hello());
        let mut master = Master::new(Uuid::nil(), old, "w".to_owned());
        for action in greeting {
            let Action::Send(message) = action else { continue };
            if !matches!(master.received(message), Err(Violation::Fenced { .. })) {
                return Err(Broken(format!(
                    "a master of epoch {old} uses a worker that knows better"
                )));
            }
        }
        let welcome = FromMaster::Welcome(Welcome {
            minor: 0,
            installation: Uuid::nil(),
            epoch: old,
            name: "w".to_owned(),
            commands: Vec::new(),
        });
        if !matches!(
            self.machine.session.received(welcome),
            Err(Violation::Fenced { .. })
        ) {
            return Err(Broken(format!("the worker obeys a master of epoch {old}")));
        }
        self.machine.session.disconnected();
        self.seen.note("an old master was refused");
        Ok(())
    }

    pub fn worker_does(&mut self, actions: Vec<Action>) -> Result<(), Broken> {
        for action in actions {
            match action {
                Action::Send(message) => self.say(message),
                Action::RememberEpoch(epoch) => {
                    if epoch <= self.machine.followed {
                        return Err(Broken(format!(
                            "epoch {epoch} came after {}",
                            self.machine.followed
                        )));
                    }
                    self.machine.followed = epoch;
                    if self.flaw != Some(Flaw::KeepsNoEpoch) {
                        self.machine.epoch = epoch;
                    }
                }
                Action::Start { id, .. } => {
                    let command = number_of(id);
                    if !self.machine.known.insert(command) {
                        return Err(Broken(format!("command {command} is held and to be started")));
                    }
                    self.machine.folders.entry(command).or_default();
                    self.machine.supervisors.push(command);
                }
                Action::OpenLog { id, offset } => {
                    if let Some(link) = attached(&mut self.links, self.machine.attached) {
                        link.streams.push(Stream::new(number_of(id), offset));
                    }
                }
                Action::Kill { id, .. } => {
                    if let Some(folder) = self.machine.folders.get_mut(&number_of(id)) {
                        folder.stop = true;
                    }
                }
                Action::Remove(id) => self.remove(number_of(id))?,
                Action::LogReady(_) | Action::Ready => {}
                Action::Close { .. } => return Err(Broken("nobody said goodbye".to_owned())),
            }
        }
        Ok(())
    }

    fn say(&mut self, message: FromWorker) {
        if let FromWorker::Exited { id, .. } = &message
            && self.flaw == Some(Flaw::RemovesWhatItHasTold)
        {
            self.machine.folders.remove(&number_of(*id));
        }
        if let Some(link) = attached(&mut self.links, self.machine.attached) {
            link.to_master.push_back(message);
        }
    }

    fn remove(&mut self, command: usize) -> Result<(), Broken> {
        if self.master.ends[command].is_none() {
            return Err(Broken(format!(
                "command {command} was removed before its end was durable"
            )));
        }
        if let Some(link) = attached(&mut self.links, self.machine.attached) {
            link.streams.retain(|stream| stream.command != command);
        }
        let Some(folder) = self.machine.folders.get_mut(&command) else {
            return Ok(());
        };
        if folder.exit.is_some() {
            self.machine.folders.remove(&command);
            self.machine.known.remove(&command);
        } else {
            self.seen.note("a command was forgotten while it ran");
            (folder.stop, folder.unwanted) = (true, true);
        }
        Ok(())
    }
}

/// The connection that the daemon talks through, if the master's end of it is still there.
pub(super) fn attached(links: &mut [Link], number: Option<u64>) -> Option<&mut Link> {
    links.iter_mut().find(|link| Some(link.number) == number)
}
