//! What configurations were made from, so that a build can be taken up with the plan that it began with. Files that
//! plans share are kept once.

use std::collections::BTreeMap;

use capstan_model::plan::{Bundle, PluginPin};
use capstan_model::{Digest, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::sql::{Json, args};
use crate::writer::Tx;
use crate::{Error, Store, blobs};

/// A bundle with its files by digest.
#[derive(Serialize, Deserialize)]
pub(crate) struct Contents {
    entry: String,
    files: BTreeMap<String, Digest>,
    plugins: Vec<PluginPin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    functions: Vec<String>,
}

impl Contents {
    /// The blobs that it names: files and plugins.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        let files = self.files.values().copied();
        files.chain(self.plugins.iter().map(|pin| pin.digest))
    }
}

impl Store {
    /// Keeps what a plan was made from; answers the plan's digest.
    pub async fn put_plan(&self, bundle: Bundle, now: Timestamp) -> Result<Digest, Error> {
        self.write(move |tx| put(tx, bundle, now).boxed()).await
    }

    /// What the plan of that digest was made from.
    pub async fn plan(&self, digest: Digest) -> Result<Option<Bundle>, Error> {
        let mut conn = self.reader().await?;
        let row = conn
            .row(
                "SELECT digest, contents FROM plans WHERE digest = $1",
                args![digest],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let contents = row.get::<Json<Contents>>("contents")?.0;
        let mut bundle = Bundle {
            entry: contents.entry,
            files: BTreeMap::new(),
            plugins: contents.plugins,
            functions: contents.functions,
        };
        for (path, file) in contents.files {
            let bytes = blobs::get(&mut conn, file).await?;
            let missing = || row.corrupt("contents", &format!("expected a blob for {path}, found none"));
            bundle.files.insert(path.clone(), bytes.ok_or_else(missing)?);
        }
        Ok(Some(bundle))
    }
}

pub(crate) async fn put(tx: &mut Tx, bundle: Bundle, now: Timestamp) -> Result<Digest, Error> {
    let digest = bundle.digest();
    if tx
        .row("SELECT digest FROM plans WHERE digest = $1", args![digest])
        .await?
        .is_some()
    {
        return Ok(digest);
    }
    let mut contents = Contents {
        entry: bundle.entry,
        files: BTreeMap::new(),
        plugins: bundle.plugins,
        functions: bundle.functions,
    };
    for (path, bytes) in bundle.files {
        contents.files.insert(path, blobs::put(tx, bytes).await?);
    }
    let insert = "INSERT INTO plans (digest, contents, created) VALUES ($1, $2, $3)";
    tx.run(insert, args![digest, Json(&contents), now]).await?;
    Ok(digest)
}
