//! A plan's builders, found by name, and which of them want the same of a worker. Made once for each plan.

use std::collections::HashMap;
use std::sync::Arc;

use capstan_model::Labels;
use capstan_model::plan::{Builder, Plan};

/// A plan as pairing looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    plan: Arc<Plan>,
    places: HashMap<String, usize>,
    /// By the builder's place: the first builder that wants the same of a worker.
    alike: Vec<usize>,
    /// By the builder's place: what it asks of a worker's labels, and the folder that its builds have to themselves.
    wants: Vec<(Vec<Labels>, String)>,
}

impl Index {
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut first = HashMap::new();
        let mut alike = Vec::with_capacity(plan.builders.len());
        for (place, builder) in plan.builders.iter().enumerate() {
            alike.push(*first.entry((&builder.workers, &builder.labels)).or_insert(place));
        }
        let wants = plan
            .builders
            .iter()
            .map(|builder| (wants(builder), builder.directory()));
        let wants = wants.collect();
        let names = plan.builders.iter().enumerate();
        let places = names
            .map(|(place, builder)| (builder.name.clone(), place))
            .collect();
        Self {
            plan,
            places,
            alike,
            wants,
        }
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

    /// What the builder at `place` asks of a worker's labels, all of it.
    pub fn wants(&self, place: usize) -> &[Labels] {
        self.wants.get(place).map_or(&[], |(wants, _)| wants)
    }

    /// The folder on a worker that one build of the builder at `place` uses at a time.
    pub fn directory(&self, place: usize) -> &str {
        self.wants.get(place).map_or("", |(_, directory)| directory)
    }
}

/// A plan that an earlier version checked may hold labels that are no expressions: those mean themselves.
pub(crate) fn wants(builder: &Builder) -> Vec<Labels> {
    let each = builder.labels.iter();
    each.map(|text| text.parse().unwrap_or_else(|_| Labels::Has(text.clone())))
        .collect()
}
