//! Why requests wait: what pairing itself says, told to people.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use capstan_model::plan::Builder;
use capstan_model::{BuildId, Labels, RequestId, Timestamp};
use capstan_store::QueueEntry;
use serde::{Deserialize, Serialize};

use super::board::{Place, Places, is_fit, is_named};
use super::lines::{Lines, Turn};
use super::{Index, Rules, pair};

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
    /// The folder of each of these builds.
    pub directories: Vec<String>,
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
    /// A function of the configuration keeps builds away from it for a while, for this reason.
    Quarantined(String),
    /// It has not these labels, which the builder needs.
    Lacks(Vec<String>),
    /// Its labels are not what the builder asks for: each fault in words.
    Unfit(Vec<String>),
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
    /// A worker is free, but a lock or a function of the configuration keeps it: in words.
    Kept(String),
    /// It becomes one build with an older request for the same.
    With(RequestId),
    /// It starts as soon as the master gets to it.
    Next,
}

impl Why {
    /// The reason as one word, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownBuilder => "unknown-builder",
            Self::NoWorker => "no-worker",
            Self::Hindered(_) => "hindered",
            Self::Busy { .. } => "busy",
            Self::Kept(_) => "kept",
            Self::With(_) => "with",
            Self::Next => "next",
        }
    }
}

/// Why each of these waiting requests still waits; those that do not wait are left out.
pub(crate) fn why(
    index: &Index,
    lines: &Lines,
    workers: &[Standing],
    rules: &mut Rules<'_>,
    wanted: &[RequestId],
) -> HashMap<RequestId, Why> {
    let present = workers.iter().filter(|worker| worker.absent.is_none());
    let places: Places = present.map(place).collect();
    let paired = pair(index, lines, &places, rules);
    let next: BTreeSet<_> = paired
        .pairings
        .into_iter()
        .flat_map(|pairing| pairing.requests)
        .collect();
    let rivals = Rivals::of(index, lines);
    let answer = |entry: &QueueEntry| {
        let Some((place, builder)) = index.builder(&entry.builder) else {
            return Why::UnknownBuilder;
        };
        if next.contains(&entry.id) {
            return Why::Next;
        }
        if let Some(older) = leader(builder, lines, entry) {
            return Why::With(older);
        }
        let kept = paired.kept.get(&entry.id);
        if let Some(reason) = kept.or_else(|| paired.closed.get(&builder.name)) {
            return Why::Kept(reason.clone());
        }
        one(&Asking::of(index, place, builder), workers, &rivals, entry)
    };
    let waiting = wanted.iter().filter_map(|id| lines.get(*id));
    waiting.map(|entry| (entry.id, answer(entry))).collect()
}

fn place(worker: &Standing) -> (String, Place) {
    let place = Place {
        idle: 0,
        unknown: false,
        labels: worker.labels.clone(),
        slots: worker.slots,
        running: worker.directories.clone(),
    };
    (worker.name.clone(), place)
}

/// The request that this one is built with, if it is not the one that is first of them.
fn leader(builder: &Builder, lines: &Lines, entry: &QueueEntry) -> Option<RequestId> {
    // What a function will say of two requests is not known before one of them starts.
    if !builder.collapse || builder.queueing.collapse.is_some() {
        return None;
    }
    let first = lines.line(&entry.builder)?.group(entry).next();
    first.filter(|first| *first != entry.id)
}

/// The turns of every request that can be served, by builder and in order.
struct Rivals<'a>(Vec<(Asking<'a>, Vec<Turn>)>);

/// A builder and what it asks of a worker.
struct Asking<'a> {
    builder: &'a Builder,
    wants: &'a [Labels],
    directory: &'a str,
}

impl<'a> Asking<'a> {
    fn of(index: &'a Index, place: usize, builder: &'a Builder) -> Self {
        Self {
            builder,
            wants: index.wants(place),
            directory: index.directory(place),
        }
    }
}

impl<'a> Rivals<'a> {
    fn of(index: &'a Index, lines: &Lines) -> Self {
        let known = lines.iter().filter_map(|(name, line)| {
            let (place, builder) = index.builder(name)?;
            let turns = line.turns().map(|turn| raised(turn, builder)).collect();
            Some((Asking::of(index, place, builder), turns))
        });
        Self(known.collect())
    }

    /// How many come before that one and may take a place on one of these workers.
    fn before(&self, entry: &QueueEntry, own: &Builder, workers: &[&Standing]) -> usize {
        let turn = raised((Reverse(entry.priority), entry.id), own);
        let rivals = self.0.iter().filter(|(rival, _)| {
            workers
                .iter()
                .any(|worker| is_named(rival.builder, &worker.name) && is_fit(rival.wants, &worker.labels))
        });
        let before = rivals.map(|(_, turns)| turns.partition_point(|other| *other < turn));
        before.sum()
    }
}

/// A turn with what the builder adds to the priority.
pub(super) fn raised((Reverse(priority), id): Turn, builder: &Builder) -> Turn {
    (Reverse(priority.saturating_add(builder.queueing.priority)), id)
}

/// Why a request cannot start now.
fn one(asking: &Asking<'_>, workers: &[Standing], rivals: &Rivals<'_>, entry: &QueueEntry) -> Why {
    let builder = asking.builder;
    let named: Vec<_> = workers
        .iter()
        .filter(|worker| is_named(builder, &worker.name))
        .collect();
    if named.is_empty() {
        return Why::NoWorker;
    }
    let (hindered, able): (Vec<_>, Vec<_>) = named
        .into_iter()
        .map(|worker| (worker, hindrance(asking.wants, worker)))
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
            .flat_map(|worker| in_the_way(asking.directory, worker))
            .collect(),
        ahead: rivals.before(entry, builder, &able),
    }
}

/// What keeps a worker from taking the builder's builds, whatever runs there.
fn hindrance(wants: &[Labels], worker: &Standing) -> Option<Hindrance> {
    // Of a worker that never joined nobody knows the labels.
    let unknown = matches!(worker.absent, Some(Hindrance::NeverJoined));
    if unknown || is_fit(wants, &worker.labels) {
        return worker.absent.clone();
    }
    let faults = || wants.iter().filter(|want| !want.holds(&worker.labels));
    let labels = faults().map(|want| match want {
        Labels::Has(label) => Some(label.clone()),
        _ => None,
    });
    Some(match labels.collect() {
        Some(labels) => Hindrance::Lacks(labels),
        None => Hindrance::Unfit(faults().flat_map(|want| want.lacking(&worker.labels)).collect()),
    })
}

/// The builds that a further one of the builder would have to wait for.
fn in_the_way(directory: &str, worker: &Standing) -> Vec<Running> {
    let own: Vec<_> = worker
        .running
        .iter()
        .zip(&worker.directories)
        .filter(|(_, used)| *used == directory)
        .map(|(build, _)| build.clone())
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
            Self::Kept(reason) => f.write_str(reason),
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
            Self::Quarantined(reason) => write!(f, "is in quarantine ({reason})"),
            Self::Lacks(labels) if labels.len() == 1 => write!(f, "lacks the label {}", labels[0]),
            Self::Lacks(labels) => write!(f, "lacks the labels {}", labels.join(", ")),
            Self::Unfit(faults) => f.write_str(&faults.join(" and ")),
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
mod tests;
