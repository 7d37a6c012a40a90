//! The workers as pairing looks at them: who is fit for what, who has room, and what becomes of that while requests are given out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capstan_model::Labels;
use capstan_model::plan::Builder;

use super::bits::Bits;
use super::index::Index;

/// A worker that could take builds: connected and not paused.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its labels, reported and configured.
    pub labels: BTreeSet<String>,
    /// Whether it has never been here, and so may have labels that nobody knows yet.
    pub unknown: bool,
    /// How many builds it runs at a time.
    pub slots: u32,
    /// The folder of each build that runs there.
    pub running: Vec<String>,
    /// How many of those let others use their slot while they wait.
    pub idle: usize,
}

/// Where builds could go, by the worker's name.
pub type Places = BTreeMap<String, Place>;

/// All places, ready to be asked.
pub(crate) struct Board<'a> {
    names: Vec<&'a str>,
    slots: Vec<usize>,
    busy: Vec<usize>,
    by_name: HashMap<&'a str, usize>,
    by_label: HashMap<&'a str, Bits>,
    /// Those with room for one more.
    free: Bits,
    /// Where each folder is in use.
    running: HashMap<&'a str, Bits>,
    /// The fit ones, by the builder's place among those that want the same.
    fit: HashMap<usize, Bits>,
}

impl<'a> Board<'a> {
    pub fn new(places: &'a Places) -> Self {
        let count = places.len();
        let mut board = Self {
            names: Vec::with_capacity(count),
            slots: Vec::with_capacity(count),
            busy: Vec::with_capacity(count),
            by_name: HashMap::with_capacity(count),
            by_label: HashMap::new(),
            free: Bits::none(count),
            running: HashMap::new(),
            fit: HashMap::new(),
        };
        for (number, (name, place)) in places.iter().enumerate() {
            board.names.push(name);
            board.slots.push(place.slots as usize);
            let busy = place.running.len().saturating_sub(place.idle);
            board.busy.push(busy);
            board.by_name.insert(name, number);
            for label in &place.labels {
                let bits = board.by_label.entry(label).or_insert_with(|| Bits::none(count));
                bits.add(number);
            }
            for directory in &place.running {
                let bits = board
                    .running
                    .entry(directory)
                    .or_insert_with(|| Bits::none(count));
                bits.add(number);
            }
            if busy < place.slots as usize {
                board.free.add(number);
            }
        }
        board
    }

    /// Whether no worker has room for anything.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub fn name(&self, worker: usize) -> &'a str {
        self.names.get(worker).copied().unwrap_or_default()
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Where a build of the builder at `place` could start now.
    pub fn open(&mut self, index: &Index, place: usize, builder: &Builder) -> Bits {
        let alike = index.alike(place);
        if !self.fit.contains_key(&alike) {
            let fit = self.fit_for(builder, index.wants(place));
            self.fit.insert(alike, fit);
        }
        let mut open = self.fit.get(&alike).cloned().unwrap_or_default();
        open.keep(&self.free);
        // A builder has one folder on each worker, alone or with others: two builds never use it at a time.
        if let Some(running) = self.running.get(index.directory(place)) {
            open.drop_all(running);
        }
        open
    }

    /// The workers that the builder names, or all if it names none, that have the labels it needs.
    fn fit_for(&self, builder: &Builder, wants: &[Labels]) -> Bits {
        let count = self.names.len();
        let mut fit = if builder.workers.is_empty() {
            Bits::all(count)
        } else {
            let mut named = Bits::none(count);
            let known = builder.workers.iter().filter_map(|name| self.find(name));
            known.for_each(|worker| named.add(worker));
            named
        };
        for labels in wants {
            fit.keep(&self.having(labels));
        }
        fit
    }

    /// The workers whose labels are such.
    fn having(&self, labels: &Labels) -> Bits {
        let count = self.names.len();
        match labels {
            Labels::Has(label) => {
                let having = self.by_label.get(label.as_str());
                having.cloned().unwrap_or_else(|| Bits::none(count))
            }
            Labels::Not(inner) => {
                let mut others = Bits::all(count);
                others.drop_all(&self.having(inner));
                others
            }
            Labels::All(parts) => {
                let mut all = Bits::all(count);
                parts.iter().for_each(|part| all.keep(&self.having(part)));
                all
            }
            Labels::Any(parts) => {
                let mut any = Bits::none(count);
                parts.iter().for_each(|part| any.add_all(&self.having(part)));
                any
            }
        }
    }

    /// The least busy of these workers first, by share of the slots, then by name.
    pub fn by_load(&self, workers: &Bits) -> Vec<usize> {
        let mut all: Vec<_> = workers.iter().collect();
        all.sort_by_key(|&worker| (self.load(worker), worker));
        all
    }

    /// The least busy of these workers.
    pub fn least_busy(&self, workers: &Bits) -> Option<usize> {
        workers.iter().min_by_key(|&worker| (self.load(worker), worker))
    }

    fn load(&self, worker: usize) -> usize {
        let busy = self.busy.get(worker).copied().unwrap_or(0);
        let slots = self.slots.get(worker).copied().unwrap_or(0);
        busy * 1000 / slots.max(1)
    }

    /// That worker gets nothing more.
    pub fn close(&mut self, worker: usize) {
        self.free.remove(worker);
    }

    /// A build that uses this folder starts on that worker.
    pub fn occupy(&mut self, worker: usize, directory: &'a str) {
        let count = self.names.len();
        if let Some(busy) = self.busy.get_mut(worker) {
            *busy += 1;
            if *busy >= self.slots.get(worker).copied().unwrap_or(0) {
                self.free.remove(worker);
            }
        }
        let running = self.running.entry(directory).or_insert_with(|| Bits::none(count));
        running.add(worker);
    }
}

/// Whether the builder's list has the worker; without a list it has all.
pub(crate) fn is_named(builder: &Builder, worker: &str) -> bool {
    builder.workers.is_empty() || builder.workers.iter().any(|name| name == worker)
}

/// Whether a worker with these labels is all that a builder asks for.
pub(crate) fn is_fit(wants: &[Labels], labels: &BTreeSet<String>) -> bool {
    wants.iter().all(|want| want.holds(labels))
}
