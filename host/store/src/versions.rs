//! Versions of plugins: which one wrote what a scheduler or change source remembers, and which ones are in force.

use std::fmt;

use capstan_model::plugin::Kind;
use capstan_model::{Digest, Timestamp};
use futures::FutureExt as _;

use crate::sql::{Row, args};
use crate::writer::Tx;
use crate::{Error, Store};

/// One version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its file.
    pub digest: Digest,
    /// What its manifest calls it.
    pub version: String,
}

/// What a scheduler or change source remembers from one call to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of its choice.
    pub bytes: Vec<u8>,
    /// Which version of its plugin wrote them, if that was noted.
    pub by: Option<Version>,
}

impl From<&[u8]> for Memory {
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_owned(),
            by: None,
        }
    }
}

impl<const N: usize> From<&[u8; N]> for Memory {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

/// A plugin from the plugin folder that configurations get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version; its bytes are a blob.
    pub version: Version,
    /// The file that it came from.
    pub origin: String,
    /// The version that the master goes back to if this one keeps failing.
    pub predecessor: Option<Digest>,
    /// When it was put in force.
    pub since: Timestamp,
}

impl Memory {
    /// From a row with bytes, digest and version under these names; `None` if nothing was remembered.
    pub(crate) fn read(row: &Row, bytes: &str, digest: &str, version: &str) -> Result<Option<Self>, Error> {
        let Some(bytes) = row.maybe(bytes)? else {
            return Ok(None);
        };
        let by = match (row.maybe(digest)?, row.maybe(version)?) {
            (Some(digest), Some(version)) => Some(Version { digest, version }),
            _ => None,
        };
        Ok(Some(Self { bytes, by }))
    }
}

impl Store {
    /// The plugins from the plugin folder that were put in force last.
    pub async fn plugins_in_force(&self) -> Result<Vec<InForce>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT kind, name, digest, version, origin, predecessor, since FROM plugins_in_force ORDER BY kind, name";
        conn.rows(sql, args![]).await?.iter().map(in_force).collect()
    }

    /// Notes which plugins from the plugin folder are in force: these and no others.
    pub async fn set_plugins_in_force(&self, plugins: Vec<InForce>) -> Result<(), Error> {
        self.write(move |tx| set(tx, plugins).boxed()).await
    }
}

fn in_force(row: &Row) -> Result<InForce, Error> {
    let kind: String = row.get("kind")?;
    let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    Ok(InForce {
        kind: known
            .ok_or_else(|| row.corrupt("kind", &format!("expected a kind of plugin, found {kind:?}")))?,
        name: row.get("name")?,
        version: Version {
            digest: row.get("digest")?,
            version: row.get("version")?,
        },
        origin: row.get("origin")?,
        predecessor: row.maybe("predecessor")?,
        since: row.get("since")?,
    })
}

pub(crate) async fn set(tx: &mut Tx, plugins: Vec<InForce>) -> Result<(), Error> {
    tx.run("DELETE FROM plugins_in_force", args![]).await?;
    for plugin in plugins {
        tx.run(
            "INSERT INTO plugins_in_force (kind, name, digest, version, origin, predecessor, since)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                plugin.kind.as_str(),
                plugin.name,
                plugin.version.digest,
                plugin.version.version,
                plugin.origin,
                plugin.predecessor,
                plugin.since
            ],
        )
        .await?;
    }
    Ok(())
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.digest.short())
    }
}
