//! Secrets: named values that plugins may use but nobody may see. The master asks for one at the moment it is needed
//! (a command's environment, a request's header) and keeps none.
//!
//! A secret is a file in the secrets folder, an environment variable of the master, or a value in Vault; the first of them
//! that there is wins. `local.rs` reads the first two, `vault.rs` asks Vault.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

mod local;
mod vault;

use local::Local;
use vault::Vault;
pub use vault::{Login, Settings as VaultSettings};

/// The largest secret: keys and certificates fit, a wrong file does not.
const MAX_SIZE: u64 = 64 * 1024;

/// Where secrets come from.
#[derive(Clone, Debug)]
pub struct Secrets {
    local: Local,
    vault: Option<Arc<Vault>>,
}

/// A secret's value. It is wiped from memory when dropped; formatting it shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why there is no secret. No text here holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name could lead out of the folder or be no variable's name.
    #[error(
        "expected a secret's name of 1 to 100 letters, digits, `.`, `_` and `-` (not first `.`), found {0:?}"
    )]
    Name(String),
    /// Neither the folder nor the environment nor Vault has it.
    #[error("there is no secret `{name}`; write it to `{}` with mode 600{}{}", .path.display(), or_variable(.variable), or_vault(.vault))]
    Missing {
        /// The secret.
        name: String,
        /// Where its file would be.
        path: PathBuf,
        /// What its environment variable would be called.
        variable: Option<String>,
        /// Where Vault was asked for it.
        vault: Option<String>,
    },
    /// Vault did not give it.
    #[error("expected an answer of Vault at {address} for `{path}`: {reason}")]
    Vault {
        /// The server.
        address: String,
        /// What it was asked for.
        path: String,
        /// What went wrong, without a word of what was sent or answered but its status.
        reason: String,
    },
    /// Everybody on the machine can read the file.
    #[error("expected a secret that not everybody can read, found mode {mode:03o} of `{0}`; run `chmod 600 {0}`", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is no secret.
    #[error("expected a file of at most {MAX_SIZE} bytes, found a larger one or none at `{}`", .0.display())]
    Unfit(PathBuf),
    /// The operating system refused.
    #[error("failed to read `{}`: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

fn or_variable(variable: &Option<String>) -> String {
    variable.as_ref().map_or_else(String::new, |name| {
        format!(", or set the environment variable {name}")
    })
}

fn or_vault(vault: &Option<String>) -> String {
    vault
        .as_ref()
        .map_or_else(String::new, |place| format!(", or store it in Vault: {place}"))
}

impl Secrets {
    /// Secrets from `folder`, which need not exist, and from variables whose names start with `env_prefix` (the rest is
    /// the secret's name in capitals, with `_` for `.` and `-`). An empty prefix turns the variables off.
    pub fn new(folder: impl Into<PathBuf>, env_prefix: &str) -> Self {
        Self {
            local: Local::new(folder.into(), env_prefix),
            vault: None,
        }
    }

    /// The same, and what neither a file nor a variable has is asked of Vault. The process needs a default cryptographic
    /// provider when it is asked first.
    #[must_use]
    pub fn with_vault(mut self, settings: VaultSettings) -> Self {
        self.vault = Some(Arc::new(Vault::new(settings, self.local.clone())));
        self
    }

    /// The secret of that name, without the line's end that editors put behind it.
    pub async fn get(&self, name: &str) -> Result<Secret, Error> {
        if let Some(secret) = self.local.get(name)? {
            return Ok(secret);
        }
        let asked = match &self.vault {
            None => None,
            Some(vault) => match vault.get(name).await? {
                Some(secret) => return Ok(secret),
                None => Some(vault.place(name)),
            },
        };
        Err(self.local.missing(name, asked))
    }

    /// The names of the files in the folder, sorted. Variables cannot be listed: their names are ambiguous; Vault is not asked.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.local.names()
    }

    /// Renews the token for Vault for as long as it is polled; without Vault it waits for ever. The master runs it.
    pub async fn keep(&self) {
        match &self.vault {
            Some(vault) => vault.keep().await,
            None => std::future::pending().await,
        }
    }
}

impl Secret {
    /// A secret that came another way, for example from a test.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        let mut value = Zeroizing::new(value.into());
        let end = value.strip_suffix(b"\n").map_or(value.len(), <[u8]>::len);
        let end = if end < value.len() && value[..end].ends_with(b"\r") {
            end - 1
        } else {
            end
        };
        value[end..].fill(0);
        value.truncate(end);
        Self(value)
    }

    fn from_variable(value: OsString) -> Self {
        use std::os::unix::ffi::OsStringExt;
        Self::new(value.into_vec())
    }

    /// The value, for the place that uses it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value, if it is text.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests;
