//! Content by its digest: the same bytes are kept once, whoever needs them.

use capstan_model::Digest;
use futures::FutureExt as _;

use crate::sql::{Conn, args};
use crate::writer::Tx;
use crate::{Error, Store};

impl Store {
    /// Keeps these bytes; answers their digest.
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, Error> {
        self.write(move |tx| put(tx, bytes).boxed()).await
    }

    /// The bytes of that digest.
    pub async fn blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        get(&mut self.reader().await?, digest).await
    }
}

pub(crate) async fn put(tx: &mut Tx, bytes: Vec<u8>) -> Result<Digest, Error> {
    let digest = Digest::of(&bytes);
    let insert = "INSERT INTO blobs (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
    tx.run(insert, args![digest, bytes]).await?;
    Ok(digest)
}

pub(crate) async fn get(conn: &mut Conn, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
    let row = conn
        .row("SELECT bytes FROM blobs WHERE digest = $1", args![digest])
        .await?;
    row.map(|row| row.get("bytes")).transpose()
}
