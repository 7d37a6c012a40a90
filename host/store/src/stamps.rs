//! Source stamps: rows that buildsets and builds share. Buildsets and builds name theirs in order, in two tables of one
//! shape.

use std::collections::HashMap;

use capstan_model::{Digest, Patch, SourceStamp, SourceStampId, Timestamp};

use crate::Error;
use crate::dialect::Sql;
use crate::sql::{Conn, Json, Row, Value, args};
use crate::writer::Tx;

/// The row of that stamp; made if it is new.
pub(crate) async fn ensure(tx: &mut Tx, stamp: &SourceStamp, now: Timestamp) -> Result<SourceStampId, Error> {
    let SourceStamp {
        codebase,
        repository,
        project,
        branch,
        revision,
        patch,
    } = stamp;
    let mut parts = serde_json::json!([codebase, repository, project, branch, revision]);
    // Stamps without one keep the fingerprint that they had before there were patches.
    if let (Some(patch), Some(parts)) = (patch, parts.as_array_mut()) {
        parts.push(serde_json::json!(patch));
    }
    let fingerprint = Digest::of(parts.to_string().as_bytes());
    let known = "SELECT id FROM source_stamps WHERE fingerprint = $1";
    if let Some(row) = tx.row(known, args![fingerprint]).await? {
        return row.get("id");
    }
    let insert =
        "INSERT INTO source_stamps (fingerprint, codebase, repository, project, branch, revision, created, patch, patch_facts)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
    let args = args![
        fingerprint,
        codebase,
        repository,
        project,
        branch.as_deref(),
        revision.as_deref(),
        now,
        patch.as_ref().map(|patch| patch.digest),
        patch.as_ref().map(Json),
    ];
    tx.one(insert, args).await?.get("id")
}

/// The stamps of several owners, by owner, each in order. The statement answers `owner` and the stamp's columns.
pub(crate) async fn by_owner(
    conn: &mut Conn,
    sql: Sql,
    owners: Vec<Value>,
) -> Result<HashMap<i64, Vec<SourceStamp>>, Error> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for row in conn.rows(sql, owners).await? {
        found.entry(row.get("owner")?).or_default().push(stamp(&row)?);
    }
    Ok(found)
}

fn stamp(row: &Row) -> Result<SourceStamp, Error> {
    Ok(SourceStamp {
        codebase: row.get("codebase")?,
        repository: row.get("repository")?,
        project: row.get("project")?,
        branch: row.maybe("branch")?,
        revision: row.maybe("revision")?,
        patch: row.maybe::<Json<Patch>>("patch_facts")?.map(|facts| facts.0),
    })
}
