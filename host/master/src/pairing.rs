//! Which waiting requests become builds on which workers. Pure: the dispatcher calls it with what is, and carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use capstan_model::plan::{Builder, Plan};
use capstan_model::{RequestId, SourceStamp};

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub id: RequestId,
    pub builder: String,
    pub sources: Vec<SourceStamp>,
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

/// Why a request waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The configuration has no such builder (any more).
    UnknownBuilder,
    /// No worker of the builder is connected and open for builds.
    NoWorker,
    /// Every worker of the builder is full, or runs a build of it already.
    Busy(Vec<String>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownBuilder => f.write_str("the configuration has no builder of this name"),
            Self::NoWorker => f.write_str("no worker that may run it is connected and unpaused"),
            Self::Busy(workers) => write!(f, "its workers are busy: {}", workers.join(", ")),
        }
    }
}

/// Pairs the waiting requests, most urgent first, with the places; fills the places as it goes.
pub(crate) fn pair(plan: &Plan, waiting: &[Waiting], places: &mut Places) -> Vec<Pairing> {
    let mut served: BTreeSet<RequestId> = BTreeSet::new();
    let mut pairings = Vec::new();
    for request in waiting {
        if served.contains(&request.id) {
            continue;
        }
        let Ok((builder, worker)) = place_for(plan, &request.builder, places) else {
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
pub(crate) fn place_for<'a>(
    plan: &'a Plan,
    builder: &str,
    places: &Places,
) -> Result<(&'a Builder, String), Why> {
    let builder = plan.builder(builder).ok_or(Why::UnknownBuilder)?;
    let fitting: Vec<_> = places
        .iter()
        .filter(|(name, place)| may_run(builder, name, place))
        .collect();
    if fitting.is_empty() {
        return Err(Why::NoWorker);
    }
    // A builder has one directory on each worker, so two of its builds never share a worker.
    let free =
        |place: &Place| place.running.len() < place.slots as usize && !place.running.contains(&builder.name);
    let load = |place: &Place| place.running.len() * 1000 / place.slots.max(1) as usize;
    let best = fitting
        .iter()
        .filter(|(_, place)| free(place))
        .min_by_key(|(name, place)| (load(place), *name));
    match best {
        Some((name, _)) => Ok((builder, (*name).clone())),
        None => Err(Why::Busy(
            fitting.iter().map(|(name, _)| (*name).clone()).collect(),
        )),
    }
}

fn may_run(builder: &Builder, name: &str, place: &Place) -> bool {
    let named = builder.workers.is_empty() || builder.workers.iter().any(|worker| worker == name);
    named && builder.labels.iter().all(|label| place.labels.contains(label))
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

    fn builder(name: &str, workers: &[&str], labels: &[&str]) -> Builder {
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

    fn plan(builders: Vec<Builder>) -> Plan {
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

    fn waiting(id: i64, builder: &str, branch: &str, revision: &str) -> Waiting {
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
        assert_eq!(
            place_for(&plan, "b", &places).unwrap_err(),
            Why::Busy(vec!["w2".to_owned()])
        );
        assert_eq!(
            place_for(&plan, "gone", &places).unwrap_err(),
            Why::UnknownBuilder
        );
        assert_eq!(
            place_for(&plan, "b", &BTreeMap::new()).unwrap_err(),
            Why::NoWorker
        );
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
