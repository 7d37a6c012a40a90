//! Turns waiting requests into builds whenever something changed that may let one start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::SourceStamp;
use capstan_model::plan::{Builder, Phase, Plan};
use capstan_store::{NewBuild, NewStep, PendingRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;
use crate::pairing::{self, Pairing, Waiting};
use crate::{build, report, workers};

/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(5);
/// When nothing rings, look again after so long.
const IDLE: Duration = Duration::from_secs(30);

/// Takes up the builds that a master before this one left running, then gives requests to workers until `shutdown`.
pub(crate) async fn run(farm: Arc<Farm>, shutdown: CancellationToken) {
    let mut builds = JoinSet::new();
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = take_up(&farm, &mut builds) => {}
    }
    let mut bell = farm.store.work_bell();
    loop {
        bell.borrow_and_update();
        let mut pause = IDLE;
        if let Err(error) = dispatch(&farm, &mut builds).await {
            tracing::error!(%error, "failed to give requests to workers");
            pause = PAUSE;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = bell.changed() => if changed.is_err() { return },
            () = farm.workers_changed.notified() => {}
            Some(ended) = builds.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a build's task ended badly; the build is taken up at the next start");
                }
            }
        }
    }
}

/// Starts a task for each running build. Without them nothing else would be right: it does not give up.
async fn take_up(farm: &Arc<Farm>, builds: &mut JoinSet<()>) {
    loop {
        match farm.store.unfinished_builds().await {
            Ok(unfinished) => {
                for found in unfinished {
                    tracing::info!(build = %found.id, builder = found.builder, "taking up a running build");
                    builds.spawn(build::run(farm.clone(), found.id));
                }
                return;
            }
            Err(error) => tracing::error!(%error, "failed to look for running builds; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn dispatch(farm: &Arc<Farm>, builds: &mut JoinSet<()>) -> Result<(), Error> {
    let pending = farm.store.pending_requests().await?;
    if pending.is_empty() {
        return Ok(());
    }
    let plan = farm.plan();
    let mut places = workers::places(farm, &plan).await?;
    let waiting: Vec<_> = pending.iter().map(Waiting::from).collect();
    for pairing in pairing::pair(&plan, &waiting, &mut places) {
        let Some(builder) = plan.builder(&pairing.builder) else {
            continue;
        };
        if let Some(created) = farm
            .store
            .create_build(new_build(&plan, builder, &pairing, &pending), farm.clock.now())
            .await?
        {
            tracing::info!(build = %created.id, builder = builder.name, number = created.number, worker = pairing.worker, "started a build");
            builds.spawn(build::run(farm.clone(), created.id));
        }
    }
    Ok(())
}

fn new_build(plan: &Plan, builder: &Builder, pairing: &Pairing, pending: &[PendingRequest]) -> NewBuild {
    // The newest request is what is built; the properties of the others do not matter to it.
    let newest = pending
        .iter()
        .filter(|request| pairing.requests.contains(&request.id))
        .max_by_key(|r| r.id);
    let mut properties: capstan_model::Properties = builder
        .properties
        .iter()
        .map(|(name, value)| capstan_model::Property {
            name: name.clone(),
            value: value.clone(),
            source: "builder".to_owned(),
        })
        .collect();
    let sources = newest.map_or_else(Vec::new, |request| request.sources.clone());
    source_properties(&mut properties, &sources);
    properties.extend(newest.into_iter().flat_map(|request| request.properties.clone()));
    properties.set("buildername", builder.name.clone(), "builder");
    properties.set("workername", pairing.worker.clone(), "worker");
    NewBuild {
        builder: builder.name.clone(),
        requests: pairing.requests.clone(),
        worker: pairing.worker.clone(),
        plan: plan.digest(),
        reason: newest.map_or_else(String::new, |request| request.reason.clone()),
        sources,
        properties,
        steps: builder.steps.iter().map(|step| new_step(builder, step)).collect(),
        reports: report::due(plan, &builder.name, Phase::Started),
    }
}

/// Buildbot's `branch`, `revision`, `repository`, `codebase` and `project`, where a build has one source.
fn source_properties(properties: &mut capstan_model::Properties, sources: &[SourceStamp]) {
    let [source] = sources else { return };
    let mut set = |name: &str, value: Option<&str>| {
        properties.set(
            name,
            value.map_or(serde_json::Value::Null, Into::into),
            "source stamp",
        );
    };
    set("branch", source.branch.as_deref());
    set("revision", source.revision.as_deref());
    set("repository", Some(&source.repository));
    set("codebase", Some(&source.codebase));
    set("project", Some(&source.project));
}

fn new_step(builder: &Builder, step: &capstan_model::plan::Step) -> NewStep {
    let mut env: BTreeMap<_, _> = builder.env.clone();
    env.extend(step.env.clone());
    NewStep {
        name: step.name.clone(),
        plugin: step.plugin.plugin.clone(),
        digest: step.plugin.digest,
        config: step.plugin.config.clone(),
        options: build::StepOptions::of(step, builder.directory(), env).to_value(),
    }
}
