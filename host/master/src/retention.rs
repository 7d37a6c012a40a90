//! Retention: removes what the operator's rules let go, from time to time and when somebody asks. `judge` says which builds,
//! `sweep` removes them and the files of what is gone.
//!
//! One at a time, in small transactions with pauses as long as these took: whoever else writes waits for a few milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use capstan_config::Retention as Rules;
use capstan_model::{BuildId, Timestamp};
use capstan_store::{Aged, Totals, Weight};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::{Farm, not_found};

mod judge;
mod sweep;

use judge::{Judge, Verdict};

/// Builds that are looked at together.
const PAGE: u32 = 200;

/// What is known of it, and what it goes by.
pub(crate) struct Retention {
    rules: ArcSwap<Rules>,
    status: Mutex<Status>,
    bell: Notify,
    /// The rules are others.
    changed: Notify,
}

#[derive(Default)]
struct Status {
    begun: u64,
    running: Option<Removed>,
    last: Option<Run>,
}

/// What was removed, or would be, by what it is: `builds`, `logs`, `artefacts`, `requests` …
pub type Removed = BTreeMap<String, Weighed>;

/// How much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// How many.
    pub count: u64,
    /// Their bytes, of what has a file.
    pub bytes: u64,
}

/// One time that the rules were carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Counts from 1 since the master was started.
    pub number: u64,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it removed.
    pub removed: Removed,
    /// Why it stopped before its end, if it did.
    pub error: Option<String>,
}

/// What there is, what the rules would remove, and what they did last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// What there is.
    pub there: Removed,
    /// What the rules would remove now.
    pub would_remove: Removed,
    /// Whether they are carried out by themselves, and how often, in milliseconds.
    pub automatic: bool,
    /// The pause between two times.
    pub every_ms: u64,
    /// How many rules there are for builds.
    pub rules: usize,
    /// How far it is.
    pub progress: Progress,
}

/// How far it is with carrying the rules out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What was removed so far, if they are being carried out now.
    pub running: Option<Removed>,
    /// The last time.
    pub last: Option<Run>,
}

impl Retention {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            status: Mutex::default(),
            bell: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// From now on these rules. Answers whether they are others.
    pub fn follow(&self, rules: Rules) -> bool {
        let changed = **self.rules.load() != rules;
        if changed {
            self.rules.store(Arc::new(rules));
            self.changed.notify_one();
        }
        changed
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: &str, weight: Weight) {
        if let Some(removed) = &mut self.status().running {
            add(removed, what, weight);
        }
    }
}

fn add(removed: &mut Removed, what: &str, weight: Weight) {
    if weight.count > 0 {
        let sum = removed.entry(what.to_owned()).or_default();
        sum.count += weight.count;
        sum.bytes += weight.bytes;
    }
}

/// Carries the rules out when it is time or somebody asks, until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    // What the last master did not come to.
    if let Err(error) = sweep::files(&farm, &shutdown).await {
        tracing::warn!(%error, "files of what was removed are still there");
    }
    loop {
        let (automatic, every) = {
            let rules = farm.retention.rules.load();
            (rules.automatic, rules.every)
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = farm.retention.bell.notified() => {}
            () = tokio::time::sleep(every), if automatic => {}
            // They may not be carried out by themselves any more, or more often.
            () = farm.retention.changed.notified() => continue,
        }
        carry_out(&farm, &shutdown).await;
    }
}

async fn carry_out(farm: &Farm, shutdown: &CancellationToken) {
    let began = farm.clock.now();
    let clock = tokio::time::Instant::now();
    let number = {
        let mut status = farm.retention.status();
        status.begun += 1;
        status.running = Some(Removed::new());
        status.begun
    };
    let done = sweep::everything(farm, shutdown).await;
    let took_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    let error = done.err().map(|error| error.to_string());
    let mut status = farm.retention.status();
    let removed = status.running.take().unwrap_or_default();
    if let Some(error) = &error {
        tracing::warn!(
            error,
            "retention stopped before its end; it goes on the next time"
        );
    }
    if !removed.is_empty() {
        tracing::info!(took_ms, "retention removed {}", said(&removed));
    }
    status.last = Some(Run {
        number,
        began,
        took_ms,
        removed,
        error,
    });
}

/// `3 builds, 12 logs (4.0 MB)`
fn said(removed: &Removed) -> String {
    let parts = removed.iter().map(|(name, sum)| match sum.bytes {
        0 => format!("{} {name}", sum.count),
        bytes => format!("{} {name} ({})", sum.count, capstan_model::sized(bytes)),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Asks for the rules to be carried out now; answers the number that this time will have.
pub(crate) fn ask(farm: &Farm) -> u64 {
    let number = {
        let status = farm.retention.status();
        // One that runs may have passed what is meant: another one follows.
        status.begun + 1
    };
    farm.retention.bell.notify_one();
    number
}

/// What there is, and what would go now. Changes nothing.
pub(crate) async fn forecast(farm: &Farm) -> Result<Forecast, Error> {
    let rules = farm.retention.rules.load_full();
    let now = farm.clock.now();
    let mut would_remove = Removed::new();
    let mut gone = Weight::default();
    for (builder, judge) in judge::all(farm, &rules, now).await? {
        let mut after = 0;
        while let Some((page, next)) = look(farm, builder, &judge, after).await? {
            after = next;
            gone.count += page.builds.len() as u64;
            add(
                &mut would_remove,
                "logs",
                farm.store.logs_weigh(&page.with_logs()).await?,
            );
            let artefacts = farm.store.artefacts_weigh(&page.with_artefacts()).await?;
            add(&mut would_remove, "artefacts", artefacts);
        }
    }
    add(&mut would_remove, "builds", gone);
    for what in Aged::ALL {
        let Some(before) = limit(&rules, what, now) else {
            continue;
        };
        let (mut after, mut sum) = (Some(0), Weight::default());
        while let Some(place) = after {
            let page = farm.store.aged(what, before, place).await?;
            sum.count += page.old.len() as u64;
            after = page.next;
        }
        add(&mut would_remove, name(what), sum);
    }
    let there = sums(farm.store.totals().await?);
    Ok(Forecast {
        there,
        would_remove,
        automatic: rules.automatic,
        every_ms: u64::try_from(rules.every.as_millis()).unwrap_or(u64::MAX),
        rules: rules.rules.len(),
        progress: progress(farm),
    })
}

/// How far it is.
pub(crate) fn progress(farm: &Farm) -> Progress {
    let status = farm.retention.status();
    Progress {
        running: status.running.clone(),
        last: status.last.clone(),
    }
}

fn sums(totals: Totals) -> Removed {
    let sum = |total: capstan_store::Total| {
        let Weight { count, bytes } = total.weight;
        (total.name.to_owned(), Weighed { count, bytes })
    };
    totals.into_iter().map(sum).collect()
}

/// What of a page of builds may go.
#[derive(Default)]
struct Page {
    builds: Vec<BuildId>,
    logs: Vec<BuildId>,
    artefacts: Vec<BuildId>,
}

impl Page {
    fn with_logs(&self) -> Vec<BuildId> {
        self.builds.iter().chain(&self.logs).copied().collect()
    }

    fn with_artefacts(&self) -> Vec<BuildId> {
        self.builds.iter().chain(&self.artefacts).copied().collect()
    }
}

/// The next page of a builder's builds, and where the one after it begins; `None` at the end.
async fn look(
    farm: &Farm,
    builder: capstan_model::BuilderId,
    judge: &Judge,
    after: u64,
) -> Result<Option<(Page, u64)>, Error> {
    let found = farm.store.ended_builds(builder, after, PAGE).await?;
    let Some(last) = found.last() else {
        return Ok(None);
    };
    if found.first().is_none_or(|first| judge.spares_from(first)) {
        return Ok(None);
    }
    let next = last.number;
    let mut page = Page::default();
    for build in &found {
        let Verdict {
            build: goes,
            logs,
            artefacts,
        } = judge.judge(build);
        if goes {
            page.builds.push(build.id);
            continue;
        }
        if logs {
            page.logs.push(build.id);
        }
        if artefacts {
            page.artefacts.push(build.id);
        }
    }
    Ok(Some((page, next)))
}

/// Before when rows of that kind are old; `None` where they are kept for ever.
fn limit(rules: &Rules, what: Aged, now: Timestamp) -> Option<Timestamp> {
    let age = match what {
        Aged::Buildsets | Aged::Stamps => rules.requests,
        Aged::Changes => rules.changes,
        Aged::Calls => rules.calls,
        Aged::Reports => rules.reports,
        Aged::Refusals => rules.refusals,
        Aged::Events => rules.events,
        Aged::Removed => rules.traces,
    };
    age.map(|age| ago(now, age.max(rules.spare)))
}

fn name(what: Aged) -> &'static str {
    match what {
        Aged::Buildsets => "buildsets",
        Aged::Changes => "changes",
        Aged::Stamps => "source stamps",
        Aged::Calls => "calls",
        Aged::Reports => "reports",
        Aged::Refusals => "refusals",
        Aged::Events => "events",
        Aged::Removed => "traces of removed builds",
    }
}

fn ago(now: Timestamp, age: Duration) -> Timestamp {
    now.plus_ms(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2))
}

/// Keeps a build for that reason, or leaves it to the rules again.
pub(crate) async fn keep(farm: &Farm, build: BuildId, reason: Option<&str>) -> Result<(), Error> {
    match farm.store.keep_build(build, reason).await? {
        true => Ok(()),
        false => Err(not_found("build", &build.to_string(), [])),
    }
}
