//! How workers stand: where builds could go, and what people are shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capstan_link::Handle as Link;
use capstan_model::plan::{self, Location, Plan};
use capstan_store::RunningBuild;
use serde_json::Value;

use crate::Error;
use crate::farm::Farm;
use crate::handle::WorkerStatus;
use crate::pairing::{Place, Places};

/// Where builds could go: the workers that the plan names, that are connected and that nobody paused.
pub(crate) async fn places(farm: &Farm, plan: &Plan) -> Result<Places, Error> {
    let mut places = Places::new();
    let rows = farm.store.workers().await?;
    let rows: HashMap<_, _> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let link = farm.link()?;
    let mut running = BTreeMap::<_, Vec<_>>::new();
    for build in farm.store.running_builds().await? {
        let directory = directory(plan, &build);
        running.entry(build.worker).or_default().push(directory);
    }
    for worker in &plan.workers {
        let Some(row) = rows.get(worker.name.as_str()) else {
            continue;
        };
        if row.revoked.is_some() || row.paused.is_some() || !link.is_connected(&worker.name) {
            continue;
        }
        places.insert(
            worker.name.clone(),
            Place {
                idle: 0,
                unknown: false,
                labels: labels(worker, &row.info),
                slots: slots(worker, &row.info),
                running: running.remove(&worker.name).unwrap_or_default(),
            },
        );
    }
    // Those that want their slot back come before newcomers. Where no newcomers go (a worker that is paused, or no longer of the plan),
    // what runs goes on.
    let has_room = |worker: &str, idle: usize| {
        places
            .get(worker)
            .is_none_or(|place| place.running.len() - idle.min(place.running.len()) < place.slots as usize)
    };
    for (worker, idle) in farm.slots.settle(has_room) {
        if let Some(place) = places.get_mut(&worker) {
            place.idle = idle;
        }
    }
    Ok(places)
}

/// Every worker of the plan that was ever here, whatever its state is: where builds could go some day.
pub(crate) async fn anywhere(farm: &Farm, plan: &Plan) -> Result<Places, Error> {
    let rows = farm.store.workers().await?;
    let rows: HashMap<_, _> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let place = |worker: &plan::Worker| {
        let row = rows.get(worker.name.as_str())?;
        let place = Place {
            unknown: row.info.get("facts").is_none(),
            labels: labels(worker, &row.info),
            slots: slots(worker, &row.info),
            ..Place::default()
        };
        Some((worker.name.clone(), place))
    };
    Ok(plan.workers.iter().filter_map(place).collect())
}

/// The folder that a running build uses.
pub(crate) fn directory(plan: &Plan, build: &RunningBuild) -> String {
    if !build.directory.is_empty() {
        return build.directory.clone();
    }
    // A build of an earlier version: its builder's own, which then was the only one that there was.
    let builder = plan.builder(&build.builder);
    builder.map_or_else(|| build.builder.clone(), plan::Builder::directory)
}

fn slots(worker: &plan::Worker, info: &Value) -> u32 {
    let offered = info["slots"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(1);
    worker.slots.unwrap_or(offered)
}

fn labels(worker: &plan::Worker, info: &Value) -> BTreeSet<String> {
    let reported = info["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned);
    // A worker's facts are labels too: `os=linux`, `arch=x86_64`.
    let facts = info["facts"].as_object().into_iter().flatten();
    let facts = facts.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    worker
        .labels
        .iter()
        .cloned()
        .chain(reported)
        .chain(facts)
        .collect()
}

/// Every worker that is configured or has joined, by name.
pub(crate) async fn status(farm: &Farm) -> Result<Vec<WorkerStatus>, Error> {
    let plan = farm.plan();
    let rows = farm.store.workers().await?;
    let mut builds = BTreeMap::<_, Vec<_>>::new();
    for build in farm.store.running_builds().await? {
        builds.entry(build.worker).or_default().push(build.id);
    }
    let names: BTreeSet<_> = plan
        .workers
        .iter()
        .map(|w| &w.name)
        .chain(rows.iter().map(|row| &row.name))
        .cloned()
        .collect();
    let connected = farm.link().map(Link::connected).unwrap_or_default();
    let connected: HashMap<_, _> = connected
        .iter()
        .map(|worker| (worker.name.as_str(), worker))
        .collect();
    let rows: HashMap<_, _> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let workers: HashMap<_, _> = plan.workers.iter().map(|w| (w.name.as_str(), w)).collect();
    let status = names.into_iter().map(|name| {
        let link = connected.get(name.as_str());
        let row = rows.get(name.as_str());
        let fallback = plan::Worker {
            name: name.clone(),
            slots: None,
            labels: vec![],
            properties: BTreeMap::new(),
            defaults: BTreeMap::new(),
            env: plan::Env::default(),
            location: Location::default(),
        };
        let configured = workers.get(name.as_str());
        let worker = configured.copied().unwrap_or(&fallback);
        let info = row.map_or(&Value::Null, |row| &row.info);
        let facts = info["facts"].as_object().into_iter().flatten();
        WorkerStatus {
            configured: configured.is_some(),
            enrolled: row.is_some_and(|row| row.enrolled.is_some() && row.revoked.is_none()),
            connected: link.is_some(),
            since: row.and_then(|row| row.since),
            last_heard: link
                .map(|link| link.last_heard)
                .or(row.and_then(|row| row.last_seen)),
            address: link.map(|link| link.address.to_string()),
            paused: row.and_then(|row| row.paused.clone()),
            slots: slots(worker, info),
            labels: labels(worker, info).into_iter().collect(),
            facts: facts
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect(),
            builds: builds.remove(&name).unwrap_or_default(),
            name,
        }
    });
    Ok(status.collect())
}
