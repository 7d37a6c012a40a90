//! The step machine: runs a step's plugin over its journal, and is the port through which the plugin reaches the world.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use capstan_config::StepMode;
use capstan_engine::{Abandoned, CommandFault, StepEnd, StepError, StepPort, StepRun, WaitMode};
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI, Kind};
use capstan_model::{
    Channel, CommandId, CommandSpec, Completion, EnvValue, Exit, LogId, Outcome, Properties, StepId,
    Timestamp,
};
use capstan_store::{Build, NewCommand, Step, StepState};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::build::StepOptions;
use crate::commands::Flight;
use crate::farm::Farm;
use crate::{Error, sealing, workers};

/// How long a command runs on while its worker hears nothing from any master.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long after its grace a command that was told to stop may take to be gone, its output included.
const SETTLE: Duration = Duration::from_secs(15);
/// How often a waiting step looks whether its worker has been away for too long.
const GRACE_CHECK: Duration = Duration::from_secs(1);
/// The clock may be turned while a step sleeps: it looks again at least so often.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Begins a step or takes it up where its journal ends, and answers its result once that is durable.
pub(crate) async fn run(
    farm: &Arc<Farm>,
    build: &Build,
    step: &Step,
    options: &StepOptions,
) -> Result<Outcome, Error> {
    let journal = farm.store.journal(step.id).await?;
    let host = Arc::new(Host::new(farm.clone(), build, step, &journal));
    let end = match farm.pinned(step.digest).await {
        Ok(plugin) => {
            let properties = farm.store.build(build.id).await?.map(|b| b.properties);
            let run = StepRun {
                created: created(build, step, &plugin, properties.unwrap_or_default()),
                plugin,
                grants: farm.plugins.load().granted(&step.plugin),
                journal,
                installation: farm.installation,
                step: step.id,
                builder_dir: options.builder_dir.clone(),
                env: options.env.clone(),
                orphan_timeout_ms: ORPHAN_TIMEOUT.as_millis() as u64,
                mode: wait_mode(farm.operator.limits.step_mode),
            };
            let signal = farm
                .stops
                .signal(build.id, runs_in_spite(farm, build, step, options));
            farm.engine.run_step(run, host.clone(), signal).await
        }
        // A store that cannot be read now may be later.
        Err(error @ Error::Store(_)) => return Err(error),
        Err(error) => Ok(exception(error.to_string())),
    };
    let end = match end {
        Ok(end) => end,
        // The journal stays as it is, and the build machine tries again.
        Err(StepError::Abandoned(reason)) => return Err(Error::failed("carry on with a step", reason)),
        Err(other) => exception(other.to_string()),
    };
    host.settle().await?;
    conclude(farm, step.id, &end).await?;
    Ok(end.outcome)
}

/// Whether the build was stopped before this step began, which then is one that always runs. A step that is taken up has
/// begun: unless it always runs, the stop is meant for it, too.
fn runs_in_spite(farm: &Farm, build: &Build, step: &Step, options: &StepOptions) -> bool {
    let begins = step.state == StepState::Pending;
    (begins || options.always_run) && farm.stops.reason(build.id).is_some()
}

fn wait_mode(mode: StepMode) -> WaitMode {
    match mode {
        StepMode::Warm => WaitMode::Warm,
        StepMode::Replay => WaitMode::Replay,
    }
}

fn created(build: &Build, step: &Step, plugin: &capstan_engine::Plugin, properties: Properties) -> Created {
    Created {
        plugin: step.digest,
        plugin_name: step.plugin.clone(),
        world: plugin.world(),
        host_abi: HOST_ABI,
        config: step.config.clone(),
        seed: rand::random(),
        step_name: step.name.clone(),
        sources: build.sources.clone(),
        properties,
    }
}

/// An end that the step's plugin had no part in.
fn exception(reason: String) -> StepEnd {
    StepEnd {
        outcome: Outcome::Exception,
        summary: Some(reason),
        failure: None,
    }
}

/// Seals the step's logs and records its end.
async fn conclude(farm: &Farm, step: StepId, end: &StepEnd) -> Result<(), Error> {
    for log in farm.store.logs(step).await? {
        if log.sealed {
            continue;
        }
        // A disk that is too full to compress a log is no reason to hold the build: `sealing` comes back to it.
        if let Err(error) = sealing::seal(farm, log.id).await {
            tracing::warn!(log = %log.id, %error, "a log stays unsealed for now");
            let totals = farm.logs.totals(log.id).await?;
            farm.store
                .complete_log(log.id, totals.length, totals.lines, farm.clock.now())
                .await?;
        }
    }
    let summary = match (&end.failure, &end.summary) {
        (Some(failure), _) => failure.to_string(),
        (None, summary) => summary.clone().unwrap_or_default(),
    };
    farm.store
        .finish_step(step, end.outcome, &summary, None, farm.clock.now())
        .await?;
    Ok(())
}

/// The port of one step.
struct Host {
    farm: Arc<Farm>,
    step: StepId,
    worker: String,
    /// When the step began, by the master's clock: text that it writes is timed from there.
    began: Timestamp,
    /// The logs that the step itself writes, once they are open.
    logs: tokio::sync::Mutex<HashMap<String, (LogId, capstan_logs::Writer)>>,
}

impl Host {
    fn new(farm: Arc<Farm>, build: &Build, step: &Step, journal: &[Entry]) -> Self {
        let began = journal.first().map_or_else(|| farm.clock.now(), |row| row.at);
        Self {
            farm,
            step: step.id,
            worker: build.worker.clone(),
            began,
            logs: tokio::sync::Mutex::default(),
        }
    }

    async fn append(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        command: Option<NewCommand>,
    ) -> Result<(), Abandoned> {
        let now = self.farm.clock.now();
        let store = &self.farm.store;
        let mut rows = rows;
        if rows.first().is_some_and(|row| row.kind == Kind::Created) {
            store
                .begin_step(self.step, rows.remove(0), now)
                .await
                .map_err(abandoned)?;
        }
        if !rows.is_empty() {
            store
                .append_journal(self.step, rows, effects, command, now)
                .await
                .map_err(abandoned)?;
        }
        Ok(())
    }

    /// Sends a command to its worker, unless it has ended already, which a replayed step learns here.
    async fn start(&self, id: CommandId) -> Result<(), CommandFault> {
        if self.farm.commands.get(id).is_some() {
            return Ok(());
        }
        let missing = || Abandoned(format!("command {id} has no row"));
        let command = self
            .farm
            .store
            .command(id)
            .await
            .map_err(abandoned)?
            .ok_or_else(missing)?;
        if command.completion.is_some() {
            return Ok(());
        }
        if self.farm.commands.is_missing(&self.worker, id)
            && workers::had_begun(&self.farm, id).await.map_err(abandoned)?
        {
            return self.end_here(id, Exit::Lost(workers::FORGOTTEN.to_owned())).await;
        }
        let secrets = match self.secrets(&command.spec) {
            Ok(secrets) => secrets,
            Err(reason) => return self.end_here(id, Exit::NotStarted(reason)).await,
        };
        let link = self.farm.link().map_err(abandoned)?;
        let end = tokio::sync::watch::Sender::new(None);
        let flight = Flight {
            worker: command.worker,
            spec: command.spec,
            secrets,
            end,
            kill: OnceLock::new(),
        };
        if self.farm.commands.holds(&self.worker, id) {
            // Its welcome resumed it. A `Start` could cross the end of the command and begin it anew.
            self.farm.commands.adopt(id, flight);
        } else {
            self.farm.commands.start(id, flight, link);
        }
        Ok(())
    }

    fn secrets(&self, spec: &CommandSpec) -> Result<BTreeMap<String, String>, String> {
        let named = spec.env.values().filter_map(|value| match value {
            EnvValue::Secret(name) => Some(name),
            _ => None,
        });
        named
            .map(|name| {
                let secret = self.farm.secrets.get(name).map_err(|e| e.to_string())?;
                let text = secret
                    .expose_text()
                    .ok_or_else(|| format!("secret `{name}` is not UTF-8 text"))?;
                Ok((name.clone(), text.to_owned()))
            })
            .collect()
    }

    /// Ends a command that its worker does not run.
    async fn end_here(&self, id: CommandId, exit: Exit) -> Result<(), CommandFault> {
        workers::end_command(&self.farm, id, without_output(exit))
            .await
            .map_err(abandoned)?;
        Ok(())
    }

    async fn wait(&self, id: CommandId) -> Result<Completion, CommandFault> {
        loop {
            let row = self.farm.store.command(id).await.map_err(abandoned)?;
            if let Some(completion) = row.and_then(|row| row.completion) {
                self.farm.commands.remove(id);
                return ended(completion);
            }
            if self.farm.commands.get(id).is_none() {
                // After a restart a step may wait for a command that it started before.
                self.start(id).await?;
                // It may have ended before it was among those in flight: look once more.
                continue;
            }
            let Some(flight) = self.farm.commands.get(id) else {
                continue;
            };
            let mut end = flight.end.subscribe();
            let gone = tokio::select! {
                ended = end.wait_for(Option::is_some) => ended.is_err(),
                () = self.worker_gone() => true,
            };
            if gone {
                let reason = format!(
                    "worker `{}` has been away for longer than the grace period",
                    self.worker
                );
                self.end_here(id, Exit::Lost(reason)).await?;
            }
        }
    }

    /// Answers once the worker has been away for the whole grace period without a break.
    async fn worker_gone(&self) {
        let grace = self.farm.operator.link.grace;
        let mut away = Duration::ZERO;
        while away < grace {
            tokio::time::sleep(GRACE_CHECK).await;
            let connected = self.farm.link().is_ok_and(|link| link.is_connected(&self.worker));
            away = if connected {
                Duration::ZERO
            } else {
                away + GRACE_CHECK
            };
        }
    }

    async fn kill(&self, id: CommandId, reason: &str) -> Result<(), Abandoned> {
        let link = self.farm.link().map_err(abandoned)?;
        if self.farm.commands.get(id).is_none() {
            // After a restart. One that its worker never got is over; else the worker is to hear of the kill alone.
            if self.farm.commands.is_missing(&self.worker, id) {
                let end = without_output(Exit::Killed(reason.to_owned()));
                workers::end_command(&self.farm, id, end)
                    .await
                    .map_err(abandoned)?;
                return Ok(());
            }
            self.register(id, reason).await?;
        }
        self.farm.commands.kill(id, reason, link);
        Ok(())
    }

    /// Puts a command that an earlier master started among those in flight, to be stopped.
    async fn register(&self, id: CommandId, reason: &str) -> Result<(), Abandoned> {
        let Some(command) = self.farm.store.command(id).await.map_err(abandoned)? else {
            return Ok(());
        };
        if command.completion.is_some() {
            return Ok(());
        }
        let end = tokio::sync::watch::Sender::new(None);
        let kill = OnceLock::from(reason.to_owned());
        let (worker, spec) = (command.worker, command.spec);
        self.farm.commands.adopt(
            id,
            Flight {
                worker,
                spec,
                secrets: BTreeMap::new(),
                end,
                kill,
            },
        );
        Ok(())
    }

    /// Waits for the commands that the step left behind, so that their logs are whole before they are sealed. They were
    /// told to stop; one that cannot be waited for is given up, and its worker removes it when it comes back.
    async fn settle(&self) -> Result<(), Error> {
        for command in self.farm.store.unfinished_commands(Some(&self.worker)).await? {
            if command.step != self.step {
                continue;
            }
            let kill = self.kill(command.id, "the step has ended").await;
            kill.map_err(|e| Error::failed("stop what a step left behind", e))?;
            let patience = Duration::from_millis(command.spec.term_grace_ms) + SETTLE;
            let connected = self.farm.link()?.is_connected(&self.worker);
            let ended = connected
                && tokio::time::timeout(patience, self.wait(command.id))
                    .await
                    .is_ok();
            if !ended {
                let lost = without_output(Exit::Lost(
                    "its step ended while it could not be reached".to_owned(),
                ));
                workers::end_command(&self.farm, command.id, lost).await?;
                self.farm.link()?.forget(&self.worker, command.id);
            }
            self.farm.commands.remove(command.id);
        }
        Ok(())
    }

    async fn write(&self, name: String, offset: u64, text: &str) -> Result<(), Error> {
        let mut logs = self.logs.lock().await;
        if !logs.contains_key(&name) {
            let id = self
                .farm
                .store
                .open_log(self.step, &name, self.farm.clock.now())
                .await?;
            let writer = self.farm.logs.writer(id).await?;
            logs.insert(name.clone(), (id, writer));
        }
        let Some((_, writer)) = logs.get_mut(&name) else {
            return Ok(());
        };
        let elapsed = self.farm.clock.now().since(self.began);
        writer
            .append_text(offset, Channel::Stdout, elapsed, text.as_bytes())
            .await?;
        Ok(())
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

/// A command that nobody knows the end of is the worker's loss; everything else is an end.
fn ended(completion: Completion) -> Result<Completion, CommandFault> {
    match completion.exit {
        Exit::Lost(reason) => Err(CommandFault::Lost(reason)),
        _ => Ok(completion),
    }
}

fn abandoned(error: impl std::fmt::Display) -> Abandoned {
    Abandoned(error.to_string())
}

impl StepPort for Host {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        self.append(rows, effects, None).boxed()
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        let seq = rows.last().map_or(0, |row| row.seq);
        let command = NewCommand {
            id,
            seq,
            log: spec.log.clone(),
            worker: self.worker.clone(),
            spec,
        };
        self.append(rows, effects, Some(command)).boxed()
    }

    fn start_command(
        &self,
        _: u32,
        id: CommandId,
        _: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        self.start(id).boxed()
    }

    fn wait_command(&self, id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        self.wait(id).boxed()
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move { self.kill(id, &reason).await }.boxed()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        async move {
            loop {
                let left = at.since(self.farm.clock.now());
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left).min(LONGEST_NAP)).await;
            }
        }
        .boxed()
    }

    fn now(&self) -> Timestamp {
        self.farm.clock.now()
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async move { self.write(name, offset, &text).await.map_err(abandoned) }.boxed()
    }
}
