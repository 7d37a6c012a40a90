//! Artefacts of builds: what they are called, how large they are, and the digest by which the log store finds their bytes. A row is
//! made together with the row of the journal that answers the step which stored it.

use capstan_model::{Artefact, BuildId, Stored, Timestamp};
use serde_json::json;

use crate::sql::{Row, args};
use crate::steps::Scope;
use crate::writer::Tx;
use crate::{Error, Store};

impl Store {
    /// The artefacts of a build, by name.
    pub async fn artefacts(&self, build: BuildId) -> Result<Vec<Artefact>, Error> {
        let sql = "SELECT * FROM artefacts WHERE build_id = $1 ORDER BY name";
        let rows = self.reader().await?.rows(sql, args![build]).await?;
        rows.iter().map(artefact).collect()
    }

    /// How many artefacts a build has.
    pub async fn count_artefacts(&self, build: BuildId) -> Result<u64, Error> {
        let sql = "SELECT COUNT(*) AS count FROM artefacts WHERE build_id = $1";
        self.reader().await?.one(sql, args![build]).await?.get("count")
    }

    /// The artefact of a build that has this name.
    pub async fn artefact(&self, build: BuildId, name: &str) -> Result<Option<Artefact>, Error> {
        let sql = "SELECT * FROM artefacts WHERE build_id = $1 AND name = $2";
        let row = self.reader().await?.row(sql, args![build, name]).await?;
        row.as_ref().map(artefact).transpose()
    }
}

/// Adds an artefact to the build of a step. [`Error::Conflict`] if the build has one of that name.
pub(crate) async fn insert(tx: &mut Tx, scope: &Scope, stored: Stored, now: Timestamp) -> Result<(), Error> {
    let insert = "INSERT INTO artefacts (build_id, step_id, name, size, sha256, created_at)
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (build_id, name) DO NOTHING RETURNING id";
    let (name, size, sha256) = (stored.name, stored.size, stored.sha256);
    let row = tx
        .row(insert, args![scope.build, scope.step, &name, size, sha256, now])
        .await?;
    let Some(row) = row else {
        return Err(Error::conflict(format!(
            "expected build {} to have no artefact `{name}`, found one",
            scope.build
        )));
    };
    let id: i64 = row.get("id")?;
    let payload = json!({ "artefact": id, "name": name, "size": size, "sha256": sha256 });
    scope.event("artefact.stored").payload(payload).add(tx, now);
    Ok(())
}

fn artefact(row: &Row) -> Result<Artefact, Error> {
    Ok(Artefact {
        id: row.get("id")?,
        build: row.get("build_id")?,
        step: row.get("step_id")?,
        name: row.get("name")?,
        size: row.get("size")?,
        sha256: row.get("sha256")?,
        created: row.get("created_at")?,
    })
}
