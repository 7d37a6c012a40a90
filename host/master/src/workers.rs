//! The master's side of the worker link: who may come in, and what becomes of what they send. How commands end is in `ends`, how
//! the workers stand in `standing`.

mod ends;
mod standing;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use capstan_link::{Port, Refusal};
use capstan_model::{CommandId, Digest, Exit, LogId, Program, Timestamp};
use capstan_store::NewCertificate;
use capstan_wire::control::{ExitReport, Hello, Resume, ResumeAction};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Error;
use crate::commands::{Ended, LogWriter};
use crate::farm::Farm;
use crate::step;

pub(crate) use ends::{end_command, end_lost};
pub(crate) use standing::{anywhere, directory, places, status};

use ends::{exited, forgotten, give_up, has_ended, unfinished};

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
pub(crate) fn is_lasting(error: &capstan_logs::Error) -> bool {
    use capstan_logs::Error::{Corrupt, Full, Version};
    matches!(error, Full { .. } | Corrupt { .. } | Version { .. })
}

/// Why a command of a worker that has lost its memory ends.
pub(crate) const FORGOTTEN: &str = "its worker has forgotten it: the worker's folder was emptied or replaced";

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
    let end = offset.saturating_add(frames.len() as u64);
    if end > largest && !fits_file(farm, id, end).await.map_err(|e| failed(&e))? {
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

/// Whether a log of so many bytes still is what a command that prints a file may send: the worker keeps to the size that the
/// command names, to which come the headers of the frames and the worker's own words.
async fn fits_file(farm: &Farm, id: CommandId, end: u64) -> Result<bool, Error> {
    let program = match farm.commands.get(id) {
        Some(flight) => Some(flight.spec.program.clone()),
        None => farm.store.command(id).await?.map(|row| row.spec.program),
    };
    let Some(Program::File { max_bytes, .. }) = program else {
        return Ok(false);
    };
    let room = max_bytes.saturating_add(max_bytes / 512).saturating_add(1 << 20);
    Ok(end <= room)
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
