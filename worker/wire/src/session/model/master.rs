//! The master of the simulation: what it has on disk, and what it decides about workers and commands, by the rules of the
//! real one.

mod greeting;

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::Exit;

use super::flaw::Flaw;
use super::link::{Link, Seat};
use super::spec;
use super::world::{Broken, World, id_of, number_of};
use crate::control::{ExitReport, FromMaster, FromWorker};
use crate::session::master::{Action, Stream as Interest};
use crate::session::{Master, Violation};

pub(super) struct Site {
    pub epoch: u64,
    /// How many commands were asked for.
    pub ordered: usize,
    pub logs: Vec<Vec<u8>>,
    pub ends: Vec<Option<ExitReport>>,
    /// In memory: the commands that steps wait for.
    pub flights: BTreeMap<usize, Flight>,
    /// In memory: what the worker held when it last came.
    held: Option<BTreeSet<usize>>,
    /// Sessions whose connection is over, and what turns out to be durable of what they received.
    strays: Vec<(Master, Vec<(usize, u64)>)>,
}

#[derive(Default)]
pub(super) struct Flight {
    pub stop: bool,
    /// Its end, not yet durable.
    pub ended: Option<ExitReport>,
}

impl Site {
    pub fn new(commands: usize) -> Self {
        Self {
            epoch: 1,
            ordered: 0,
            logs: vec![Vec::new(); commands],
            ends: vec![None; commands],
            flights: BTreeMap::new(),
            held: None,
            strays: Vec::new(),
        }
    }

    fn append(&mut self, command: usize, offset: u64, new: &[u8]) -> u64 {
        let log = &mut self.logs[command];
        let known = log.len() - offset as usize;
        log.extend_from_slice(new.get(known..).unwrap_or_default());
        log.len() as u64
    }

    fn holds(&self, command: usize) -> bool {
        self.held.as_ref().is_some_and(|held| held.contains(&command))
    }

    fn is_missing(&self, command: usize) -> bool {
        self.held.as_ref().is_some_and(|held| !held.contains(&command))
    }

    /// One of the commands that were asked for and have no durable end.
    fn open(&self, n: u64, which: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let all = || (0..self.ordered).filter(|&c| self.ends[c].is_none() && which(self, c));
        let count = all().count();
        all().nth(n as usize % count.max(1))
    }
}

impl World {
    fn occupied(&mut self) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.is_occupied())
    }

    /// Gives an order, if the worker is connected.
    fn give(&mut self, order: impl FnOnce(&mut Master) -> Vec<Action>) {
        let Some(link) = self.links.iter_mut().find(|link| link.is_occupied()) else {
            return;
        };
        self.seen.told += 1;
        for action in order(&mut link.session) {
            if let Action::Send(message) = action {
                link.to_worker.push_back(message);
            }
        }
    }

    fn give_start(&mut self, command: usize) {
        self.give(|session| session.start(id_of(command), spec(), BTreeMap::new()));
    }

    pub fn order(&mut self) {
        let command = self.master.ordered;
        let open = self.master.ends[..command].iter().filter(|end| end.is_none());
        if command == self.facts.len() || open.count() >= 5 {
            return;
        }
        self.master.ordered += 1;
        self.master.flights.insert(command, Flight::default());
        if self.flaw != Some(Flaw::ForgetsToSend) || self.occupied().is_some() {
            self.give_start(command);
        }
    }

    pub fn take_up(&mut self, n: u64) -> Result<(), Broken> {
        let Some(command) = self.master.open(n, |site, c| !site.flights.contains_key(&c)) else {
            return Ok(());
        };
        let begun = !self.master.logs[command].is_empty();
        if self.master.is_missing(command) && begun && self.flaw != Some(Flaw::SendsWhatHasBegun) {
            return self.record(command, ending(Exit::Lost("forgotten".to_owned())));
        }
        self.master.flights.insert(command, Flight::default());
        if !self.master.holds(command) {
            self.give_start(command);
        }
        Ok(())
    }

    pub fn start_again(&mut self, n: u64) {
        let again = |site: &Site, c| site.flights.get(&c).is_some_and(|f| !f.stop && f.ended.is_none());
        if let Some(command) = self.master.open(n, again) {
            self.seen.note("a command was sent again");
            self.give_start(command);
        }
    }

    pub fn kill(&mut self, n: u64, which: impl Fn(&Self, usize) -> bool) -> Result<(), Broken> {
        let Some(command) = self.master.open(n, |_, c| which(self, c)) else {
            return Ok(());
        };
        self.facts[command].stopped = true;
        if !self.master.flights.contains_key(&command) && self.master.is_missing(command) {
            return self.record(command, ending(Exit::Killed("stopped".to_owned())));
        }
        self.master.flights.entry(command).or_default().stop = true;
        self.give(|session| session.kill(id_of(command), "stopped".to_owned()));
        Ok(())
    }

    /// The log of a command cannot be stored: it ends, and the worker is to be rid of it.
    pub fn give_up(&mut self, n: u64) -> Result<(), Broken> {
        let Some((link, stream)) = self.pick(n, |stream| stream.append.is_some()) else {
            return Ok(());
        };
        let link = &mut self.links[link];
        let (session, stream) = (&mut link.session, &mut link.streams[stream]);
        let command = stream.command;
        if self.master.ends[command].is_some() {
            return Ok(());
        }
        (stream.append, stream.wanted) = (None, Some(false));
        session.abandon(id_of(command));
        self.facts[command].stopped = true;
        self.seen.note("a log was given up");
        self.record(
            command,
            ending(Exit::Killed("its log cannot be stored".to_owned())),
        )?;
        self.give(|session| session.kill(id_of(command), String::new()));
        self.give(|session| session.forget(id_of(command)));
        Ok(())
    }

    /// A step that waited for long enough for a worker that is away.
    pub fn grace_over(&mut self, n: u64) -> Result<(), Broken> {
        let waits = |site: &Site, c| site.flights.get(&c).is_some_and(|flight| flight.ended.is_none());
        let Some(command) = self.master.open(n, waits) else {
            return Ok(());
        };
        if self.occupied().is_some() {
            return Ok(());
        }
        self.facts[command].lost = true;
        self.record(command, ending(Exit::Lost("its worker is away".to_owned())))
    }

    pub fn restart_master(&mut self, appends_survive: bool) {
        for link in std::mem::take(&mut self.links) {
            self.land(link, appends_survive);
        }
        self.master.strays.clear();
        self.master.flights.clear();
        self.master.held = None;
        self.master.epoch += 1;
    }

    /// The master's end of a connection ends. What it has received is stored, and may be told to its session later.
    pub fn close(&mut self, link: usize) {
        let link = self.links.remove(link);
        let stray = self.land(link, true);
        self.master.strays.extend(stray);
    }

    fn land(&mut self, link: Link, appends_survive: bool) -> Option<(Master, Vec<(usize, u64)>)> {
        let mut landed = Vec::new();
        for stream in link.streams {
            let Some((offset, new)) = stream.append else {
                continue;
            };
            if appends_survive && self.master.ends[stream.command].is_none() {
                let durable = self.master.append(stream.command, offset, &new);
                landed.push((stream.command, durable));
            }
        }
        (!landed.is_empty()).then_some((link.session, landed))
    }

    pub fn stray(&mut self, n: u64) -> Result<(), Broken> {
        let count = self.master.strays.len();
        if count == 0 {
            return Ok(());
        }
        let (mut session, landed) = self.master.strays.swap_remove(n as usize % count);
        self.seen.note("bytes of an ended connection were stored");
        for (command, durable) in landed {
            let actions = session.stored(id_of(command), durable);
            self.master_does(None, actions)?;
        }
        Ok(())
    }

    pub fn deliver_to_master(&mut self, n: u64) -> Result<(), Broken> {
        let ready = |link: &Link| {
            let reads = matches!(link.seat, Seat::Dialled | Seat::Occupied);
            reads && !link.to_master.is_empty()
        };
        let count = self.links.iter().filter(|link| ready(link)).count();
        let mut readable = self.links.iter_mut().filter(|link| ready(link));
        let Some(link) = readable.nth(n as usize % count.max(1)) else {
            return Ok(());
        };
        let (number, Some(message)) = (link.number, link.to_master.pop_front()) else {
            return Ok(());
        };
        let hasty = match &message {
            FromWorker::Exited { id, report } if self.flaw == Some(Flaw::RecordsAnEndWithoutItsLog) => {
                Some((number_of(*id), report.clone()))
            }
            _ => None,
        };
        self.seen.told += 1;
        let actions = link
            .session
            .received(message)
            .map_err(|v| violated("the master", &v))?;
        if let Some((command, report)) = hasty.filter(|(command, _)| self.master.ends[*command].is_none()) {
            self.record(command, report)?;
        }
        self.master_does(Some(number), actions)
    }

    fn master_does(&mut self, from: Option<u64>, actions: Vec<Action>) -> Result<(), Broken> {
        for action in actions {
            let link = self.links.iter_mut().find(|link| Some(link.number) == from);
            match (action, link) {
                (Action::Send(message), Some(link)) => link.to_worker.push_back(message),
                (Action::Greet(hello), Some(link)) => link.seat = Seat::Waiting(hello),
                (Action::Completed(id, report), _) => self.completed(number_of(id), report)?,
                (Action::Send(_) | Action::Greet(_), None) => {}
                (Action::Started(..) | Action::Alive | Action::Leaving, _) => {}
            }
        }
        Ok(())
    }

    /// The link reads some bytes of a stream.
    pub fn log(&mut self, n: u64, cut: u64) -> Result<(), Broken> {
        let hasty = self.flaw == Some(Flaw::AcknowledgesBeforeItStores);
        let Some((link, stream)) = self.pick(n, |stream| stream.append.is_none()) else {
            return Ok(());
        };
        let (link, place) = (&mut self.links[link], stream);
        let (number, session, stream) = (link.number, &mut link.session, &mut link.streams[place]);
        let id = id_of(stream.command);
        let violation = |v| violated("the master", &v);
        let wanted = match stream.wanted {
            Some(wanted) => wanted,
            None => session.stream_opened(id, stream.offset).map_err(violation)? == Interest::Read,
        };
        stream.wanted = Some(wanted);
        let cut = (cut as usize).min(stream.on_the_way.len());
        let piece: Vec<_> = stream.on_the_way.drain(..cut).collect();
        if !wanted {
            link.streams.remove(place);
            return Ok(());
        }
        stream.assembler.push(&piece);
        let frames = stream
            .assembler
            .take()
            .map_err(|error| Broken(error.to_string()))?;
        if frames.is_empty() {
            if stream.finished && stream.on_the_way.is_empty() {
                let pending = link.streams.remove(place).assembler.pending();
                return session.stream_ended(id, pending).map_err(violation);
            }
            return Ok(());
        }
        let (offset, length) = (stream.offset, frames.len() as u64);
        stream.offset += length;
        self.seen.told += 1;
        match session.log_bytes(id, offset, length).map_err(violation)? {
            Some(known) if known < length => {
                stream.append = Some((offset + known, frames.slice(known as usize..)));
                if hasty {
                    let actions = session.stored(id, offset + length);
                    return self.master_does(Some(number), actions);
                }
            }
            Some(_) => {}
            None => stream.wanted = Some(false),
        }
        Ok(())
    }

    /// What a stream brought is durable.
    pub fn store(&mut self, n: u64) -> Result<(), Broken> {
        let Some((link, stream)) = self.pick(n, |stream| stream.append.is_some()) else {
            return Ok(());
        };
        let link = &mut self.links[link];
        let (number, stream) = (link.number, &mut link.streams[stream]);
        let (command, Some((offset, new))) = (stream.command, stream.append.take()) else {
            return Ok(());
        };
        if self.master.ends[command].is_some() {
            stream.wanted = Some(false);
            link.session.abandon(id_of(command));
            return Ok(());
        }
        self.seen.told += 1;
        let durable = self.master.append(command, offset, &new);
        self.check_log(command)?;
        let link = self.links.iter_mut().find(|link| link.number == number);
        let actions = link.map_or_else(Vec::new, |link| link.session.stored(id_of(command), durable));
        self.master_does(Some(number), actions)
    }

    /// One of the streams that the master reads.
    fn pick(&self, n: u64, which: impl Fn(&super::link::Stream) -> bool) -> Option<(usize, usize)> {
        let all = || {
            let links = self
                .links
                .iter()
                .enumerate()
                .filter(|(_, link)| link.is_occupied());
            let streams = links.flat_map(|(l, link)| {
                link.streams
                    .iter()
                    .enumerate()
                    .map(move |(s, stream)| (l, s, stream))
            });
            streams
                .filter(|(_, _, stream)| which(stream))
                .map(|(l, s, _)| (l, s))
        };
        let count = all().count();
        all().nth(n as usize % count.max(1))
    }

    /// A session says that a command has ended and that its log is durable.
    fn completed(&mut self, command: usize, report: ExitReport) -> Result<(), Broken> {
        if self.master.ends[command].is_some() {
            self.seen.note("the end of a command came again");
            self.give(|session| session.forget(id_of(command)));
            return Ok(());
        }
        if report.log_length != self.master.logs[command].len() as u64 {
            return Err(Broken(format!(
                "command {command} is complete with {} of {} bytes",
                self.master.logs[command].len(),
                report.log_length
            )));
        }
        match self.master.flights.get_mut(&command) {
            // Its step notes it with what comes next.
            Some(flight) if flight.ended.is_none() => {
                flight.ended = Some(report);
                if self.flaw == Some(Flaw::ForgetsBeforeItRecords) {
                    self.give(|session| session.forget(id_of(command)));
                }
                Ok(())
            }
            _ => {
                self.record(command, report)?;
                self.give(|session| session.forget(id_of(command)));
                Ok(())
            }
        }
    }

    /// A step's ledger is committed.
    pub fn commit(&mut self, n: u64) -> Result<(), Broken> {
        let ended = |site: &Site, c| site.flights.get(&c).is_some_and(|flight| flight.ended.is_some());
        let Some(command) = self.master.open(n, ended) else {
            return Ok(());
        };
        let end = self
            .master
            .flights
            .get_mut(&command)
            .and_then(|flight| flight.ended.take());
        let Some(end) = end else { return Ok(()) };
        self.record(command, end)?;
        self.give(|session| session.forget(id_of(command)));
        Ok(())
    }

    /// The end of a command becomes durable: it has a cause, and a good one has all of its log.
    fn record(&mut self, command: usize, end: ExitReport) -> Result<(), Broken> {
        let facts = &self.facts[command];
        let (fits, expected) = match &end.exit {
            Exit::Code(_) => (self.master.logs[command] == facts.script.log, "all of its log"),
            Exit::Killed(_) => (facts.stopped, "somebody who stopped it"),
            _ => (facts.lost, "a loss"),
        };
        if !fits {
            return Err(Broken(format!(
                "command {command} ends as {:?} without {expected}",
                end.exit
            )));
        }
        self.master.flights.remove(&command);
        if self.master.ends[command].replace(end).is_some() {
            return Err(Broken(format!("command {command} ended twice")));
        }
        Ok(())
    }

    pub fn newer_to_worker(&mut self, message: FromMaster) {
        if let Some(link) = super::worker::attached(&mut self.links, self.machine.attached) {
            link.to_worker.push_back(message);
        }
    }
}

/// An end that the master gives a command by itself.
fn ending(exit: Exit) -> ExitReport {
    ExitReport {
        exit,
        duration_ms: 0,
        log_length: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
    }
}

pub(super) fn violated(by: &str, violation: &Violation) -> Broken {
    Broken(format!(
        "{by} is told off though it kept to the rules: {violation}"
    ))
}
