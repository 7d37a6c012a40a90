//! Builds that wait for builds that they have asked for. Who waits looks now and then whether waiting can ever end: what a child needs may
//! be held by its own parent, or by somebody who waits for that in turn. Called by the step that waits.

use std::collections::BTreeMap;

use capstan_model::plan::{Builder, Plan};
use capstan_model::{BuildId, Mode, RequestId};
use capstan_store::{ChildSet, RequestState, RunningBuild};

use super::deadlock::Deadlock;
use super::graph::{Need, Node, Process};
use super::table::{LockTable, Owner};
use super::{Locks, State};
use crate::pairing::{Places, is_fit, is_named, wants};

/// A build that waits.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub build: BuildId,
    pub builder: String,
    pub number: u64,
    pub worker: String,
}

/// What it waits for, and how things stand.
pub(crate) struct Family<'a> {
    pub parent: &'a Parent,
    pub plan: &'a Plan,
    /// All workers of the plan, whether or not they are there: those that are not may come.
    pub places: &'a Places,
    pub running: &'a [RunningBuild],
    /// The folder of each of those.
    pub folders: &'a dyn Fn(&RunningBuild) -> String,
    /// Builds that let others use their slots.
    pub given: &'a dyn Fn(BuildId) -> bool,
    /// Those that it waits for. None: it wants its slot again.
    pub children: Option<&'a [ChildSet]>,
}

impl Locks {
    /// Notes what a build waits for, and answers why that will never end, if it will not. `certain`: then it waits no more, and those
    /// who waited for it can go on.
    pub fn awaits(&self, family: &Family<'_>, certain: bool) -> Option<Deadlock> {
        self.change(|state| {
            state.table.uses = uses(family);
            for (worker, place) in family.places {
                state.table.capacity(Node::Slot(worker.clone()), place.slots);
            }
            state.leave(family.parent.build);
            let nodes = processes(family);
            let names = nodes.iter().map(|(node, _)| node.clone()).collect();
            state.parents.insert(family.parent.build, names);
            for (node, process) in nodes {
                state.table.also(node, Some(process));
            }
            let found = state.table.deadlock(Owner::Build(family.parent.build));
            if found.is_some() && certain {
                state.leave(family.parent.build);
            }
            found
        })
    }

    /// A build waits no more.
    pub fn awaits_no_more(&self, build: BuildId) {
        self.change(|state| state.leave(build));
    }
}

impl State {
    pub(super) fn leave(&mut self, parent: BuildId) {
        forget(&mut self.table, self.parents.remove(&parent).unwrap_or_default());
    }
}

fn forget(table: &mut LockTable, nodes: Vec<Node>) {
    for node in nodes {
        table.also(node, None);
    }
}

/// What running builds use of their workers.
fn uses(family: &Family<'_>) -> BTreeMap<BuildId, Vec<(Node, Mode)>> {
    let of = |build: &RunningBuild| {
        let folder = Node::Folder((family.folders)(build), build.worker.clone());
        let mut uses = vec![(folder, Mode::Exclusive)];
        if !(family.given)(build.id) {
            uses.push((Node::Slot(build.worker.clone()), Mode::Shared(1)));
        }
        (build.id, uses)
    };
    family.running.iter().map(of).collect()
}

/// The parent, and its children that have no build yet.
fn processes(family: &Family<'_>) -> Vec<(Node, Process)> {
    let Parent {
        build,
        builder,
        number,
        worker,
    } = family.parent;
    let mut need = Need::default();
    let mut found = Vec::new();
    match family.children {
        None => need.takes.push((Node::Slot(worker.clone()), Mode::Shared(1))),
        Some(children) => {
            let requests = children.iter().flat_map(|set| &set.requests);
            for child in requests {
                match (child.state, &child.build) {
                    (RequestState::Pending, _) => {
                        need.ends.push(Node::Request(child.request));
                        found.extend(request(family, child.request, &child.builder));
                    }
                    (RequestState::Claimed, Some(build)) => need.ends.push(Node::Build(build.id)),
                    _ => {}
                }
            }
        }
    }
    let process = Process {
        label: format!("{builder}/{number}"),
        holds: Vec::new(),
        waits: vec![need],
    };
    found.push((Node::Build(*build), process));
    found
}

/// A request, which goes on as soon as one of the workers that are fit for it has all that it needs.
fn request(family: &Family<'_>, id: RequestId, builder: &str) -> Option<(Node, Process)> {
    let builder = family.plan.builder(builder)?;
    let wanted = wants(builder);
    let fit = family
        .places
        .iter()
        .filter(|(name, place)| is_named(builder, name) && (place.unknown || is_fit(&wanted, &place.labels)));
    let waits: Vec<_> = fit.map(|(worker, _)| way(builder, worker)).collect();
    // Without any worker it waits for one to be configured: somebody may do that.
    let process = Process {
        label: format!("request {id} for {}", builder.name),
        holds: Vec::new(),
        waits,
    };
    Some((Node::Request(id), process))
}

/// What a build needs to start on a worker.
fn way(builder: &Builder, worker: &str) -> Need {
    let mut takes = vec![
        (Node::Slot(worker.to_owned()), Mode::Shared(1)),
        (
            Node::Folder(builder.directory(), worker.to_owned()),
            Mode::Exclusive,
        ),
    ];
    let locks = builder.locks.fixed().into_iter().flatten();
    takes.extend(locks.map(|access| {
        let place = (access.scope == capstan_model::Scope::Worker).then(|| worker.to_owned());
        (Node::Lock(access.lock.clone(), place), access.mode)
    }));
    Need {
        takes,
        ..Need::default()
    }
}
