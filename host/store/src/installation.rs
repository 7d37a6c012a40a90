//! The farm's identity, and how often a master was started on it.

use capstan_model::Timestamp;
use futures::FutureExt as _;
use uuid::Uuid;

use crate::sql::{Conn, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// The id of the installation; the first caller makes it.
pub(crate) async fn ensure(conn: &mut Conn, now: Timestamp) -> Result<Uuid, Error> {
    let insert = "INSERT INTO installation (id, uuid, created, epoch) VALUES (1, $1, $2, 0) ON CONFLICT (id) DO NOTHING";
    conn.run(insert, args![Uuid::new_v4(), now]).await?;
    conn.one("SELECT uuid FROM installation", args![])
        .await?
        .get("uuid")
}

impl Store {
    /// A master begins: answers the number of its epoch, from 1. Every worker counts as disconnected until it
    /// connects to this master.
    pub async fn begin_epoch(&self, now: Timestamp) -> Result<u64, Error> {
        self.write(move |tx| begin_epoch(tx, now).boxed()).await
    }
}

async fn begin_epoch(tx: &mut Tx, now: Timestamp) -> Result<u64, Error> {
    tx.run(
        "UPDATE workers SET connected = 0, since = $1 WHERE connected = 1",
        args![now],
    )
    .await?;
    let update = "UPDATE installation SET epoch = epoch + 1, epoch_began = $1 WHERE id = 1 RETURNING epoch";
    tx.one(update, args![now]).await?.get("epoch")
}
