//! Complete buildsets, and the schedulers that follow whoever asked for them.

use std::collections::HashMap;

use capstan_model::{BuildId, BuildsetId, SourceStamp, Timestamp};
use futures::FutureExt as _;
use serde_json::Value;

use super::{CompletedBuild, CompletedBuildset, Payload, enqueue};
use crate::sql::{Conn, Json, args};
use crate::writer::Tx;
use crate::{Error, Store, builds, buildsets};

/// More builds of a buildset than this a follower is not told of.
const MOST_BUILDS: u32 = 1000;

impl Store {
    /// Says who is told of whose complete buildsets from now on: upstream and follower.
    pub async fn follow(&self, followers: Vec<(String, String)>) -> Result<(), Error> {
        self.write(move |tx| set_followers(tx, followers).boxed()).await
    }
}

pub(crate) async fn set_followers(tx: &mut Tx, followers: Vec<(String, String)>) -> Result<(), Error> {
    tx.run("DELETE FROM scheduler_followers", args![]).await?;
    for (upstream, follower) in followers {
        let sql =
            "INSERT INTO scheduler_followers (upstream, follower) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        tx.run(sql, args![&upstream, &follower]).await?;
    }
    Ok(())
}

/// Leaves an event for each scheduler that follows the one that asked for this buildset, which is complete.
pub(crate) async fn tell_followers(tx: &mut Tx, id: BuildsetId, now: Timestamp) -> Result<(), Error> {
    let sql = "SELECT follower FROM scheduler_followers JOIN buildsets ON buildsets.scheduler = scheduler_followers.upstream
               WHERE buildsets.id = $1 ORDER BY follower";
    for row in tx.rows(sql, args![id]).await? {
        let follower: String = row.get("follower")?;
        enqueue(tx, &follower, &Payload::Completed(id), now).await?;
    }
    Ok(())
}

pub(super) async fn load(conn: &mut Conn, id: BuildsetId) -> Result<Option<CompletedBuildset>, Error> {
    let Some(buildset) = buildsets::load(conn, id).await? else {
        return Ok(None);
    };
    let sql = "SELECT DISTINCT builds.id, builders.name AS builder_name, builds.number, builds.outcome,
               (SELECT value FROM build_properties WHERE build_properties.build = builds.id
                AND build_properties.name = 'got_revision') AS got_revision
               FROM builds JOIN builders ON builders.id = COALESCE(builds.made_by, builds.builder)
               JOIN build_requests ON build_requests.build = builds.id
               JOIN requests ON requests.id = build_requests.request
               WHERE requests.buildset = $1 AND builds.outcome IS NOT NULL ORDER BY builds.id LIMIT $2";
    let rows = conn.rows(sql, args![id, MOST_BUILDS]).await?;
    let mut ids: Vec<BuildId> = Vec::with_capacity(rows.len());
    for row in &rows {
        ids.push(row.get("id")?);
    }
    let mut sources: HashMap<i64, Vec<SourceStamp>> = builds::sources_of(conn, &ids).await?;
    let mut found = Vec::with_capacity(rows.len());
    for (row, build) in rows.iter().zip(&ids) {
        let got = row.maybe::<Json<Value>>("got_revision")?.map(|got| got.0);
        let mut sources = sources.remove(&build.0).unwrap_or_default();
        for stamp in &mut sources {
            stamp.pin(got.as_ref());
        }
        found.push(CompletedBuild {
            builder: row.get("builder_name")?,
            number: row.get("number")?,
            outcome: row.get("outcome")?,
            sources,
        });
    }
    Ok(Some(CompletedBuildset {
        buildset,
        builds: found,
    }))
}
