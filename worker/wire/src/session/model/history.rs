//! Runs histories of events, and shortens one that goes wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::event::{self, Event};
use super::flaw::Flaw;
use super::random::Random;
use super::world::{Broken, Seen, World};

/// A world to be run: the same again for the same values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub seed: u64,
    pub events: usize,
    pub commands: usize,
    /// Faults among a thousand events.
    pub faults: u64,
    pub flaw: Option<Flaw>,
}

impl Plan {
    pub fn history(&self) -> Vec<Event> {
        let mut random = Random::new(self.seed);
        (0..self.events)
            .map(|_| event::next(&mut random, self.faults))
            .collect()
    }

    /// Lets these events happen, and then everything come to its end.
    pub fn run(&self, history: &[Event]) -> Result<Seen, Broken> {
        let mut world = World::new(self.seed, self.commands, self.flaw);
        let run = || -> Result<Seen, Broken> {
            history.iter().try_for_each(|event| world.happen(*event))?;
            let told = world.seen.told;
            world.settle()?;
            // What follows in good order is not counted.
            world.seen.told = told;
            Ok(world.seen)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Broken("a panic".to_owned())))
    }

    /// The shortest history that was found to go wrong, and how it does.
    pub fn shorten(&self, history: &[Event], broken: Broken) -> (Vec<Event>, Broken) {
        let (mut shortest, mut broken) = (history.to_vec(), broken);
        let mut part = shortest.len().div_ceil(2);
        while part > 0 {
            let mut from = 0;
            while from < shortest.len() {
                let mut shorter = shortest.clone();
                shorter.drain(from..(from + part).min(shortest.len()));
                match self.run(&shorter) {
                    Err(still) => (shortest, broken) = (shorter, still),
                    Ok(_) => from += part,
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
        (shortest, broken)
    }

    /// What a person needs to see what went wrong.
    pub fn explain(&self, history: &[Event], broken: Broken) -> String {
        let (shortest, broken) = self.shorten(history, broken);
        let Broken(reason) = broken;
        format!(
            "{reason}\nin {self:?}, whose {} events were shortened to these {}:\n{shortest:#?}",
            history.len(),
            shortest.len()
        )
    }
}
