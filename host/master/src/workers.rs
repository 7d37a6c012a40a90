//! The master's side of the worker link: who may come in, what becomes of what they send, and how they stand.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use capstan_link::{Handle as Link, Port, Refusal};
use capstan_model::plan::{self, Location, Plan};
use capstan_model::{Channel, CommandId, Completion, Digest, Exit, LogId, Timestamp};
use capstan_store::NewCertificate;
use capstan_wire::control::{ExitReport, Hello, Resume, ResumeAction};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::Error;
use crate::commands::{Ended, LogWriter};
use crate::farm::Farm;
use crate::handle::WorkerStatus;
use crate::pairing::{Place, Places};
use crate::step;

/// What the link calls. It does not keep the farm alive: the farm owns the link.
pub(crate) struct Door(pub Weak<Farm>);

impl Door {
    fn farm(&self) -> Result<Arc<Farm>, String> {
        self.0.upgrade().ok_or_else(|| "the master is ending".to_owned())
    }
}

impl Port for Door {
    fn admit(&self, name: String, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        async move { admit(&*self.farm()?, &name, certificate).await }.boxed()
    }

    fn invited(&self, secret: Digest) -> BoxFuture<'_, Result<String, String>> {
        async move {
            let farm = self.farm()?;
            farm.store
                .check_invite(secret, farm.clock.now())
                .await
                .map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn redeem(&self, secret: Digest, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let farm = self.farm()?;
            let certificate = NewCertificate {
                fingerprint: certificate,
                serial: None,
            };
            let used = farm.store.use_invite(secret, certificate, farm.clock.now()).await;
            used.map(|_| ()).map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn hello(&self, worker: String, hello: Hello) -> BoxFuture<'_, Result<Vec<Resume>, String>> {
        async move {
            welcome(&*self.farm()?, &worker, hello)
                .await
                .map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn ready(&self, worker: String, held: Vec<CommandId>) {
        if let Ok(farm) = self.farm()
            && let Ok(link) = farm.link()
        {
            farm.commands.resend(&worker, &held, link);
            farm.workers_changed.notify_one();
        }
    }

    fn started(&self, _worker: String, id: CommandId, _at: Timestamp) -> BoxFuture<'_, ()> {
        if let Some(flight) = self.farm().ok().and_then(|farm| farm.commands.get(id)) {
            flight.begun.store(true, Ordering::Relaxed);
        }
        futures::future::ready(()).boxed()
    }

    fn append(
        &self,
        worker: String,
        id: CommandId,
        offset: u64,
        frames: Bytes,
    ) -> BoxFuture<'_, Result<u64, Refusal>> {
        async move {
            append(
                &*self.farm().map_err(Refusal::Failed)?,
                &worker,
                id,
                offset,
                frames,
            )
            .await
        }
        .boxed()
    }

    fn exited(&self, worker: String, id: CommandId, report: ExitReport) -> BoxFuture<'_, Result<(), String>> {
        async move {
            exited(&*self.farm()?, &worker, id, report)
                .await
                .map_err(|e| e.to_string())
        }
        .boxed()
    }

    fn disconnected(&self, worker: String, heard: Timestamp, reason: String) -> BoxFuture<'_, ()> {
        async move {
            let Ok(farm) = self.farm() else { return };
            tracing::info!(worker, reason, "a worker is gone");
            let now = farm.clock.now();
            if let Err(error) = farm.store.worker_disconnected(&worker, heard, now).await {
                tracing::error!(worker, %error, "failed to note that a worker is gone");
            }
            let silent = Duration::from_millis(now.since(heard));
            farm.absences.left(&worker, silent, farm.operator.link.idle);
            farm.workers_changed.notify_one();
        }
        .boxed()
    }
}

/// A certificate of ours is not enough: the store must know it as this worker's, and not revoked.
async fn admit(farm: &Farm, name: &str, certificate: Digest) -> Result<(), String> {
    let known = farm
        .store
        .certificate(certificate)
        .await
        .map_err(|e| e.to_string())?;
    match known.filter(|known| known.worker == name) {
        None => {
            return Err(format!(
                "worker `{name}` has no such certificate here; a new invitation lets it join"
            ));
        }
        Some(known) if known.revoked.is_some() => {
            return Err(format!(
                "worker `{name}` was revoked; a new invitation lets it join again"
            ));
        }
        Some(_) => {}
    }
    if !farm.plan().workers.iter().any(|worker| worker.name == name) {
        return Err(format!(
            "the configuration has no worker `{name}`; define it with worker(\"{name}\") and reload"
        ));
    }
    Ok(())
}

/// Notes what a worker says of itself, and tells it where each log that it holds goes on.
async fn welcome(farm: &Farm, worker: &str, hello: Hello) -> Result<Vec<Resume>, Error> {
    let held: Vec<_> = hello.commands.iter().map(|held| held.id).collect();
    farm.commands.greeted(worker, &held);
    for (id, kill) in farm.commands.missing(worker, &held) {
        match kill {
            Some(reason) => end_command(farm, id, step::without_output(Exit::Killed(reason))).await?,
            None if had_begun(farm, id).await? => forgotten(farm, id).await?,
            // It never arrived; `ready` sends it again.
            None => {}
        }
    }
    let mut resumes = Vec::new();
    for held in &hello.commands {
        let command = farm.store.command(held.id).await?.filter(|c| c.worker == worker);
        let action = match command.map(|c| (c.log, c.completion)) {
            Some((log, None)) => resume(farm, worker, held.id, log).await?,
            Some((_, Some(completion))) => {
                // Recorded just before a connection or a store failed: its step may not have been told.
                farm.commands.finish(held.id, Ended::recorded(completion));
                farm.commands.close_writer(held.id).await;
                ResumeAction::Forget
            }
            None => ResumeAction::Forget,
        };
        resumes.push(Resume { id: held.id, action });
    }
    let info = serde_json::json!({ "slots": hello.slots, "labels": hello.labels, "facts": hello.facts, "version": hello.version });
    farm.store
        .worker_connected(worker, info, farm.absences.returned(worker), farm.clock.now())
        .await?;
    Ok(resumes)
}

/// Where the log of a command goes on. One that cannot be stored ends its command, and keeps nothing else from going on.
async fn resume(farm: &Farm, worker: &str, id: CommandId, log: LogId) -> Result<ResumeAction, Error> {
    match log_length(farm, id, log).await {
        Ok(length) => Ok(ResumeAction::From(length)),
        Err(Error::Logs(error)) if is_lasting(&error) => {
            give_up(farm, worker, id, &error.to_string()).await?;
            Ok(ResumeAction::Forget)
        }
        Err(other) => Err(other),
    }
}

/// Whether a log cannot be stored, today or when it is tried again at once.
fn is_lasting(error: &capstan_logs::Error) -> bool {
    use capstan_logs::Error::{Corrupt, Full, Version};
    matches!(error, Full { .. } | Corrupt { .. } | Version { .. })
}

/// Why a command of a worker that has lost its memory ends.
pub(crate) const FORGOTTEN: &str = "its worker has forgotten it: the worker's folder was emptied or replaced";

/// Ends a command that its worker has forgotten. Nobody adds to its log any more, and its step ends the log as soon as it is
/// told: so the log says it first.
async fn forgotten(farm: &Farm, id: CommandId) -> Result<(), Error> {
    let lost = Exit::Lost(FORGOTTEN.to_owned());
    if let Some(flight) = farm.commands.get(id) {
        let writer = log_writer(farm, id, flight.log).await;
        farm.commands.close_writer(id).await;
        say_lost(farm, id, writer, &lost).await;
    }
    end_command(farm, id, step::without_output(lost)).await
}

/// Whether a command has begun, as far as its worker has said so, or its log does: the first thing in it is the command line itself. One that has
/// begun is never sent again to a worker that does not know it, for that would run it twice.
pub(crate) async fn had_begun(farm: &Farm, id: CommandId) -> Result<bool, Error> {
    if farm
        .commands
        .get(id)
        .is_some_and(|flight| flight.begun.load(Ordering::Relaxed))
    {
        return Ok(true);
    }
    let Some(command) = farm.store.command(id).await? else {
        return Ok(false);
    };
    Ok(farm.logs.totals(command.log).await?.length > 0)
}

async fn log_length(farm: &Farm, id: CommandId, log: LogId) -> Result<u64, Error> {
    let writer = log_writer(farm, id, log).await?;
    let length = writer.lock().await.length();
    Ok(length)
}

async fn log_writer(farm: &Farm, id: CommandId, log: LogId) -> Result<LogWriter, capstan_logs::Error> {
    farm.commands
        .writer(id, async || farm.logs.writer(log).await)
        .await
}

/// The most of a command's standard output that comes back with its end.
const MAX_CAPTURE: u32 = 64 * 1024;

/// Stores log bytes of a command that runs on this very worker.
async fn append(
    farm: &Farm,
    worker: &str,
    id: CommandId,
    offset: u64,
    frames: Bytes,
) -> Result<u64, Refusal> {
    let failed = |e: &dyn std::fmt::Display| Refusal::Failed(e.to_string());
    let writer = match farm.commands.open_writer(id).await {
        Some(writer) => writer,
        None => {
            let log = unfinished(farm, worker, id).await.map_err(|e| failed(&e))?;
            let Some((log, _)) = log else {
                remind(farm, worker, id).await.map_err(|e| failed(&e))?;
                return Err(Refusal::Unknown);
            };
            match log_writer(farm, id, log).await {
                Ok(writer) => writer,
                Err(error) => return refuse(farm, worker, id, error).await,
            }
        }
    };
    let largest = farm.operator.limits.max_log;
    if offset.saturating_add(frames.len() as u64) > largest {
        let reason = format!(
            "it is larger than {largest} bytes, the limit that max_log sets under [limits] in capstan.toml"
        );
        give_up(farm, worker, id, &reason).await.map_err(|e| failed(&e))?;
        return Err(Refusal::Unknown);
    }
    let mut held = writer.lock().await;
    // While this waited the command may have ended: nothing follows the last words that it then got.
    let current = farm.commands.open_writer(id).await;
    if !current.is_some_and(|current| Arc::ptr_eq(&current, &writer)) || has_ended(farm, id) {
        return Err(Refusal::Unknown);
    }
    match held.append(offset, frames).await {
        Ok(durable) => Ok(durable),
        // The step has ended without waiting for this command any longer.
        Err(capstan_logs::Error::Sealed { .. }) => Err(Refusal::Unknown),
        Err(error) => {
            drop(held);
            refuse(farm, worker, id, error).await
        }
    }
}

/// Bytes that could not be stored. If that lasts, it is the end of their command, not of its worker's connection.
async fn refuse(
    farm: &Farm,
    worker: &str,
    id: CommandId,
    error: capstan_logs::Error,
) -> Result<u64, Refusal> {
    if !is_lasting(&error) {
        return Err(Refusal::Failed(error.to_string()));
    }
    let given_up = give_up(farm, worker, id, &error.to_string()).await;
    given_up.map_err(|fault| Refusal::Failed(fault.to_string()))?;
    Err(Refusal::Unknown)
}

/// Has a command forgotten whose end is recorded: its worker missed that, or it would not send more of the log.
async fn remind(farm: &Farm, worker: &str, id: CommandId) -> Result<(), Error> {
    let command = farm.store.command(id).await?;
    if command.is_some_and(|command| command.worker == worker && command.completion.is_some()) {
        farm.link()?.forget(worker, id);
    }
    Ok(())
}

fn has_ended(farm: &Farm, id: CommandId) -> bool {
    farm.commands
        .get(id)
        .is_some_and(|flight| flight.end.borrow().is_some())
}

/// The log of a command of this worker that has not ended, and how much of its standard output is wanted.
async fn unfinished(farm: &Farm, worker: &str, id: CommandId) -> Result<Option<(LogId, u32)>, Error> {
    if let Some(flight) = farm.commands.get(id) {
        let open = flight.worker == worker && flight.end.borrow().is_none();
        return Ok(open.then_some((flight.log, flight.spec.capture_stdout)));
    }
    let command = farm.store.command(id).await?;
    let command = command.filter(|c| c.worker == worker && c.completion.is_none());
    Ok(command.map(|c| (c.log, c.spec.capture_stdout)))
}

/// A command's end, once every byte of its log is durable: told to the step that waits for it, which notes it together with
/// its own row and then has it forgotten; or else noted here. Until it is forgotten the worker keeps it.
async fn exited(farm: &Farm, worker: &str, id: CommandId, report: ExitReport) -> Result<(), Error> {
    let Some((log, wanted)) = unfinished(farm, worker, id).await? else {
        return again(farm, worker, id).await;
    };
    if let lost @ Exit::Lost(_) = &report.exit {
        say_lost(farm, id, log_writer(farm, id, log).await, lost).await;
    }
    let wanted = wanted.min(MAX_CAPTURE) as usize;
    let stdout = match wanted {
        0 => Vec::new(),
        wanted => farm.logs.head_of_channel(log, Channel::Stdout, wanted).await?,
    };
    let totals = farm.logs.totals(log).await?;
    let ended = Ended {
        completion: Completion {
            exit: report.exit,
            duration_ms: report.duration_ms,
            stdout_bytes: report.stdout_bytes,
            stderr_bytes: report.stderr_bytes,
            stdout,
        },
        log: Some((totals.length, totals.lines)),
        recorded: false,
    };
    // Counted before it is told: who listens then takes it over. One who was about to leave finds it at the end of its step.
    let awaited = farm
        .commands
        .get(id)
        .is_some_and(|flight| flight.end.receiver_count() > 0);
    let ended = farm.commands.finish(id, ended);
    if awaited {
        return Ok(());
    }
    note(farm, worker, id, log, ended).await
}

/// The end of a command that is known already: its worker has connected anew, and asks whether it may forget it.
async fn again(farm: &Farm, worker: &str, id: CommandId) -> Result<(), Error> {
    let flight = farm.commands.get(id).filter(|flight| flight.worker == worker);
    let unrecorded = flight.and_then(|flight| Some((flight.log, flight.end.borrow().clone()?)));
    match unrecorded {
        Some((log, ended)) if !ended.recorded => note(farm, worker, id, log, ended).await,
        _ => {
            // Opened by a welcome that the record of the end overtook.
            farm.commands.close_writer(id).await;
            farm.link()?.forget(worker, id);
            Ok(())
        }
    }
}

async fn note(farm: &Farm, worker: &str, id: CommandId, log: LogId, ended: Ended) -> Result<(), Error> {
    let now = farm.clock.now();
    let records = ended.records(id, log).map(|record| (now, record));
    farm.store.record(records.collect()).await?;
    farm.commands.finish(id, Ended::recorded(ended.completion));
    farm.commands.close_writer(id).await;
    farm.link()?.forget(worker, id);
    Ok(())
}

/// Records a command's end, tells its step, and closes its log. The first end that is known stays.
pub(crate) async fn end_command(farm: &Farm, id: CommandId, completion: Completion) -> Result<(), Error> {
    let wanted = Ended {
        completion,
        log: None,
        recorded: false,
    };
    let holds = farm.commands.finish(id, wanted);
    let completion = farm
        .store
        .finish_command(id, holds.completion, farm.clock.now())
        .await?;
    farm.commands.finish(id, Ended::recorded(completion));
    farm.commands.close_writer(id).await;
    Ok(())
}

/// Ends a command that its worker can no longer tell the end of, and says so in its log. The end comes first: a worker that
/// comes back has its log taken up from its length, which must hold no words of ours then. Only for the step itself, which ends
/// its logs later.
pub(crate) async fn end_lost(farm: &Farm, id: CommandId, log: LogId, reason: &str) -> Result<(), Error> {
    let writer = log_writer(farm, id, log).await;
    let lost = Exit::Lost(reason.to_owned());
    end_command(farm, id, step::without_output(lost.clone())).await?;
    let end = farm.store.command(id).await?.and_then(|row| row.completion);
    // Else its own end came first.
    if end.is_some_and(|end| end.exit == lost) {
        say_lost(farm, id, writer, &lost).await;
    }
    Ok(())
}

/// The last words of a lost command's log. They are for people: a full disk does not undo the end.
async fn say_lost(farm: &Farm, id: CommandId, writer: Result<LogWriter, capstan_logs::Error>, lost: &Exit) {
    let line = format!("{lost}; what the command printed after this is lost\n");
    let said = async {
        let mut writer = writer?.lock_owned().await;
        let totals = writer.totals();
        if totals.length == 0 {
            return Ok(0);
        }
        let offset = totals.channel(Channel::Header);
        let started = farm.store.command(id).await.ok().flatten();
        let elapsed = started.map_or(0, |row| farm.clock.now().since(row.started));
        writer
            .append_text(offset, Channel::Header, elapsed, line.as_bytes())
            .await
    };
    if let Err(error) = said.await {
        let error: capstan_logs::Error = error;
        tracing::warn!(command = %id, %error, "failed to say in a log that its command was lost");
    }
}

/// Ends a command whose log cannot be stored: its step learns the reason, and the worker stops it.
async fn give_up(farm: &Farm, worker: &str, id: CommandId, reason: &str) -> Result<(), Error> {
    tracing::error!(command = %id, worker, reason, "a command's log cannot be stored");
    let end = Exit::Killed(format!("its log cannot be stored: {reason}"));
    end_command(farm, id, step::without_output(end)).await?;
    let link = farm.link()?;
    link.kill(worker, id, reason);
    link.forget(worker, id);
    Ok(())
}

/// Where builds could go: the workers that the plan names, that are connected and that nobody paused.
pub(crate) async fn places(farm: &Farm, plan: &Plan) -> Result<Places, Error> {
    let mut places = Places::new();
    let rows = farm.store.workers().await?;
    let builds = farm.store.unfinished_builds().await?;
    for worker in &plan.workers {
        let Some(row) = rows.iter().find(|row| row.name == worker.name) else {
            continue;
        };
        if row.revoked.is_some() || row.paused.is_some() || !farm.link()?.is_connected(&worker.name) {
            continue;
        }
        let running = builds
            .iter()
            .filter(|b| b.worker == worker.name)
            .map(|b| b.builder.clone())
            .collect();
        places.insert(
            worker.name.clone(),
            Place {
                labels: labels(worker, &row.info),
                slots: slots(worker, &row.info),
                running,
            },
        );
    }
    Ok(places)
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
    let builds = farm.store.unfinished_builds().await?;
    let names: BTreeSet<_> = plan
        .workers
        .iter()
        .map(|w| &w.name)
        .chain(rows.iter().map(|row| &row.name))
        .cloned()
        .collect();
    let connected = farm.link().map(Link::connected).unwrap_or_default();
    let status = names.into_iter().map(|name| {
        let link = connected.iter().find(|worker| worker.name == name);
        let row = rows.iter().find(|row| row.name == name);
        let fallback = plan::Worker {
            name: name.clone(),
            slots: None,
            labels: vec![],
            location: Location::default(),
        };
        let configured = plan.workers.iter().find(|w| w.name == name);
        let worker = configured.unwrap_or(&fallback);
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
            builds: builds.iter().filter(|b| b.worker == name).map(|b| b.id).collect(),
            name,
        }
    });
    Ok(status.collect())
}
