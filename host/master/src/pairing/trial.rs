//! Pairing by itself, for measurements: no store, no locks, no functions.

use std::sync::Arc;

use capstan_model::plan::Plan;

use super::{Index, Lines, NoGate, NoHooks, Places, Rules, pair};
use crate::pairing::Holds;

/// A plan whose requests are paired with workers, again and again.
#[derive(Debug)]
pub struct Trial(Index);

impl Trial {
    /// Of that plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self(Index::new(plan))
    }

    /// How many builds would start now.
    pub fn pair(&self, lines: &Lines, places: &Places) -> usize {
        let mut rules = Rules {
            hooks: &NoHooks,
            gate: &mut NoGate,
            holds: &Holds::default(),
        };
        pair(&self.0, lines, places, &mut rules).pairings.len()
    }
}
