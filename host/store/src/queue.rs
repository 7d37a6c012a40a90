//! The requests that wait, as the dispatcher keeps them in memory: few facts of each, read once, and then only of those that a
//! commit was about. The database stays the truth: who has missed something reads them all again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use capstan_model::{BuildsetId, Digest, Properties, RequestId, Timestamp};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use crate::dialect::{Sql, in_keys, keys};
use crate::sql::{Conn, Json, Row, args};
use crate::{Error, Store, buildsets, likeness};

/// Commits that a feed may be behind before it has to say that it missed some.
pub(crate) const BEHIND: usize = 4096;

/// What a commit was about. `None`: nobody knows, for it may or may not have happened.
pub(crate) type Touched = Option<Arc<[RequestId]>>;

/// A request that waits, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// The key.
    pub id: RequestId,
    /// The set that it belongs to.
    pub buildset: BuildsetId,
    /// The builder.
    pub builder: Arc<str>,
    /// Higher is sooner.
    pub priority: i32,
    /// When it was made.
    pub submitted: Timestamp,
    /// Requests of a builder whose likeness is equal can be served by one build.
    pub likeness: Digest,
}

/// Tells which requests commits were about.
#[derive(Debug)]
pub struct RequestFeed(broadcast::Receiver<Touched>);

impl RequestFeed {
    /// The requests that were made, claimed, ended or put back since it was last asked. `None` when some may be missing: then
    /// all have to be read again.
    pub fn take(&mut self) -> Option<BTreeSet<RequestId>> {
        let (mut all, mut complete) = (BTreeSet::new(), true);
        loop {
            match self.0.try_recv() {
                Ok(Some(touched)) => all.extend(touched.iter().copied()),
                Ok(None) | Err(TryRecvError::Lagged(_)) => complete = false,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return complete.then_some(all),
            }
        }
    }
}

macro_rules! entries {
    ($condition:literal) => {
        concat!(
            "SELECT requests.id, requests.buildset, builders.name AS builder_name, requests.priority, requests.submitted,
             buildsets.likeness FROM requests JOIN builders ON builders.id = requests.builder
             JOIN buildsets ON buildsets.id = requests.buildset WHERE requests.state = 'pending'",
            $condition
        )
    };
}

impl Store {
    /// From now on, which requests commits are about. Read the queue after this was asked for, and nothing is missed.
    pub fn request_feed(&self) -> RequestFeed {
        RequestFeed(self.touched().subscribe())
    }

    /// Every request that waits, in no order.
    pub async fn queue_entries(&self) -> Result<Vec<QueueEntry>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn.rows(entries!(""), args![]).await?;
        load(&mut conn, &rows).await
    }

    /// Those of these requests that wait, in no order.
    pub async fn queue_entries_of(&self, ids: &BTreeSet<RequestId>) -> Result<Vec<QueueEntry>, Error> {
        const OF: Sql = Sql {
            sqlite: entries!(" AND requests.id IN (SELECT value FROM json_each($1))"),
            postgres: entries!(
                " AND requests.id IN (SELECT value::bigint FROM json_array_elements_text($1::json))"
            ),
        };
        let mut conn = self.reader().await?;
        let rows = conn.rows(OF, vec![keys(ids.iter().map(|id| id.0))]).await?;
        load(&mut conn, &rows).await
    }
}

async fn load(conn: &mut Conn, rows: &[Row]) -> Result<Vec<QueueEntry>, Error> {
    let mut missing = Vec::new();
    for row in rows {
        if row.maybe::<Digest>("likeness")?.is_none() {
            missing.push(row.get("buildset")?);
        }
    }
    let computed = match missing.is_empty() {
        true => HashMap::new(),
        false => compute(conn, &missing).await?,
    };
    let mut names: HashMap<String, Arc<str>> = HashMap::new();
    let entry = |row: &Row| {
        let buildset: BuildsetId = row.get("buildset")?;
        let builder: String = row.get("builder_name")?;
        let builder = match names.get(&builder) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = builder.as_str().into();
                names.insert(builder, Arc::clone(&name));
                name
            }
        };
        let likeness = row.maybe("likeness")?;
        Ok(QueueEntry {
            id: row.get("id")?,
            buildset,
            builder,
            priority: row.get("priority")?,
            submitted: row.get("submitted")?,
            likeness: likeness
                .or_else(|| computed.get(&buildset.0).copied())
                .ok_or_else(|| row.corrupt("buildset", "expected a buildset"))?,
        })
    };
    rows.iter().map(entry).collect()
}

/// The likeness of buildsets that an earlier version made.
async fn compute(conn: &mut Conn, ids: &[BuildsetId]) -> Result<HashMap<i64, Digest>, Error> {
    let list = || vec![keys(ids.iter().map(|id| id.0))];
    let sources = buildsets::sources_of(conn, ids).await?;
    let sql = in_keys!(
        "SELECT DISTINCT buildset_changes.buildset, changes.codebase FROM buildset_changes
         JOIN changes ON changes.id = buildset_changes.change WHERE buildset_changes.buildset IN ",
        ""
    );
    let mut changed: HashMap<i64, BTreeSet<String>> = HashMap::new();
    for row in conn.rows(sql, list()).await? {
        changed
            .entry(row.get("buildset")?)
            .or_default()
            .insert(row.get("codebase")?);
    }
    let sql = in_keys!("SELECT id, properties FROM buildsets WHERE id IN ", "");
    let mut found = HashMap::new();
    for row in conn.rows(sql, list()).await? {
        let id: i64 = row.get("id")?;
        let properties = row.get::<Json<Properties>>("properties")?.0;
        let sources = sources.get(&id).map_or(&[][..], Vec::as_slice);
        let changed = changed.remove(&id).unwrap_or_default();
        found.insert(id, likeness::of(sources, &changed, &properties));
    }
    Ok(found)
}
