//! Buildsets: requests that were made together, for the same sources and by one decision.

use std::collections::{BTreeSet, HashMap};

use capstan_model::{BuildsetId, ChangeId, Outcome, Properties, RequestId, SourceStamp, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dialect::{in_keys, keys};
use crate::events::Draft;
use crate::sql::{Conn, Json, Row, args};
use crate::writer::Tx;
use crate::{Error, Store, builders, cancelling, likeness, schedulers, stamps};

/// A set of requests to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewBuildset {
    /// The scheduler that decided so; `None` when somebody forced it.
    pub scheduler: Option<String>,
    /// Why, for people.
    pub reason: String,
    /// What to check out, one per codebase.
    pub sources: Vec<SourceStamp>,
    /// For the builds.
    pub properties: Properties,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
    /// One request for each of these builders; one that is named twice counts once.
    pub builders: Vec<String>,
    /// Higher is sooner.
    pub priority: i32,
    /// Whether the first failure cancels what is left of it.
    pub fail_fast: bool,
    /// Whether its requests cancel older ones of the same scheduler, for the same builder and branches.
    pub cancel_own_older: bool,
    /// The builders whose older requests for the same branches are cancelled, whoever made them.
    pub cancel_older_of: Vec<String>,
}

/// What a [`NewBuildset`] became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The buildset.
    pub buildset: BuildsetId,
    /// Its requests, in the order of the builders.
    pub requests: Vec<RequestId>,
}

/// A buildset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buildset {
    /// The key.
    pub id: BuildsetId,
    /// The scheduler that decided so; `None` when somebody forced it.
    pub scheduler: Option<String>,
    /// Why, for people.
    pub reason: String,
    /// What to check out.
    pub sources: Vec<SourceStamp>,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
    /// For the builds.
    pub properties: Properties,
    /// When it was made.
    pub submitted: Timestamp,
    /// When its last request ended.
    pub finished: Option<Timestamp>,
    /// The worst result of its requests, once all have ended.
    pub outcome: Option<Outcome>,
    /// Whether the first failure cancels what is left of it.
    #[serde(default)]
    pub fail_fast: bool,
}

impl Store {
    /// Makes a buildset with its requests. [`Error::Invalid`] when it names a change that does not exist.
    pub async fn submit(&self, buildset: NewBuildset, now: Timestamp) -> Result<Submitted, Error> {
        self.write(move |tx| insert(tx, buildset, now).boxed()).await
    }

    /// That buildset.
    pub async fn buildset(&self, id: BuildsetId) -> Result<Option<Buildset>, Error> {
        load(&mut self.reader().await?, id).await
    }
}

/// That buildset.
pub(crate) async fn load(conn: &mut Conn, id: BuildsetId) -> Result<Option<Buildset>, Error> {
    let Some(row) = conn
        .row("SELECT * FROM buildsets WHERE id = $1", args![id])
        .await?
    else {
        return Ok(None);
    };
    let sources = sources_of(conn, &[id]).await?.remove(&id.0).unwrap_or_default();
    let changes = changes_of(conn, &[id]).await?.remove(&id.0).unwrap_or_default();
    Ok(Some(Buildset {
        id,
        scheduler: row.maybe("scheduler")?,
        reason: row.get("reason")?,
        sources,
        changes,
        properties: row.get::<Json<Properties>>("properties")?.0,
        submitted: row.get("submitted")?,
        finished: row.maybe("finished")?,
        outcome: row.maybe("outcome")?,
        fail_fast: row.get("fail_fast")?,
    }))
}

pub(crate) async fn insert(tx: &mut Tx, mut new: NewBuildset, now: Timestamp) -> Result<Submitted, Error> {
    let mut named = BTreeSet::new();
    new.builders.retain(|builder| named.insert(builder.clone()));
    new.properties.check().map_err(Error::Properties)?;
    let changed = changed_codebases(tx, &mut new.changes).await?;
    let likeness = likeness::of(&new.sources, &changed, &new.properties);
    let patched = new.sources.iter().any(|source| source.patch.is_some());
    let insert = "INSERT INTO buildsets (scheduler, reason, properties, submitted, likeness, fail_fast) VALUES ($1, $2, $3, $4, $5, $6)
                  RETURNING id";
    let (scheduler, properties) = (new.scheduler.as_deref(), Json(&new.properties));
    let row = tx
        .one(
            insert,
            args![scheduler, &new.reason, properties, now, likeness, new.fail_fast],
        )
        .await?;
    let id: BuildsetId = row.get("id")?;
    if patched {
        // No build serves it and another one: not even one that tries the same again.
        let update = "UPDATE buildsets SET likeness = $2 WHERE id = $1";
        tx.run(update, args![id, likeness::of_one(&likeness, id)]).await?;
    }
    for (source, position) in new.sources.iter().zip(0u32..) {
        let stamp = stamps::ensure(tx, source, now).await?;
        let insert = "INSERT INTO buildset_sources (buildset, position, source_stamp) VALUES ($1, $2, $3)";
        tx.run(insert, args![id, position, stamp]).await?;
    }
    for change in &new.changes {
        let insert = "INSERT INTO buildset_changes (buildset, change) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        tx.run(insert, args![id, *change]).await?;
    }
    let payload =
        json!({ "buildset": id, "scheduler": new.scheduler, "reason": new.reason, "builders": new.builders });
    Draft::new("buildset.submitted").payload(payload).add(tx, now);
    let mut requests = Vec::with_capacity(new.builders.len());
    for name in &new.builders {
        requests.push(insert_request(tx, id, name, new.priority, now).await?);
    }
    cancelling::supersede(tx, &new, &requests, now).await?;
    complete_if_done(tx, id, now).await?;
    Ok(Submitted {
        buildset: id,
        requests,
    })
}

/// The codebases that these changes are in. A scheduler may remember a change for longer than the farm: one that was removed is left
/// out.
async fn changed_codebases(conn: &mut Conn, changes: &mut Vec<ChangeId>) -> Result<BTreeSet<String>, Error> {
    let (mut codebases, mut known) = (BTreeSet::new(), Vec::with_capacity(changes.len()));
    for change in std::mem::take(changes) {
        let sql = "SELECT codebase FROM changes WHERE id = $1";
        if let Some(row) = conn.row(sql, args![change]).await? {
            codebases.insert(row.get("codebase")?);
            known.push(change);
            continue;
        }
        let newer = "SELECT id FROM changes WHERE id > $1 LIMIT 1";
        if conn.row(newer, args![change]).await?.is_none() {
            return Err(Error::invalid(format!(
                "expected a buildset's changes to exist, found no change {change}"
            )));
        }
    }
    *changes = known;
    Ok(codebases)
}

async fn insert_request(
    tx: &mut Tx,
    buildset: BuildsetId,
    builder: &str,
    priority: i32,
    now: Timestamp,
) -> Result<RequestId, Error> {
    let key = builders::ensure(tx, builder).await?;
    let insert = "INSERT INTO requests (buildset, builder, priority, state, submitted)
                  VALUES ($1, $2, $3, 'pending', $4) RETURNING id";
    let id = tx
        .one(insert, args![buildset, key, priority, now])
        .await?
        .get("id")?;
    let event = Draft::new("request.submitted").builder(builder).request(id);
    event
        .payload(json!({ "buildset": buildset, "priority": priority }))
        .add(tx, now);
    Ok(id)
}

/// Ends a buildset whose requests have all ended. One without requests was not necessary.
pub(crate) async fn complete_if_done(tx: &mut Tx, id: BuildsetId, now: Timestamp) -> Result<(), Error> {
    let mut worst = Outcome::Skipped;
    for row in tx
        .rows("SELECT id, outcome FROM requests WHERE buildset = $1", args![id])
        .await?
    {
        match row.maybe::<Outcome>("outcome")? {
            Some(outcome) => worst = worst.worst(outcome),
            None => return Ok(()),
        }
    }
    let end = "UPDATE buildsets SET finished = $2, outcome = $3 WHERE id = $1 AND finished IS NULL";
    if tx.run(end, args![id, now, worst]).await? == 0 {
        return Ok(());
    }
    Draft::new("buildset.complete")
        .payload(json!({ "buildset": id, "outcome": worst }))
        .add(tx, now);
    schedulers::tell_followers(tx, id, now).await
}

/// What each of these buildsets checks out, by key.
pub(crate) async fn sources_of(
    conn: &mut Conn,
    buildsets: &[BuildsetId],
) -> Result<HashMap<i64, Vec<SourceStamp>>, Error> {
    let sql = in_keys!(
        "SELECT buildset_sources.buildset AS owner, source_stamps.* FROM source_stamps
         JOIN buildset_sources ON buildset_sources.source_stamp = source_stamps.id WHERE buildset_sources.buildset IN ",
        " ORDER BY buildset_sources.buildset, buildset_sources.position"
    );
    stamps::by_owner(conn, sql, vec![keys(buildsets.iter().map(|id| id.0))]).await
}

/// The changes that led to each of these buildsets, by key.
pub(crate) async fn changes_of(
    conn: &mut Conn,
    buildsets: &[BuildsetId],
) -> Result<HashMap<i64, Vec<ChangeId>>, Error> {
    let sql = in_keys!(
        "SELECT buildset, change FROM buildset_changes WHERE buildset IN ",
        " ORDER BY buildset, change"
    );
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    let read = |row: &Row| Ok((row.get("buildset")?, row.get("change")?));
    for row in conn
        .rows(sql, vec![keys(buildsets.iter().map(|id| id.0))])
        .await?
    {
        let (buildset, change): (i64, ChangeId) = read(&row)?;
        found.entry(buildset).or_default().push(change);
    }
    Ok(found)
}
