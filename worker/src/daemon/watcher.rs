//! One task per command: starts its supervisor if need be, follows it to its end, and has [`settle`] say what is left if the
//! supervisor itself is gone.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::{Clock, CommandId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::commands::{News, Standing};
use super::settle::{self, Left};
use super::spares::Spares;
use crate::folder::Folder;
use crate::supervise::{Job, Order};

/// How often a supervisor is looked at whose bell rings for an earlier daemon.
const LOOK: Duration = Duration::from_millis(50);

/// A command that says nothing for so long leaves time to prepare the next one. A shorter one is over first, and the
/// worker idle while the master takes note of that.
const SETTLED: Duration = Duration::from_millis(20);

/// Looks for a supervisor that may fail, one after the other. A minute: nobody is taken for dead because this process has too
/// many files open for a while.
const FAILURES: u32 = 1200;

/// How much of what a supervisor says is passed on.
const MAX_COMPLAINT: usize = 1000;

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
    let mut left = Left::default();
    if let Some(job) = job
        && let Err(error) = follow_new(&folder, job, &mut teller, &spares, &mut left).await
    {
        left.complaint = format!("the worker could not start a supervisor: {error}");
    }
    let mut failures = 0;
    let standing = loop {
        let standing = look(&folder);
        if standing.exit.is_some() {
            break standing;
        }
        // Another supervisor may have been first, started by an earlier daemon.
        match folder.supervisor() {
            Ok(Some(supervisor)) => {
                left.supervisor = Some(supervisor);
                failures = 0;
            }
            Err(error) if failures < FAILURES => {
                if failures == 0 {
                    tracing::warn!(command = %id, "its supervisor could not be looked for: {error}");
                }
                failures += 1;
            }
            Ok(None) | Err(_) => {
                if let Some(exit) = settle::settle(id, &folder, &left, &*clock).await {
                    let (length, exit) = (exit.log_length, Some(exit));
                    break Standing {
                        length,
                        exit,
                        ..standing
                    };
                }
            }
        }
        teller.tell(standing).await;
        tokio::time::sleep(LOOK).await;
    };
    tracing::debug!(command = %id, "ended");
    teller.tell(standing).await;
    // What was told is on its way first.
    tokio::task::yield_now().await;
    spares.prepare();
}

/// Gives the command to a supervisor and listens to its bell until it ends, or until it has said how the command did.
async fn follow_new(
    folder: &Folder,
    job: Job,
    teller: &mut Teller,
    spares: &Spares,
    left: &mut Left,
) -> io::Result<()> {
    fs::create_dir_all(folder.path())?;
    let mut child = spares.supervisor()?;
    left.supervisor = child.id();
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
            let Ok(length @ 1..) = rung else { break };
            let said = String::from_utf8_lossy(&rings[..length]);
            if left.complaint.len() < MAX_COMPLAINT {
                left.complaint.push_str(said.trim_matches('\n'));
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
