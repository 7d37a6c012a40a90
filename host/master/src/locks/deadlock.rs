//! What of a table of locks can never come to an end, and what is done about it.

use super::graph::{Graph, Need, Node, Process};
use super::table::{LockTable, Owner, Waiter, Want};
use super::unit::Order;

/// A wait that can never end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deadlock(pub String);

impl LockTable {
    /// Looks whether everybody who waits can go on some day. Those who are kept back by nothing but the order of the
    /// queue are let past it. If it is more than that, answers the circle that this owner's wait has closed; who merely waits for
    /// somebody in a circle is told nothing: the circle ends, and then he goes on.
    ///
    /// What parents noted of their children is some time old, and may be true no more. So a step is told of circles among locks
    /// alone; one that leads over a parent is found by that parent, who looks twice.
    pub fn deadlock(&mut self, owner: Owner) -> Option<Deadlock> {
        if self.waiting.is_empty() && self.others.processes.is_empty() {
            return None;
        }
        let graph = self.graph(!matches!(owner, Owner::Step(_)));
        let node = self.node(owner)?;
        if graph.stuck(true).is_empty() {
            return None;
        }
        let stuck = graph.stuck(false);
        if stuck.contains(&node)
            && let Some(text) = graph.cycle(&node)
        {
            return Some(Deadlock(text));
        }
        self.mend(&graph);
        None
    }

    /// Lets past the queue whoever is stuck because of it alone.
    pub fn mend_queue(&mut self) {
        if self
            .waiting
            .values()
            .any(|waiter| matches!(waiter.owner, Owner::Step(_)))
            || !self.others.processes.is_empty()
        {
            let graph = self.graph(true);
            self.mend(&graph);
        }
    }

    fn mend(&mut self, graph: &Graph) {
        let stuck = graph.stuck(true);
        let orders: Vec<Order> = self
            .waiting
            .iter()
            .filter(|(_, waiter)| node_of(waiter.owner, waiter).is_some_and(|node| stuck.contains(&node)))
            .map(|(order, _)| *order)
            .collect();
        for order in orders {
            self.let_overtake(order);
        }
    }

    /// Adds what is known elsewhere of who waits for whom: a parent for its children, a request for a slot. It takes part in
    /// the next look for deadlocks; `None` takes it away again.
    pub fn also(&mut self, node: Node, process: Option<Process>) {
        match process {
            Some(process) => drop(self.others.processes.insert(node, process)),
            None => drop(self.others.processes.remove(&node)),
        }
    }

    /// How much there is of something that is no lock: a worker's slots.
    pub fn capacity(&mut self, node: Node, capacity: u32) {
        self.others.capacity.insert(node, capacity);
    }

    fn node(&self, owner: Owner) -> Option<Node> {
        match owner {
            Owner::Build(id) => Some(Node::Build(id)),
            Owner::Request(id) => Some(Node::Request(id)),
            Owner::Step(_) => {
                let waiter = self.waiting.values().find(|waiter| waiter.owner == owner)?;
                node_of(owner, waiter)
            }
        }
    }

    /// Who holds and waits, as a graph; with what is known elsewhere, or of locks alone.
    fn graph(&self, with_others: bool) -> Graph {
        let mut graph = match with_others {
            true => self.others.clone(),
            false => Graph::default(),
        };
        let children = !graph.processes.is_empty();
        for (owner, held) in &self.held {
            let node = match (owner, held.who.build) {
                (Owner::Request(id), _) => Node::Request(*id),
                (_, Some(build)) => Node::Build(build),
                (_, None) => continue,
            };
            let process = graph.processes.entry(node).or_default();
            process.label = format!("{}/{}", held.who.builder, held.who.number);
            process
                .holds
                .extend(held.wants.iter().map(|want| (self.thing(*want), want.mode)));
        }
        // Requests behind the last step keep nobody back.
        let last = self
            .waiting
            .iter()
            .rev()
            .find(|(_, waiter)| matches!(waiter.owner, Owner::Step(_)));
        let last = last.map(|(order, _)| *order);
        for (order, waiter) in &self.waiting {
            if Some(*order) > last && !children {
                break;
            }
            let Some(node) = node_of(waiter.owner, waiter) else {
                continue;
            };
            let need = Need {
                takes: waiter
                    .wants
                    .iter()
                    .map(|want| (self.thing(*want), want.mode))
                    .collect(),
                ends: Vec::new(),
                behind: self.just_before(*order, waiter),
            };
            let process = graph.processes.entry(node).or_default();
            process.label = match waiter.who.request {
                Some(_) => waiter.who.to_string(),
                None => format!("{}/{}", waiter.who.builder, waiter.who.number),
            };
            match (waiter.owner, process.waits.as_mut_slice()) {
                (Owner::Request(_), [_, ..]) => process.waits.iter_mut().for_each(|other| other.join(&need)),
                _ => process.waits = vec![need],
            }
        }
        // What others use of workers matters only where they wait, too: who does not will end.
        for (build, uses) in &self.uses {
            if let Some(process) = graph.processes.get_mut(&Node::Build(*build)) {
                process.holds.extend(uses.iter().cloned());
            }
        }
        for entry in &self.entries {
            for (place, unit) in entry.units.iter().enumerate() {
                let worker = place
                    .checked_sub(1)
                    .and_then(|place| self.workers.get(place))
                    .cloned();
                graph
                    .capacity
                    .insert(Node::Lock(entry.name.clone(), worker), unit.capacity);
            }
        }
        graph
    }

    /// Those right before it in the queues of what it wants. They wait for those before them in turn.
    fn just_before(&self, order: Order, waiter: &Waiter) -> Vec<Node> {
        if waiter.overtakes {
            return Vec::new();
        }
        let before = waiter.wants.iter().filter_map(|want| {
            let unit = self.entries[want.lock].units.get(want.place.0)?;
            let (before, _) = unit.waiting.range(..order).next_back()?;
            let before = self.waiting.get(before)?;
            node_of(before.owner, before)
        });
        before.collect()
    }

    fn thing(&self, want: Want) -> Node {
        Node::Lock(self.entries[want.lock].name.clone(), self.worker(want))
    }
}

/// A step waits for its build.
fn node_of(owner: Owner, waiter: &Waiter) -> Option<Node> {
    match owner {
        Owner::Build(id) => Some(Node::Build(id)),
        Owner::Request(id) => Some(Node::Request(id)),
        Owner::Step(_) => waiter.who.build.map(Node::Build),
    }
}
