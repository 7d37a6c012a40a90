//! What the worker remembers of itself and of its master between runs: the state folder's own id, and the
//! highest epoch.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::folder::{read_record, write_record};
use crate::os;

const FILE: &str = "state.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    state: Uuid,
    epoch_seen: u64,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    record: Record,
}

impl State {
    /// Reads it, or makes a new one: a folder that was copied without it is another worker's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let record = match read_record(&folder.join(FILE))? {
            Some(record) => record,
            None => {
                let record = Record {
                    state: Uuid::new_v4(),
                    epoch_seen: 0,
                };
                write_record(folder, FILE, &record)?;
                record
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            record,
        })
    }

    /// Changes whenever the machine or the state folder starts anew: then no earlier command lives.
    pub fn boot(&self) -> Uuid {
        Uuid::new_v5(&self.record.state, os::boot_text().as_bytes())
    }

    /// The highest master epoch seen.
    pub fn epoch_seen(&self) -> u64 {
        self.record.epoch_seen
    }

    /// Keeps a higher epoch, durable.
    pub fn remember_epoch(&mut self, epoch: u64) -> io::Result<()> {
        self.record.epoch_seen = epoch;
        write_record(&self.folder, FILE, &self.record)
    }
}

/// Removes it: what comes next in this folder is another worker.
pub fn forget(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_and_the_boot_id_survive_a_restart_of_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = State::open(folder.path()).unwrap();
        first.remember_epoch(7).unwrap();
        let again = State::open(folder.path()).unwrap();
        assert_eq!((again.epoch_seen(), again.boot()), (7, first.boot()));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(State::open(other.path()).unwrap().boot(), first.boot());
    }
}
