//! Turns waiting requests into builds whenever something changed that may let one start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use capstan_model::plan::{Builder, Phase, Plan};
use capstan_model::{BuildId, SourceStamp};
use capstan_store::{NewBuild, NewStep, PendingRequest};
use tokio::task::{Id, JoinError, JoinSet};
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
    let mut bell = farm.store.work_bell();
    let mut builds = Builds::default();
    // Whether there may be running builds without a task.
    let mut unknown = true;
    loop {
        bell.borrow_and_update();
        let work = async {
            if unknown {
                take_up(&farm, &mut builds).await?;
            }
            dispatch(&farm, &mut builds).await
        };
        let done = tokio::select! {
            () = shutdown.cancelled() => return,
            done = work => done,
        };
        // A store that failed may have made a build all the same, without being able to tell.
        unknown = done.is_err();
        let pause = match done {
            Ok(()) => IDLE,
            Err(error) => {
                tracing::error!(%error, "failed to give requests to workers");
                PAUSE
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = bell.changed() => if changed.is_err() { return },
            () = farm.workers_changed.notified() => {}
            Some(ended) = builds.tasks.join_next_with_id() => builds.ended(ended),
        }
    }
}

/// The builds that have a task.
#[derive(Default)]
struct Builds {
    tasks: JoinSet<()>,
    running: HashMap<Id, BuildId>,
}

impl Builds {
    fn start(&mut self, farm: &Arc<Farm>, id: BuildId) {
        let task = self.tasks.spawn(build::run(farm.clone(), id));
        self.running.insert(task.id(), id);
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((task, ())) => drop(self.running.remove(&task)),
            // It stays among those that have a task: what has panicked would only do so again.
            Err(error) => {
                tracing::error!(%error, "a build's task ended badly; the build is taken up at the next start");
            }
        }
    }
}

/// Starts a task for each running build that has none.
async fn take_up(farm: &Arc<Farm>, builds: &mut Builds) -> Result<(), Error> {
    let running: HashSet<_> = builds.running.values().copied().collect();
    for found in farm.store.running_builds().await? {
        if !running.contains(&found.id) {
            tracing::info!(build = %found.id, builder = found.builder, "taking up a running build");
            builds.start(farm, found.id);
        }
    }
    Ok(())
}

async fn dispatch(farm: &Arc<Farm>, builds: &mut Builds) -> Result<(), Error> {
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
            builds.start(farm, created.id);
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
