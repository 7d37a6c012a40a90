//! Builds that a step of another build has asked for: the parent and its children.

use std::collections::BTreeMap;

use capstan_model::{BuildId, BuildsetId, Outcome, RequestId};
use serde::{Deserialize, Serialize};

use crate::dialect::{in_keys, keys};
use crate::requests::RequestState;
use crate::sql::{Conn, Row, args};
use crate::{Error, Store};

/// More parents of one build than this are not told: each of its requests has one at most.
const MOST_PARENTS: u32 = 20;

/// A buildset that a step has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildSet {
    /// The key.
    pub buildset: BuildsetId,
    /// The scheduler that made it.
    pub scheduler: String,
    /// The worst of its requests, once all have ended.
    pub outcome: Option<Outcome>,
    /// Its requests, oldest first.
    pub requests: Vec<ChildRequest>,
}

/// A request of such a buildset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRequest {
    /// The key.
    pub request: RequestId,
    /// The builder.
    pub builder: String,
    /// How far it is.
    pub state: RequestState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The last build that served it.
    pub build: Option<Kin>,
}

/// A build that is another one's parent or child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kin {
    /// The key.
    pub id: BuildId,
    /// The builder.
    pub builder: String,
    /// Its number within its builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Store {
    /// How these buildsets stand, oldest first. What is no buildset is left out.
    pub async fn child_sets(&self, ids: &[BuildsetId]) -> Result<Vec<ChildSet>, Error> {
        load(&mut self.reader().await?, ids).await
    }

    /// The buildsets that the steps of a build have asked for, oldest first, at most `limit`.
    pub async fn children(&self, build: BuildId, limit: u32) -> Result<Vec<ChildSet>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id FROM buildsets WHERE parent = $1 ORDER BY id LIMIT $2";
        let rows = conn.rows(sql, args![build, limit]).await?;
        let ids: Vec<BuildsetId> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
        load(&mut conn, &ids).await
    }

    /// The builds whose steps have asked for this one, oldest first: more than one where one build serves several requests.
    pub async fn parents(&self, build: BuildId) -> Result<Vec<Kin>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT DISTINCT builds.id, builders.name AS builder_name, builds.number, builds.outcome
                   FROM build_requests JOIN requests ON requests.id = build_requests.request
                   JOIN buildsets ON buildsets.id = requests.buildset JOIN builds ON builds.id = buildsets.parent
                   JOIN builders ON builders.id = builds.builder
                   WHERE build_requests.build = $1 ORDER BY builds.id LIMIT $2";
        let rows = conn.rows(sql, args![build, MOST_PARENTS]).await?;
        let kin = |row: &Row| {
            Ok(Kin {
                id: row.get("id")?,
                builder: row.get("builder_name")?,
                number: row.get("number")?,
                outcome: row.maybe("outcome")?,
            })
        };
        rows.iter().map(kin).collect()
    }
}

async fn load(conn: &mut Conn, ids: &[BuildsetId]) -> Result<Vec<ChildSet>, Error> {
    let sql = in_keys!(
        "SELECT id, scheduler, outcome FROM buildsets WHERE id IN ",
        " ORDER BY id"
    );
    let mut requests = requests_of(conn, ids).await?;
    let rows = conn.rows(sql, vec![keys(ids.iter().map(|id| id.0))]).await?;
    let set = |row: &Row| {
        let buildset: BuildsetId = row.get("id")?;
        Ok(ChildSet {
            buildset,
            scheduler: row.maybe::<String>("scheduler")?.unwrap_or_default(),
            outcome: row.maybe("outcome")?,
            requests: requests.remove(&buildset.0).unwrap_or_default(),
        })
    };
    rows.iter().map(set).collect()
}

async fn requests_of(conn: &mut Conn, ids: &[BuildsetId]) -> Result<BTreeMap<i64, Vec<ChildRequest>>, Error> {
    let sql = in_keys!(
        "SELECT requests.id, requests.buildset, requests.state, requests.outcome, builders.name AS builder_name,
         builds.id AS build, builds.number AS build_number, builds.outcome AS build_outcome, shown.name AS shown_name
         FROM requests JOIN builders ON builders.id = requests.builder
         LEFT JOIN builds ON builds.id =
             (SELECT MAX(build_requests.build) FROM build_requests WHERE build_requests.request = requests.id)
         LEFT JOIN builders AS shown ON shown.id = builds.builder
         WHERE requests.buildset IN ",
        " ORDER BY requests.id"
    );
    let mut found: BTreeMap<i64, Vec<ChildRequest>> = BTreeMap::new();
    for row in conn.rows(sql, vec![keys(ids.iter().map(|id| id.0))]).await? {
        let builder: String = row.get("builder_name")?;
        let build = match row.maybe::<BuildId>("build")? {
            Some(id) => Some(Kin {
                id,
                builder: row.get("shown_name")?,
                number: row.get("build_number")?,
                outcome: row.maybe("build_outcome")?,
            }),
            None => None,
        };
        found.entry(row.get("buildset")?).or_default().push(ChildRequest {
            request: row.get("id")?,
            builder,
            state: row.get("state")?,
            outcome: row.maybe("outcome")?,
            build,
        });
    }
    Ok(found)
}
