//! How commands end: as their workers say, or as the master decides where a worker cannot tell any more.

use capstan_model::{Channel, CommandId, Completion, Exit, LogId};
use capstan_wire::control::ExitReport;

use super::{FORGOTTEN, log_writer};
use crate::Error;
use crate::commands::{Ended, LogWriter};
use crate::farm::Farm;
use crate::step;

/// The most of a command's standard output that comes back with its end.
const MAX_CAPTURE: u32 = 64 * 1024;

/// Ends a command that its worker has forgotten. Nobody adds to its log any more, and its step ends the log as soon as it is
/// told: so the log says it first.
pub(super) async fn forgotten(farm: &Farm, id: CommandId) -> Result<(), Error> {
    let lost = Exit::Lost(FORGOTTEN.to_owned());
    if let Some(flight) = farm.commands.get(id) {
        let writer = log_writer(farm, id, flight.log).await;
        farm.commands.close_writer(id).await;
        say_lost(farm, id, writer, &lost).await;
    }
    end_command(farm, id, step::without_output(lost)).await
}

pub(super) fn has_ended(farm: &Farm, id: CommandId) -> bool {
    farm.commands
        .get(id)
        .is_some_and(|flight| flight.end.borrow().is_some())
}

/// The log of a command of this worker that has not ended, and how much of its standard output is wanted.
pub(super) async fn unfinished(
    farm: &Farm,
    worker: &str,
    id: CommandId,
) -> Result<Option<(LogId, u32)>, Error> {
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
pub(super) async fn exited(
    farm: &Farm,
    worker: &str,
    id: CommandId,
    report: ExitReport,
) -> Result<(), Error> {
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
pub(super) async fn give_up(farm: &Farm, worker: &str, id: CommandId, reason: &str) -> Result<(), Error> {
    tracing::error!(command = %id, worker, reason, "a command's log cannot be stored");
    let end = Exit::Killed(format!("its log cannot be stored: {reason}"));
    end_command(farm, id, step::without_output(end)).await?;
    let link = farm.link()?;
    link.kill(worker, id, reason);
    link.forget(worker, id);
    Ok(())
}
