//! The world of the simulation: two ends, connections between them, what is true of each command, and what must hold after
//! each event.

use std::collections::BTreeMap;

use capstan_model::{Channel, CommandId};
use uuid::Uuid;

use super::event::Event;
use super::flaw::Flaw;
use super::link::Link;
use super::master::{Site, violated};
use super::random::Random;
use super::worker::{Machine, attached};
use crate::control::{FromMaster, FromWorker};
use crate::frame;

/// What must never be so, and is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub String);

pub(super) struct World {
    pub flaw: Option<Flaw>,
    pub machine: Machine,
    pub master: Site,
    /// Oldest first.
    pub links: Vec<Link>,
    pub dialled: u64,
    pub facts: Vec<Facts>,
    pub seen: Seen,
}

/// What is true of a command, whoever knows it.
pub(super) struct Facts {
    pub script: Script,
    pub executions: u32,
    /// The most frames that it ever wrote.
    pub written: usize,
    /// Somebody stopped it.
    pub stopped: bool,
    /// Something happened that may end it as lost.
    pub lost: bool,
    /// How often it may be started again, for nobody can know that it had begun.
    pub excused: u32,
}

/// What a command writes, if nobody stops it.
pub(super) struct Script {
    pub log: Vec<u8>,
    ends: Vec<u64>,
    endless: bool,
}

impl Script {
    fn new(random: &mut Random) -> Self {
        let (mut log, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..random.below(12) {
            let payload: Vec<_> = (0..1 + random.below(50)).map(|_| random.next() as u8).collect();
            let channel = if random.chance(70) {
                Channel::Stdout
            } else {
                Channel::Stderr
            };
            frame::encode(&mut log, 1, channel, &payload);
            ends.push(log.len() as u64);
        }
        let endless = random.chance(10);
        Self { log, ends, endless }
    }

    pub fn frames(&self) -> usize {
        self.ends.len()
    }

    pub fn is_endless(&self) -> bool {
        self.endless
    }

    /// The length of so many frames.
    pub fn length(&self, frames: usize) -> u64 {
        frames
            .checked_sub(1)
            .and_then(|last| self.ends.get(last).copied())
            .unwrap_or(0)
    }
}

/// How often what happened: a simulation in which nothing happens proves nothing.
#[derive(Default)]
pub(super) struct Seen {
    /// Events that one of the machines was told.
    pub told: u64,
    pub remarkable: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub fn note(&mut self, what: &'static str) {
        *self.remarkable.entry(what).or_default() += 1;
    }
}

pub(super) fn id_of(command: usize) -> CommandId {
    CommandId(Uuid::from_u128(command as u128 + 1))
}

pub(super) fn number_of(id: CommandId) -> usize {
    id.0.as_u128() as usize - 1
}

impl World {
    pub fn new(seed: u64, commands: usize, flaw: Option<Flaw>) -> Self {
        let mut random = Random::new(seed);
        let facts = (0..commands).map(|_| Facts {
            script: Script::new(&mut random),
            executions: 0,
            written: 0,
            stopped: false,
            lost: false,
            excused: 0,
        });
        Self {
            flaw,
            facts: facts.collect(),
            machine: Machine::default(),
            master: Site::new(commands),
            links: Vec::new(),
            dialled: 0,
            seen: Seen::default(),
        }
    }

    pub fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Order => self.order(),
            Event::TakeUp(n) => self.take_up(n)?,
            Event::Commit(n) => self.commit(n)?,
            Event::Supervise(n) => self.supervise(n)?,
            Event::Write(n) => self.write(n)?,
            Event::Send(n, max) => self.send(n, max)?,
            Event::ToWorker => self.deliver_to_worker()?,
            Event::ToMaster(n) => self.deliver_to_master(n)?,
            Event::Log(n, cut) => self.log(n, cut)?,
            Event::Store(n) => self.store(n)?,
            Event::Connect if attached(&mut self.links, self.machine.attached).is_none() => self.dial()?,
            Event::Connect => {}
            Event::Seat => self.seat()?,
            Event::Welcome => self.welcome()?,
            Event::Stray(n) => self.stray(n)?,
            other => self.go_wrong(other)?,
        }
        self.check()
    }

    fn go_wrong(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::StartAgain(n) => self.start_again(n),
            Event::Kill(n) => self.kill(n, |_, _| true)?,
            Event::AckLate(n) => self.delay_acknowledgement(n),
            Event::NewerToWorker => self.newer_to_worker(FromMaster::Unknown),
            Event::Ping => self.newer_to_worker(FromMaster::Ping { nonce: 1 }),
            Event::NewerToMaster => {
                if let Some(link) = attached(&mut self.links, self.machine.attached) {
                    link.to_master.push_back(FromWorker::Unknown);
                }
            }
            Event::Cut => {
                self.machine.session.disconnected();
                let number = self.machine.attached.take();
                if let Some(link) = self.links.iter().position(|link| Some(link.number) == number) {
                    self.close(link);
                }
            }
            Event::Redial => self.dial()?,
            Event::Notice(n) if !self.links.is_empty() => self.close(n as usize % self.links.len()),
            Event::GiveUp(n) => self.give_up(n)?,
            Event::GraceOver(n) => self.grace_over(n)?,
            Event::RestartMaster { appends_survive } => self.restart_master(appends_survive),
            Event::RestartDaemon => self.restart_daemon(),
            Event::RestartBoth => {
                self.restart_master(false);
                self.restart_daemon();
            }
            Event::OldMaster => self.meet_old_master()?,
            Event::PowerLoss(n) => self.lose_power(n),
            Event::LoseMemory => self.lose_memory(),
            _ => {}
        }
        Ok(())
    }

    fn deliver_to_worker(&mut self) -> Result<(), Broken> {
        let link = attached(&mut self.links, self.machine.attached);
        let Some(message) = link.and_then(|link| link.to_worker.pop_front()) else {
            return Ok(());
        };
        self.seen.told += 1;
        let actions = self.machine.session.received(message);
        self.worker_does(actions.map_err(|v| violated("the worker", &v))?)
    }

    /// The links of several logs acknowledge side by side: an acknowledgement may come later than what was said after it.
    fn delay_acknowledgement(&mut self, n: u64) {
        let Some(link) = attached(&mut self.links, self.machine.attached) else {
            return;
        };
        let is_ack = |message: &FromMaster| matches!(message, FromMaster::Ack { .. });
        if let Some(at) = link.to_worker.iter().position(is_ack) {
            let later = (at + 1 + n as usize % 3).min(link.to_worker.len() - 1);
            if let Some(ack) = link.to_worker.remove(at) {
                link.to_worker.insert(later, ack);
                self.seen.note("an acknowledgement was overtaken");
            }
        }
    }

    /// A log at the master is what its command wrote, up to some point.
    pub fn check_log(&self, command: usize) -> Result<(), Broken> {
        let (log, facts) = (&self.master.logs[command], &self.facts[command]);
        let written = facts.script.length(facts.written) as usize;
        if log.len() > written || facts.script.log[..log.len()] != log[..] {
            return Err(Broken(format!(
                "the log of command {command} is not what it wrote"
            )));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Broken> {
        for id in self.machine.session.held() {
            let command = number_of(id);
            let stored = self.master.logs[command].len() as u64;
            let durable = self.machine.session.durable(id).unwrap_or(0);
            if durable > stored {
                return Err(Broken(format!(
                    "the worker takes {durable} bytes of command {command} for durable, found {stored}"
                )));
            }
            if !self.machine.known.contains(&command) {
                return Err(Broken(format!(
                    "the worker holds command {command} without its folder"
                )));
            }
        }
        Ok(())
    }

    /// Nothing bad happens any more: everything must come to its end.
    pub fn settle(&mut self) -> Result<(), Broken> {
        self.until("to end", |world| world.master.ends.iter().all(Option::is_some))?;
        self.until("to hear of it", World::is_quiet)?;
        for _ in 0..2 {
            // Who started late, or was given up, is found by the next connection.
            if !self.is_clean() {
                self.dial()?;
                self.until("to be connected", |world| {
                    world.links.iter().any(Link::is_occupied)
                })?;
                self.until("to hear of it", World::is_quiet)?;
            }
        }
        self.until("to be forgotten", World::is_clean)?;
        (0..self.facts.len()).try_for_each(|command| self.check_log(command))
    }

    /// A folder in which nothing was ever started, from before a loss of power, is cleared away by age.
    fn is_clean(&self) -> bool {
        let Machine { folders, known, .. } = &self.machine;
        known.is_empty()
            && folders
                .values()
                .all(|folder| !folder.started && folder.exit.is_none())
    }

    fn is_quiet(&self) -> bool {
        let silent = |link: &Link| link.to_worker.is_empty() && link.to_master.is_empty();
        self.machine.supervisors.is_empty() && self.links.iter().all(silent)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Broken> {
        let rounds = 300 + 30 * self.facts.len() as u64;
        for round in 0..rounds {
            if done(self) {
                return Ok(());
            }
            let step = [
                Event::Connect,
                Event::Seat,
                Event::Welcome,
                Event::Order,
                Event::TakeUp(0),
                Event::Supervise(0),
                Event::Commit(0),
                Event::Stray(0),
                Event::ToMaster(round),
                Event::ToWorker,
            ];
            step.into_iter().try_for_each(|event| self.happen(event))?;
            self.kill(0, |world, c| {
                world.facts[c].script.endless && world.master.flights.get(&c).is_some_and(|f| !f.stop)
            })?;
            for n in 0..6 {
                let copy = [
                    Event::Write(n),
                    Event::Send(n, 1000),
                    Event::Log(n, 1000),
                    Event::Store(n),
                ];
                copy.into_iter().try_for_each(|event| self.happen(event))?;
            }
        }
        Err(Broken(format!(
            "expected everything {what} in {rounds} rounds without a fault"
        )))
    }
}
