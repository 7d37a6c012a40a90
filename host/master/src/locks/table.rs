//! Who holds which lock, and who waits for one in which order. Pure: no clock, no store, no tasks.
//!
//! One order holds for steps that wait and for requests whose build could start but for a lock: by priority, then first come
//! first served. Who waits keeps what it wants from those behind it, so nobody is overtaken for ever; what it leaves over
//! they may have. All locks of one owner are taken at once or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capstan_model::{BuildId, Lock, LockAccess, Mode, RequestId, Scope, StepId};

use super::explain::Holder;
use super::graph::{Graph, Node};
use super::unit::{Cause, Order, Unit};

/// Who holds locks or waits for them. A request only waits: what it becomes is a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// A build, from its start to its end.
    Build(BuildId),
    /// A step, while it runs.
    Step(StepId),
    /// A request that has no build yet.
    Request(RequestId),
}

/// A worker, as the table numbers them; 0 is the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(super) usize);

impl Place {
    pub(super) const FARM: Self = Self(0);
}

/// A list of accesses, made ready to be asked for often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accesses(Vec<(usize, Scope, Mode)>);

impl Accesses {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The units that are meant on a worker.
    fn on(&self, worker: Place) -> impl Iterator<Item = Want> + '_ {
        self.0.iter().map(move |&(lock, scope, mode)| Want {
            lock,
            place: if scope == Scope::Farm { Place::FARM } else { worker },
            mode,
        })
    }
}

/// So much of one lock at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub lock: usize,
    pub place: Place,
    pub mode: Mode,
}

/// Why something cannot be taken now; [`LockTable::explain`] tells it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(super) want: Want,
    pub(super) cause: Cause,
    pub(super) order: Order,
}

impl Blocked {
    /// Whether no other worker would do: the lock is one of the farm.
    pub fn everywhere(&self) -> bool {
        self.want.place == Place::FARM
    }

    /// Whether waiting does not help.
    pub fn for_ever(&self) -> bool {
        self.cause == Cause::Beyond
    }
}

/// One lock, by what the plan says of it; `None` where the plan has none of that name any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub name: String,
    pub rule: Option<Lock>,
    pub units: Vec<Unit>,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub who: Holder,
    pub wants: Vec<Want>,
}

#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub owner: Owner,
    pub who: Holder,
    pub wants: Vec<Want>,
    /// Where it would go.
    pub worker: Place,
    /// It is not kept back by those before it: that would keep everybody back.
    pub overtakes: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockTable {
    pub(super) entries: Vec<Entry>,
    names: HashMap<String, usize>,
    pub(super) workers: Vec<String>,
    places: HashMap<String, usize>,
    pub(super) held: BTreeMap<Owner, Held>,
    pub(super) waiting: BTreeMap<Order, Waiter>,
    orders: HashMap<Owner, Order>,
    tickets: u64,
    /// Where something was given back since the last [`LockTable::settle`].
    dirty: BTreeSet<(usize, usize)>,
    /// What waits for other things than locks, from those who know.
    pub(super) others: Graph,
    /// What running builds use of their workers: slots and folders.
    pub(super) uses: BTreeMap<BuildId, Vec<(Node, Mode)>>,
}

impl LockTable {
    /// What the plan says of locks from now on. Who holds something keeps it, whatever the limits are now.
    pub fn define(&mut self, locks: &[Lock]) {
        for entry in &mut self.entries {
            entry.rule = None;
        }
        for lock in locks {
            let entry = self.entry(&lock.name);
            self.entries[entry].rule = Some(lock.clone());
        }
        for (lock, entry) in self.entries.iter_mut().enumerate() {
            for (place, unit) in entry.units.iter_mut().enumerate() {
                unit.capacity = capacity(entry.rule.as_ref(), place, &self.workers);
                self.dirty.insert((lock, place));
            }
        }
    }

    fn entry(&mut self, name: &str) -> usize {
        if let Some(&entry) = self.names.get(name) {
            return entry;
        }
        self.entries.push(Entry {
            name: name.to_owned(),
            ..Entry::default()
        });
        self.names.insert(name.to_owned(), self.entries.len() - 1);
        self.entries.len() - 1
    }

    /// The number of a worker, for [`LockTable::may_take`].
    pub fn place(&mut self, worker: &str) -> Place {
        if let Some(&place) = self.places.get(worker) {
            return Place(place);
        }
        self.workers.push(worker.to_owned());
        self.places.insert(worker.to_owned(), self.workers.len());
        Place(self.workers.len())
    }

    /// Makes accesses ready to be asked for. They hold as long as the table.
    pub fn prepare(&mut self, accesses: &[LockAccess]) -> Accesses {
        let each = accesses.iter();
        Accesses(
            each.map(|access| (self.entry(&access.lock), access.scope, access.mode))
                .collect(),
        )
    }

    /// Whether all of this could be taken on that worker now by somebody of that order.
    ///
    /// While nothing is released, what is blocked stays blocked for all who come later: a dispatcher that asks in order need
    /// not ask again for the same accesses on the same worker.
    pub fn may_take(&self, accesses: &Accesses, worker: Place, order: Order) -> Result<(), Blocked> {
        accesses
            .on(worker)
            .try_for_each(|want| self.may_take_one(want, order))
    }

    fn may_take_one(&self, want: Want, order: Order) -> Result<(), Blocked> {
        let entry = &self.entries[want.lock];
        let cause = match entry.units.get(want.place.0) {
            Some(unit) => unit.fits(want.mode, order),
            // Nobody has asked for it there.
            None => match want.mode {
                Mode::Shared(amount)
                    if amount > capacity(entry.rule.as_ref(), want.place.0, &self.workers) =>
                {
                    Err(Cause::Beyond)
                }
                _ => Ok(()),
            },
        };
        cause.map_err(|cause| Blocked { want, cause, order })
    }

    /// The place in the order of somebody who may wait already; a newcomer comes last among its priority.
    pub fn order(&self, owner: Owner, priority: i64) -> Order {
        match self.orders.get(&owner) {
            Some(order) if self.waiting.get(order).is_some_and(|waiter| waiter.overtakes) => Order::FIRST,
            Some(order) => *order,
            None => Order::last(priority),
        }
    }

    /// Gives it to the owner, whatever others hold: whether that is right was asked before. It waits no more. An owner that
    /// holds something already keeps that.
    pub fn take(&mut self, owner: Owner, who: Holder, accesses: &Accesses, worker: Place) {
        self.give_up(owner);
        if accesses.is_empty() || self.held.contains_key(&owner) {
            return;
        }
        let wants: Vec<_> = accesses.on(worker).collect();
        for want in &wants {
            self.unit(*want).take(owner, want.mode);
        }
        self.held.insert(owner, Held { who, wants });
    }

    /// Takes back what the owner holds.
    pub fn release(&mut self, owner: Owner) {
        let Some(held) = self.held.remove(&owner) else {
            return;
        };
        for want in held.wants {
            self.unit(want).release(owner, want.mode);
            self.dirty.insert((want.lock, want.place.0));
        }
    }

    /// Whether the owner holds something.
    pub fn holds(&self, owner: Owner) -> bool {
        self.held.contains_key(&owner)
    }

    /// Lets the owner wait, at the end of its priority. Who waits already keeps its place, unless it wants something else now.
    pub fn wait(&mut self, owner: Owner, who: Holder, priority: i64, accesses: &Accesses, worker: Place) {
        let wants: Vec<_> = accesses.on(worker).collect();
        let before = self.orders.get(&owner).copied();
        if let Some(order) = before {
            let same = self
                .waiting
                .get(&order)
                .is_some_and(|waiter| waiter.wants == wants);
            if same && order.priority() == priority {
                return;
            }
        }
        self.give_up(owner);
        // Another worker will do as well: that does not cost a request its place.
        let ticket = before
            .filter(|order| order.priority() == priority)
            .map_or(self.tickets, Order::ticket);
        self.tickets += 1;
        let order = Order::new(priority, ticket);
        for want in &wants {
            self.unit(*want).waiting.insert(order, want.mode);
        }
        self.orders.insert(owner, order);
        let waiter = Waiter {
            owner,
            who,
            wants,
            worker,
            overtakes: false,
        };
        self.waiting.insert(order, waiter);
    }

    /// The owner waits no more.
    pub fn give_up(&mut self, owner: Owner) {
        let Some(order) = self.orders.remove(&owner) else {
            return;
        };
        let Some(waiter) = self.waiting.remove(&order) else {
            return;
        };
        for want in waiter.wants {
            self.unit(want).waiting.remove(&order);
            self.dirty.insert((want.lock, want.place.0));
        }
    }

    /// Lets go of the requests that wait no more, or that could not start even with the lock.
    pub fn keep_requests(&mut self, keep: impl Fn(RequestId) -> bool) {
        let gone = self
            .orders
            .keys()
            .filter(|owner| matches!(owner, Owner::Request(id) if !keep(*id)));
        for owner in gone.copied().collect::<Vec<_>>() {
            self.give_up(owner);
        }
    }

    /// Gives what is free to the steps that wait, in their order, and answers which those are. To be called after every
    /// change.
    pub fn settle(&mut self) -> Vec<Owner> {
        let mut orders = BTreeSet::new();
        for (lock, place) in std::mem::take(&mut self.dirty) {
            if let Some(unit) = self.entries.get(lock).and_then(|entry| entry.units.get(place)) {
                orders.extend(unit.waiting.keys().copied());
            }
        }
        let mut given = Vec::new();
        for order in orders {
            let Some(waiter) = self
                .waiting
                .get(&order)
                .filter(|w| matches!(w.owner, Owner::Step(_)))
            else {
                continue;
            };
            let in_turn = if waiter.overtakes { Order::FIRST } else { order };
            if waiter
                .wants
                .iter()
                .any(|&want| self.may_take_one(want, in_turn).is_err())
            {
                continue;
            }
            let (owner, who, wants) = (waiter.owner, waiter.who.clone(), waiter.wants.clone());
            self.give_up(owner);
            for want in &wants {
                self.unit(*want).take(owner, want.mode);
                // What it waited for it holds now: nobody else gained by that.
                self.dirty.remove(&(want.lock, want.place.0));
            }
            self.held.insert(owner, Held { who, wants });
            given.push(owner);
        }
        given
    }

    /// Gives what one owner holds to another.
    pub fn pass_on(&mut self, from: Owner, to: Owner, who: Holder) {
        let Some(held) = self.held.remove(&from) else {
            return;
        };
        for want in &held.wants {
            let unit = self.unit(*want);
            unit.release(from, want.mode);
            unit.take(to, want.mode);
        }
        self.held.insert(to, Held { who, ..held });
    }

    /// A lock among these that the owner holds, wherever.
    pub fn shares(&self, owner: Owner, wanted: &[LockAccess]) -> Option<String> {
        let held = self
            .held
            .get(&owner)?
            .wants
            .iter()
            .map(|want| &self.entries[want.lock].name);
        held.into_iter()
            .find(|name| wanted.iter().any(|access| access.lock == **name))
            .cloned()
    }

    /// Whatever of a build holds or waits.
    pub fn owners(&self, build: BuildId) -> Vec<Owner> {
        let held = self.held.iter().map(|(owner, held)| (*owner, &held.who));
        let waiting = self.waiting.values().map(|waiter| (waiter.owner, &waiter.who));
        let of = held.chain(waiting).filter(|(_, who)| who.build == Some(build));
        of.map(|(owner, _)| owner).collect()
    }

    /// Takes back what was taken for requests whose builds then were not made.
    pub fn release_requests(&mut self) {
        let requests = self
            .held
            .keys()
            .filter(|owner| matches!(owner, Owner::Request(_)));
        for owner in requests.copied().collect::<Vec<_>>() {
            self.release(owner);
        }
    }

    /// Whether a request waits.
    pub fn has_requests(&self) -> bool {
        self.orders.keys().any(|owner| matches!(owner, Owner::Request(_)))
    }

    /// The requests that wait, with the worker that each would go to, if its locks tell.
    pub fn requests(&self) -> Vec<(RequestId, String)> {
        let requests = self.waiting.values().filter_map(|waiter| match waiter.owner {
            Owner::Request(id) => Some((id, waiter.worker)),
            _ => None,
        });
        requests
            .filter_map(|(id, Place(worker))| Some((id, self.workers.get(worker.checked_sub(1)?)?.clone())))
            .collect()
    }

    /// What keeps a waiting owner back.
    pub fn blocked(&self, owner: Owner) -> Option<Blocked> {
        let order = *self.orders.get(&owner)?;
        let waiter = self.waiting.get(&order)?;
        let in_turn = if waiter.overtakes { Order::FIRST } else { order };
        let mut wants = waiter.wants.iter();
        wants.find_map(|&want| self.may_take_one(want, in_turn).err())
    }

    /// Everybody waits in turn no more: see [`Waiter::overtakes`].
    pub(super) fn let_overtake(&mut self, order: Order) {
        let Some(waiter) = self.waiting.get_mut(&order) else {
            return;
        };
        waiter.overtakes = true;
        self.dirty
            .extend(waiter.wants.iter().map(|want| (want.lock, want.place.0)));
    }

    fn unit(&mut self, want: Want) -> &mut Unit {
        let entry = &mut self.entries[want.lock];
        while entry.units.len() <= want.place.0 {
            let place = entry.units.len();
            entry
                .units
                .push(Unit::of(capacity(entry.rule.as_ref(), place, &self.workers)));
        }
        &mut entry.units[want.place.0]
    }
}

/// How much there is of a lock at a place. One that the plan does not know any more has no limit; who has all of it still keeps others out.
fn capacity(rule: Option<&Lock>, place: usize, workers: &[String]) -> u32 {
    let worker = place.checked_sub(1).and_then(|place| workers.get(place));
    match (rule, worker) {
        (None, _) => u32::MAX,
        (Some(lock), None) => lock.limit,
        (Some(lock), Some(worker)) => lock.limit_on(worker),
    }
}
