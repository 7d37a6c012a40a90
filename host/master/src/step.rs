//! The step machine: runs a step's plugin over its journal. Called by `build`; what the plugin asks of the world goes through
//! `host`.

mod host;

use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{Plugin, StepEnd, StepError, StepRun, WaitMode};
use capstan_model::journal::{Created, HOST_ABI};
use capstan_model::plugin::{Right, Rights};
use capstan_model::{Completion, Exit, Outcome};
use capstan_store::{Build, Record, Step, StepState};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::Error;
use crate::build::{self, Became, Course, Next, StepOptions};
use crate::farm::Farm;
use crate::ledger::Ledger;
use crate::rendering::{self, Rendered};
use host::Host;

/// How long a command runs on while its worker hears nothing from any master.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(3600);

/// Begins a step or takes it up where its journal ends, and answers what became of it. That is noted in the ledger, and durable with
/// its next commit. The build's row comes back, unless the step let go of it while it waited.
pub(crate) async fn run(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    build: Arc<Build>,
    next: Box<Next>,
    course: &Course,
) -> Result<(Became, Option<Arc<Build>>), Error> {
    let hiding = (!next.options.hide_if.is_never())
        .then(|| Box::new((next.options.hide_if.clone(), next.step.clone())));
    let (host, running, plugin) = Box::pin(begin(farm, ledger, build, next)).await?;
    let end = running.await;
    if let Some(plugin) = plugin {
        // Its next steps may get the version before; this one keeps what it began with.
        farm.trapped(&plugin);
    }
    let end = match end {
        Ok(end) => end,
        // The journal stays as it is, and the build machine tries again.
        Err(StepError::Abandoned(reason)) => return Err(Error::failed("carry on with a step", reason)),
        Err(other) => exception(other.to_string()),
    };
    Box::pin(async {
        host.settle().await?;
        if let Some((hide_if, step)) = hiding.as_deref()
            && build::hides(farm, None, course, hide_if, (step, end.outcome)).await?
        {
            ledger.note(farm.clock.now(), Record::Hide { step: step.id });
        }
        host.conclude(&end).await
    })
    .await?;
    let became = Became {
        outcome: end.outcome,
        ends: end.ends_build,
    };
    Ok((became, host.into_build()))
}

/// A step's plugin at work.
type Running = BoxFuture<'static, Result<StepEnd, StepError>>;

async fn begin(
    farm: &Arc<Farm>,
    ledger: &Arc<Ledger>,
    build: Arc<Build>,
    next: Box<Next>,
) -> Result<(Arc<Host>, Running, Option<Plugin>), Error> {
    let Next { step, options } = *next;
    let journal = match step.state {
        StepState::Pending => Vec::new(),
        _ => farm.store.journal(step.id).await?,
    };
    let host = Arc::new(Host::new(
        farm.clone(),
        ledger.clone(),
        build.clone(),
        (&step, options.secrets.clone()),
        &journal,
    ));
    let plugin = match farm.pinned(step.digest).await {
        Ok(plugin) => plugin,
        // A store that cannot be read now may be later.
        Err(error @ Error::Store(_)) => return Err(error),
        Err(error) => {
            let end = exception(error.to_string());
            return Ok((host, async { Ok(end) }.boxed(), None));
        }
    };
    // Whatever has begun goes on with what its first row holds.
    let rendered = match journal.is_empty() {
        true => Box::pin(rendering::step(farm, &build, &step, &options, &plugin)).await?,
        false => Ok(Rendered::as_planned(&step)),
    };
    let rendered = match rendered {
        Ok(rendered) => rendered,
        Err(fault) => {
            let end = exception(fault);
            return Ok((host, async { Ok(end) }.boxed(), None));
        }
    };
    let in_spite = runs_in_spite(farm, &build, &step, &options);
    let run = StepRun {
        created: created(&build, &step, &plugin, rendered),
        plugin: plugin.clone(),
        grants: granted(farm, &build, &step, options.secrets.as_deref()),
        journal,
        installation: farm.installation,
        step: step.id,
        builder: build.made_by.clone(),
        builder_dir: options.builder_dir,
        env: options.env,
        orphan_timeout_ms: ORPHAN_TIMEOUT.as_millis() as u64,
        mode: WaitMode::WarmFor(farm.operator.limits.keep_instances),
    };
    let signal = farm.stops.signal(build.id, in_spite);
    let stopped = signal.borrow().is_some();
    host.take_up(&capstan_engine::kills(&run.journal), stopped)
        .await?;
    let running = farm.engine.run_step(run, host.clone(), signal);
    Ok((host, running, Some(plugin)))
}

/// What the step's plugin may reach. The steps of a pipeline reach no secrets but those that their builder allows them.
fn granted(farm: &Farm, build: &Build, step: &Step, secrets: Option<&[String]>) -> Arc<Rights> {
    let granted = farm.plugins.load().granted(&step.plugin);
    let Some(secrets) = secrets else {
        return granted;
    };
    let mut rights = Rights::clone(&granted);
    let both = |name: &&String| granted.covers(Right::Secrets, &format!("{name}@{}", build.made_by));
    rights.secrets = secrets.iter().filter(both).cloned().collect();
    Arc::new(rights)
}

/// Whether the build was stopped before this step began, which then is one that always runs. A step that is taken up has
/// begun: unless it always runs, the stop is meant for it, too.
fn runs_in_spite(farm: &Farm, build: &Build, step: &Step, options: &StepOptions) -> bool {
    let begins = step.state == StepState::Pending;
    (begins || options.always_run) && farm.stops.reason(build.id).is_some()
}

fn created(build: &Build, step: &Step, plugin: &Plugin, rendered: Rendered) -> Created {
    Created {
        plugin: step.digest,
        plugin_name: step.plugin.clone(),
        world: plugin.world(),
        host_abi: HOST_ABI,
        config: rendered.config,
        env: rendered.env,
        seed: rand::random(),
        step_name: step.name.clone(),
        sources: build.sources.clone(),
        properties: build.properties.clone(),
    }
}

/// An end that the step's plugin had no part in.
fn exception(reason: String) -> StepEnd {
    StepEnd {
        outcome: Outcome::Exception,
        summary: Some(reason),
        ends_build: None,
        failure: None,
    }
}

/// An end that the master gives a command by itself.
pub(crate) fn without_output(exit: Exit) -> Completion {
    Completion {
        exit,
        duration_ms: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
        stdout: Vec::new(),
    }
}
