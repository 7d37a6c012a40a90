//! Workers that get no builds for a while because a function of the configuration said so. The master's queue keeps them in memory, and
//! here so that the next master knows them.

use capstan_model::Timestamp;
use futures::FutureExt as _;

use crate::sql::args;
use crate::writer::Tx;
use crate::{Error, Store, workers};

/// A worker that gets no builds for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Its name.
    pub worker: String,
    /// Why.
    pub reason: String,
    /// When it gets builds again.
    pub until: Timestamp,
}

impl Store {
    /// The quarantines that are not over yet, by worker.
    pub async fn quarantines(&self, now: Timestamp) -> Result<Vec<Quarantine>, Error> {
        let mut conn = self.reader().await?;
        let sql =
            "SELECT workers.name AS worker_name, quarantines.reason AS reason, quarantines.until AS until
                   FROM quarantines JOIN workers ON workers.id = quarantines.worker
                   WHERE quarantines.until > $1 ORDER BY workers.name";
        let rows = conn.rows(sql, args![now]).await?;
        let quarantines = rows.iter().map(|row| {
            Ok(Quarantine {
                worker: row.get("worker_name")?,
                reason: row.get("reason")?,
                until: row.get("until")?,
            })
        });
        quarantines.collect()
    }

    /// Notes quarantines, each in place of one that its worker may be in, and removes those that are over.
    pub async fn set_quarantines(&self, begun: Vec<Quarantine>, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| set(tx, begun, now).boxed()).await
    }
}

async fn set(tx: &mut Tx, begun: Vec<Quarantine>, now: Timestamp) -> Result<(), Error> {
    let over = "DELETE FROM quarantines WHERE until <= $1";
    tx.run(over, args![now]).await?;
    let upsert = "INSERT INTO quarantines (worker, reason, until) VALUES ($1, $2, $3)
                  ON CONFLICT (worker) DO UPDATE SET reason = excluded.reason, until = excluded.until";
    for Quarantine {
        worker,
        reason,
        until,
    } in begun
    {
        let id = workers::ensure(tx, &worker, now).await?;
        tx.run(upsert, args![id, reason, until]).await?;
    }
    Ok(())
}
