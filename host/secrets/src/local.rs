//! Secrets of this machine: files in the secrets folder, and environment variables.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Error, MAX_SIZE, Secret};

/// The folder, and the beginning of the variables' names.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    folder: PathBuf,
    env_prefix: Option<String>,
}

impl Local {
    /// An empty prefix turns the variables off.
    pub fn new(folder: PathBuf, env_prefix: &str) -> Self {
        let env_prefix = (!env_prefix.is_empty()).then(|| env_prefix.to_owned());
        Self { folder, env_prefix }
    }

    /// The secret's file, else its variable.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, Error> {
        if !is_name(name) {
            return Err(Error::Name(name.chars().take(120).collect()));
        }
        if let Some(secret) = read(&self.folder.join(name))? {
            return Ok(Some(secret));
        }
        let value = self.variable(name).and_then(std::env::var_os);
        Ok(value.map(Secret::from_variable))
    }

    /// That there is none, and where it could be; `vault` is where Vault was asked.
    pub fn missing(&self, name: &str, vault: Option<String>) -> Error {
        Error::Missing {
            name: name.to_owned(),
            path: self.folder.join(name),
            variable: self.variable(name),
            vault,
        }
    }

    pub fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Io {
            path: self.folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().filter(|name| is_name(name)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let prefix = self.env_prefix.as_ref()?;
        Some(prefix.clone() + &name.to_ascii_uppercase().replace(['.', '-'], "_"))
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    matches!(name.len(), 1..=100) && !name.starts_with('.') && name.bytes().all(allowed)
}

fn read(path: &Path) -> Result<Option<Secret>, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let before = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(failed)?,
    };
    let mode = before.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    if !before.is_file() || before.len() > MAX_SIZE {
        return Err(Error::Unfit(path.to_owned()));
    }
    // With the room known beforehand no reallocation leaves a copy behind.
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_SIZE as usize + 1));
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut value).map_err(failed)?;
    if value.len() as u64 > MAX_SIZE {
        return Err(Error::Unfit(path.to_owned()));
    }
    Ok(Some(Secret::new(std::mem::take(&mut *value))))
}
