//! One task per command: starts its supervisor if need be, follows it to its end, and settles what is left if
//! the supervisor itself is gone.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::{Channel, Clock, CommandId, Exit};
use capstan_wire::control::ExitReport;
use capstan_wire::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::commands::{News, Standing};
use super::spares::Spares;
use crate::folder::{ExitRecord, Folder};
use crate::os;
use crate::supervise::{Job, Order};

/// How often a supervisor is looked at whose bell rings for an earlier daemon.
const LOOK: Duration = Duration::from_millis(50);

/// A command that says nothing for so long leaves time to prepare the next one. A shorter one is over first, and the
/// worker idle while the master takes note of that.
const SETTLED: Duration = Duration::from_millis(20);

/// How long the processes of a command without a supervisor are hunted.
const HUNT: Duration = Duration::from_secs(5);

/// How much of a supervisor's complaints is passed on.
const MAX_COMPLAINT: u64 = 1000;

/// How the command in `folder` stands on disk.
pub fn look(folder: &Folder) -> Standing {
    let exit = folder.exit().ok().flatten().map(|record| record.report);
    let length = match &exit {
        Some(report) => report.log_length,
        None => fs::metadata(folder.spool()).map_or(0, |found| found.len()),
    };
    Standing {
        started: folder.started().ok().flatten().map(|record| record.at),
        length,
        exit,
    }
}

/// Where news of one command goes.
pub struct Teller {
    id: CommandId,
    told: Standing,
    news: mpsc::Sender<News>,
}

impl Teller {
    /// Tells what differs from `told`.
    pub fn new(id: CommandId, told: Standing, news: mpsc::Sender<News>) -> Self {
        Self { id, told, news }
    }

    async fn tell(&mut self, standing: Standing) {
        if standing != self.told {
            self.told = standing.clone();
            // Nobody listens any more when the daemon ends.
            let _ = self
                .news
                .send(News {
                    id: self.id,
                    standing,
                })
                .await;
        }
    }
}

/// Follows the command to its end; with a job, starts it first.
pub async fn watch(
    folder: Folder,
    job: Option<Job>,
    mut teller: Teller,
    spares: Arc<Spares>,
    clock: Arc<dyn Clock>,
) {
    let id = teller.id;
    let complaint = match job {
        Some(job) => follow_new(&folder, job, &mut teller, &spares).await.err(),
        None => None,
    };
    // Another supervisor may have been first, started by an earlier daemon.
    while matches!(folder.supervisor(), Ok(Some(_))) && !folder.has_exit() {
        teller.tell(look(&folder)).await;
        tokio::time::sleep(LOOK).await;
    }
    let mut standing = look(&folder);
    if standing.exit.is_none() {
        let report = settle(id, &folder, complaint, &*clock).await;
        let record = ExitRecord::new(id, clock.now(), report, &[]);
        if let Err(error) = folder.write_exit(&record, &[]) {
            tracing::warn!(command = %id, "the end could not be recorded: {error}");
        }
        standing.length = record.report.log_length;
        standing.exit = Some(record.report);
    }
    tracing::debug!(command = %id, "ended");
    teller.tell(standing).await;
    // What was told is on its way first.
    tokio::task::yield_now().await;
    spares.prepare();
}

/// Gives the command to a supervisor and listens to its bell until it ends, or until it has said how the command did.
async fn follow_new(folder: &Folder, job: Job, teller: &mut Teller, spares: &Spares) -> io::Result<()> {
    fs::create_dir_all(folder.path())?;
    let mut child = spares.supervisor()?;
    let order = Order {
        folder: folder.path().to_owned(),
        job,
    };
    let text = Zeroizing::new(serde_json::to_vec(&order).map_err(io::Error::other)?);
    drop(order);
    if let Some(mut input) = child.stdin.take() {
        // One that ended before it read everything explains itself in its complaints.
        let _ = input.write_all(&text).await;
    }
    drop(text);
    if let Some(mut bell) = child.stdout.take() {
        let mut rings = [0; 256];
        loop {
            let rung = match tokio::time::timeout(SETTLED, bell.read(&mut rings)).await {
                Ok(rung) => rung,
                Err(_) => {
                    spares.prepare();
                    bell.read(&mut rings).await
                }
            };
            if !matches!(rung, Ok(1..)) {
                break;
            }
            let standing = look(folder);
            if standing.exit.is_some() {
                // The caller tells. All that the supervisor still has to do is to go.
                return Ok(());
            }
            teller.tell(standing).await;
        }
    }
    child.wait().await?;
    Ok(())
}

/// The end of a command whose supervisor is gone without a record: it never started, or nobody knows.
async fn settle(
    id: CommandId,
    folder: &Folder,
    complaint: Option<io::Error>,
    clock: &dyn Clock,
) -> ExitReport {
    if !folder.was_started() {
        let exit = match folder.stop() {
            Ok(Some(stop)) => Exit::Killed(stop.reason),
            _ => Exit::NotStarted(match complaint {
                Some(error) => format!("the worker could not start a supervisor: {error}"),
                None => complaints(folder),
            }),
        };
        return ExitReport {
            exit,
            duration_ms: 0,
            log_length: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
    }
    let started = folder.started().ok().flatten();
    let duration_ms = started.as_ref().map_or(0, |record| clock.now().since(record.at));
    let reason = if started.is_some_and(|record| record.boot != os::boot_text()) {
        "the worker's machine was started anew while the command ran"
    } else {
        hunt(id).await;
        "the command's supervisor was killed"
    };
    let left = folder.clone();
    let found = tokio::task::spawn_blocking(move || cut_and_keep(&left)).await;
    let [length, stdout_bytes, stderr_bytes] = found
        .unwrap_or_else(|error| Err(error.into()))
        .unwrap_or_else(|error| {
            tracing::warn!(command = %id, "the log of a lost command could not be read: {error}");
            [0; 3]
        });
    ExitReport {
        exit: Exit::Lost(reason.to_owned()),
        duration_ms,
        log_length: length,
        stdout_bytes,
        stderr_bytes,
    }
}

/// Kills the processes that a killed supervisor left without an owner.
async fn hunt(id: CommandId) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < HUNT {
        let found = os::marked(&id.to_string()).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        found.into_iter().for_each(|pid| os::send(pid, os::Told::Kill));
        tokio::time::sleep(LOOK).await;
    }
    tracing::warn!(command = %id, "processes of a lost command could not be ended");
}

fn complaints(folder: &Folder) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(folder.errors()) {
        let _ = file.take(MAX_COMPLAINT).read_to_string(&mut text);
    }
    match text.trim() {
        "" => "its supervisor ended before it started the command; is the worker's disk full?".to_owned(),
        text => format!("its supervisor failed: {text}"),
    }
}

fn cut_and_keep(folder: &Folder) -> io::Result<[u64; 3]> {
    let found = cut_to_whole_frames(&folder.spool())?;
    folder.sync_names()?;
    Ok(found)
}

/// Removes a torn last frame. Gives the length, and the payload bytes of standard output and of standard
/// error.
fn cut_to_whole_frames(spool: &Path) -> io::Result<[u64; 3]> {
    let mut file = File::options().read(true).write(true).open(spool)?;
    let (mut length, mut out, mut err) = (0, 0, 0);
    let mut buffer = Vec::new();
    loop {
        let read = (&mut file)
            .take(4 * frame::MAX_PAYLOAD as u64)
            .read_to_end(&mut buffer)?;
        let mut frames = frame::frames(&buffer);
        let mut torn = false;
        for found in frames.by_ref() {
            match found {
                Ok(frame) if frame.channel == Channel::Stdout => out += frame.payload.len() as u64,
                Ok(frame) if frame.channel == Channel::Stderr => err += frame.payload.len() as u64,
                Ok(_) => {}
                Err(_) => torn = true,
            }
        }
        let whole = frames.consumed();
        length += whole as u64;
        buffer.drain(..whole);
        if torn || read == 0 {
            break;
        }
    }
    file.set_len(length)?;
    file.sync_all()?;
    Ok([length, out, err])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_back_to_its_last_whole_frame() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let mut whole = Vec::new();
        for n in 0..40u8 {
            frame::encode(&mut whole, 0, Channel::Stdout, &vec![n; 20_000]);
            frame::encode(&mut whole, 0, Channel::Stderr, b"err");
        }
        for torn in [0, 1, 5, 19, 25] {
            let mut bytes = whole.clone();
            frame::encode(&mut bytes, 0, Channel::Stdout, b"torn off");
            bytes.truncate(whole.len() + torn);
            if torn == 25 {
                *bytes.last_mut().unwrap() ^= 1;
            }
            fs::write(&spool, &bytes).unwrap();
            assert_eq!(
                cut_to_whole_frames(&spool).unwrap(),
                [whole.len() as u64, 800_000, 120]
            );
            assert!(fs::read(&spool).unwrap() == whole);
        }
    }
}
