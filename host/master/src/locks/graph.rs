//! Who waits for whom: finds those who can never go on. Pure; the table of locks makes a graph when a wait begins, and whoever
//! waits for other things than locks (a parent for its children, a request for a slot) adds them to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use capstan_model::{BuildId, Mode, RequestId};

/// What waits, or is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    /// A build that runs.
    Build(BuildId),
    /// A request that has no build yet.
    Request(RequestId),
    /// A lock; with a worker, the one of that worker.
    Lock(String, Option<String>),
    /// The slots of a worker.
    Slot(String),
    /// A folder on a worker, which one build uses at a time.
    Folder(String, String),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(id) => write!(f, "build {id}"),
            Self::Request(id) => write!(f, "request {id}"),
            Self::Lock(name, None) => write!(f, "the lock {name}"),
            Self::Lock(name, Some(worker)) => write!(f, "the lock {name} on {worker}"),
            Self::Slot(worker) => write!(f, "a slot of the worker {worker}"),
            Self::Folder(folder, worker) => write!(f, "the folder {folder} on {worker}"),
        }
    }
}

/// A build or a request: what it holds, and what it waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// What people call it.
    pub label: String,
    /// What it holds until it ends.
    pub holds: Vec<(Node, Mode)>,
    /// It goes on as soon as one of these is given; without any it does not wait.
    pub waits: Vec<Need>,
}

/// Everything that has to be there for a process to go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Need {
    /// What it takes.
    pub takes: Vec<(Node, Mode)>,
    /// Processes that have to end first: children.
    pub ends: Vec<Node>,
    /// Processes that come first in a queue.
    pub behind: Vec<Node>,
}

impl Need {
    /// Adds what else is needed, as far as it is of the farm or of the worker that this way leads to.
    pub fn join(&mut self, other: &Self) {
        for (thing, mode) in &other.takes {
            let elsewhere = match thing {
                Node::Lock(_, Some(worker)) => !self
                    .takes
                    .iter()
                    .any(|(taken, _)| *taken == Node::Slot(worker.clone())),
                _ => false,
            };
            if !elsewhere && !self.takes.iter().any(|(taken, _)| taken == thing) {
                self.takes.push((thing.clone(), *mode));
            }
        }
        self.behind.extend(other.behind.iter().cloned());
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    /// How much there is of each lock and of each worker's slots. What is missing here has no end.
    pub capacity: BTreeMap<Node, u32>,
    /// Those who hold or wait.
    pub processes: BTreeMap<Node, Process>,
}

/// What is left of something, as a build after the other ends.
struct Left {
    free: i64,
    whole: usize,
    used: bool,
}

impl Graph {
    /// Those who could never go on, even if everybody who can ends. `in_turn`: nobody overtakes.
    ///
    /// Ends whoever can, and gives back what it held, until nobody is left who can: for things that are given back and
    /// taken again that is exact, where a cycle of arrows alone would not be (of two holders of a lock one may still end).
    pub fn stuck(&self, in_turn: bool) -> BTreeSet<Node> {
        let mut left = self.left();
        let mut remaining: BTreeSet<&Node> = self.processes.keys().collect();
        loop {
            let ended: Vec<&Node> = remaining
                .iter()
                .copied()
                .filter(|&node| self.goes_on(&self.processes[node], &left, &remaining, in_turn))
                .collect();
            if ended.is_empty() {
                return remaining.into_iter().cloned().collect();
            }
            for node in ended {
                remaining.remove(node);
                self.give_back(&self.processes[node], &mut left);
            }
        }
    }

    fn left(&self) -> BTreeMap<&Node, Left> {
        let mut left: BTreeMap<&Node, Left> = BTreeMap::new();
        for (thing, mode) in self.processes.values().flat_map(|process| &process.holds) {
            let entry = left.entry(thing).or_insert_with(|| self.whole(thing));
            match mode {
                Mode::Exclusive => entry.whole += 1,
                Mode::Shared(amount) => entry.free -= i64::from(*amount),
            }
            entry.used = true;
        }
        left
    }

    fn whole(&self, thing: &Node) -> Left {
        Left {
            free: self.capacity.get(thing).map_or(i64::MAX / 2, |&n| i64::from(n)),
            whole: 0,
            used: false,
        }
    }

    fn give_back(&self, process: &Process, left: &mut BTreeMap<&Node, Left>) {
        for (thing, mode) in &process.holds {
            let Some(entry) = left.get_mut(thing) else {
                continue;
            };
            match mode {
                Mode::Exclusive => entry.whole -= 1,
                Mode::Shared(amount) => entry.free += i64::from(*amount),
            }
            entry.used = entry.whole > 0 || entry.free < self.whole(thing).free;
        }
    }

    fn goes_on(
        &self,
        process: &Process,
        left: &BTreeMap<&Node, Left>,
        remaining: &BTreeSet<&Node>,
        in_turn: bool,
    ) -> bool {
        let given = |need: &Need| {
            need.takes
                .iter()
                .all(|(thing, mode)| self.free(thing, *mode, left))
                && !need.ends.iter().any(|node| remaining.contains(node))
                && !(in_turn && need.behind.iter().any(|node| remaining.contains(node)))
        };
        process.waits.is_empty() || process.waits.iter().any(given)
    }

    fn free(&self, thing: &Node, mode: Mode, left: &BTreeMap<&Node, Left>) -> bool {
        let Some(left) = left.get(thing) else {
            return match mode {
                Mode::Exclusive => true,
                Mode::Shared(amount) => i64::from(amount) <= self.whole(thing).free,
            };
        };
        match mode {
            Mode::Exclusive => !left.used,
            Mode::Shared(amount) => left.whole == 0 && i64::from(amount) <= left.free,
        }
    }

    /// The way from that process over what it waits for back to itself, as a sentence: `a/1 waits for the lock x, held by b/2,
    /// which waits for …`. `None` when nothing leads back.
    pub fn cycle(&self, from: &Node) -> Option<String> {
        let stuck = self.stuck(false);
        let mut seen: BTreeMap<Node, (Node, Option<Node>)> = BTreeMap::new();
        let mut queue = VecDeque::from([from.clone()]);
        while let Some(node) = queue.pop_front() {
            for (thing, holder) in self.waits_for(&node, &stuck) {
                if holder == *from {
                    return Some(self.sentence(from, &node, thing, &seen));
                }
                if !seen.contains_key(&holder) {
                    seen.insert(holder.clone(), (node.clone(), thing));
                    queue.push_back(holder);
                }
            }
        }
        None
    }

    /// Whom a process waits for: what they hold that it needs, or nothing where it waits for their end itself. Where it can go on in
    /// several ways, what is in all of them is the reason, if there is such a thing.
    fn waits_for(&self, node: &Node, stuck: &BTreeSet<Node>) -> Vec<(Option<Node>, Node)> {
        let Some(process) = self.processes.get(node) else {
            return Vec::new();
        };
        let mut left = self.left();
        for (_, other) in self.processes.iter().filter(|(node, _)| !stuck.contains(node)) {
            self.give_back(other, &mut left);
        }
        let ways: Vec<_> = process
            .waits
            .iter()
            .map(|need| self.missing(need, stuck, &left))
            .collect();
        let everywhere: Vec<_> = ways
            .first()
            .into_iter()
            .flatten()
            .filter(|reason| ways.iter().all(|way| way.contains(reason)))
            .cloned()
            .collect();
        match everywhere.is_empty() {
            true => ways.into_iter().flatten().collect(),
            false => everywhere,
        }
    }

    /// What of a need is not there when everybody has ended who can.
    fn missing(
        &self,
        need: &Need,
        stuck: &BTreeSet<Node>,
        left: &BTreeMap<&Node, Left>,
    ) -> Vec<(Option<Node>, Node)> {
        let ends = need.ends.iter().filter(|node| stuck.contains(node));
        let mut found: Vec<_> = ends.map(|node| (None, node.clone())).collect();
        for (thing, _) in need
            .takes
            .iter()
            .filter(|(thing, mode)| !self.free(thing, *mode, left))
        {
            let holders = stuck.iter().filter(|other| {
                let other = self.processes.get(other);
                other.is_some_and(|other| other.holds.iter().any(|(held, _)| held == thing))
            });
            found.extend(holders.map(|holder| (Some(thing.clone()), holder.clone())));
        }
        found
    }

    fn sentence(
        &self,
        from: &Node,
        last: &Node,
        thing: Option<Node>,
        seen: &BTreeMap<Node, (Node, Option<Node>)>,
    ) -> String {
        let mut steps = vec![(last.clone(), thing, from.clone())];
        let mut at = last.clone();
        while at != *from {
            let Some((before, thing)) = seen.get(&at).cloned() else {
                break;
            };
            steps.push((before.clone(), thing, at));
            at = before;
        }
        let mut text = self.label(from);
        for (place, (_, thing, to)) in steps.iter().rev().enumerate() {
            let which = if place == 0 { "" } else { ", which" };
            let waits = match thing {
                Some(thing) => format!("{which} waits for {thing}, held by {}", self.label(to)),
                None => format!("{which} waits for the end of {}", self.label(to)),
            };
            text += if place == 0 { " " } else { "" };
            text += waits.trim_start_matches(|c| place == 0 && c == ' ');
        }
        text
    }

    fn label(&self, node: &Node) -> String {
        match self.processes.get(node) {
            Some(process) if !process.label.is_empty() => process.label.clone(),
            _ => node.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(id: i64) -> Node {
        Node::Build(BuildId(id))
    }

    fn lock(name: &str) -> Node {
        Node::Lock(name.to_owned(), None)
    }

    fn process(label: &str, holds: &[(Node, Mode)], takes: &[(Node, Mode)]) -> Process {
        let need = Need {
            takes: takes.to_vec(),
            ..Need::default()
        };
        Process {
            label: label.to_owned(),
            holds: holds.to_vec(),
            waits: if takes.is_empty() { vec![] } else { vec![need] },
        }
    }

    fn graph(capacity: &[(Node, u32)], processes: Vec<(Node, Process)>) -> Graph {
        Graph {
            capacity: capacity.iter().cloned().collect(),
            processes: processes.into_iter().collect(),
        }
    }

    const ONE: Mode = Mode::Shared(1);

    #[test]
    fn two_who_hold_what_the_other_wants_are_stuck_and_named() {
        let (x, y) = (lock("x"), lock("y"));
        let graph = graph(
            &[(x.clone(), 1), (y.clone(), 1)],
            vec![
                (
                    build(1),
                    process("a/1", &[(x.clone(), Mode::Exclusive)], &[(y.clone(), ONE)]),
                ),
                (build(2), process("b/2", &[(y, ONE)], &[(x, ONE)])),
                (build(3), process("c/3", &[], &[(lock("x"), ONE)])),
            ],
        );
        assert_eq!(graph.stuck(true).len(), 3, "the third waits for the two");
        assert_eq!(
            graph.cycle(&build(2)).unwrap(),
            "b/2 waits for the lock x, held by a/1, which waits for the lock y, held by b/2"
        );
        assert_eq!(graph.cycle(&build(3)), None, "it is not part of it");
    }

    #[test]
    fn of_two_holders_one_may_still_end() {
        let (x, y) = (lock("x"), lock("y"));
        let mut graph = graph(
            &[(x.clone(), 2), (y.clone(), 1)],
            vec![
                (build(1), process("a", &[(x.clone(), ONE)], &[(y.clone(), ONE)])),
                (build(2), process("b", &[(y, ONE)], &[(x.clone(), ONE)])),
                (build(3), process("c", &[(x.clone(), ONE)], &[])),
            ],
        );
        assert!(graph.stuck(true).is_empty(), "c ends, then b, then a");
        // All of it is never free while a waits for b.
        graph.processes.insert(
            build(2),
            process("b", &[(lock("y"), ONE)], &[(x, Mode::Exclusive)]),
        );
        assert_eq!(graph.stuck(true).len(), 2);
    }

    #[test]
    fn a_parent_that_holds_the_only_slot_its_child_needs_is_stuck_until_it_gives_it_back() {
        let slot = Node::Slot("w1".to_owned());
        let child = Node::Request(RequestId(9));
        let parent = |holds: Vec<(Node, Mode)>| Process {
            label: "parent/1".to_owned(),
            holds,
            waits: vec![Need {
                ends: vec![child.clone()],
                ..Need::default()
            }],
        };
        let processes = |holds| {
            vec![
                (build(1), parent(holds)),
                (
                    child.clone(),
                    process("request 9 (child)", &[], &[(slot.clone(), ONE)]),
                ),
            ]
        };
        let held = graph(&[(slot.clone(), 1)], processes(vec![(slot.clone(), ONE)]));
        assert_eq!(
            held.cycle(&build(1)).unwrap(),
            "parent/1 waits for the end of request 9 (child), which waits for a slot of the worker w1, held by parent/1"
        );
        let given_back = graph(&[(slot.clone(), 1)], processes(vec![]));
        assert!(given_back.stuck(true).is_empty());
        let two = graph(&[(slot.clone(), 2)], processes(vec![(slot.clone(), ONE)]));
        assert!(two.stuck(true).is_empty());
    }

    #[test]
    fn another_worker_will_do() {
        let (w1, w2) = (Node::Slot("w1".to_owned()), Node::Slot("w2".to_owned()));
        let child = Node::Request(RequestId(9));
        let need = |slot: &Node| Need {
            takes: vec![(slot.clone(), ONE)],
            ..Need::default()
        };
        let waits = vec![need(&w1), need(&w2)];
        let parent = Process {
            holds: vec![(w1.clone(), ONE)],
            waits: vec![Need {
                ends: vec![child.clone()],
                ..Need::default()
            }],
            ..Process::default()
        };
        let child_process = Process {
            waits,
            ..Process::default()
        };
        let graph = graph(
            &[(w1, 1), (w2, 1)],
            vec![(build(1), parent), (child, child_process)],
        );
        assert!(graph.stuck(true).is_empty());
    }

    #[test]
    fn who_is_only_kept_back_by_the_queue_is_stuck_in_turn_alone() {
        // A holds one of two, its child C wants the other, but B, who wants both, came before C.
        let x = lock("x");
        let (a, b, c) = (build(1), build(2), build(3));
        let mut graph = graph(
            &[(x.clone(), 2)],
            vec![
                (a.clone(), process("a", &[(x.clone(), ONE)], &[])),
                (b.clone(), process("b", &[], &[(x.clone(), Mode::Exclusive)])),
                (c.clone(), process("c", &[], &[(x, ONE)])),
            ],
        );
        let parent = graph.processes.get_mut(&a).unwrap();
        parent.waits.push(Need {
            ends: vec![c.clone()],
            ..Need::default()
        });
        graph.processes.get_mut(&c).unwrap().waits[0].behind.push(b);
        assert_eq!(graph.stuck(true).len(), 3);
        assert!(graph.stuck(false).is_empty());
    }
}
