//! The folder that keeps a command on disk: written by its supervisor, read by the daemon.
//!
//! ```text
//! <state>/commands/<id>/
//!   lock        locked by the supervisor for life; its process id
//!   spec.json   what is run, without secrets' values
//!   started     made exclusively and durable before anything is executed: the command ran, or may have
//!   spool       the log, as frames; the supervisor alone writes it
//!   stop        written by the daemon: why the command is to end
//!   exit.json   how it ended, durable after the spool; written once
//!   errors      what the supervisor itself had to complain about
//! ```
//!
//! No `started`: it never ran. `started`, the lock free and no `exit.json`: nobody knows how it ended.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use capstan_model::{CommandId, CommandSpec, Timestamp};
use capstan_wire::control::ExitReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::os;

/// No record in the folder is longer: what is longer was not written by us.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// Room that is set aside for `exit.json`, so that a full disk cannot swallow the end of a command.
const EXIT_ROOM: usize = 8 * 1024;

/// A command's folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// `spec.json`.
#[derive(Clone, Debug, Serialize)]
pub struct SpecRecord {
    /// Which command.
    pub id: CommandId,
    /// What it runs.
    pub spec: CommandSpec,
}

/// `started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// [`os::boot_text`] then.
    pub boot: String,
}

/// `stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRecord {
    /// Why, for the log and for `Exit::Killed`.
    pub reason: String,
}

/// `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// How it ended and how much it wrote.
    pub report: ExitReport,
}

/// The supervisor's lock, held as long as this lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file that holds the log.
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// The file that the supervisor's own complaints go to.
    pub fn errors(&self) -> PathBuf {
        self.0.join("errors")
    }

    /// Takes the lock and leaves this process's id in it; `None` if another process holds it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        lock_file(&self.0.join("lock"))
    }

    /// The supervisor's process id, if one lives.
    pub fn supervisor(&self) -> io::Result<Option<u32>> {
        lock_holder(&self.0.join("lock"))
    }

    /// Writes `spec.json`. For people; so it is not made durable, which would delay every start.
    pub fn write_spec(&self, record: &SpecRecord) -> io::Result<()> {
        fs::write(self.0.join("spec.json"), json(record)?)
    }

    /// Writes `started`, durable with everything before it. `false` if it exists: the command was started
    /// before.
    pub fn start(&self, record: &StartRecord) -> io::Result<bool> {
        let mut file = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.0.join("started"))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error),
        };
        file.write_all(&json(record)?)?;
        file.sync_all()?;
        os::sync_folder(&self.0)?;
        if let Some(parent) = self.0.parent() {
            os::sync_folder(parent)?;
        }
        Ok(true)
    }

    /// Whether `started` exists, whole or not.
    pub fn was_started(&self) -> bool {
        self.0.join("started").exists()
    }

    /// Reads `started`.
    pub fn started(&self) -> io::Result<Option<StartRecord>> {
        read_record(&self.0.join("started"))
    }

    /// Asks the supervisor to end the command.
    pub fn write_stop(&self, record: &StopRecord) -> io::Result<()> {
        write_record(&self.0, "stop", record)
    }

    /// Reads `stop`.
    pub fn stop(&self) -> io::Result<Option<StopRecord>> {
        read_record(&self.0.join("stop"))
    }

    /// Sets room aside for `exit.json`.
    pub fn reserve_exit(&self) -> io::Result<()> {
        let mut file = File::create(self.0.join("exit.room"))?;
        file.write_all(&[b' '; EXIT_ROOM])
    }

    /// Writes `exit.json`, durable, into the room set aside: it needs no new space.
    pub fn write_exit(&self, record: &ExitRecord) -> io::Result<()> {
        let mut text = json(record)?;
        text.resize(text.len().max(EXIT_ROOM), b' ');
        let room = self.0.join("exit.room");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&room)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&room, self.0.join("exit.json"))?;
        os::sync_folder(&self.0)
    }

    /// Whether `exit.json` exists.
    pub fn has_exit(&self) -> bool {
        self.0.join("exit.json").exists()
    }

    /// Reads `exit.json`.
    pub fn exit(&self) -> io::Result<Option<ExitRecord>> {
        read_record(&self.0.join("exit.json"))
    }
}

/// Locks `path` and leaves this process's id in it; `None` if another process holds it.
pub fn lock_file(path: &Path) -> io::Result<Option<Lock>> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.rewind()?;
    // As wide as any process id: never shorter than what it replaces.
    write!(file, "{:<10}", std::process::id())?;
    Ok(Some(Lock(file)))
}

/// The process that holds the lock `path`, if one does. A holder that has not said its id yet is 0.
pub fn lock_holder(path: &Path) -> io::Result<Option<u32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    file.take(16).read_to_string(&mut text)?;
    Ok(Some(text.trim().parse().unwrap_or(0)))
}

/// Replaces `folder/name` in one step, durable.
pub fn write_record<T: Serialize>(folder: &Path, name: &str, record: &T) -> io::Result<()> {
    let text = json(record)?;
    let fresh = folder.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(name))?;
    os::sync_folder(folder)
}

/// Reads a record; `None` if there is none.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut text)?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    serde_json::from_slice(&text).map(Some).map_err(invalid)
}

fn json<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(io::Error::other)
}
