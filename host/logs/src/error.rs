//! What can go wrong with a log, for everybody who writes or reads one.

use std::io;
use std::path::{Path, PathBuf};

use capstan_model::LogId;
use capstan_wire::frame;

/// Why a log could not be opened, written, read or sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("failed to {what} `{}`: {source}", .path.display())]
    Io {
        /// What was tried: "open", "write to" …
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no space left. The log keeps what was durable and takes more once there is space again.
    #[error("failed to write to `{}`: {source}; free some space, the log is intact up to what was durable", .path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has this log store open.
    #[error("expected to be the only user of the log store `{}`, found another process; stop it first", .0.display())]
    Locked(PathBuf),
    /// Bytes before the offered ones are missing.
    #[error("expected bytes of log {log} from offset {expected} on, found offset {found}")]
    Gap {
        /// Which log.
        log: LogId,
        /// The durable length.
        expected: u64,
        /// The offset that was offered.
        found: u64,
    },
    /// The bytes are no frames.
    #[error("expected a frame at offset {offset} of log {log}: {source}")]
    Frame {
        /// Which log.
        log: LogId,
        /// Where the bad frame starts.
        offset: u64,
        /// What is wrong with it.
        source: frame::Error,
    },
    /// The bytes do not begin and end with whole frames.
    #[error(
        "expected whole frames, found bytes of log {log} that are cut within the frame at offset {offset}"
    )]
    Cut {
        /// Which log.
        log: LogId,
        /// Where the incomplete frame starts.
        offset: u64,
    },
    /// The log is complete.
    #[error("expected an open log, found log {0} sealed; nothing can be added to it")]
    Sealed(LogId),
    /// Somebody else writes it now.
    #[error("expected to be the writer of log {0}, found a newer one")]
    Superseded(LogId),
    /// A stored file is damaged.
    #[error("expected a whole log file, found `{}` damaged at byte {position}: {reason}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// A complete log is shorter than it was when that was noted.
    #[error(
        "expected {expected} bytes of log {log}, found {found}: its end is lost; if the database comes from a backup, the \
         folder `logs` has to come from the same"
    )]
    Short {
        /// Which log.
        log: LogId,
        /// How long it was.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A stored file is from a newer version of Capstan.
    #[error("expected version {expected} or older of the log format, found {found} in `{}`; use a newer Capstan", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What this Capstan reads.
        expected: u32,
        /// What was found.
        found: u32,
    },
    /// The process is ending.
    #[error("expected to finish the work on a log, found the process ending")]
    Ending,
}

impl Error {
    /// For `map_err` on an operation that tried to `what` the file at `path`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Io { what, path, source },
        }
    }

    pub(crate) fn corrupt(path: &Path, position: u64, reason: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            position,
            reason: reason.to_string(),
        }
    }
}
