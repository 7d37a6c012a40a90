//! Rows that go by their age alone, table by table. Each is looked through from its oldest row on, a window at a time, up to the
//! first that is too young to be asked.

use capstan_model::{Digest, Timestamp};
use futures::FutureExt as _;

use crate::dialect::{Sql, in_keys, keys};
use crate::sql::args;
use crate::writer::Tx;
use crate::{Error, Store};

/// Rows of one window.
const WINDOW: u32 = 500;

/// What goes by its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aged {
    /// Buildsets that ended, with their requests, once no build of theirs is left.
    Buildsets,
    /// Changes that led to no buildset that is left.
    Changes,
    /// Source stamps that no buildset and no build has.
    Stamps,
    /// Calls of schedulers that were answered.
    Calls,
    /// Reports that were delivered.
    Reports,
    /// What plugins were refused.
    Refusals,
    /// The feed of events; its newest one stays.
    Events,
    /// What is known of builds that were removed.
    Removed,
}

/// A window of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgedPage {
    /// The keys of what may go.
    pub old: Vec<i64>,
    /// Where the next window begins; `None` at the end.
    pub next: Option<i64>,
}

impl Aged {
    /// Every kind, in the order in which they go: what refers to others first.
    pub const ALL: [Self; 8] = [
        Self::Buildsets,
        Self::Changes,
        Self::Stamps,
        Self::Calls,
        Self::Reports,
        Self::Refusals,
        Self::Events,
        Self::Removed,
    ];

    /// The rows after `$1`, when each was made, and whether it may go at `$2`.
    fn window(self) -> &'static str {
        macro_rules! window {
            ($table:literal, $since:literal, $condition:literal) => {
                concat!(
                    "SELECT id, ",
                    $since,
                    " AS since, CAST(CASE WHEN ",
                    $condition,
                    " THEN 1 ELSE 0 END AS BIGINT) AS old FROM ",
                    $table,
                    " WHERE id > $1 ORDER BY id LIMIT $3"
                )
            };
        }
        match self {
            Self::Buildsets => window!(
                "buildsets",
                "submitted",
                "finished < $2 AND NOT EXISTS (SELECT 1 FROM requests JOIN build_requests ON build_requests.request = requests.id
                 WHERE requests.buildset = buildsets.id) AND NOT EXISTS (SELECT 1 FROM scheduler_events
                 WHERE payload = '{\"completed\":' || CAST(buildsets.id AS TEXT) || '}')
                 AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = buildsets.parent AND builds.outcome IS NULL)"
            ),
            Self::Changes => window!(
                "changes",
                "received",
                "received < $2 AND NOT EXISTS (SELECT 1 FROM buildset_changes WHERE change = changes.id)
                 AND NOT EXISTS (SELECT 1 FROM scheduler_events
                 WHERE payload = '{\"change\":' || CAST(changes.id AS TEXT) || '}')"
            ),
            Self::Stamps => window!(
                "source_stamps",
                "created",
                "created < $2 AND NOT EXISTS (SELECT 1 FROM build_sources WHERE source_stamp = source_stamps.id)
                 AND NOT EXISTS (SELECT 1 FROM buildset_sources WHERE source_stamp = source_stamps.id)"
            ),
            Self::Calls => window!(
                "scheduler_calls",
                "created",
                "answered < $2 AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = scheduler_calls.build AND builds.outcome IS NULL)"
            ),
            Self::Reports => window!("outbox", "created", "state = 'delivered' AND finished < $2"),
            Self::Refusals => window!("refusals", "began", "latest < $2"),
            Self::Events => window!("events", "at", "at < $2"),
            Self::Removed => window!(
                "removed_builds",
                "removed",
                "removed < $2 AND NOT EXISTS (SELECT 1 FROM builds WHERE builds.id = removed_builds.id)"
            ),
        }
    }

    /// What goes with these rows, in this order. What was decided outside is asked again where it may have changed.
    fn statements(self) -> Vec<Sql> {
        match self {
            Self::Buildsets => vec![
                in_keys!("DELETE FROM buildset_sources WHERE buildset IN ", ""),
                in_keys!("DELETE FROM buildset_changes WHERE buildset IN ", ""),
                in_keys!("DELETE FROM requests WHERE buildset IN ", ""),
                in_keys!("DELETE FROM buildsets WHERE id IN ", ""),
            ],
            Self::Changes => vec![in_keys!(
                "DELETE FROM changes WHERE id IN ",
                " AND NOT EXISTS (SELECT 1 FROM buildset_changes WHERE change = changes.id)"
            )],
            Self::Stamps => vec![in_keys!(
                "DELETE FROM source_stamps WHERE id IN ",
                " AND NOT EXISTS (SELECT 1 FROM build_sources WHERE source_stamp = source_stamps.id)
                 AND NOT EXISTS (SELECT 1 FROM buildset_sources WHERE source_stamp = source_stamps.id) RETURNING patch"
            )],
            Self::Calls => vec![in_keys!("DELETE FROM scheduler_calls WHERE id IN ", "")],
            Self::Reports => vec![in_keys!("DELETE FROM outbox WHERE id IN ", "")],
            Self::Refusals => vec![in_keys!("DELETE FROM refusals WHERE id IN ", "")],
            Self::Events => vec![in_keys!(
                "DELETE FROM events WHERE id IN ",
                " AND id < (SELECT MAX(id) FROM events)"
            )],
            Self::Removed => vec![in_keys!("DELETE FROM removed_builds WHERE id IN ", "")],
        }
    }
}

impl Store {
    /// What may go of the rows after `after`: those that are done with since before `before`.
    pub async fn aged(&self, what: Aged, before: Timestamp, after: i64) -> Result<AgedPage, Error> {
        let mut conn = self.reader().await?;
        let rows = conn.rows(what.window(), args![after, before, WINDOW]).await?;
        let mut page = AgedPage::default();
        for row in &rows {
            let id = row.get("id")?;
            if row.get("old")? {
                page.old.push(id);
            }
            page.next = (row.get::<Timestamp>("since")? < before).then_some(id);
        }
        if rows.len() < WINDOW as usize {
            page.next = None;
        }
        Ok(page)
    }

    /// Removes these rows, as [`Store::aged`] found them; answers how many went.
    pub async fn remove_aged(&self, what: Aged, ids: Vec<i64>) -> Result<u64, Error> {
        self.write(move |tx| remove(tx, what, ids).boxed()).await
    }
}

async fn remove(tx: &mut Tx, what: Aged, ids: Vec<i64>) -> Result<u64, Error> {
    let mut gone = 0;
    for statement in what.statements() {
        let ids = vec![keys(ids.iter().copied())];
        if what != Aged::Stamps {
            gone = tx.run(statement, ids).await?;
            continue;
        }
        for row in tx.rows(statement, ids).await? {
            gone += 1;
            if let Some(patch) = row.maybe::<Digest>("patch")? {
                let note = "INSERT INTO removals (kind, key) VALUES ('blob', $1)";
                tx.run(note, args![patch]).await?;
            }
        }
    }
    Ok(gone)
}
