//! Turns waiting requests into builds whenever something changed that may let one start.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use capstan_config::{BuildContext, Functions};
use capstan_model::plan::{Builder, LockList, Phase, Plan};
use capstan_model::{BuildId, Digest, RequestId};
use capstan_store::{NewBuild, NewStep, PendingRequest};
use futures::{FutureExt as _, StreamExt as _};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::farm::Farm;
use crate::locks::{Admitted, Holder, Pass};
use crate::pairing::{NoHooks, Paired, Pairing, Places};
use crate::properties::{Given, Givers};
use crate::queue::Functional;
use crate::{build, locks, queue, report, workers};

/// The pause after the store failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Builds that are made at a time.
const ABREAST: usize = 64;
/// When nothing rings, look again after so long.
const IDLE: Duration = Duration::from_secs(30);
/// Before functions are asked again when nothing came of it.
const AGAIN: Duration = Duration::from_secs(1);

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
            Ok(pause) => pause,
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
    let holds = farm.store.lock_holds().await?;
    // Before any of them goes on: what the others hold is not free.
    farm.locks.restore(
        holds.iter().filter(|hold| !running.contains(&hold.build)),
        &farm.plan(),
    );
    for found in farm.store.running_builds().await? {
        if !running.contains(&found.id) {
            tracing::info!(build = %found.id, builder = found.builder, "taking up a running build");
            builds.start(farm, found.id);
        }
    }
    Ok(())
}

/// Starts what can start; answers when to look again though nothing rings.
async fn dispatch(farm: &Arc<Farm>, builds: &mut Builds) -> Result<Duration, Error> {
    if farm.queue.current(&farm.store).await?.is_empty() {
        // Nobody else wants a slot, but one who gave his back may want it again.
        if farm.slots.are_wanted() {
            workers::places(farm, &farm.plan()).await?;
        }
        farm.locks.remember(&Pass::default(), |_| false);
        return Ok(IDLE);
    }
    let plan = farm.plan();
    // Computed once: it reads the whole configuration.
    let digest = plan.digest();
    let decided = decide(farm, &plan, digest).await?;
    let Decided {
        paired,
        pass,
        pause,
        keep,
    } = decided;
    let starts = paired
        .pairings
        .iter()
        .map(|pairing| start(farm, &plan, digest, pairing, &pass).boxed());
    let starts: Vec<_> = starts.collect();
    // Side by side they share the cost of a commit. Each is waited for: one that is cut off may have made a build all the same.
    let mut starts = futures::stream::iter(starts).buffered(ABREAST);
    let mut failed = None;
    while let Some(started) = starts.next().await {
        match started {
            Ok(Some(build)) => builds.start(farm, build),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    drop(starts);
    // Not before: those that start now were asked before those that wait.
    farm.locks.remember(&pass, |id| keep.contains(&id));
    failed.map_or(Ok(pause), Err)
}

/// What starts where.
struct Decided {
    paired: Paired,
    pass: Pass,
    /// When to look again though nothing rings.
    pause: Duration,
    /// Requests that keep their places before locks.
    keep: HashSet<RequestId>,
}

async fn decide(farm: &Farm, plan: &Arc<Plan>, digest: Digest) -> Result<Decided, Error> {
    let now = farm.clock.now();
    let mut places = workers::places(farm, plan).await?;
    let mut pass = farm.locks.pass();
    let functions = match queue::are_in(plan) {
        true => Some(farm.functions(digest).await?),
        false => None,
    };
    let mut queue = farm.queue.current(&farm.store).await?;
    queue.holds.expire(now);
    let paired = match functions {
        None => queue.pair(plan, &mut places, &NoHooks, &mut pass),
        Some(functions) => {
            let (store, complaints) = (farm.store.clone(), farm.queue.complaints.clone());
            let hooks = Functional::new(Arc::clone(plan), functions, store, now, complaints);
            let plan = Arc::clone(plan);
            let asked = tokio::task::spawn_blocking(move || {
                let paired = queue.pair(&plan, &mut places, &hooks, &mut pass);
                (queue, places, pass, paired)
            });
            let asked = asked
                .await
                .map_err(|e| Error::failed("ask the configuration's functions", e))?;
            let paired;
            (queue, places, pass, paired) = asked;
            paired
        }
    };
    queue
        .keep_quarantines(&paired.holds.workers, &farm.store, now)
        .await?;
    let keep = still_waiting(farm, &paired, &places, &queue);
    let next = queue.holds.expire(now);
    let pause = next.map_or(IDLE, |next| Duration::from_millis(next.since(now)).min(IDLE));
    let pause = match paired.again {
        // What was asked about has its answer, and others come next.
        true if paired.has_moved() => Duration::ZERO,
        // Time was up before anything was asked about: at once it would be again.
        true => pause.min(AGAIN),
        false => pause,
    };
    Ok(Decided {
        paired,
        pass,
        pause,
        keep,
    })
}

/// The requests that keep their places before locks: those that nothing but a lock keeps. One that a rule keeps, or whose worker
/// is away or full, does not: it would hold others up for nothing, and what runs on that worker may want the very lock.
fn still_waiting(farm: &Farm, paired: &Paired, places: &Places, queue: &queue::State) -> HashSet<RequestId> {
    let requests = farm.locks.requests().into_iter();
    let waiting = requests.filter(|(id, worker)| {
        queue.holds(*id) && !paired.kept.contains_key(id) && has_room(places, paired, worker)
    });
    waiting.map(|(id, _)| id).collect()
}

/// Whether a worker is there and has a slot left once what was paired has begun.
fn has_room(places: &Places, paired: &Paired, worker: &str) -> bool {
    let begun = paired.pairings.iter().filter(|pairing| pairing.worker == worker);
    places.get(worker).is_some_and(|place| {
        let busy = place.running.len().saturating_sub(place.idle) + begun.count();
        busy < usize::try_from(place.slots).unwrap_or(usize::MAX)
    })
}

/// Makes a build. `None` when one of its requests waits no more: whoever changed that has rung the bell.
async fn start(
    farm: &Farm,
    plan: &Arc<Plan>,
    digest: Digest,
    pairing: &Pairing,
    pass: &Pass,
) -> Result<Option<BuildId>, Error> {
    let (Some(builder), Some(newest)) = (plan.builder(&pairing.builder), pairing.requests.last()) else {
        return Ok(None);
    };
    let Some(newest) = farm.store.pending_request(*newest).await? else {
        return Ok(None);
    };
    let new = new_build(farm, plan, digest, builder, pairing, newest).await?;
    let asked = pass
        .let_through(&pairing.requests)
        .filter(|_| !new.locks.is_empty());
    if let Some((request, priority)) = asked {
        let admitted = Admitted {
            accesses: new.locks.clone(),
            worker: pairing.worker.clone(),
            priority,
        };
        if let Err(obstacle) = farm.locks.start(request, &builder.name, &admitted) {
            tracing::debug!(builder = builder.name, "not started: {obstacle}");
            if builder.locks.fixed().is_none() {
                farm.locks.learn(request, &admitted);
                farm.workers_changed.notify_one();
            }
            return Ok(None);
        }
    }
    let shown = new
        .shown
        .as_ref()
        .map_or(&builder.name, |shown| &shown.name)
        .clone();
    // A store that failed may have made it all the same: then its locks are sorted out when that is looked at.
    let created = farm.store.create_build(new, farm.clock.now()).await?;
    if let Some((request, _)) = asked {
        let build = created
            .as_ref()
            .map(|build| (Holder::build(build.id, &shown, build.number), build.id));
        farm.locks.started(request, build);
    }
    let Some(created) = created else {
        return Ok(None);
    };
    tracing::info!(build = %created.id, builder = shown, number = created.number, worker = pairing.worker, "started a build");
    Ok(Some(created.id))
}

/// A build of the newest request; the properties of the others do not matter to it.
async fn new_build(
    farm: &Farm,
    plan: &Arc<Plan>,
    digest: Digest,
    builder: &Builder,
    pairing: &Pairing,
    newest: PendingRequest,
) -> Result<NewBuild, Error> {
    let Given {
        properties,
        shown,
        mut fault,
    } = given(farm, plan, digest, &builder.name, &pairing.worker, &newest).await?;
    let locks = match &builder.locks {
        LockList::Fixed(locks) => locks.clone(),
        LockList::Function(function) => {
            let build = BuildContext {
                properties: properties.clone(),
                sources: newest.sources.clone(),
                builder: builder.name.clone(),
                worker: pairing.worker.clone(),
                number: None,
            };
            // Without its locks a build does nothing but say what is wrong.
            locks::chosen(farm, digest, function, &build)
                .await?
                .unwrap_or_else(|reason| {
                    fault.get_or_insert(reason);
                    Vec::new()
                })
        }
    };
    let steps = builder.steps.iter();
    Ok(NewBuild {
        locks,
        builder: builder.name.clone(),
        shown,
        requests: pairing.requests.clone(),
        worker: pairing.worker.clone(),
        directory: builder.directory(),
        plan: digest,
        reason: newest.reason,
        sources: newest.sources,
        properties,
        steps: steps
            .map(|step| new_step(builder, step, (plan, &pairing.worker), fault.as_ref()))
            .collect(),
        reports: report::due(plan, &builder.name, Phase::Started),
    })
}

/// The properties of a build, from all who set some.
async fn given(
    farm: &Farm,
    plan: &Arc<Plan>,
    digest: Digest,
    builder: &str,
    worker: &str,
    newest: &PendingRequest,
) -> Result<Given, Error> {
    let changes = farm.store.changes_of_buildset(newest.buildset).await?;
    let changes = changes
        .into_iter()
        .flat_map(|change| change.facts.properties)
        .collect();
    let deferred = plan.builder(builder).is_some_and(Givers::defer);
    let functions = match deferred {
        true => farm.functions(digest).await?,
        false => Functions::default(),
    };
    let (plan, builder, worker) = (plan.clone(), builder.to_owned(), worker.to_owned());
    let (request, sources) = (newest.properties.clone(), newest.sources.clone());
    let scheduler = newest.scheduler.clone();
    let give = move || {
        let givers = Givers {
            plan: &plan,
            builder: plan.builder(&builder)?,
            worker: plan.workers.iter().find(|known| known.name == worker),
            worker_name: &worker,
            changes,
            request,
            scheduler: scheduler.as_deref(),
            sources: &sources,
        };
        Some(givers.give(&functions))
    };
    let given = match deferred {
        // Functions of the configuration may take their time.
        true => tokio::task::spawn_blocking(give).await,
        false => Ok(give()),
    };
    let given = given.map_err(|error| Error::failed("work out the properties of a build", error))?;
    Ok(given.unwrap_or_default())
}

fn new_step(
    builder: &Builder,
    step: &capstan_model::plan::Step,
    around: (&Plan, &str),
    fault: Option<&String>,
) -> NewStep {
    NewStep {
        name: step.name.clone(),
        plugin: step.plugin.plugin.clone(),
        digest: step.plugin.digest,
        config: step.plugin.config.clone(),
        options: build::StepOptions::of(step, builder, around, fault.cloned()).to_value(),
    }
}
