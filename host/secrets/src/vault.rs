//! Secrets in Vault (key/value engine, version 2), over its HTTP interface. `Secrets` asks it for what this machine does not
//! have; the master runs [`Vault::keep`] beside everything else, so that the token lives.
//!
//! Nothing read is kept but the token that a login gave. No error holds more of an answer than its status.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Mutex, Notify};

use crate::local::Local;
use crate::{Error, MAX_SIZE, Secret};

mod connection;
mod token;

use connection::{Answer, Connection};
use token::Lease;

/// How Vault is reached, and where in it the secrets are. Paths are written without slashes around them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server: `https://vault.example.org:8200`.
    pub address: String,
    /// The namespace, where the server has such.
    pub namespace: Option<String>,
    /// Where the key/value engine is mounted.
    pub mount: String,
    /// The folder in it that holds the secrets; empty for the top.
    pub folder: String,
    /// The field of a stored secret that is its value.
    pub field: String,
    /// Who asks.
    pub login: Login,
    /// A file of certificates (PEM) that may have signed the server's, beside those that the machine trusts.
    pub authority: Option<PathBuf>,
    /// How long Vault may take to give a secret, with the login that this may need.
    pub timeout: Duration,
}

/// Who asks. The secrets named here are files or environment variables of this machine.
#[derive(Clone, Debug)]
pub enum Login {
    /// Whoever has the token that is a secret of this name. It is read each time, so it can be exchanged.
    Token(String),
    /// A role of the method AppRole.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role's id.
        role: String,
        /// The secret of this name is the `secret_id`.
        secret_id: String,
    },
}

/// A server, and what it has let us in with.
#[derive(Debug)]
pub(crate) struct Vault {
    settings: Settings,
    local: Local,
    connection: Connection,
    lease: Mutex<Option<Lease>>,
    /// Rings when a login gave a new token.
    fresh: Notify,
}

/// What a stored secret looks like in an answer.
#[derive(Deserialize)]
struct Stored {
    data: StoredData,
}

#[derive(Deserialize)]
struct StoredData {
    data: BTreeMap<String, serde_json::Value>,
}

impl Vault {
    pub fn new(settings: Settings, local: Local) -> Self {
        Self {
            connection: Connection::new(&settings),
            settings,
            local,
            lease: Mutex::default(),
            fresh: Notify::new(),
        }
    }

    /// The secret of that name, if there is one.
    pub async fn get(&self, name: &str) -> Result<Option<Secret>, Error> {
        let patience = self.settings.timeout;
        let read = tokio::time::timeout(patience, self.read(name)).await;
        read.unwrap_or_else(|_| {
            let reason = format!("found none within {} s", patience.as_secs_f32());
            Err(self.connection.fault(&self.path(name), reason))
        })
    }

    /// Where a secret of that name is, for people.
    pub fn place(&self, name: &str) -> String {
        format!(
            "`{}/{}` with the field `{}`",
            self.settings.mount,
            self.inner(name),
            self.settings.field
        )
    }

    fn inner(&self, name: &str) -> String {
        match self.settings.folder.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/data/{}", self.settings.mount, self.inner(name))
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, Error> {
        let path = self.path(name);
        let token = self.token().await?;
        let mut answer = self.connection.get(&path, &token).await?;
        if answer.status == 403 && self.is_dead(&token).await? {
            let token = self.token().await?;
            answer = self.connection.get(&path, &token).await?;
        }
        match answer.status {
            200 => self.value(&path, &answer).map(Some),
            404 => Ok(None),
            status => Err(self.connection.refused(&path, status)),
        }
    }

    fn value(&self, path: &str, answer: &Answer) -> Result<Secret, Error> {
        let fault = |reason: String| self.connection.fault(path, reason);
        // The parser's own words may quote what it read.
        let mut stored: Stored = serde_json::from_slice(&answer.body).map_err(|_| {
            fault("found 200 with something that is no secret of a key/value engine of version 2".to_owned())
        })?;
        let field = &self.settings.field;
        let value = match stored.data.data.remove(field) {
            Some(serde_json::Value::String(text)) => Secret::new(text),
            Some(_) => {
                return Err(fault(format!(
                    "expected text in the field `{field}`, found something else"
                )));
            }
            None => {
                return Err(fault(format!(
                    "found no field `{field}`; store one, or name another as `field` under [secrets.vault]"
                )));
            }
        };
        if value.expose().len() as u64 > MAX_SIZE {
            return Err(fault(format!(
                "expected a secret of at most {MAX_SIZE} bytes, found a larger one"
            )));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
