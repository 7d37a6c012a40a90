//! Why requests wait: the same rules as pairing, told to people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use capstan_model::plan::{Builder, Plan};
use capstan_model::{BuildId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Place, Places, Waiting, compatible, is_fit, is_named, pair};

/// How a worker of the plan stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub name: String,
    pub labels: BTreeSet<String>,
    pub slots: u32,
    /// What keeps it from taking any build.
    pub absent: Option<Hindrance>,
    /// What runs there.
    pub running: Vec<Running>,
}

/// A build that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The build.
    pub build: BuildId,
    /// Its builder.
    pub builder: String,
    /// Its number within its builder.
    pub number: u64,
    /// Where.
    pub worker: String,
}

/// What keeps a worker from taking a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hindrance {
    /// Nobody has joined under its name.
    NeverJoined,
    /// Its membership was ended.
    Revoked,
    /// It is not connected, since then if it ever was.
    Silent(Option<Timestamp>),
    /// Somebody paused it, for this reason.
    Paused(String),
    /// It has not these labels, which the builder needs.
    Lacks(Vec<String>),
}

/// Why a request waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The configuration has no such builder (any more).
    UnknownBuilder,
    /// The configuration has no worker that the builder may use.
    NoWorker,
    /// No worker that the builder may use can take it: each with what keeps it.
    Hindered(Vec<(String, Hindrance)>),
    /// Its workers have no room: what runs there, and how many requests come before it.
    Busy {
        /// The builds that are in the way.
        builds: Vec<Running>,
        /// Requests that come before it.
        ahead: usize,
    },
    /// It becomes one build with an older request for the same.
    With(RequestId),
    /// It starts as soon as the master gets to it.
    Next,
}

/// Why each of the waiting requests still waits, in their order: most urgent first.
pub(crate) fn why(plan: &Plan, waiting: &[Waiting], workers: &[Standing]) -> Vec<Why> {
    let present = workers.iter().filter(|worker| worker.absent.is_none());
    let mut places: Places = present.map(place).collect();
    let next: BTreeSet<_> = pair(plan, waiting, &mut places)
        .into_iter()
        .flat_map(|pairing| pairing.requests)
        .collect();
    let mut ahead = Ahead::default();
    let mut answers = Vec::with_capacity(waiting.len());
    for request in waiting {
        let Some(builder) = plan.builder(&request.builder) else {
            answers.push(Why::UnknownBuilder);
            continue;
        };
        answers.push(if next.contains(&request.id) {
            Why::Next
        } else if let Some(older) = leader(builder, waiting, request) {
            Why::With(older)
        } else {
            one(builder, workers, &ahead)
        });
        ahead.add(builder);
    }
    answers
}

fn place(worker: &Standing) -> (String, Place) {
    let running = worker.running.iter().map(|build| build.builder.clone()).collect();
    let place = Place {
        labels: worker.labels.clone(),
        slots: worker.slots,
        running,
    };
    (worker.name.clone(), place)
}

/// The request that this one is built with, if it is not the one that is built.
fn leader(builder: &Builder, waiting: &[Waiting], request: &Waiting) -> Option<RequestId> {
    let first = builder.collapse.then(|| compatible(waiting, request))?;
    first.first().copied().filter(|first| *first != request.id)
}

/// How many requests of each builder come first.
#[derive(Default)]
struct Ahead<'a>(BTreeMap<&'a str, (&'a Builder, usize)>);

impl<'a> Ahead<'a> {
    fn add(&mut self, builder: &'a Builder) {
        self.0.entry(&builder.name).or_insert((builder, 0)).1 += 1;
    }

    /// Those that may take a place on one of these workers.
    fn on(&self, workers: &[&Standing]) -> usize {
        let rivals = self.0.values().filter(|(builder, _)| {
            workers
                .iter()
                .any(|worker| is_named(builder, &worker.name) && is_fit(builder, &worker.labels))
        });
        rivals.map(|(_, requests)| requests).sum()
    }
}

/// Why a request cannot start now.
fn one(builder: &Builder, workers: &[Standing], ahead: &Ahead<'_>) -> Why {
    let named: Vec<_> = workers
        .iter()
        .filter(|worker| is_named(builder, &worker.name))
        .collect();
    if named.is_empty() {
        return Why::NoWorker;
    }
    let (hindered, able): (Vec<_>, Vec<_>) = named
        .into_iter()
        .map(|worker| (worker, hindrance(builder, worker)))
        .partition(|(_, hindrance)| hindrance.is_some());
    if able.is_empty() {
        let each = hindered.into_iter();
        return Why::Hindered(
            each.filter_map(|(worker, hindrance)| Some((worker.name.clone(), hindrance?)))
                .collect(),
        );
    }
    let able: Vec<_> = able.into_iter().map(|(worker, _)| worker).collect();
    Why::Busy {
        builds: able
            .iter()
            .flat_map(|worker| in_the_way(builder, worker))
            .collect(),
        ahead: ahead.on(&able),
    }
}

/// What keeps a worker from taking the builder's builds, whatever runs there.
fn hindrance(builder: &Builder, worker: &Standing) -> Option<Hindrance> {
    // Of a worker that never joined nobody knows the labels.
    let unknown = matches!(worker.absent, Some(Hindrance::NeverJoined));
    if unknown || is_fit(builder, &worker.labels) {
        return worker.absent.clone();
    }
    let missing = builder
        .labels
        .iter()
        .filter(|label| !worker.labels.contains(*label));
    Some(Hindrance::Lacks(missing.cloned().collect()))
}

/// The builds that a further one of the builder would have to wait for.
fn in_the_way(builder: &Builder, worker: &Standing) -> Vec<Running> {
    let own: Vec<_> = worker
        .running
        .iter()
        .filter(|build| build.builder == builder.name)
        .cloned()
        .collect();
    if !own.is_empty() {
        own
    } else if worker.running.len() >= worker.slots as usize {
        worker.running.clone()
    } else {
        Vec::new()
    }
}

/// Things that a sentence names before it says how many more there are.
const NAMED: usize = 5;

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownBuilder => f.write_str("the configuration has no builder of this name"),
            Self::NoWorker => f.write_str("the configuration has no worker that this builder may use"),
            Self::Hindered(workers) => {
                let each = workers
                    .iter()
                    .map(|(name, hindrance)| format!("{name} {hindrance}"));
                write!(f, "no worker can take it: {}", some(each, "; "))
            }
            Self::Busy { builds, ahead } => {
                let build = |b: &Running| format!("{}/{} on {}", b.builder, b.number, b.worker);
                match (builds.is_empty(), ahead) {
                    (true, _) => f.write_str("its workers get other requests first")?,
                    (false, _) => write!(
                        f,
                        "its workers are busy with {}",
                        some(builds.iter().map(build), ", ")
                    )?,
                }
                match ahead {
                    0 => Ok(()),
                    1 => f.write_str("; 1 request comes before it"),
                    more => write!(f, "; {more} requests come before it"),
                }
            }
            Self::With(older) => write!(f, "it becomes one build with request {older}"),
            Self::Next => f.write_str("it starts at once"),
        }
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverJoined => f.write_str("has never joined"),
            Self::Revoked => f.write_str("was revoked"),
            Self::Silent(_) => f.write_str("is not connected"),
            Self::Paused(reason) => write!(f, "is paused ({reason})"),
            Self::Lacks(labels) if labels.len() == 1 => write!(f, "lacks the label {}", labels[0]),
            Self::Lacks(labels) => write!(f, "lacks the labels {}", labels.join(", ")),
        }
    }
}

/// The first few, and how many more there are.
fn some(texts: impl ExactSizeIterator<Item = String>, between: &str) -> String {
    let rest = texts.len().saturating_sub(NAMED);
    let mut text = texts.take(NAMED).collect::<Vec<_>>().join(between);
    if rest > 0 {
        text += &format!("{between}and {rest} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{builder, plan, waiting};
    use super::*;

    fn worker(name: &str, labels: &[&str], slots: u32, running: &[(&str, i64)]) -> Standing {
        let running = running.iter().map(|&(builder, build)| Running {
            build: BuildId(build),
            builder: builder.to_owned(),
            number: 7,
            worker: name.to_owned(),
        });
        Standing {
            name: name.to_owned(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            slots,
            absent: None,
            running: running.collect(),
        }
    }

    fn absent(name: &str, labels: &[&str], why: Hindrance) -> Standing {
        Standing {
            absent: Some(why),
            ..worker(name, labels, 1, &[])
        }
    }

    /// Why the last of these requests waits.
    fn last(builders: Vec<Builder>, queue: &[Waiting], workers: &[Standing]) -> (Why, String) {
        let why = why(&plan(builders), queue, workers).pop().unwrap();
        (why.clone(), why.to_string())
    }

    #[test]
    fn without_builder_or_worker_it_waits_for_the_configuration() {
        let queue = [waiting(1, "b", "main", "aa")];
        assert_eq!(last(vec![], &queue, &[]).0, Why::UnknownBuilder);
        assert_eq!(last(vec![builder("b", &[], &[])], &queue, &[]).0, Why::NoWorker);
        let other = [worker("w2", &[], 1, &[])];
        assert_eq!(
            last(vec![builder("b", &["w1"], &[])], &queue, &other).0,
            Why::NoWorker
        );
    }

    #[test]
    fn each_worker_that_cannot_take_it_is_named_with_the_reason() {
        let queue = [waiting(1, "b", "main", "aa")];
        let since = Hindrance::Silent(Some(Timestamp(5)));
        let workers = [
            absent("w1", &[], Hindrance::NeverJoined),
            absent("w2", &["gpu", "big"], since.clone()),
            absent("w3", &["gpu", "big"], Hindrance::Paused("disk".to_owned())),
            absent("w4", &["gpu", "big"], Hindrance::Revoked),
            worker("w5", &["gpu"], 1, &[]),
            absent("w6", &[], Hindrance::Paused("too".to_owned())),
            worker("unnamed", &["gpu", "big"], 1, &[]),
        ];
        let builders = vec![builder(
            "b",
            &["w1", "w2", "w3", "w4", "w5", "w6"],
            &["gpu", "big"],
        )];
        let (why, text) = last(builders, &queue, &workers);
        let Why::Hindered(each) = why else {
            panic!("{why:?}")
        };
        assert_eq!(each[1], ("w2".to_owned(), since));
        assert_eq!(
            text,
            "no worker can take it: w1 has never joined; w2 is not connected; w3 is paused (disk); \
             w4 was revoked; w5 lacks the label big; and 1 more"
        );
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let queue = [waiting(1, "a", "main", "aa"), waiting(2, "b", "main", "aa")];
        let builders = || vec![builder("a", &[], &[]), builder("b", &[], &[])];
        // All slots are taken by others.
        let full = worker("w1", &[], 2, &[("c", 10), ("d", 11)]);
        let (why, text) = last(builders(), &queue, &[full]);
        assert!(
            matches!(&why, Why::Busy { builds, ahead: 1 } if builds.len() == 2),
            "{why:?}"
        );
        assert_eq!(
            text,
            "its workers are busy with c/7 on w1, d/7 on w1; 1 request comes before it"
        );
        // There is room, but not for a second build of this builder.
        let own = worker("w1", &[], 3, &[("c", 10), ("b", 11)]);
        let (why, _) = last(builders(), &queue[1..], &[own]);
        assert!(
            matches!(&why, Why::Busy { builds, ahead: 0 } if builds[0].build == BuildId(11) && builds.len() == 1)
        );
        // The room goes to the one before.
        let free = worker("w1", &[], 1, &[]);
        let (why, text) = last(builders(), &queue, &[free]);
        assert_eq!(
            why,
            Why::Busy {
                builds: vec![],
                ahead: 1
            }
        );
        assert_eq!(
            text,
            "its workers get other requests first; 1 request comes before it"
        );
    }

    #[test]
    fn requests_for_other_workers_are_not_ahead() {
        let builders = vec![builder("a", &["w2"], &[]), builder("b", &["w1"], &[])];
        let queue = [waiting(1, "a", "main", "aa"), waiting(2, "b", "main", "aa")];
        let workers = [
            worker("w1", &[], 1, &[("c", 10)]),
            worker("w2", &[], 1, &[("c", 11)]),
        ];
        let (why, _) = last(builders, &queue, &workers);
        assert!(
            matches!(&why, Why::Busy { builds, ahead: 0 } if builds[0].build == BuildId(10)),
            "{why:?}"
        );
    }

    #[test]
    fn what_is_about_to_start_and_what_starts_with_it_is_told_apart() {
        let builders = || vec![builder("b", &[], &[])];
        let queue = [waiting(1, "b", "main", "aa"), waiting(2, "b", "main", "bb")];
        let free = [worker("w1", &[], 1, &[])];
        assert_eq!(
            why(&plan(builders()), &queue, &free),
            [Why::Next, Why::Next],
            "both are served by one build"
        );
        let busy = [worker("w1", &[], 1, &[("c", 10)])];
        let (why, text) = last(builders(), &queue, &busy);
        assert_eq!(why, Why::With(RequestId(1)));
        assert_eq!(text, "it becomes one build with request 1");
    }
}
