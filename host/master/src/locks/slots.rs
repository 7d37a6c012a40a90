//! Builds that let others use their slot while they wait: a parent for the builds that it asked for. Without that a parent could
//! wait for a child that waits for the parent's slot.
//!
//! The build's directory stays its own: no other build of its builder goes to that worker meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use capstan_model::BuildId;
use tokio::sync::watch;

/// Who has given a slot back, and who wants one again.
#[derive(Default)]
pub(crate) struct Slots(Mutex<BTreeMap<BuildId, Given>>);

struct Given {
    worker: String,
    /// `Some` once the build wants to go on.
    wanted: Option<watch::Sender<bool>>,
}

impl Slots {
    /// A build that waits lets others use its slot. After a restart the step that waits does so again; until then the slot is
    /// counted as in use, which at worst keeps a build back.
    pub fn release_slot(&self, build: BuildId, worker: &str) {
        let given = Given {
            worker: worker.to_owned(),
            wanted: None,
        };
        self.lock().entry(build).or_insert(given);
    }

    /// A build goes on: becomes true when it has a slot again. Whoever gives slots out has to be told that somebody asks.
    pub fn take_back(&self, build: BuildId) -> watch::Receiver<bool> {
        let mut given = self.lock();
        let Some(entry) = given.get_mut(&build) else {
            return watch::Sender::new(true).subscribe();
        };
        let wanted = entry.wanted.get_or_insert_with(|| watch::Sender::new(false));
        wanted.subscribe()
    }

    /// Whether a build has given its slot back and not got one again.
    pub fn has_given(&self, build: BuildId) -> bool {
        self.lock().contains_key(&build)
    }

    /// Whether somebody wants a slot again.
    pub fn are_wanted(&self) -> bool {
        self.lock().values().any(|given| given.wanted.is_some())
    }

    /// A build counts as before: it has ended, or waits no more and goes on whatever runs beside it.
    pub fn forget(&self, build: BuildId) {
        self.lock().remove(&build);
    }

    /// How many of the builds that run on each worker do not count. Those that want a slot again get it first if `free`
    /// says that the worker, where so many do not count, has room for one more: the oldest build first.
    pub fn settle(&self, free: impl Fn(&str, usize) -> bool) -> BTreeMap<String, usize> {
        let mut given = self.lock();
        let mut uncounted: BTreeMap<String, usize> = BTreeMap::new();
        for entry in given.values() {
            *uncounted.entry(entry.worker.clone()).or_default() += 1;
        }
        given.retain(|_, entry| {
            let count = uncounted.get(&entry.worker).copied().unwrap_or_default();
            let Some(wanted) = entry.wanted.as_ref().filter(|_| free(&entry.worker, count)) else {
                return true;
            };
            wanted.send_replace(true);
            uncounted.insert(entry.worker.clone(), count.saturating_sub(1));
            false
        });
        uncounted.retain(|_, count| *count > 0);
        uncounted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<BuildId, Given>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_lets_its_child_in_and_goes_on_before_newcomers() {
        let slots = Slots::default();
        let parent = BuildId(1);
        // One slot, the parent runs there.
        let room = |running: usize| move |_: &str, uncounted: usize| running - uncounted < 1;
        slots.release_slot(parent, "w1");
        assert_eq!(slots.settle(room(1)), BTreeMap::from([("w1".to_owned(), 1)]));
        // The child runs, too; the parent wants to go on and has to wait for its end.
        assert!(!slots.are_wanted());
        let back = slots.take_back(parent);
        assert!(slots.are_wanted());
        assert_eq!(slots.settle(room(2)), BTreeMap::from([("w1".to_owned(), 1)]));
        assert!(!*back.borrow());
        // The child has ended: nothing is left for others.
        assert!(slots.settle(room(1)).is_empty());
        assert!(*back.borrow());
        assert!(
            *slots.take_back(BuildId(7)).borrow(),
            "who gave nothing back has it"
        );
    }

    #[test]
    fn two_who_want_the_same_slot_get_it_one_after_the_other() {
        let slots = Slots::default();
        slots.release_slot(BuildId(1), "w1");
        slots.release_slot(BuildId(2), "w1");
        let (first, second) = (slots.take_back(BuildId(1)), slots.take_back(BuildId(2)));
        let one = |_: &str, uncounted: usize| 2 - uncounted < 1;
        assert_eq!(slots.settle(one), BTreeMap::from([("w1".to_owned(), 1)]));
        assert_eq!((*first.borrow(), *second.borrow()), (true, false));
        slots.forget(BuildId(2));
        assert!(slots.settle(one).is_empty());
    }
}
