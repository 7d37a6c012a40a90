//! Which waiting requests become builds on which workers, and why the others wait. Pure: the dispatcher calls `pair` with
//! what is, and carries it out; `queue` calls `why` for people.

use std::collections::{BTreeMap, BTreeSet};

use capstan_model::plan::{Builder, Plan};
use capstan_model::{RequestId, SourceStamp};
use capstan_store::PendingRequest;

mod why;

pub use why::{Hindrance, Running, Why};
pub(crate) use why::{Standing, why};

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub id: RequestId,
    pub builder: String,
    pub sources: Vec<SourceStamp>,
}

impl From<&PendingRequest> for Waiting {
    fn from(request: &PendingRequest) -> Self {
        Self {
            id: request.id,
            builder: request.builder.clone(),
            sources: request.sources.clone(),
        }
    }
}

/// A worker that could take builds: connected and not paused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub labels: BTreeSet<String>,
    pub slots: u32,
    /// The builder of each build that runs there.
    pub running: Vec<String>,
}

/// Where builds could go, by the worker's name.
pub(crate) type Places = BTreeMap<String, Place>;

/// A build to be made. The last request's sources are built; the others are served by the same build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairing {
    pub builder: String,
    pub worker: String,
    pub requests: Vec<RequestId>,
}

/// Pairs the waiting requests, most urgent first, with the places; fills the places as it goes.
pub(crate) fn pair(plan: &Plan, waiting: &[Waiting], places: &mut Places) -> Vec<Pairing> {
    let mut served: BTreeSet<RequestId> = BTreeSet::new();
    let mut pairings = Vec::new();
    for request in waiting {
        if served.contains(&request.id) {
            continue;
        }
        let Some((builder, worker)) = place_for(plan, &request.builder, places) else {
            continue;
        };
        let requests = if builder.collapse {
            compatible(waiting, request)
        } else {
            vec![request.id]
        };
        served.extend(&requests);
        if let Some(place) = places.get_mut(&worker) {
            place.running.push(builder.name.clone());
        }
        pairings.push(Pairing {
            builder: builder.name.clone(),
            worker,
            requests,
        });
    }
    pairings
}

/// Where a request for `builder` could start now: the least busy worker, by share of its slots, then by name.
fn place_for<'a>(plan: &'a Plan, builder: &str, places: &Places) -> Option<(&'a Builder, String)> {
    let builder = plan.builder(builder)?;
    let load = |place: &Place| place.running.len() * 1000 / place.slots.max(1) as usize;
    let free = places.iter().filter(|(name, place)| {
        is_named(builder, name) && is_fit(builder, &place.labels) && has_room(builder, place)
    });
    let (name, _) = free.min_by_key(|(name, place)| (load(place), *name))?;
    Some((builder, name.clone()))
}

/// Whether the builder's list has the worker; without a list it has all.
fn is_named(builder: &Builder, worker: &str) -> bool {
    builder.workers.is_empty() || builder.workers.iter().any(|name| name == worker)
}

/// Whether a worker with these labels has all that the builder needs.
fn is_fit(builder: &Builder, labels: &BTreeSet<String>) -> bool {
    builder.labels.iter().all(|label| labels.contains(label))
}

/// A builder has one directory on each worker, so two of its builds never share a worker.
fn has_room(builder: &Builder, place: &Place) -> bool {
    place.running.len() < place.slots as usize && !place.running.contains(&builder.name)
}

/// The requests that one build serves: same builder, same sources but for the revision; oldest first.
fn compatible(waiting: &[Waiting], request: &Waiting) -> Vec<RequestId> {
    let same = |other: &&Waiting| {
        other.builder == request.builder
            && other.sources.len() == request.sources.len()
            && other.sources.iter().zip(&request.sources).all(|(a, b)| {
                (&a.codebase, &a.repository, &a.project, &a.branch)
                    == (&b.codebase, &b.repository, &b.project, &b.branch)
            })
    };
    let mut ids: Vec<_> = waiting.iter().filter(same).map(|other| other.id).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use capstan_model::plan::{Bundle, Location};

    use super::*;

    pub(super) fn builder(name: &str, workers: &[&str], labels: &[&str]) -> Builder {
        let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        Builder {
            name: name.to_owned(),
            description: String::new(),
            tags: vec![],
            workers: owned(workers),
            labels: owned(labels),
            env: BTreeMap::new(),
            properties: BTreeMap::new(),
            collapse: true,
            steps: vec![],
            location: Location::default(),
        }
    }

    pub(super) fn plan(builders: Vec<Builder>) -> Plan {
        let (workers, sources, schedulers, reporters) = (vec![], vec![], vec![], vec![]);
        Plan {
            bundle: Bundle::default(),
            workers,
            builders,
            sources,
            schedulers,
            reporters,
        }
    }

    fn place(labels: &[&str], slots: u32) -> Place {
        Place {
            labels: labels.iter().map(|&s| s.to_owned()).collect(),
            slots,
            running: vec![],
        }
    }

    pub(super) fn waiting(id: i64, builder: &str, branch: &str, revision: &str) -> Waiting {
        let some = |text: &str| Some(text.to_owned());
        let stamp = SourceStamp {
            branch: some(branch),
            revision: some(revision),
            ..SourceStamp::default()
        };
        Waiting {
            id: RequestId(id),
            builder: builder.to_owned(),
            sources: vec![stamp],
        }
    }

    #[test]
    fn requests_of_one_branch_become_one_build_of_the_newest() {
        let plan = plan(vec![builder("b", &[], &[])]);
        let mut places = BTreeMap::from([("w".to_owned(), place(&[], 4))]);
        let queue = [
            waiting(1, "b", "main", "aa"),
            waiting(2, "b", "main", "bb"),
            waiting(3, "b", "dev", "cc"),
        ];
        let pairings = pair(&plan, &queue, &mut places);
        assert_eq!(
            pairings.len(),
            1,
            "a builder runs one build at a time on a worker"
        );
        assert_eq!(pairings[0].requests, [RequestId(1), RequestId(2)]);
    }

    #[test]
    fn labels_and_names_are_both_asked() {
        let plan = plan(vec![builder("b", &["w1", "w2"], &["gpu"])]);
        let mut places = BTreeMap::from([
            ("w1".to_owned(), place(&["cpu"], 1)),
            ("w2".to_owned(), place(&["gpu"], 1)),
            ("w3".to_owned(), place(&["gpu"], 1)),
        ]);
        let queue = [waiting(1, "b", "main", "aa"), waiting(2, "b", "dev", "aa")];
        let pairings = pair(&plan, &queue, &mut places);
        assert_eq!(
            pairings.iter().map(|p| p.worker.as_str()).collect::<Vec<_>>(),
            ["w2"]
        );
        assert_eq!(place_for(&plan, "b", &places), None);
        assert_eq!(place_for(&plan, "gone", &places), None);
    }

    #[test]
    fn the_least_busy_worker_is_taken_first() {
        let plan = plan(vec![
            builder("a", &[], &[]),
            builder("b", &[], &[]),
            builder("c", &[], &[]),
        ]);
        let mut places = BTreeMap::from([("w1".to_owned(), place(&[], 1)), ("w2".to_owned(), place(&[], 4))]);
        let queue: Vec<_> = ["a", "b", "c"]
            .iter()
            .zip(1..)
            .map(|(b, i)| waiting(i, b, "main", "aa"))
            .collect();
        let workers: Vec<_> = pair(&plan, &queue, &mut places)
            .into_iter()
            .map(|p| p.worker)
            .collect();
        assert_eq!(workers, ["w1", "w2", "w2"]);
    }
}
