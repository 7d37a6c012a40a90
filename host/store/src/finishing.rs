//! The end of a build, in one transaction: its result, what its requests get, and all who are to be told. Called by `builds`.

use capstan_model::{BuildId, Outcome, Timestamp};
use serde_json::json;

use crate::builds::{self, BuildFinish};
use crate::events::Draft;
use crate::schedulers::{self, Finished, Payload};
use crate::sql::args;
use crate::writer::Tx;
use crate::{Error, buildsets, cancelling, outbox, requests};

pub(crate) async fn finish_build(
    tx: &mut Tx,
    id: BuildId,
    finish: BuildFinish,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "SELECT builds.*, builders.name AS builder_name, COALESCE(makers.name, builders.name) AS made_by_name FROM builds
               JOIN builders ON builders.id = builds.builder LEFT JOIN builders AS makers ON makers.id = builds.made_by WHERE builds.id = $1";
    let row = tx.row(sql, args![id]).await?;
    let row = row
        .ok_or_else(|| Error::conflict(format!("expected build {id} to be running, found no such build")))?;
    match row.maybe::<Outcome>("outcome")? {
        None => {}
        Some(before) if before == finish.outcome => return Ok(()),
        Some(before) => {
            return Err(Error::conflict(format!(
                "expected build {id} to be running, found it ended as {before}"
            )));
        }
    }
    let (builder, number): (String, u64) = (row.get("builder_name")?, row.get("number")?);
    let update =
        "UPDATE builds SET state = 'complete', outcome = $2, summary = $3, finished = $4 WHERE id = $1";
    tx.run(update, args![id, finish.outcome, &finish.summary, now])
        .await?;
    let payload = json!({ "number": number, "outcome": finish.outcome, "summary": finish.summary });
    Draft::new("build.finished")
        .builder(&builder)
        .build(id)
        .payload(payload)
        .add(tx, now);
    let stopped = row.maybe::<Timestamp>("stop_requested")?.is_some();
    finish_requests(tx, id, &builder, &finish, stopped, now).await?;
    outbox::queue(tx, id, &builder, None, finish.reports, now).await?;
    let sources = builds::sources_of(tx, &[id])
        .await?
        .remove(&id.0)
        .unwrap_or_default();
    // Schedulers know builders by the names in their configuration.
    let finished = Payload::Finished(Finished {
        builder: row.get("made_by_name")?,
        number,
        outcome: finish.outcome,
        sources,
    });
    for scheduler in &finish.subscribers {
        schedulers::enqueue(tx, scheduler, &finished, now).await?;
    }
    Ok(())
}

/// A request that asks for a retry so often will not be cured by another.
const MAX_BUILDS: i64 = 10;

async fn finish_requests(
    tx: &mut Tx,
    id: BuildId,
    builder: &str,
    finish: &BuildFinish,
    stopped: bool,
    now: Timestamp,
) -> Result<(), Error> {
    // A stop may be asked for while the build is already ending: what was cancelled is not built again.
    let outcome = match finish.outcome {
        Outcome::Retry if stopped => Outcome::Cancelled,
        outcome => outcome,
    };
    // One that was cancelled while its build went on for others has ended.
    let served = "SELECT request FROM build_requests JOIN requests ON requests.id = build_requests.request
                  WHERE build = $1 AND requests.state = 'claimed' ORDER BY request";
    let mut buildsets = Vec::new();
    for row in tx.rows(served, args![id]).await? {
        let request = row.get("request")?;
        if finish.retry && !stopped && requests::builds_so_far(tx, request).await? < MAX_BUILDS {
            requests::put_back(tx, request, now).await?;
        } else {
            buildsets.push(requests::complete(tx, request, outcome, None, now).await?);
        }
    }
    buildsets.sort_unstable();
    buildsets.dedup();
    for buildset in buildsets {
        cancelling::after_failure(tx, buildset, builder, outcome, now).await?;
        buildsets::complete_if_done(tx, buildset, now).await?;
    }
    Ok(())
}
