//! Builders, by the names that they have had since they were first asked for. What a builder does is in the plan.

use capstan_model::{BuilderId, VirtualBuilder};
use serde::{Deserialize, Serialize};

use crate::sql::{Json, Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// A builder that was asked for at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// The key.
    pub id: BuilderId,
    /// The name.
    pub name: String,
    /// The number that its next build gets.
    pub next_number: u64,
    /// What is said of it, if its newest build was made from another builder.
    pub about: Option<VirtualBuilder>,
}

impl Store {
    /// Every builder that was ever asked for, by name.
    pub async fn builders(&self) -> Result<Vec<Builder>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn
            .rows(
                "SELECT id, name, next_number, about FROM builders ORDER BY name",
                args![],
            )
            .await?;
        rows.iter().map(builder).collect()
    }

    /// The virtual builders that still have builds, or that one, the newest first.
    pub async fn virtual_builders(&self, name: Option<&str>) -> Result<Vec<VirtualBuilder>, Error> {
        let sql = "SELECT about FROM builders WHERE about IS NOT NULL AND ($1 IS NULL OR name = $1)
                   AND EXISTS (SELECT 1 FROM builds WHERE builds.builder = builders.id) ORDER BY id DESC";
        let rows = self.reader().await?.rows(sql, args![name]).await?;
        Ok(rows
            .iter()
            .map(about)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }
}

/// The row of that builder; made if it is new.
pub(crate) async fn ensure(tx: &mut Tx, name: &str) -> Result<BuilderId, Error> {
    if let Some(row) = tx
        .row("SELECT id FROM builders WHERE name = $1", args![name])
        .await?
    {
        return row.get("id");
    }
    tx.one(
        "INSERT INTO builders (name, next_number) VALUES ($1, 1) RETURNING id",
        args![name],
    )
    .await?
    .get("id")
}

fn builder(row: &Row) -> Result<Builder, Error> {
    Ok(Builder {
        id: row.get("id")?,
        name: row.get("name")?,
        next_number: row.get("next_number")?,
        about: about(row)?,
    })
}

/// What is said of a virtual builder, from a row with that column.
pub(crate) fn about(row: &Row) -> Result<Option<VirtualBuilder>, Error> {
    Ok(row.maybe::<Json<VirtualBuilder>>("about")?.map(|about| about.0))
}

/// The number of the builder's next build. What is said of the builder is from now on what that build says: nothing, if it is its own.
pub(crate) async fn take_number(
    tx: &mut Tx,
    id: BuilderId,
    about: Option<&VirtualBuilder>,
) -> Result<u64, Error> {
    let update = "UPDATE builders SET next_number = next_number + 1, about = $2 WHERE id = $1
                  RETURNING next_number - 1 AS number";
    tx.one(update, args![id, about.map(Json)]).await?.get("number")
}
