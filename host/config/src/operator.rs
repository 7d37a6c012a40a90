//! `capstan.toml`, the operator's file: where to listen, where to keep things, what plugins may do.
//!
//! Read once at the start of every command. Static: it says nothing about what is built (that is `ci.star`).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use capstan_model::plan::Location;
use capstan_model::plugin::Rights;
use serde::Deserialize;
use serde::de;

use crate::diagnostic::{Diagnostic, locate};

mod faults;
mod forms;
mod mail;
mod plugins;
mod retention;
mod sections;
mod vault;

pub use mail::{Mail, Security};
pub use plugins::Plugins;
pub use retention::{Retention, RetentionRule};
pub use sections::{Backend, Database, Limits, Link, Master, Secrets, Synchronous, Web};
pub use vault::{Vault, VaultLogin};

use faults::explain;

/// The file's name in the farm's folder.
pub(crate) const FILE: &str = "capstan.toml";

/// More than any operator writes by hand.
const MAX_BYTES: u64 = 1 << 20;

/// The operator's file, with defaults filled in and paths made absolute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operator {
    /// The farm's folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The farm itself.
    pub master: Master,
    /// The web server.
    pub web: Web,
    /// The door for workers.
    pub link: Link,
    /// Where builds are remembered.
    pub database: Database,
    /// Where secrets come from.
    pub secrets: Secrets,
    /// What each plugin may do, by its name.
    pub grants: BTreeMap<String, Rights>,
    /// Where that is written.
    #[serde(skip)]
    pub(crate) granted_at: BTreeMap<String, Location>,
    /// How much a build may use.
    pub limits: Limits,
    /// What happens to the files of the plugin folder.
    pub plugins: Plugins,
    /// The server for the mail of reporters, if there is one.
    pub mail: Option<Mail>,
    /// How long what happened is kept.
    pub retention: Retention,
}

/// Why there is no operator's file to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is no farm.
    #[error("expected {FILE} in {}, found no such file; `capstan init` makes one", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("expected to read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("expected {} to be at most {MAX_BYTES} bytes long, found a longer file", .0.display())]
    TooLarge(PathBuf),
    /// It is no text.
    #[error("expected UTF-8 text in {}, found other bytes at offset {offset}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where the first of them is.
        offset: usize,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

impl Operator {
    /// Reads `capstan.toml` in the farm's folder.
    pub fn load(farm: &Path) -> Result<Self, Error> {
        let path = farm.join(FILE);
        let unreadable = |source| Error::Unreadable {
            path: path.clone(),
            source,
        };
        let folder = match farm.canonicalize() {
            Ok(folder) if path.is_file() => folder,
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(unreadable(source)),
            _ => return Err(Error::Missing(farm.to_owned())),
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::TooLarge(path));
        }
        let text = String::from_utf8(bytes).map_err(|e| Error::NotText {
            path: path.clone(),
            offset: e.utf8_error().valid_up_to(),
        })?;
        Self::parse(&text, &folder)
    }

    /// Reads the file's text; relative paths are relative to `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Error> {
        let mut parsed: Self =
            toml::from_str(text).map_err(|error| Error::Invalid(Box::new(explain(text, &error))))?;
        parsed.granted_at = granted_at(text);
        Ok(parsed.settle(folder))
    }

    /// The commented file that `capstan init` writes: the defaults, and what the built-in plugins need.
    pub fn template() -> String {
        include_str!("operator/capstan.toml").to_owned()
    }

    fn settle(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.master.data,
            &mut self.master.plugins,
            &mut self.secrets.folder,
        ] {
            *path = folder.join(&path);
        }
        if let Backend::Sqlite(path) = &mut self.database.backend {
            *path = folder.join(&path);
        }
        if let Some(path) = self.mail.as_mut().and_then(|mail| mail.authority.as_mut()) {
            *path = folder.join(&path);
        }
        if let Some(path) = self
            .secrets
            .vault
            .as_mut()
            .and_then(|vault| vault.authority.as_mut())
        {
            *path = folder.join(&path);
        }
        if self.master.url.is_empty() {
            self.master.url = format!("http://{}", self.web.listen);
        }
        if self.link.advertise.is_empty() {
            self.link.advertise.push(self.link.listen.to_string());
        }
        self.folder = folder.to_owned();
        self
    }
}

/// The commented `ci.star` that `capstan init` writes.
pub fn starter_star() -> String {
    include_str!("operator/ci.star").to_owned()
}

/// Where each plugin's grants stand in the file.
fn granted_at(text: &str) -> BTreeMap<String, Location> {
    #[derive(Default, Deserialize)]
    struct Places {
        #[serde(default)]
        grants: BTreeMap<toml::Spanned<String>, de::IgnoredAny>,
    }
    let places: Places = toml::from_str(text).unwrap_or_default();
    let names = places.grants.into_keys();
    names
        .map(|name| {
            let at = locate(FILE, text, name.span().start).0;
            (name.into_inner(), at)
        })
        .collect()
}

#[cfg(test)]
mod tests;
