//! A membership: what `join` leaves in the worker's folder, and `run` reads. `worker.toml` is for people too.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::os;

/// The file whose presence makes a folder a worker's; written last.
const FILE: &str = "worker.toml";

const KEY: &str = "key.der";
const CERTIFICATE: &str = "certificate.der";
const AUTHORITY: &str = "authority.der";

/// No file of a membership is longer.
const MAX_FILE: u64 = 1024 * 1024;

const PREFACE: &str = "\
# Written by `capstan-worker join`. Addresses, slots, labels, base, folders and spool_quota_mb may be changed;
# the worker reads this file when it starts.

";

/// Why a folder is no membership.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has joined here.
    #[error(
        "expected a worker in {0}, found no worker.toml; run `capstan-worker join STRING --dir {0}` first"
    )]
    Missing(PathBuf),
    /// Somebody has.
    #[error("{folder} holds the worker `{name}` already; use another folder, or --force to replace it")]
    Exists {
        /// The folder.
        folder: PathBuf,
        /// Who it is.
        name: String,
    },
    /// The file is not what `join` wrote.
    #[error("{file}: {reason}")]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The disk refuses.
    #[error("{file} could not be read or written: {source}")]
    File {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What `worker.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The worker's name at its master.
    pub name: String,
    /// Where the master is reached, `host:port`, the best first.
    pub addresses: Vec<String>,
    /// How many builds at a time.
    #[serde(default = "one")]
    pub slots: u32,
    /// What builders may ask for.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Where builders have their directories; relative to the worker's folder.
    #[serde(default = "builds")]
    pub base: PathBuf,
    /// Folders outside `base` that commands may run in; each a path from the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// The longest log of one command that is kept; none is as long as there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_quota_mb: Option<u64>,
    /// The worker's folder; absolute.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Member {
    /// A new member with the usual settings.
    pub fn new(name: String, addresses: Vec<String>, slots: u32, labels: Vec<String>) -> Self {
        Self {
            name,
            addresses,
            slots,
            labels,
            base: builds(),
            folders: Vec::new(),
            spool_quota_mb: None,
            folder: PathBuf::new(),
        }
    }

    /// Reads the membership in `folder`.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let file = folder.join(FILE);
        let bytes = match read(&file) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(folder.to_owned()));
            }
            found => found?,
        };
        let invalid = |reason: String| Error::Invalid {
            file: file.clone(),
            reason,
        };
        let text = str::from_utf8(&bytes).map_err(|error| invalid(error.to_string()))?;
        let mut member: Self = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if member.slots == 0 {
            return Err(invalid("expected at least one slot, found 0".to_owned()));
        }
        let plain = |folder: &&PathBuf| {
            let climbs = folder.components().any(|part| part == Component::ParentDir);
            folder.is_absolute() && !climbs
        };
        if let Some(wrong) = member.folders.iter().find(|folder| !plain(folder)) {
            return Err(invalid(format!(
                "expected each of `folders` to be a path from the root without `..`, found `{}`",
                wrong.display()
            )));
        }
        member.folder = folder.canonicalize().map_err(|source| Error::File {
            file: folder.to_owned(),
            source,
        })?;
        Ok(member)
    }

    /// Where builders have their directories.
    pub fn base(&self) -> PathBuf {
        self.folder.join(&self.base)
    }

    /// In bytes.
    pub fn spool_quota(&self) -> Option<u64> {
        self.spool_quota_mb.map(|mb| mb.saturating_mul(1024 * 1024))
    }

    /// Certificate, key and authority.
    pub fn identity(&self) -> Result<capstan_client::Identity, Error> {
        Ok(capstan_client::Identity {
            certificate: read(&self.folder.join(CERTIFICATE))?,
            key: Zeroizing::new(read(&self.folder.join(KEY))?),
            authority: read(&self.folder.join(AUTHORITY))?,
        })
    }

    /// Leaves the membership in `folder`; `worker.toml` last, so that half of one is none.
    pub fn save(&self, folder: &Path, identity: &capstan_client::Identity) -> Result<(), Error> {
        let file = folder.join(FILE);
        let text = toml::to_string(self).map_err(|error| Error::Invalid {
            file: file.clone(),
            reason: error.to_string(),
        })?;
        let write = |name: &str, bytes: &[u8]| {
            let file = folder.join(name);
            os::write_private(&file, bytes).map_err(|source| Error::File { file, source })
        };
        write(KEY, &identity.key)?;
        write(CERTIFICATE, &identity.certificate)?;
        write(AUTHORITY, &identity.authority)?;
        let fresh = "worker.toml.new";
        write(fresh, format!("{PREFACE}{text}").as_bytes())?;
        fs::rename(folder.join(fresh), &file)
            .and_then(|()| os::sync_folder(folder))
            .map_err(|source| Error::File { file, source })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|found| found.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|source| Error::File {
            file: file.to_owned(),
            source,
        })?;
    Ok(bytes)
}

fn one() -> u32 {
    1
}

fn builds() -> PathBuf {
    PathBuf::from("builds")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Member, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        let shown = format!("{}/", folder.path().display());
        Member::load(folder.path()).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_key_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let member = Member::new("w1".into(), vec!["ci:9010".into()], 3, vec!["linux".into()]);
        let identity = capstan_client::Identity {
            certificate: b"certificate".into(),
            key: Zeroizing::new(b"key".into()),
            authority: b"authority".into(),
        };
        member.save(folder.path(), &identity).unwrap();
        member.save(folder.path(), &identity).unwrap();
        let found = Member::load(folder.path()).unwrap();
        assert_eq!(
            found,
            Member {
                folder: folder.path().canonicalize().unwrap(),
                ..member
            }
        );
        assert_eq!(*found.identity().unwrap().key, b"key");
        assert_eq!(
            fs::metadata(folder.path().join(KEY))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }

    #[test]
    fn a_mistake_in_the_file_is_shown_at_its_place() {
        insta::assert_snapshot!(load("name = 'w1'\naddresses = ['ci:1']\nslot = 2\n").unwrap_err(), @r"
        worker.toml: TOML parse error at line 3, column 1
          |
        3 | slot = 2
          | ^^^^
        unknown field `slot`, expected one of `name`, `addresses`, `slots`, `labels`, `base`, `folders`, `spool_quota_mb`
        ");
        insta::assert_snapshot!(load("name = 'w1'\naddresses = ['ci:1']\nslots = 0\n").unwrap_err(), @"worker.toml: expected at least one slot, found 0");
        insta::assert_snapshot!(load("name = 'w1'\naddresses = ['ci:1']\nfolders = ['srv']\n").unwrap_err(), @"worker.toml: expected each of `folders` to be a path from the root without `..`, found `srv`");
        let none = Member::load(Path::new("/nowhere/worker"))
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(none, @"expected a worker in /nowhere/worker, found no worker.toml; run `capstan-worker join STRING --dir /nowhere/worker` first");
    }
}
