//! Removing builds, or their logs or artefacts alone: so many rows a transaction, so that nobody waits long for the writer.
//!
//! A build goes from its leaves: journals, then commands with their logs, then the rest and itself. That it goes is noted with the first
//! of them: one whose removal was interrupted is not whole, and goes on at the next look, whatever the rules are by then.

use capstan_model::{BuildId, Digest, LogId, StepId, Timestamp};
use futures::FutureExt as _;

use crate::dialect::{in_keys, keys};
use crate::sql::args;
use crate::writer::Tx;
use crate::{Error, Store};

/// About so many rows go in one transaction: a few milliseconds.
const ROWS: u64 = 500;

/// What one transaction did of a list of builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// So many from the front of the list are done with. The next one may be half gone: it goes on.
    pub done: usize,
    /// So many of them were removed; the others may not be, by now.
    pub removed: u64,
    /// Rows that went.
    pub rows: u64,
}

impl Store {
    /// Removes the first of these builds with all that they have, as far as one transaction may go. One that runs or is kept stays.
    pub async fn remove_builds(&self, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
        self.write(move |tx| remove(tx, builds, now).boxed()).await
    }

    /// Notes that the logs of these builds go; their rows stay, to say what there was. The same for one transaction.
    pub async fn remove_logs(&self, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
        self.write(move |tx| remove_logs(tx, builds, now).boxed()).await
    }

    /// Removes the artefacts of these builds.
    pub async fn remove_artefacts(&self, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
        self.write(move |tx| remove_artefacts(tx, builds, now).boxed())
            .await
    }

    /// Builds of which a part is gone.
    pub async fn half_removed(&self) -> Result<Vec<BuildId>, Error> {
        let sql = "SELECT builds.id FROM removed_builds JOIN builds ON builds.id = removed_builds.id ORDER BY builds.id";
        let rows = self.reader().await?.rows(sql, args![]).await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// Why a build is kept whatever the rules say, if it is.
    pub async fn why_kept(&self, build: BuildId) -> Result<Option<String>, Error> {
        let sql = "SELECT kept FROM builds WHERE id = $1";
        let row = self.reader().await?.row(sql, args![build]).await?;
        row.map(|row| row.maybe("kept")).transpose().map(Option::flatten)
    }

    /// Keeps a build whatever the rules say, for that reason, or leaves it to them again. `false` if there is no such
    /// build, or it is being removed.
    pub async fn keep_build(&self, build: BuildId, reason: Option<&str>) -> Result<bool, Error> {
        let reason = reason.map(str::to_owned);
        self.write(move |tx| {
            async move {
                let update = "UPDATE builds SET kept = $2 WHERE id = $1
                              AND NOT EXISTS (SELECT 1 FROM removed_builds WHERE removed_builds.id = builds.id)";
                Ok(tx.run(update, args![build, reason]).await? > 0)
            }
            .boxed()
        })
        .await
    }
}

async fn remove(tx: &mut Tx, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
    let mut slice = Slice::default();
    for id in builds {
        if slice.rows >= ROWS {
            break;
        }
        if may_go(tx, id).await? {
            let note = "INSERT INTO removed_builds (id, builder, number, finished, removed)
                        SELECT id, builder, number, COALESCE(finished, started), $2 FROM builds WHERE id = $1
                        ON CONFLICT (id) DO NOTHING";
            slice.rows += tx.run(note, args![id, now]).await?;
            slice.rows += journals(tx, id, ROWS - slice.rows).await?;
            if slice.rows >= ROWS {
                break;
            }
            slice.rows += commands(tx, id, ROWS - slice.rows).await?;
            if slice.rows >= ROWS {
                break;
            }
            slice.rows += rest(tx, id).await?;
            slice.removed += 1;
        }
        slice.done += 1;
    }
    Ok(slice)
}

/// What was decided outside may not hold any more.
async fn may_go(tx: &mut Tx, id: BuildId) -> Result<bool, Error> {
    // Who waits for a build, or is to be told of it, finds it: its parent, and schedulers that follow.
    let sql = "SELECT id FROM builds WHERE id = $1 AND outcome IS NOT NULL AND (
               EXISTS (SELECT 1 FROM removed_builds WHERE removed_builds.id = builds.id)
               OR kept IS NULL
               AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.build = builds.id AND outbox.state = 'pending')
               AND NOT EXISTS (SELECT 1 FROM build_requests JOIN requests ON requests.id = build_requests.request
                   JOIN buildsets ON buildsets.id = requests.buildset WHERE build_requests.build = builds.id
                   AND (EXISTS (SELECT 1 FROM builds AS parent WHERE parent.id = buildsets.parent AND parent.outcome IS NULL)
                   OR EXISTS (SELECT 1 FROM scheduler_events
                       WHERE payload = '{\"completed\":' || CAST(buildsets.id AS TEXT) || '}'))))";
    Ok(tx.row(sql, args![id]).await?.is_some())
}

/// Rows of its steps' journals, at most so many. Their blobs are looked at later, when it is known who else has them.
async fn journals(tx: &mut Tx, id: BuildId, most: u64) -> Result<u64, Error> {
    let sql = "SELECT journal.step, journal.seq, journal.request_blob, journal.response_blob FROM steps CROSS JOIN journal
               WHERE journal.step = steps.id AND steps.build = $1 ORDER BY journal.step, journal.seq LIMIT $2";
    let mut last: Vec<(StepId, i64)> = Vec::new();
    for row in tx.rows(sql, args![id, most]).await? {
        let (step, seq) = (row.get("step")?, row.get("seq")?);
        match last.last_mut() {
            Some((known, reached)) if *known == step => *reached = seq,
            _ => last.push((step, seq)),
        }
        for column in ["request_blob", "response_blob"] {
            if let Some(blob) = row.maybe::<Digest>(column)? {
                let note = "INSERT INTO removals (kind, key) VALUES ('blob', $1)";
                tx.run(note, args![blob]).await?;
            }
        }
    }
    let mut gone = 0;
    for (step, seq) in last {
        let delete = "DELETE FROM journal WHERE step = $1 AND seq <= $2";
        gone += tx.run(delete, args![step, seq]).await?;
    }
    Ok(gone)
}

/// Its logs and the commands that printed them, at most about so many.
async fn commands(tx: &mut Tx, id: BuildId, most: u64) -> Result<u64, Error> {
    let sql = "SELECT logs.id FROM steps CROSS JOIN logs WHERE logs.step = steps.id AND steps.build = $1
               ORDER BY logs.id LIMIT $2";
    let rows = tx.rows(sql, args![id, most]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let logs: Vec<LogId> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
    let these = || vec![keys(logs.iter().map(|log| log.0))];
    let statements = [
        in_keys!("DELETE FROM commands WHERE log IN ", ""),
        in_keys!(
            "INSERT INTO removals (kind, key) SELECT 'log', CAST(id AS TEXT) FROM logs WHERE id IN ",
            ""
        ),
        in_keys!("DELETE FROM logs WHERE id IN ", ""),
    ];
    let mut rows = 0;
    for statement in statements {
        rows += tx.run(statement, these()).await?;
    }
    Ok(rows)
}

/// What is left of a build, and the build itself.
async fn rest(tx: &mut Tx, id: BuildId) -> Result<u64, Error> {
    let statements = [
        "INSERT INTO removals (kind, key) SELECT DISTINCT 'artefact', sha256 FROM artefacts WHERE build_id = $1",
        "DELETE FROM artefacts WHERE build_id = $1",
        "DELETE FROM step_links WHERE step IN (SELECT id FROM steps WHERE build = $1)",
        "DELETE FROM steps WHERE build = $1",
        "DELETE FROM build_properties WHERE build = $1",
        "DELETE FROM build_sources WHERE build = $1",
        "DELETE FROM build_branches WHERE build = $1",
        "DELETE FROM build_requests WHERE build = $1",
        "DELETE FROM interruptions WHERE build = $1",
        "DELETE FROM outbox WHERE build = $1",
    ];
    let mut rows = 0;
    for statement in statements {
        rows += tx.run(statement, args![id]).await?;
    }
    rows += tx.run("DELETE FROM builds WHERE id = $1", args![id]).await?;
    Ok(rows)
}

async fn remove_logs(tx: &mut Tx, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
    let mut slice = Slice::default();
    for id in builds {
        if slice.rows >= ROWS {
            break;
        }
        if may_go(tx, id).await? {
            let note = "UPDATE builds SET logs_removed = $2 WHERE id = $1 AND logs_removed IS NULL";
            if tx.run(note, args![id, now]).await? > 0 {
                let files = "INSERT INTO removals (kind, key) SELECT 'log', CAST(logs.id AS TEXT) FROM steps CROSS JOIN logs
                             WHERE logs.step = steps.id AND steps.build = $1";
                slice.rows += 1 + tx.run(files, args![id]).await?;
                // Nothing is to be sealed any more.
                let sealed = "UPDATE logs SET sealed = 1 WHERE sealed = 0 AND step IN (SELECT id FROM steps WHERE build = $1)";
                tx.run(sealed, args![id]).await?;
                slice.removed += 1;
            }
        }
        slice.done += 1;
    }
    Ok(slice)
}

async fn remove_artefacts(tx: &mut Tx, builds: Vec<BuildId>, now: Timestamp) -> Result<Slice, Error> {
    let mut slice = Slice::default();
    for id in builds {
        if slice.rows >= ROWS {
            break;
        }
        if may_go(tx, id).await? {
            let files = "INSERT INTO removals (kind, key) SELECT DISTINCT 'artefact', sha256 FROM artefacts WHERE build_id = $1";
            slice.rows += tx.run(files, args![id]).await?;
            let delete = "DELETE FROM artefacts WHERE build_id = $1";
            slice.rows += tx.run(delete, args![id]).await?;
            let note = "UPDATE builds SET artefacts_removed = $2 WHERE id = $1";
            slice.rows += tx.run(note, args![id, now]).await?;
            slice.removed += 1;
        }
        slice.done += 1;
    }
    Ok(slice)
}
