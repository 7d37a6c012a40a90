//! A plan's builders, found by name, and which of them want the same of a worker. Made once for each plan.

use std::collections::HashMap;
use std::sync::Arc;

use capstan_model::plan::{Builder, Plan};

/// A plan as pairing looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    plan: Arc<Plan>,
    places: HashMap<String, usize>,
    /// By the builder's place: the first builder that wants the same of a worker.
    alike: Vec<usize>,
}

impl Index {
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut first = HashMap::new();
        let mut alike = Vec::with_capacity(plan.builders.len());
        for (place, builder) in plan.builders.iter().enumerate() {
            alike.push(*first.entry((&builder.workers, &builder.labels)).or_insert(place));
        }
        let names = plan.builders.iter().enumerate();
        let places = names
            .map(|(place, builder)| (builder.name.clone(), place))
            .collect();
        Self { plan, places, alike }
    }

    /// Whether it was made of this very plan.
    pub fn is_of(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The builder of that name, and its place.
    pub fn builder(&self, name: &str) -> Option<(usize, &Builder)> {
        let place = *self.places.get(name)?;
        Some((place, self.plan.builders.get(place)?))
    }

    /// The first builder that wants the same of a worker as the one at `place`.
    pub fn alike(&self, place: usize) -> usize {
        self.alike.get(place).copied().unwrap_or(place)
    }
}
