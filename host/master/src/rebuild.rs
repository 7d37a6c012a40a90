//! The same again, or not at all: rebuilding a build or a buildset, cancelling a buildset, and what new buildsets do to older ones.
//! Asked through the [`Handle`](crate::Handle), and by `schedulers` and `farm` where they submit.

use capstan_model::plan::{Plan, Scheduler};
use capstan_model::{BuildId, BuildsetId, Properties, SourceStamp};
use capstan_store::{Build, Cancelled, NewBuildset, Request, RequestFilter};
use serde_json::Value;

use crate::Error;
use crate::farm::{Farm, not_found};
use crate::handle::Forced;

/// More requests than a buildset has builders.
const ALL: u32 = 100_000;

/// Asks for a build of what that one built, with the properties that it was asked for with.
pub(crate) async fn build(farm: &Farm, id: BuildId, reason: Option<&str>) -> Result<Forced, Error> {
    let found = farm.store.build(id).await?;
    let found = found.ok_or_else(|| not_found("build", &id.to_string(), []))?;
    if found.outcome.is_none() {
        return Err(Error::Conflict(format!("build {id} is still running")));
    }
    let mut properties = Properties::default();
    let mut priority = 0;
    if let Some(request) = found.requests.last()
        && let Some(request) = farm.store.request(*request).await?
    {
        (properties, priority) = (request.properties, request.priority);
    }
    // As there, where nobody asks again.
    if let Some(scheduler) = found.properties.get("scheduler") {
        properties.insert(scheduler.clone());
    }
    let again = format!("rebuild of {} #{}", found.builder, found.number);
    let set = NewBuildset {
        reason: because(again, reason),
        sources: pinned(found.sources.clone(), &found),
        properties,
        changes: found.changes.clone(),
        builders: vec![found.made_by],
        priority,
        ..NewBuildset::default()
    };
    submit(farm, set).await
}

/// The same for a buildset: all of it, or only the builders whose requests did not go well.
pub(crate) async fn buildset(
    farm: &Farm,
    id: BuildsetId,
    only_failed: bool,
    reason: Option<&str>,
) -> Result<Forced, Error> {
    let set = farm.store.buildset(id).await?;
    let set = set.ok_or_else(|| not_found("buildset", &id.to_string(), []))?;
    let filter = RequestFilter {
        buildset: Some(id),
        ..RequestFilter::default()
    };
    let mut requests = farm.store.requests(&filter, ALL).await?;
    requests.reverse();
    let went_well = |request: &Request| request.outcome.is_none_or(|outcome| outcome.is_good());
    if only_failed {
        requests.retain(|request| !went_well(request));
    }
    if requests.is_empty() {
        let what = if only_failed {
            "nothing has failed"
        } else {
            "there are no requests"
        };
        return Err(Error::Conflict(format!("{what} in buildset {id}")));
    }
    let mut sources = set.sources;
    // The revision that was built, not what the branch has become.
    if let Some(newest) = requests.iter().filter_map(|request| request.builds.last()).max()
        && let Some(newest) = farm.store.build(*newest).await?
    {
        sources = pinned(sources, &newest);
    }
    let mut properties = set.properties;
    if let Some(scheduler) = &set.scheduler {
        properties.set("scheduler", scheduler.as_str(), "scheduler");
    }
    let what = if only_failed {
        "rebuild of what failed in"
    } else {
        "rebuild of"
    };
    let again = NewBuildset {
        reason: because(format!("{what} buildset {id}"), reason),
        sources,
        properties,
        changes: set.changes,
        priority: requests
            .iter()
            .map(|request| request.priority)
            .max()
            .unwrap_or_default(),
        builders: requests.into_iter().map(|request| request.builder).collect(),
        fail_fast: set.fail_fast,
        ..NewBuildset::default()
    };
    submit(farm, again).await
}

/// Cancels what has not ended of a buildset.
pub(crate) async fn cancel(farm: &Farm, id: BuildsetId, reason: &str) -> Result<Cancelled, Error> {
    let cancelled = farm.store.cancel_buildset(id, reason, farm.clock.now()).await?;
    let cancelled = cancelled.ok_or_else(|| not_found("buildset", &id.to_string(), []))?;
    // `stopping` would tell them, too.
    for build in &cancelled.builds {
        farm.stops.stop(*build, reason);
    }
    if cancelled == Cancelled::default() && is_over(farm, id).await? {
        return Err(Error::Conflict(format!("buildset {id} has ended already")));
    }
    Ok(cancelled)
}

async fn is_over(farm: &Farm, id: BuildsetId) -> Result<bool, Error> {
    let set = farm.store.buildset(id).await?;
    Ok(set.is_some_and(|set| set.finished.is_some()))
}

async fn submit(farm: &Farm, set: NewBuildset) -> Result<Forced, Error> {
    let plan = farm.plan();
    if let Some(gone) = set.builders.iter().find(|name| plan.builder(name).is_none()) {
        return Err(not_found(
            "builder",
            gone,
            plan.builders.iter().map(|b| b.name.as_str()),
        ));
    }
    let made = farm.store.submit(set, farm.clock.now()).await?;
    Ok(Forced {
        buildset: made.buildset,
        requests: made.requests,
    })
}

fn because(again: String, reason: Option<&str>) -> String {
    match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{again}: {reason}"),
        None => again,
    }
}

/// The sources at the revisions that the build says it has checked out.
fn pinned(mut sources: Vec<SourceStamp>, build: &Build) -> Vec<SourceStamp> {
    let got = build
        .properties
        .get("got_revision")
        .map(|property| &property.value);
    for source in &mut sources {
        let revision = match got {
            Some(Value::String(one)) if source.codebase.is_empty() => Some(one.as_str()),
            Some(Value::Object(all)) => all.get(&source.codebase).and_then(Value::as_str),
            _ => None,
        };
        if let (None, Some(revision)) = (&source.revision, revision) {
            source.revision = Some(revision.to_owned());
        }
    }
    sources
}

/// What the configuration says that a new buildset does: to its own requests, and to older ones. A rebuild, or a force of a
/// certain revision, is no newer state of its branch: it replaces nothing.
pub(crate) fn obliged(plan: &Plan, scheduler: Option<&Scheduler>, mut set: NewBuildset) -> NewBuildset {
    set.fail_fast |= scheduler.is_some_and(|scheduler| scheduler.fail_fast);
    let asked_for = |source: &SourceStamp| source.revision.is_some();
    if scheduler.is_none() && set.sources.iter().any(asked_for) {
        return set;
    }
    set.cancel_own_older |= scheduler.is_some_and(|scheduler| scheduler.cancel_older);
    let wanted = |name: &&String| plan.builder(name).is_some_and(|builder| builder.cancel_older);
    set.cancel_older_of = set.builders.iter().filter(wanted).cloned().collect();
    set
}
