//! What the worker remembers of itself and of its master between runs: the state folder's own id, and the
//! highest epoch.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::folder::{read_record, write_record};
use crate::os;
use crate::room;

const FILE: &str = "state.json";

/// Room for the next state: a full disk must not keep the worker from serving a new master, because the room comes back when
/// that has taken the logs.
const ROOM: &str = "state.room";

/// Longer than the state ever is.
const SIZE: usize = 512;

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
        // Without it there is nothing to lose but the one above.
        let _ = room::make(&folder.join(ROOM), SIZE);
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
        let record = Record {
            epoch_seen: epoch,
            ..self.record.clone()
        };
        let room = self.folder.join(ROOM);
        let mut text = serde_json::to_vec(&record).map_err(io::Error::other)?;
        text.resize(SIZE, b' ');
        room::overwrite(&room, &text)?;
        std::fs::rename(&room, self.folder.join(FILE))?;
        os::sync_folder(&self.folder)?;
        // What was replaced has made room for it.
        let _ = room::make(&room, SIZE);
        self.record = record;
        Ok(())
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

    #[test]
    fn a_new_epoch_finds_room_on_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = State::open(folder.path()).unwrap();
        for epoch in 1..4 {
            let room = folder.path().join(ROOM);
            assert_eq!(std::fs::metadata(&room).unwrap().len(), SIZE as u64);
            state.remember_epoch(epoch).unwrap();
            assert_eq!(State::open(folder.path()).unwrap().epoch_seen(), epoch);
        }
        // What could not be kept does not count as kept.
        std::fs::remove_dir_all(folder.path()).unwrap();
        state.remember_epoch(9).unwrap_err();
        assert_eq!(state.epoch_seen(), 3);
    }
}
