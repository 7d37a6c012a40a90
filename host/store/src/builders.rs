//! Builders, by the names that they have had since they were first asked for. What a builder does is in the plan.

use capstan_model::BuilderId;
use serde::{Deserialize, Serialize};

use crate::sql::{Row, args};
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
}

impl Store {
    /// Every builder that was ever asked for, by name.
    pub async fn builders(&self) -> Result<Vec<Builder>, Error> {
        let mut conn = self.reader().await?;
        let builder = |row: &Row| {
            Ok(Builder {
                id: row.get("id")?,
                name: row.get("name")?,
                next_number: row.get("next_number")?,
            })
        };
        let rows = conn
            .rows(
                "SELECT id, name, next_number FROM builders ORDER BY name",
                args![],
            )
            .await?;
        rows.iter().map(builder).collect()
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

/// The number of the builder's next build.
pub(crate) async fn take_number(tx: &mut Tx, id: BuilderId) -> Result<u64, Error> {
    let update =
        "UPDATE builders SET next_number = next_number + 1 WHERE id = $1 RETURNING next_number - 1 AS number";
    tx.one(update, args![id]).await?.get("number")
}
