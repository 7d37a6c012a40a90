//! The requests that wait, in memory: a line for each builder, in the order in which it is served, and within it the groups that
//! one build can serve.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use capstan_model::{Digest, RequestId};
use capstan_store::QueueEntry;

/// A place in the order: more urgent first, then older.
pub(crate) type Turn = (Reverse<i32>, RequestId);

/// Every request that waits.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    entries: HashMap<RequestId, QueueEntry>,
    lines: HashMap<Arc<str>, Line>,
}

/// The requests of one builder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    turns: BTreeSet<Turn>,
    groups: HashMap<Digest, BTreeSet<RequestId>>,
}

impl Lines {
    /// Those of these entries.
    pub fn of(entries: impl IntoIterator<Item = QueueEntry>) -> Self {
        let mut lines = Self::default();
        entries.into_iter().for_each(|entry| lines.put(entry));
        lines
    }

    /// Adds an entry, or takes it in place of the one that was known.
    pub fn put(&mut self, entry: QueueEntry) {
        self.remove(entry.id);
        let line = self.lines.entry(Arc::clone(&entry.builder)).or_default();
        line.turns.insert(turn(&entry));
        line.groups.entry(entry.likeness).or_default().insert(entry.id);
        self.entries.insert(entry.id, entry);
    }

    /// Forgets an entry.
    pub fn remove(&mut self, id: RequestId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        let Some(line) = self.lines.get_mut(&entry.builder) else {
            return;
        };
        line.turns.remove(&turn(&entry));
        if let Some(group) = line.groups.get_mut(&entry.likeness) {
            group.remove(&id);
            if group.is_empty() {
                line.groups.remove(&entry.likeness);
            }
        }
        if line.turns.is_empty() {
            self.lines.remove(&entry.builder);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// That request, if it waits.
    pub fn get(&self, id: RequestId) -> Option<&QueueEntry> {
        self.entries.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Line)> {
        self.lines.iter()
    }

    pub(crate) fn line(&self, builder: &str) -> Option<&Line> {
        self.lines.get(builder)
    }
}

impl Line {
    /// In the order in which they are served.
    pub fn turns(&self) -> impl Iterator<Item = Turn> {
        self.turns.iter().copied()
    }

    pub fn first(&self) -> Option<Turn> {
        self.turns.first().copied()
    }

    /// Those that come after that turn.
    pub fn after(&self, turn: Turn) -> impl Iterator<Item = Turn> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.turns.range((Excluded(turn), Unbounded)).copied()
    }

    /// The requests like that one, which is among them; oldest first.
    pub fn group(&self, entry: &QueueEntry) -> impl Iterator<Item = RequestId> {
        self.groups.get(&entry.likeness).into_iter().flatten().copied()
    }
}

fn turn(entry: &QueueEntry) -> Turn {
    (Reverse(entry.priority), entry.id)
}

#[cfg(test)]
mod tests {
    use super::super::tests::waiting;
    use super::*;

    #[test]
    fn what_is_put_again_or_removed_leaves_no_trace() {
        let entry = |id, branch| waiting(id, "b", branch, 0);
        let mut lines = Lines::of([entry(1, "main"), entry(2, "main"), entry(3, "next")]);
        lines.put(QueueEntry {
            priority: 5,
            ..entry(3, "main")
        });
        let order = |lines: &Lines| {
            lines
                .line("b")
                .map(|line| line.turns().map(|turn| turn.1.0).collect::<Vec<_>>())
        };
        assert_eq!(order(&lines), Some(vec![3, 1, 2]), "its new priority counts");
        let line = lines.line("b").unwrap();
        assert_eq!(line.group(&entry(1, "main")).count(), 3);
        assert_eq!(line.group(&entry(1, "next")).count(), 0, "it has left its group");
        lines.remove(RequestId(1));
        lines.remove(RequestId(1));
        assert_eq!((lines.len(), order(&lines)), (2, Some(vec![3, 2])));
        lines.remove(RequestId(2));
        lines.remove(RequestId(3));
        assert!(lines.is_empty() && lines.line("b").is_none());
    }
}
