//! The folder that keeps a command on disk: written by its supervisor, read by the daemon.
//!
//! ```text
//! <state>/commands/<id>/
//!   lock        locked by the supervisor for life; its process id
//!   spec.json   what is run, without secrets' values
//!   started     durable before anything is executed: the command ran, or may have
//!   <id>.spool  the log, as frames; the supervisor alone writes it
//!   stop        written by the daemon: why the command is to end
//!   exit.room   room for how it ended, and for a short log
//!   exit.json   the same file under another name, once it says how the command ended: durable with or after the log
//!   errors      what the supervisor itself had to complain about
//! ```
//!
//! No `started` and no log: it never ran. `started`, the lock free and no end: nobody knows how it ended.
//!
//! `started` and `exit.room` are files with room set aside (see `room`), and a folder that is needed no more becomes the
//! next command's: making, renaming and syncing names costs several times as much as a sync of data does. So no name here
//! is trusted after a crash of the machine, which may have left names of the command before. What counts is what the
//! records say, and each says whose it is; so does the spool, by its name. What follows a record has its checksum there.
//!
//! A supervisor of one version and a daemon of another, older or newer, meet here: a field that a reader does not know is
//! ignored, one that it misses means what it meant before there was such a field.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use capstan_model::{CommandId, CommandSpec, Exit, Timestamp};
use capstan_wire::control::ExitReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::os;
use crate::room::{self, Found};

/// No record in the folder is longer: what is longer was not written by us.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// Room for `started`: a block.
const START_ROOM: usize = 4 * 1024;

/// Room for the record of the end, so that a full disk cannot swallow the end of a command.
const EXIT_ROOM: usize = 8 * 1024;

/// Longer reasons are cut: six times as long, as the most that JSON makes of them, they have to fit into [`EXIT_ROOM`].
const MAX_REASON: usize = 1200;

/// The longest log that is kept in the record of the end, too: it is durable with it, at the price of one sync.
pub const SHORT_LOG: usize = 56 * 1024;

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
    /// Which command.
    pub id: CommandId,
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// [`os::boot_text`] then.
    pub boot: String,
    /// [`os::uptime`] then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Duration>,
    /// The command's [`os::Group`], if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<PathBuf>,
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
    /// Which command.
    pub id: CommandId,
    /// When, by the worker's clock.
    pub at: Timestamp,
    /// How it ended and how much it wrote.
    pub report: ExitReport,
    /// How many bytes follow the record: the whole log, or nothing.
    #[serde(default)]
    pub kept: usize,
    /// Their CRC-32: a crash of the machine may have left those of the command before in their place.
    #[serde(default)]
    pub sum: u32,
}

impl ExitRecord {
    /// The record of an end, with `kept` behind it.
    pub fn new(id: CommandId, at: Timestamp, mut report: ExitReport, kept: &[u8]) -> Self {
        if let Exit::Killed(reason)
        | Exit::NotStarted(reason)
        | Exit::NoFile { reason, .. }
        | Exit::Lost(reason) = &mut report.exit
        {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        let (kept, sum) = (kept.len(), crc32fast::hash(kept));
        Self {
            id,
            at,
            report,
            kept,
            sum,
        }
    }
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

    /// The file that holds the log. Named after the command: see the module.
    pub fn spool(&self) -> PathBuf {
        let id = self.0.file_name().unwrap_or_default();
        self.0.join(id).with_added_extension("spool")
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

    /// Writes `started`, durable. `false` if it says so already: the command was started before. Only for who has the
    /// lock.
    pub fn start(&self, record: &StartRecord) -> io::Result<bool> {
        if self.was_started() {
            return Ok(false);
        }
        let path = self.started_at();
        let fresh = !room::has(&path, START_ROOM);
        let written = room::overwrite(&path, &room::encode(record, START_ROOM)?).and_then(|_| {
            if fresh {
                // The first command in this folder. From now on its files are where they are: later ones need only their
                // data synced.
                File::open(self.room())?.sync_all()?;
                self.sync_names()?;
            }
            Ok(())
        });
        if written.is_err() {
            // It is not going to be started: nobody shall take it for lost.
            let _ = File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(0));
        }
        written.map(|()| true)
    }

    /// Makes the names of the folder's files, and the folder's own, durable.
    pub fn sync_names(&self) -> io::Result<()> {
        os::sync_folder(&self.0)?;
        self.0.parent().map_or(Ok(()), os::sync_folder)
    }

    /// Whether `started` says that the command was, as far as it can be read; or a log that has begun.
    pub fn was_started(&self) -> bool {
        match self.whoever_started() {
            Ok(Found::Nothing) => fs::metadata(self.spool()).is_ok_and(|found| found.len() > 0),
            Ok(Found::Record(record)) => self.is_of(record.id),
            // A record in doubt is one that counts: better lost than run twice.
            Ok(Found::Torn) | Err(_) => true,
        }
    }

    /// Reads `started`.
    pub fn started(&self) -> io::Result<Option<StartRecord>> {
        let found = self.whoever_started()?.record();
        Ok(found.filter(|record| self.is_of(record.id)))
    }

    /// Reads `started`, whichever command's it is.
    pub fn whoever_started(&self) -> io::Result<Found<StartRecord>> {
        room::read(&self.started_at(), START_ROOM)
    }

    /// Whether the folder is that command's, by its name. A copy under another name is anybody's.
    fn is_of(&self, id: CommandId) -> bool {
        self.own().is_none_or(|own| own == id)
    }

    /// Whose it is, by its name.
    fn own(&self) -> Option<CommandId> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    /// Whether all its names are known to be durable: its command came to an end that its supervisor wrote, or it is a spare
    /// one, which was such a command's. A supervisor that was killed may not have come to [`Folder::sync_names`].
    fn has_lasting_names(&self) -> bool {
        match self.exit() {
            Ok(Some(record)) => !matches!(record.report.exit, Exit::Lost(_)),
            _ => self.own().is_none(),
        }
    }

    /// Asks the supervisor to end the command.
    pub fn write_stop(&self, record: &StopRecord) -> io::Result<()> {
        write_record(&self.0, "stop", record)
    }

    /// Reads `stop`.
    pub fn stop(&self) -> io::Result<Option<StopRecord>> {
        read_record(&self.0.join("stop"))
    }

    /// Sets room aside for the end.
    pub fn reserve_exit(&self) -> io::Result<()> {
        room::make(&self.room(), EXIT_ROOM + SHORT_LOG)
    }

    fn started_at(&self) -> PathBuf {
        self.0.join("started")
    }

    /// Writes how the command ended, durable, into the room set aside: it needs no new space. With the whole log if that
    /// is at most [`SHORT_LOG`] bytes long; a longer one is durable already.
    pub fn write_exit(&self, record: &ExitRecord, log: &[u8]) -> io::Result<()> {
        let mut bytes = room::encode(record, EXIT_ROOM)?;
        bytes.extend_from_slice(log);
        if !room::overwrite(&self.room(), &bytes)? {
            os::sync_folder(&self.0)?;
        }
        // For those who look; which of the two names a crash of the machine leaves does not matter.
        fs::rename(self.room(), self.ended())
    }

    /// Whether it is known how the command ended.
    pub fn has_exit(&self) -> bool {
        self.exit().is_ok_and(|found| found.is_some())
    }

    /// Reads how the command ended.
    pub fn exit(&self) -> io::Result<Option<ExitRecord>> {
        Ok(self.exit_and_log()?.map(|(record, _)| record))
    }

    /// Reads how the command ended, and what is kept with that. One without the other is none: it is being written, or a
    /// crash interrupted that. The supervisor may rename the file meanwhile, from the first of these names to the second: so
    /// they are tried in that order.
    fn exit_and_log(&self) -> io::Result<Option<(ExitRecord, Vec<u8>)>> {
        match self.ending_at(&self.room())? {
            None => self.ending_at(&self.ended()),
            found => Ok(found),
        }
    }

    fn ending_at(&self, path: &Path) -> io::Result<Option<(ExitRecord, Vec<u8>)>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found: Found<ExitRecord> = room::read_from(&mut file, EXIT_ROOM)?;
        let own = |record: &ExitRecord| self.is_of(record.id) && record.kept <= SHORT_LOG;
        let Some(record) = found.record().filter(own) else {
            return Ok(None);
        };
        let log = room::read_rest(&mut file, EXIT_ROOM, record.kept)?;
        Ok((crc32fast::hash(&log) == record.sum).then_some((record, log)))
    }

    /// Writes the spool of an ended command again if a crash of the machine took or damaged it and the record of the end has
    /// it. Without room for that there is none, and [`Folder::log`] reads the record's.
    pub fn restore_spool(&self) -> io::Result<()> {
        match self.exit_and_log()? {
            Some((_, log)) if !log.is_empty() && !fs::read(self.spool()).is_ok_and(|found| found == log) => {
                fs::write(self.spool(), log).or_else(|_| fs::remove_file(self.spool()))
            }
            _ => Ok(()),
        }
    }

    /// The log, to read.
    pub fn log(&self) -> io::Result<Log> {
        match File::open(self.spool()) {
            Ok(file) => Ok(Log::Spool(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.exit_and_log()? {
                Some((_, log)) if !log.is_empty() => Ok(Log::Kept(log)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Makes the folder of a command that nobody asks for any more ready for another one, at `to`, which does not exist.
    /// `false`: it is not fit for that. Not durable: see the module.
    pub fn recycle(&self, to: &Path) -> io::Result<bool> {
        let lasting = self.has_lasting_names();
        fs::rename(&self.0, to)?;
        let moved = Self::new(to);
        if moved.ended().exists() {
            fs::rename(moved.ended(), moved.room())?;
        }
        let (started, room) = (moved.started_at(), moved.room());
        if !lasting || !room::has(&started, START_ROOM) || !room::has(&room, EXIT_ROOM + SHORT_LOG) {
            return Ok(false);
        }
        for entry in fs::read_dir(to)? {
            let path = entry?.path();
            if path != started && path != room {
                fs::remove_file(path)?;
            }
        }
        room::clear(&room, EXIT_ROOM)?;
        room::clear(&started, START_ROOM)?;
        Ok(true)
    }

    fn room(&self) -> PathBuf {
        self.0.join("exit.room")
    }

    /// The same file's name once it tells of the end.
    fn ended(&self) -> PathBuf {
        self.0.join("exit.json")
    }
}

/// See [`Folder::log`].
#[derive(Debug)]
pub enum Log {
    /// The spool.
    Spool(File),
    /// What is kept in the record of the end.
    Kept(Vec<u8>),
}

impl Log {
    /// Fills `buffer` with what is at `offset`.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Spool(file) => file.read_exact_at(buffer, offset),
            Self::Kept(log) => {
                let from = usize::try_from(offset).ok();
                let found = from.and_then(|from| log.get(from..)?.get(..buffer.len()));
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
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

#[cfg(test)]
mod tests;
