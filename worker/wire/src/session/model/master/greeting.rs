//! A worker comes: which of its connections gets the seat, and what becomes of the commands that it holds or does not hold.

use capstan_model::Exit;

use super::super::flaw::Flaw;
use super::super::link::{Link, Seat};
use super::super::world::{Broken, World, id_of, number_of};
use super::{ending, violated};
use crate::control::{Hello, Resume, ResumeAction};
use crate::session::master::Action;

impl World {
    /// The newest connection that has said hello gets the seat; who had it, or waited for it, leaves. So does one whose
    /// hello comes after that of a newer connection.
    pub fn seat(&mut self) -> Result<(), Broken> {
        let wants = |link: &Link| link.is_seated() || matches!(link.seat, Seat::Waiting(_));
        let Some(newest) = self
            .links
            .iter()
            .filter(|link| wants(link))
            .map(|link| link.number)
            .max()
        else {
            return Ok(());
        };
        while let Some(older) = self
            .links
            .iter()
            .position(|link| link.number < newest && wants(link))
        {
            self.seen.note("a connection was replaced by a newer one");
            self.close(older);
        }
        let link = self.links.iter_mut().find(|link| link.number == newest);
        let Some(link) = link else { return Ok(()) };
        let Seat::Waiting(hello) = &link.seat else {
            return Ok(());
        };
        let hello = hello.clone();
        let seat = self.greeted(&hello)?;
        if let Some(link) = self.links.iter_mut().find(|link| link.number == newest) {
            link.seat = seat;
        }
        Ok(())
    }

    /// What the master makes of a hello.
    fn greeted(&mut self, hello: &Hello) -> Result<Seat, Broken> {
        let held: Vec<_> = hello.commands.iter().map(|held| number_of(held.id)).collect();
        self.master.held = Some(held.iter().copied().collect());
        let flights = self.master.flights.iter();
        let missing = flights.filter(|(command, flight)| !held.contains(command) && flight.ended.is_none());
        let missing: Vec<_> = missing.map(|(command, flight)| (*command, flight.stop)).collect();
        for (command, stop) in missing {
            let begun = !self.master.logs[command].is_empty();
            if stop {
                self.record(command, ending(Exit::Killed("stopped".to_owned())))?;
            } else if begun && self.flaw != Some(Flaw::SendsWhatHasBegun) {
                self.record(command, ending(Exit::Lost("forgotten".to_owned())))?;
            }
        }
        let resume = |&command: &usize| Resume {
            id: id_of(command),
            action: match self.master.ends[command] {
                None => ResumeAction::From(self.master.logs[command].len() as u64),
                Some(_) => ResumeAction::Forget,
            },
        };
        let resumes = held.iter().map(resume).collect();
        Ok(Seat::Greeted { held, resumes })
    }

    pub fn welcome(&mut self) -> Result<(), Broken> {
        let greeted = |link: &&mut Link| matches!(link.seat, Seat::Greeted { .. });
        let Some(link) = self.links.iter_mut().find(greeted) else {
            return Ok(());
        };
        let Seat::Greeted { held, resumes } = std::mem::replace(&mut link.seat, Seat::Occupied) else {
            return Ok(());
        };
        let number = link.number;
        self.seen.told += 1;
        let mut rest = link
            .session
            .welcome(resumes)
            .map_err(|v| violated("the master", &v))?;
        if let Some(Action::Send(_)) = rest.first()
            && let Action::Send(welcome) = rest.remove(0)
        {
            link.to_worker.push_back(welcome);
        }
        self.resend(&held);
        self.master_does(Some(number), rest)
    }

    /// Brings a worker that has come back up to date.
    fn resend(&mut self, held: &[usize]) {
        let flights = self
            .master
            .flights
            .iter()
            .filter(|(_, flight)| flight.ended.is_none());
        let flights: Vec<_> = flights.map(|(command, flight)| (*command, flight.stop)).collect();
        for (command, stop) in flights {
            match (stop, held.contains(&command)) {
                (false, false) if self.flaw != Some(Flaw::ForgetsToSend) => self.give_start(command),
                (true, true) if self.flaw != Some(Flaw::ForgetsToKill) => {
                    self.give(|session| session.kill(id_of(command), "stopped".to_owned()));
                }
                (true, false) => self.never_sent(command),
                _ => {}
            }
        }
    }

    /// It was stopped after its worker had said hello and before it could be given orders.
    fn never_sent(&mut self, command: usize) {
        self.seen.note("a command was stopped during a greeting");
        if let Some(flight) = self.master.flights.get_mut(&command) {
            flight.ended = Some(ending(Exit::Killed("stopped".to_owned())));
        }
    }
}
