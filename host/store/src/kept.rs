//! Small values that reporters keep from one report to the next. The master's port reads and writes them; what a key looks
//! like and how long a value is was checked before.

use capstan_model::Timestamp;
use futures::FutureExt as _;

use crate::sql::args;
use crate::writer::Tx;
use crate::{Error, Store};

/// So many keys a reporter has at most.
pub const MOST_KEPT: i64 = 256;

impl Store {
    /// What a reporter keeps under a key.
    pub async fn kept(&self, owner: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT value FROM kept WHERE owner = $1 AND key = $2";
        let row = self.reader().await?.row(sql, args![owner, key]).await?;
        row.map(|row| row.get("value")).transpose()
    }

    /// Keeps a value for a reporter, or forgets the key. False if it has [`MOST_KEPT`] other keys; then nothing is kept.
    pub async fn keep(
        &self,
        owner: &str,
        key: &str,
        value: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let (owner, key) = (owner.to_owned(), key.to_owned());
        self.write(move |tx| match value {
            Some(value) => keep(tx, owner, key, value, now).boxed(),
            None => forget(tx, owner, key).boxed(),
        })
        .await
    }
}

async fn keep(
    tx: &mut Tx,
    owner: String,
    key: String,
    value: Vec<u8>,
    now: Timestamp,
) -> Result<bool, Error> {
    let others = "SELECT COUNT(*) AS others FROM kept WHERE owner = $1 AND key <> $2";
    let others = tx.one(others, args![&owner, &key]).await?;
    if others.get::<i64>("others")? >= MOST_KEPT {
        return Ok(false);
    }
    let upsert = "INSERT INTO kept (owner, key, value, changed) VALUES ($1, $2, $3, $4)
                  ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value, changed = excluded.changed";
    tx.run(upsert, args![owner, key, value, now]).await?;
    Ok(true)
}

async fn forget(tx: &mut Tx, owner: String, key: String) -> Result<bool, Error> {
    let delete = "DELETE FROM kept WHERE owner = $1 AND key = $2";
    tx.run(delete, args![owner, key]).await?;
    Ok(true)
}
