//! Build requests: one builder's share of a buildset, from when it waits until its build has ended.

use std::collections::HashMap;

use capstan_model::{BuildId, BuildsetId, ChangeId, Outcome, Properties, RequestId, SourceStamp, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dialect::{in_keys, keys};
use crate::events::Draft;
use crate::sql::{Conn, Json, Row, args, words};
use crate::writer::Tx;
use crate::{Error, Store, buildsets};

words! {
    /// How far a request is.
    RequestState {
        /// It waits for a worker.
        Pending = "pending",
        /// A build serves it.
        Claimed = "claimed",
        /// It has ended.
        Complete = "complete",
    }
}

/// A request that waits for a worker: what the dispatcher needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingRequest {
    /// The key.
    pub id: RequestId,
    /// The set that it belongs to.
    pub buildset: BuildsetId,
    /// The builder.
    pub builder: String,
    /// Higher is sooner.
    pub priority: i32,
    /// When it was made.
    pub submitted: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// What to check out.
    pub sources: Vec<SourceStamp>,
    /// For the build.
    pub properties: Properties,
    /// Who asked; none where it was no scheduler.
    pub scheduler: Option<String>,
}

/// A request, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The key.
    pub id: RequestId,
    /// The set that it belongs to.
    pub buildset: BuildsetId,
    /// The builder.
    pub builder: String,
    /// Higher is sooner.
    pub priority: i32,
    /// How far it is.
    pub state: RequestState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it was cancelled, if it was.
    pub note: Option<String>,
    /// Why it was made, for people.
    pub reason: String,
    /// What to check out.
    pub sources: Vec<SourceStamp>,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
    /// For the build.
    pub properties: Properties,
    /// The builds that have served it, oldest first: more than one after a retry.
    pub builds: Vec<BuildId>,
    /// When it was made.
    pub submitted: Timestamp,
    /// When its build began.
    pub claimed: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// Which requests to list: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only this far.
    pub state: Option<RequestState>,
    /// Only of this builder.
    pub builder: Option<String>,
    /// Only of this buildset.
    pub buildset: Option<BuildsetId>,
    /// Only older ones than this.
    pub before: Option<RequestId>,
}

impl Store {
    /// Every request that waits, with all that belongs to it: most urgent first, then oldest first. There may be many:
    /// who follows the queue keeps [`Store::queue_entries`].
    pub async fn pending_requests(&self) -> Result<Vec<PendingRequest>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn
            .rows(
                "SELECT requests.*, builders.name AS builder_name, buildsets.reason AS reason,
                 buildsets.properties AS properties, buildsets.scheduler AS scheduler
                 FROM requests JOIN builders ON builders.id = requests.builder
                 JOIN buildsets ON buildsets.id = requests.buildset
                 WHERE requests.state = 'pending' ORDER BY requests.priority DESC, requests.id",
                args![],
            )
            .await?;
        let sources = buildsets::sources_of(&mut conn, &buildsets_of(&rows)?).await?;
        rows.iter().map(|row| pending(row, &sources)).collect()
    }

    /// That request, if it waits: what a build of it is made from.
    pub async fn pending_request(&self, id: RequestId) -> Result<Option<PendingRequest>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT requests.*, builders.name AS builder_name, buildsets.reason AS reason,
                   buildsets.properties AS properties, buildsets.scheduler AS scheduler
                   FROM requests JOIN builders ON builders.id = requests.builder
                   JOIN buildsets ON buildsets.id = requests.buildset
                   WHERE requests.id = $1 AND requests.state = 'pending'";
        let Some(row) = conn.row(sql, args![id]).await? else {
            return Ok(None);
        };
        let sources = buildsets::sources_of(&mut conn, &[row.get("buildset")?]).await?;
        pending(&row, &sources).map(Some)
    }

    /// That request.
    pub async fn request(&self, id: RequestId) -> Result<Option<Request>, Error> {
        let mut conn = self.reader().await?;
        Ok(by_ids(&mut conn, &[id]).await?.pop())
    }

    /// Those requests, oldest first.
    pub async fn requests_of(&self, ids: &[RequestId]) -> Result<Vec<Request>, Error> {
        let mut conn = self.reader().await?;
        by_ids(&mut conn, ids).await
    }

    /// Requests, newest first, at most `limit`.
    pub async fn requests(&self, filter: &RequestFilter, limit: u32) -> Result<Vec<Request>, Error> {
        let mut conn = self.reader().await?;
        let ids = matching(&mut conn, filter, limit).await?;
        let mut requests = by_ids(&mut conn, &ids).await?;
        requests.reverse();
        Ok(requests)
    }

    /// The requests that wait, of every builder or of one, in the order in which they are served: most urgent first,
    /// then oldest first; at most `limit`.
    pub async fn queue(&self, builder: Option<&str>, limit: u32) -> Result<Vec<Request>, Error> {
        let mut conn = self.reader().await?;
        let rows = match builder {
            None => {
                let all =
                    "SELECT id FROM requests WHERE state = 'pending' ORDER BY priority DESC, id LIMIT $1";
                conn.rows(all, args![limit]).await?
            }
            Some(name) => {
                let of_builder = "SELECT id FROM requests WHERE state = 'pending'
                                  AND builder = (SELECT builders.id FROM builders WHERE name = $1)
                                  ORDER BY priority DESC, id LIMIT $2";
                conn.rows(of_builder, args![name, limit]).await?
            }
        };
        let mut requests = by_ids(&mut conn, &ids(&rows)?).await?;
        requests.sort_by_key(|request| (std::cmp::Reverse(request.priority), request.id));
        Ok(requests)
    }

    /// The requests that a change led to, newest first, at most `limit`.
    pub async fn requests_of_change(&self, change: ChangeId, limit: u32) -> Result<Vec<Request>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT requests.id FROM buildset_changes JOIN requests ON requests.buildset = buildset_changes.buildset
                   WHERE buildset_changes.change = $1 ORDER BY requests.id DESC LIMIT $2";
        let ids = ids(&conn.rows(sql, args![change, limit]).await?)?;
        let mut requests = by_ids(&mut conn, &ids).await?;
        requests.reverse();
        Ok(requests)
    }

    /// Cancels a request that waits. Answers whether it did: a request that a build serves is not cancelled so.
    pub async fn cancel_request(&self, id: RequestId, reason: &str, now: Timestamp) -> Result<bool, Error> {
        let reason = reason.to_owned();
        self.write(move |tx| cancel(tx, id, reason, now).boxed()).await
    }
}

/// Every state: a list of any is three short lists put together, each read from an index that ends in state and key.
const STATES: [RequestState; 3] = [
    RequestState::Complete,
    RequestState::Claimed,
    RequestState::Pending,
];

async fn matching(conn: &mut Conn, filter: &RequestFilter, limit: u32) -> Result<Vec<RequestId>, Error> {
    let before = filter.before.unwrap_or(RequestId(i64::MAX));
    if let Some(buildset) = filter.buildset {
        // A set has one request for each of its builders.
        let sql = "SELECT requests.id FROM requests JOIN builders ON builders.id = requests.builder
                   WHERE buildset = $1 AND requests.id < $2 AND ($3 IS NULL OR state = $3)
                   AND ($4 IS NULL OR builders.name = $4) ORDER BY requests.id DESC LIMIT $5";
        let args = args![buildset, before, filter.state, filter.builder.as_deref(), limit];
        return ids(&conn.rows(sql, args).await?);
    }
    if filter.state.is_none() && filter.builder.is_none() {
        let all = "SELECT id FROM requests WHERE id < $1 ORDER BY id DESC LIMIT $2";
        return ids(&conn.rows(all, args![before, limit]).await?);
    }
    let mut found = Vec::new();
    for state in STATES {
        if filter.state.is_some_and(|only| only != state) {
            continue;
        }
        let rows = match filter.builder.as_deref() {
            None => {
                let sql = "SELECT id FROM requests WHERE state = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
                conn.rows(sql, args![state, before, limit]).await?
            }
            Some(name) => {
                let sql = "SELECT id FROM requests WHERE state = $1 AND id < $2
                           AND builder = (SELECT builders.id FROM builders WHERE name = $4) ORDER BY id DESC LIMIT $3";
                conn.rows(sql, args![state, before, limit, name]).await?
            }
        };
        found.extend(ids(&rows)?);
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.dedup();
    found.truncate(limit as usize);
    Ok(found)
}

fn ids(rows: &[Row]) -> Result<Vec<RequestId>, Error> {
    rows.iter().map(|row| row.get("id")).collect()
}

/// Those requests, oldest first.
async fn by_ids(conn: &mut Conn, ids: &[RequestId]) -> Result<Vec<Request>, Error> {
    let sql = in_keys!(
        "SELECT requests.*, builders.name AS builder_name, buildsets.reason AS reason,
         buildsets.properties AS properties, buildsets.scheduler AS scheduler
         FROM requests JOIN builders ON builders.id = requests.builder
         JOIN buildsets ON buildsets.id = requests.buildset WHERE requests.id IN ",
        " ORDER BY requests.id"
    );
    let rows = conn.rows(sql, vec![keys(ids.iter().map(|id| id.0))]).await?;
    load(conn, rows).await
}

async fn cancel(tx: &mut Tx, id: RequestId, reason: String, now: Timestamp) -> Result<bool, Error> {
    let pending = "SELECT id FROM requests WHERE id = $1 AND state = 'pending'";
    if tx.row(pending, args![id]).await?.is_none() {
        return Ok(false);
    }
    tx.run("UPDATE requests SET note = $2 WHERE id = $1", args![id, &reason])
        .await?;
    let buildset = complete(tx, id, Outcome::Cancelled, Some(&reason), now).await?;
    buildsets::complete_if_done(tx, buildset, now).await?;
    Ok(true)
}

/// Gives pending requests to a build. Answers false, and changes nothing, when one of them does not wait any more.
pub(crate) async fn claim(tx: &mut Tx, requests: &[RequestId], now: Timestamp) -> Result<bool, Error> {
    for id in requests {
        let pending = "SELECT id FROM requests WHERE id = $1 AND state = 'pending'";
        if tx.row(pending, args![*id]).await?.is_none() {
            return Ok(false);
        }
    }
    for id in requests {
        let update = "UPDATE requests SET state = 'claimed', claimed = $2 WHERE id = $1";
        tx.run(update, args![*id, now]).await?;
    }
    Ok(true)
}

/// Ends a request; answers its buildset.
pub(crate) async fn complete(
    tx: &mut Tx,
    id: RequestId,
    outcome: Outcome,
    note: Option<&str>,
    now: Timestamp,
) -> Result<BuildsetId, Error> {
    let update = "UPDATE requests SET state = 'complete', outcome = $2, finished = $3 WHERE id = $1 RETURNING buildset,
                  (SELECT name FROM builders WHERE builders.id = requests.builder) AS builder_name";
    let row = tx.one(update, args![id, outcome, now]).await?;
    let event = Draft::new("request.complete")
        .request(id)
        .builder(&row.get::<String>("builder_name")?);
    event
        .payload(json!({ "outcome": outcome, "reason": note }))
        .add(tx, now);
    row.get("buildset")
}

/// How many builds a request has had.
pub(crate) async fn builds_so_far(tx: &mut Tx, id: RequestId) -> Result<i64, Error> {
    let count = "SELECT COUNT(*) AS builds FROM build_requests WHERE request = $1";
    tx.one(count, args![id]).await?.get("builds")
}

/// Lets a request wait again.
pub(crate) async fn put_back(tx: &mut Tx, id: RequestId, now: Timestamp) -> Result<(), Error> {
    let update = "UPDATE requests SET state = 'pending', claimed = NULL WHERE id = $1 RETURNING
                  (SELECT name FROM builders WHERE builders.id = requests.builder) AS builder_name";
    let builder: String = tx.one(update, args![id]).await?.get("builder_name")?;
    let event = Draft::new("request.submitted").request(id).builder(&builder);
    event.payload(json!({ "again": true })).add(tx, now);
    Ok(())
}

async fn load(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Request>, Error> {
    let buildsets = buildsets_of(&rows)?;
    let sources = buildsets::sources_of(conn, &buildsets).await?;
    let changes = buildsets::changes_of(conn, &buildsets).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
    let sql = in_keys!(
        "SELECT build, request FROM build_requests WHERE request IN ",
        " ORDER BY request, build"
    );
    let mut builds: HashMap<i64, Vec<BuildId>> = HashMap::new();
    for row in conn.rows(sql, vec![keys(ids)]).await? {
        builds
            .entry(row.get("request")?)
            .or_default()
            .push(row.get("build")?);
    }
    let request = |row: &Row| {
        let PendingRequest {
            id,
            buildset,
            builder,
            priority,
            submitted,
            reason,
            sources,
            properties,
            scheduler: _,
        } = pending(row, &sources)?;
        Ok(Request {
            id,
            buildset,
            builder,
            priority,
            state: row.get("state")?,
            outcome: row.maybe("outcome")?,
            note: row.maybe("note")?,
            reason,
            sources,
            changes: changes.get(&buildset.0).cloned().unwrap_or_default(),
            properties,
            builds: builds.get(&id.0).cloned().unwrap_or_default(),
            submitted,
            claimed: row.maybe("claimed")?,
            finished: row.maybe("finished")?,
        })
    };
    rows.iter().map(request).collect()
}

fn buildsets_of(rows: &[Row]) -> Result<Vec<BuildsetId>, Error> {
    let mut ids: Vec<BuildsetId> = rows
        .iter()
        .map(|row| row.get("buildset"))
        .collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn pending(row: &Row, sources: &HashMap<i64, Vec<SourceStamp>>) -> Result<PendingRequest, Error> {
    let buildset: BuildsetId = row.get("buildset")?;
    Ok(PendingRequest {
        id: row.get("id")?,
        buildset,
        builder: row.get("builder_name")?,
        priority: row.get("priority")?,
        submitted: row.get("submitted")?,
        reason: row.get("reason")?,
        sources: sources.get(&buildset.0).cloned().unwrap_or_default(),
        properties: row.get::<Json<Properties>>("properties")?.0,
        scheduler: row.maybe("scheduler")?,
    })
}
