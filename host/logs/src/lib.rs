//! The log store: what commands and plugins print, durable by byte offset, readable by line, live and afterwards.
//!
//! The master's link writes the frames that workers send ([`Logs::writer`]); the web server reads ([`Logs::read_lines`],
//! [`Logs::raw`]) and follows: it reads up to what there is, then waits on [`Logs::watch`], which carries no data and so
//! can lose none. Artefacts, which are no logs, lie beside them ([`Artefacts`]). A log is a live segment while it grows (see `segment`) and a compressed, indexed file once it is sealed
//! (see `sealed`). Readers do not notice the change.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capstan_model::LogId;
use tokio::sync::watch;

mod artefacts;
mod error;
mod lines;
mod live;
mod read;
mod sealed;
mod segment;
mod view;
mod writer;

pub use artefacts::Artefacts;
pub use error::Error;
pub use lines::{Line, MAX_LINE_TEXT, Totals};
pub use live::Progress;
pub use read::{Channels, Lines};
pub use writer::Writer;

use live::{Live, Paths};

/// Empty logs that somebody once asked for are forgotten when there are more logs in memory than this.
const REMEMBERED: usize = 1024;

/// How long to wait for the lock: a process that was killed just now may still be dying, and a child between fork and
/// exec holds its parent's lock for an instant.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_STEP: Duration = Duration::from_millis(5);

/// How a log store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether `append` returns only when the bytes are on the disk. Without it a power failure may lose acknowledged
    /// output; a killed process loses nothing either way. Default: true. Each log is synced by itself: logs that are
    /// written at the same time sync at the same time, and the file system's journal groups them.
    pub sync: bool,
    /// The zstd level of sealed logs. Default: 3, about 300 MB/s and a tenth of the size for compiler output.
    pub compression: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: true,
            compression: 3,
        }
    }
}

/// A log store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    options: Options,
    /// Logs that grow, are read for the first time, or are watched before they exist.
    open: Mutex<HashMap<LogId, Arc<Live>>>,
    _lock: File,
}

impl Logs {
    /// Opens the store in the folder `root`, which is made if missing. One process at a time.
    pub fn open(root: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let root = root.as_ref().to_owned();
        let temporary = root.join("tmp");
        for folder in [root.join("live"), root.join("sealed"), temporary.clone()] {
            std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        }
        let lock = lock(&root)?;
        for entry in std::fs::read_dir(&temporary).map_err(Error::io("read", &temporary))? {
            let path = entry.map_err(Error::io("read", &temporary))?.path();
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        segment::sync_folder(&root)?;
        Ok(Self(Arc::new(Inner {
            root,
            options,
            open: Mutex::default(),
            _lock: lock,
        })))
    }

    /// The writer of `log`, whose segment is made if there is none. Cuts off what a crash left behind the last whole
    /// frame. The newest writer of a log is the only one: older ones fail with [`Error::Superseded`].
    ///
    /// A sealed log has a writer too: it accepts what the log already has, so that whoever sends it again learns that it
    /// is durable.
    pub async fn writer(&self, log: LogId) -> Result<Writer, Error> {
        let live = self.log(log).await?;
        let guard = Arc::clone(&live.writing).lock_owned().await;
        let number = if live.is_sealed() {
            0
        } else {
            let live = Arc::clone(&live);
            blocking(move || {
                let _guard = guard;
                live.start_writing()
            })
            .await?
        };
        Ok(Writer::new(live, number, self.0.options.clone()))
    }

    /// Completes a log: compresses and indexes it. A log that was never written becomes an empty one; a sealed one stays
    /// as it is.
    pub async fn seal(&self, log: LogId) -> Result<Totals, Error> {
        let live = self.log(log).await?;
        let guard = Arc::clone(&live.writing).lock_owned().await;
        let (options, sealing) = (self.0.options.clone(), Arc::clone(&live));
        let totals = blocking(move || {
            let _guard = guard;
            sealing.seal(&options)
        })
        .await?;
        self.forget(&live);
        Ok(totals)
    }

    /// Nothing follows any more: readers and those who follow are told, and the log takes nothing new. Sealing it, which
    /// takes longer and is the same to them, may come later. Forgotten when the process ends, or a new writer comes: who
    /// ended it could not note that, and begins anew.
    pub async fn end(&self, log: LogId) -> Result<Totals, Error> {
        let live = self.log(log).await?;
        let _guard = live.writing.lock().await;
        live.end();
        Ok(live.totals())
    }

    /// Removes what there is of a log, for one that nobody is to read any more. One that is gone already is gone.
    pub async fn remove(&self, log: LogId) -> Result<(), Error> {
        let live = self.log(log).await?;
        let guard = Arc::clone(&live.writing).lock_owned().await;
        let removing = Arc::clone(&live);
        blocking(move || {
            let _guard = guard;
            removing.remove()
        })
        .await?;
        self.forget(&live);
        Ok(())
    }

    /// How much there is of a log.
    pub async fn totals(&self, log: LogId) -> Result<Totals, Error> {
        Ok(self.log(log).await?.totals())
    }

    /// How much there is of a log of which `expected` bytes are known to be complete: [`Error::Short`] if it has lost some, by
    /// a disk that forgot what it had synced or by a file from another backup.
    pub async fn whole(&self, log: LogId, expected: u64) -> Result<Totals, Error> {
        let totals = self.totals(log).await?;
        let found = totals.length;
        match found < expected {
            true => Err(Error::Short { log, expected, found }),
            false => Ok(totals),
        }
    }

    /// The bell of a log: how far it is, and when that changes. It may be watched before it exists. The receiver's
    /// `changed` fails once the log is complete and nobody has it open any more; the last value stays readable.
    pub async fn watch(&self, log: LogId) -> Result<watch::Receiver<Progress>, Error> {
        Ok(self.log(log).await?.watch())
    }

    /// The logs that have a segment and were not sealed: after a restart, what the last process was writing.
    pub async fn unsealed(&self) -> Result<Vec<LogId>, Error> {
        let folder = self.0.root.join("live");
        blocking(move || {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
                let name = entry.map_err(Error::io("read", &folder))?.file_name();
                let id = name.to_str().and_then(|name| name.strip_suffix(".log"));
                found.extend(id.and_then(|id| id.parse::<LogId>().ok()));
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    /// The log in memory, read from the disk if it is not there yet.
    async fn log(&self, log: LogId) -> Result<Arc<Live>, Error> {
        let live = {
            let mut open = self.opened();
            if open.len() >= REMEMBERED && !open.contains_key(&log) {
                open.retain(|_, live| Arc::strong_count(live) > 1 || !live.is_idle_and_empty());
            }
            let new = || Arc::new(Live::new(log, self.paths(log)));
            Arc::clone(open.entry(log).or_insert_with(new))
        };
        let loading = Arc::clone(&live);
        live.loaded
            .get_or_try_init(|| blocking(move || loading.load()))
            .await?;
        if live.is_sealed() {
            self.forget(&live);
        }
        Ok(live)
    }

    /// Sealed logs are not kept in memory: whoever holds one goes on reading, others open the file.
    fn forget(&self, live: &Arc<Live>) {
        let mut open = self.opened();
        if open.get(&live.id).is_some_and(|found| Arc::ptr_eq(found, live)) {
            open.remove(&live.id);
        }
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<LogId, Arc<Live>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paths(&self, log: LogId) -> Paths {
        let root = &self.0.root;
        let sealed = root
            .join("sealed")
            .join((log.0 / 1000).to_string())
            .join(format!("{log}.clog"));
        Paths {
            live: root.join("live").join(format!("{log}.log")),
            sealed,
            temporary: root.join("tmp").join(log.to_string()),
        }
    }
}

fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            Err(TryLockError::WouldBlock) if waited >= LOCK_PATIENCE => {
                return Err(Error::Locked(root.to_owned()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_STEP),
        }
        waited += LOCK_STEP;
    }
}

/// Runs file operations off the runtime's threads. They end by themselves even if the caller goes away.
async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Ending),
        },
    }
}

#[cfg(test)]
mod tests;
