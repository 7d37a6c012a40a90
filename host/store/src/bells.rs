//! What rings after a commit, for whom it may concern. The writer rings; who listens gets a receiver from the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use capstan_model::{EventId, RequestId};
use tokio::sync::{broadcast, watch};

use crate::Owner;
use crate::queue::Touched;

pub(crate) struct Bells {
    /// The newest event.
    pub bell: watch::Sender<i64>,
    /// There may be work.
    pub work: watch::Sender<()>,
    /// Which requests a commit was about.
    pub touched: broadcast::Sender<Touched>,
    /// For each scheduler that listens: there is an event for it.
    pub schedulers: SchedulerBells,
    /// Who has taken the database over.
    pub displaced: watch::Sender<Option<Owner>>,
}

/// What is to be rung once a transaction is committed.
#[derive(Debug)]
pub(crate) struct Peal {
    pub bell: bool,
    pub work: bool,
    /// Schedulers that an event waits for.
    pub told: BTreeSet<String>,
    pub touched: Vec<RequestId>,
}

/// A bell for each scheduler: with a thousand of them, an event for one does not wake the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct SchedulerBells(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

impl SchedulerBells {
    pub fn of(&self, name: &str) -> watch::Receiver<()> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of schedulers that nobody serves any more.
        bells.retain(|_, bell| bell.receiver_count() > 0);
        let bell = bells
            .entry(name.to_owned())
            .or_insert_with(|| watch::channel(()).0);
        bell.subscribe()
    }

    fn ring(&self, names: &BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in names.iter().filter_map(|name| bells.get(name)) {
            bell.send_replace(());
        }
    }
}

impl Bells {
    /// A transaction was committed.
    pub fn ring(&self, peal: Peal, newest: Option<EventId>) {
        if !peal.touched.is_empty() {
            // An error means that nobody follows.
            let _ = self.touched.send(Some(peal.touched.into()));
        }
        if peal.bell || newest.is_some() {
            let newest = newest.map_or(0, |event| event.0);
            self.bell.send_modify(|last| *last = newest.max(*last));
        }
        self.schedulers.ring(&peal.told);
        if peal.work {
            self.work.send_replace(());
        }
    }

    /// A transaction may or may not have been committed.
    pub fn commit_unknown(&self) {
        // An error means that nobody follows.
        let _ = self.touched.send(None);
        self.work.send_replace(());
    }
}
