//! Files and blobs whose rows are gone. The list outlives a crash: what is on it goes at the next look.

use std::collections::BTreeSet;

use capstan_model::{Digest, LogId};
use futures::FutureExt as _;

use crate::dialect::{in_keys, keys};
use crate::sql::{Json, args};
use crate::writer::Tx;
use crate::{Error, Store, plans};

/// A file that nobody asks for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Of a log.
    Log(LogId),
    /// Content of artefacts. Another one may have the same.
    Artefact(Digest),
    /// A blob of the database. Somebody else may have the same.
    Blob(Digest),
}

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRemoval {
    /// The key.
    pub id: i64,
    /// The file.
    pub file: File,
}

impl Store {
    /// What is on the list after that entry, oldest first.
    pub async fn file_removals(&self, after: i64, limit: u32) -> Result<Vec<FileRemoval>, Error> {
        let sql = "SELECT id, kind, key FROM removals WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = self.reader().await?.rows(sql, args![after, limit]).await?;
        let entry = |row: &crate::sql::Row| {
            let digest = || row.get::<Digest>("key");
            let file = match row.get::<String>("kind")?.as_str() {
                "log" => {
                    let key: String = row.get("key")?;
                    let log = key
                        .parse()
                        .map_err(|_| row.corrupt("key", "expected a log's id"))?;
                    File::Log(log)
                }
                "artefact" => File::Artefact(digest()?),
                _ => File::Blob(digest()?),
            };
            Ok(FileRemoval {
                id: row.get("id")?,
                file,
            })
        };
        rows.iter().map(entry).collect()
    }

    /// Takes these off the list: they are gone, or needed.
    pub async fn forget_removals(&self, ids: Vec<i64>) -> Result<(), Error> {
        self.write(move |tx| {
            async move {
                let delete = in_keys!("DELETE FROM removals WHERE id IN ", "");
                tx.run(delete, vec![keys(ids)]).await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// Whether an artefact has that content.
    pub async fn has_artefact_content(&self, sha256: Digest) -> Result<bool, Error> {
        let sql = "SELECT id FROM artefacts WHERE sha256 = $1 LIMIT 1";
        Ok(self.reader().await?.row(sql, args![sha256]).await?.is_some())
    }

    /// Removes those of these blobs that nothing names any more; answers how many went.
    pub async fn remove_blobs(&self, blobs: Vec<Digest>) -> Result<u64, Error> {
        // Read outside the transaction: many plans have many files. One that came meanwhile is seen by the number.
        let (named, plans) = self.named_by_plans().await?;
        let blobs: Vec<_> = blobs.into_iter().filter(|blob| !named.contains(blob)).collect();
        self.write(move |tx| remove_blobs(tx, blobs, plans).boxed()).await
    }

    async fn named_by_plans(&self) -> Result<(BTreeSet<Digest>, u64), Error> {
        let mut conn = self.reader().await?;
        let rows = conn.rows("SELECT digest, contents FROM plans", args![]).await?;
        let mut named = BTreeSet::new();
        for row in &rows {
            named.extend(row.get::<Json<plans::Contents>>("contents")?.0.digests());
        }
        Ok((named, rows.len() as u64))
    }
}

async fn remove_blobs(tx: &mut Tx, blobs: Vec<Digest>, plans: u64) -> Result<u64, Error> {
    let row = tx.one("SELECT COUNT(*) AS count FROM plans", args![]).await?;
    if row.get::<u64>("count")? != plans {
        return Err(Error::conflict(
            "expected no new plan while blobs are removed, found one; the next look removes them".to_owned(),
        ));
    }
    let mut gone = 0;
    for blob in blobs {
        let delete = "DELETE FROM blobs WHERE digest = $1
                      AND NOT EXISTS (SELECT 1 FROM journal WHERE request_blob = $1)
                      AND NOT EXISTS (SELECT 1 FROM journal WHERE response_blob = $1)
                      AND NOT EXISTS (SELECT 1 FROM source_stamps WHERE patch = $1)
                      AND NOT EXISTS (SELECT 1 FROM scheduler_calls WHERE answered IS NULL AND body LIKE '%' || $1 || '%')
                      AND NOT EXISTS (SELECT 1 FROM plugins_in_force WHERE digest = $1 OR predecessor = $1)";
        gone += tx.run(delete, args![blob]).await?;
    }
    Ok(gone)
}
