//! Removes what may go: builds, then what goes by its age, then the files of all that.

use std::sync::Arc;
use std::time::Duration;

use capstan_config::Retention as Rules;
use capstan_model::{BuildId, Digest};
use capstan_store::{Aged, File, Slice, Weight};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Page, judge, limit, look, name};
use crate::Error;
use crate::farm::Farm;

/// The shortest pause after a transaction.
const PAUSE: Duration = Duration::from_millis(5);
/// Files that are removed before the list is told.
const FILES: u32 = 200;
/// How often the log says how far it is.
const PROGRESS: Duration = Duration::from_secs(60);

/// What is removed of builds.
#[derive(Clone, Copy)]
enum Part {
    All,
    Logs,
    Artefacts,
}

/// Carries all rules out.
pub(super) async fn everything(farm: &Farm, shutdown: &CancellationToken) -> Result<(), Error> {
    let rules = farm.retention.rules.load_full();
    let now = farm.clock.now();
    let mut told = Instant::now();
    let half = farm.store.half_removed().await?;
    slices(farm, Part::All, half, shutdown).await?;
    for (builder, judge) in judge::all(farm, &rules, now).await? {
        let mut after = 0;
        while let Some((page, next)) = look(farm, builder, &judge, after).await? {
            after = next;
            still(farm, &rules)?;
            remove(farm, page, shutdown).await?;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let removed = farm.retention.status().running.clone().unwrap_or_default();
                tracing::info!("retention has removed {} so far", super::said(&removed));
            }
        }
    }
    for what in Aged::ALL {
        let Some(before) = limit(&rules, what, now) else {
            continue;
        };
        let mut after = Some(0);
        while let Some(place) = after {
            let page = farm.store.aged(what, before, place).await?;
            after = page.next;
            still(farm, &rules)?;
            if !page.old.is_empty() {
                let began = Instant::now();
                let count = farm.store.remove_aged(what, page.old).await?;
                farm.retention.note(name(what), Weight { count, bytes: 0 });
                rest(began, shutdown).await;
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }
    files(farm, shutdown).await
}

/// Whoever finds that a rule was wrong, and changes it, means what is being removed, too.
fn still(farm: &Farm, rules: &Arc<Rules>) -> Result<(), Error> {
    match Arc::ptr_eq(rules, &farm.retention.rules.load()) {
        true => Ok(()),
        false => Err(Error::failed(
            "carry the rules out",
            "they were changed meanwhile",
        )),
    }
}

async fn remove(farm: &Farm, page: Page, shutdown: &CancellationToken) -> Result<(), Error> {
    let (logs, artefacts) = (
        farm.store.logs_weigh(&page.with_logs()).await?,
        farm.store.artefacts_weigh(&page.with_artefacts()).await?,
    );
    let builds = slices(farm, Part::All, page.builds, shutdown).await?;
    slices(farm, Part::Logs, page.logs, shutdown).await?;
    slices(farm, Part::Artefacts, page.artefacts, shutdown).await?;
    for (what, weight) in [
        (
            "builds",
            Weight {
                count: builds,
                bytes: 0,
            },
        ),
        ("logs", logs),
        ("artefacts", artefacts),
    ] {
        farm.retention.note(what, weight);
    }
    Ok(())
}

/// Removes these builds, or that part of them, a transaction at a time; answers how many.
async fn slices(
    farm: &Farm,
    part: Part,
    mut builds: Vec<BuildId>,
    shutdown: &CancellationToken,
) -> Result<u64, Error> {
    let mut removed = 0;
    while !builds.is_empty() && !shutdown.is_cancelled() {
        let (began, now, these) = (Instant::now(), farm.clock.now(), builds.clone());
        let slice: Slice = match part {
            Part::All => farm.store.remove_builds(these, now).await?,
            Part::Logs => farm.store.remove_logs(these, now).await?,
            Part::Artefacts => farm.store.remove_artefacts(these, now).await?,
        };
        builds.drain(..slice.done.min(builds.len()));
        removed += slice.removed;
        rest(began, shutdown).await;
    }
    Ok(removed)
}

/// Leaves the store to the others for as long as it was busy with this.
async fn rest(began: Instant, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(began.elapsed().max(PAUSE)) => {}
    }
}

/// Removes the files of what is gone. One that cannot be removed is tried again the next time.
pub(super) async fn files(farm: &Farm, shutdown: &CancellationToken) -> Result<(), Error> {
    let mut after = 0;
    while !shutdown.is_cancelled() {
        let list = farm.store.file_removals(after, FILES).await?;
        let Some(last) = list.last() else {
            return Ok(());
        };
        after = last.id;
        let mut gone = Vec::new();
        let mut blobs: Vec<(i64, Digest)> = Vec::new();
        for entry in list {
            let removed = match entry.file {
                File::Log(log) => farm.logs.remove(log).await.map(|()| true),
                File::Artefact(sha256) => match farm.store.has_artefact_content(sha256).await? {
                    true => Ok(true),
                    false => farm.artefacts.remove(sha256).await,
                },
                File::Blob(digest) => {
                    blobs.push((entry.id, digest));
                    continue;
                }
            };
            match removed {
                Ok(true) => gone.push(entry.id),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a file of what was removed is still there"),
            }
        }
        if !blobs.is_empty() {
            let (ids, digests): (Vec<_>, Vec<_>) = blobs.into_iter().unzip();
            match farm.store.remove_blobs(digests).await {
                Ok(_) => gone.extend(ids),
                // Looked at again the next time.
                Err(error) => tracing::debug!(%error, "blobs of what was removed are still there"),
            }
        }
        let began = Instant::now();
        farm.store.forget_removals(gone).await?;
        rest(began, shutdown).await;
    }
    Ok(())
}
