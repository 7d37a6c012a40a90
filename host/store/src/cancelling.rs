//! Requests that are not wanted any more: of a buildset that somebody cancels or that failed, or because a newer request came for
//! the same branch. Those that wait end at once; builds that serve nobody else are asked to stop, in the same transaction.

use std::collections::BTreeSet;

use capstan_model::{BuildId, BuildsetId, Outcome, RequestId, SourceStamp, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::buildsets::{self, NewBuildset};
use crate::requests::{self, RequestState};
use crate::sql::{Conn, args};
use crate::writer::Tx;
use crate::{Error, Store, builds};

/// What was cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Requests that ended at once.
    pub requests: Vec<RequestId>,
    /// Builds that were asked to stop.
    pub builds: Vec<BuildId>,
}

impl Store {
    /// Cancels what has not ended of a buildset: requests that wait end, builds that serve no other buildset are asked to stop.
    /// `None` when there is no such buildset.
    pub async fn cancel_buildset(
        &self,
        id: BuildsetId,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Cancelled>, Error> {
        let reason = reason.to_owned();
        self.write(move |tx| cancel_buildset(tx, id, reason, now).boxed())
            .await
    }

    /// Cancels those requests of these buildsets that wait: builds that have begun go on.
    pub async fn cancel_waiting(
        &self,
        ids: &[BuildsetId],
        reason: &str,
        now: Timestamp,
    ) -> Result<Cancelled, Error> {
        let (ids, reason) = (ids.to_vec(), reason.to_owned());
        self.write(move |tx| cancel_waiting(tx, ids, reason, now).boxed())
            .await
    }

    /// The running builds that were asked to stop, each with the reason.
    pub async fn stopping_builds(&self) -> Result<Vec<(BuildId, String)>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id, stop_reason FROM builds WHERE state = 'running' AND stop_requested IS NOT NULL";
        let rows = conn.rows(sql, args![]).await?;
        rows.iter()
            .map(|row| Ok((row.get("id")?, row.maybe("stop_reason")?.unwrap_or_default())))
            .collect()
    }
}

async fn cancel_buildset(
    tx: &mut Tx,
    id: BuildsetId,
    reason: String,
    now: Timestamp,
) -> Result<Option<Cancelled>, Error> {
    let exists = "SELECT id FROM buildsets WHERE id = $1";
    if tx.row(exists, args![id]).await?.is_none() {
        return Ok(None);
    }
    let unfinished = unfinished_of(tx, id).await?;
    cancel(tx, unfinished, &reason, now).await.map(Some)
}

async fn cancel_waiting(
    tx: &mut Tx,
    ids: Vec<BuildsetId>,
    reason: String,
    now: Timestamp,
) -> Result<Cancelled, Error> {
    let mut waiting = Vec::new();
    for id in ids {
        let sql = "SELECT id FROM requests WHERE buildset = $1 AND state = 'pending' ORDER BY id";
        for row in tx.rows(sql, args![id]).await? {
            waiting.push(row.get("id")?);
        }
    }
    cancel(tx, waiting, &reason, now).await
}

async fn unfinished_of(conn: &mut Conn, id: BuildsetId) -> Result<Vec<RequestId>, Error> {
    let sql = "SELECT id FROM requests WHERE buildset = $1 AND state <> 'complete' ORDER BY id";
    let rows = conn.rows(sql, args![id]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Cancels requests, those that have ended left out. A build goes on that serves another request, too; the request that is
/// cancelled ends all the same.
async fn cancel(
    tx: &mut Tx,
    requests: Vec<RequestId>,
    reason: &str,
    now: Timestamp,
) -> Result<Cancelled, Error> {
    let unwanted: BTreeSet<RequestId> = requests.iter().copied().collect();
    let (mut cancelled, mut buildsets) = (Cancelled::default(), BTreeSet::new());
    for id in requests {
        let state = "SELECT state FROM requests WHERE id = $1";
        let state = tx.one(state, args![id]).await?.get("state")?;
        if state == RequestState::Complete {
            continue;
        }
        let note = "UPDATE requests SET note = $2 WHERE id = $1";
        tx.run(note, args![id, reason]).await?;
        if let Some(build) = sole_build(tx, id, state, &unwanted).await? {
            if !cancelled.builds.contains(&build) {
                builds::request_stop(tx, build, reason.to_owned(), now).await?;
                cancelled.builds.push(build);
            }
        } else {
            buildsets.insert(requests::complete(tx, id, Outcome::Cancelled, Some(reason), now).await?);
            cancelled.requests.push(id);
        }
    }
    for buildset in buildsets {
        buildsets::complete_if_done(tx, buildset, now).await?;
    }
    Ok(cancelled)
}

/// The running build of a request, if it serves none but unwanted ones.
async fn sole_build(
    conn: &mut Conn,
    id: RequestId,
    state: RequestState,
    unwanted: &BTreeSet<RequestId>,
) -> Result<Option<BuildId>, Error> {
    if state != RequestState::Claimed {
        return Ok(None);
    }
    let sql = "SELECT builds.id FROM builds JOIN build_requests ON build_requests.build = builds.id
               WHERE build_requests.request = $1 AND builds.state = 'running'";
    let Some(row) = conn.row(sql, args![id]).await? else {
        return Ok(None);
    };
    let build: BuildId = row.get("id")?;
    let others =
        "SELECT requests.id FROM requests JOIN build_requests ON build_requests.request = requests.id
                  WHERE build_requests.build = $1 AND requests.state = 'claimed'";
    for row in conn.rows(others, args![build]).await? {
        if !unwanted.contains(&row.get("id")?) {
            return Ok(None);
        }
    }
    Ok(Some(build))
}

/// A request of a buildset has ended: one that fails fast is not worth more work. Who cancels one of its requests has not
/// seen it fail, and says nothing about the others.
pub(crate) async fn after_failure(
    tx: &mut Tx,
    buildset: BuildsetId,
    builder: &str,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(), Error> {
    if outcome.is_good() || outcome == Outcome::Cancelled {
        return Ok(());
    }
    let wanted = "SELECT id FROM buildsets WHERE id = $1 AND fail_fast = 1";
    if tx.row(wanted, args![buildset]).await?.is_some() {
        let unfinished = unfinished_of(tx, buildset).await?;
        let reason = format!("`{builder}` ended as {outcome}, and this buildset ends at the first failure");
        cancel(tx, unfinished, &reason, now).await?;
    }
    Ok(())
}

/// Cancels what the requests of a new buildset replace: older ones of the same builder for the same branches.
pub(crate) async fn supersede(
    tx: &mut Tx,
    new: &NewBuildset,
    made: &[RequestId],
    now: Timestamp,
) -> Result<(), Error> {
    let Some(first) = new.sources.first() else {
        return Ok(());
    };
    // A patch that somebody tries is no newer state of its branch.
    if is_patched(&new.sources) {
        return Ok(());
    }
    let scheduler = new.scheduler.as_deref();
    for (builder, request) in new.builders.iter().zip(made) {
        let everybodys = new.cancel_older_of.contains(builder);
        let own = new.cancel_own_older && scheduler.is_some();
        if !everybodys && !own {
            continue;
        }
        // What is common to all is looked for here, the other codebases below.
        let sql = "SELECT requests.id, requests.buildset FROM requests
                   JOIN buildsets ON buildsets.id = requests.buildset
                   JOIN buildset_sources ON buildset_sources.buildset = buildsets.id AND buildset_sources.position = 0
                   JOIN source_stamps ON source_stamps.id = buildset_sources.source_stamp
                   WHERE requests.builder = (SELECT builders.id FROM builders WHERE name = $1)
                   AND requests.state IN ('pending', 'claimed') AND requests.id < $2
                   AND COALESCE(source_stamps.branch, '') = $3 AND ($4 IS NULL OR buildsets.scheduler = $4)
                   ORDER BY requests.id";
        let whose = scheduler.filter(|_| !everybodys);
        let branch = first.branch.as_deref().unwrap_or_default();
        let rows = tx.rows(sql, args![builder, *request, branch, whose]).await?;
        let mut of_sets = Vec::new();
        for row in &rows {
            of_sets.push((row.get::<RequestId>("id")?, row.get::<BuildsetId>("buildset")?));
        }
        let keys: Vec<_> = of_sets.iter().map(|(_, set)| *set).collect();
        let sources = buildsets::sources_of(tx, &keys).await?;
        let replaced = of_sets.iter().filter(|(_, set)| {
            let older = sources.get(&set.0).map(Vec::as_slice).unwrap_or_default();
            !is_patched(older) && lines(older) == lines(&new.sources)
        });
        let replaced = replaced.map(|(id, _)| *id).collect();
        cancel(tx, replaced, &format!("superseded by request {request}"), now).await?;
    }
    Ok(())
}

fn is_patched(sources: &[SourceStamp]) -> bool {
    sources.iter().any(|source| source.patch.is_some())
}

/// What makes two sets of sources successive states of the same work: all but the revisions.
fn lines<'s>(sources: &'s [SourceStamp]) -> BTreeSet<(&'s str, &'s str, Option<&'s str>)> {
    let line = |source: &'s SourceStamp| {
        (
            source.codebase.as_str(),
            source.repository.as_str(),
            source.branch.as_deref(),
        )
    };
    sources.iter().map(line).collect()
}
