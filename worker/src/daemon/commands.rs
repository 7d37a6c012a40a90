//! The commands that this worker holds: started through supervisors, found again after a restart of the
//! daemon, kept until the master says that their end is safe with it. What they do is told as [`News`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use capstan_model::{Clock, CommandId, CommandSpec, Timestamp};
use capstan_wire::control::ExitReport;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::settle;
use super::spares::Spares;
use super::watcher;
use crate::folder::{Folder, StopRecord};
use crate::os;
use crate::supervise::Job;

/// A folder in which nothing was ever started is kept so long: its supervisor may still be on its way.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// How a command stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// When it started, if it has.
    pub started: Option<Timestamp>,
    /// Bytes of its log on this disk; the last frame may not be whole yet.
    pub length: u64,
    /// How it ended; then `length` is final.
    pub exit: Option<ExitReport>,
}

/// A command stands otherwise than before.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Which command.
    pub id: CommandId,
    /// How it stands now.
    pub standing: Standing,
}

/// Few: a watcher that has to wait sees all the more at its next look.
const NEWS: usize = 16;

struct Entry {
    folder: Folder,
    ended: bool,
    /// Nobody asks for it any more: it goes as soon as it has ended.
    unwanted: bool,
}

/// Where commands are kept and what they share.
#[derive(Clone)]
pub struct Options {
    /// The worker's state folder.
    pub state: PathBuf,
    /// The folder that holds the builders' directories.
    pub base: PathBuf,
    /// See [`Job::folders`].
    pub folders: Vec<PathBuf>,
    /// See [`Job::spool_quota`].
    pub spool_quota: Option<u64>,
}

/// See the module.
pub struct Commands {
    options: Options,
    clock: Arc<dyn Clock>,
    spares: Arc<Spares>,
    entries: BTreeMap<CommandId, Entry>,
    watchers: JoinSet<()>,
    news: mpsc::Sender<News>,
}

impl Commands {
    /// Prepares the state folder. [`Commands::rescan`] finds the commands of earlier daemons.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> io::Result<(Self, mpsc::Receiver<News>)> {
        // Logs are the master's to show.
        let folder = options.state.join("commands");
        os::make_private(&folder)?;
        let spares = Arc::new(Spares::open(folder)?);
        let (news, told) = mpsc::channel(NEWS);
        Ok((
            Self {
                options,
                clock,
                spares,
                entries: BTreeMap::new(),
                watchers: JoinSet::new(),
                news,
            },
            told,
        ))
    }

    /// Takes up commands on disk that are not known yet, and gives them. Before each connection: a supervisor
    /// that an earlier daemon started may come to life only now. What cannot be read keeps no other command from it.
    pub fn rescan(&mut self) -> io::Result<Vec<News>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.options.state.join("commands"))? {
            let path = entry?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse().ok());
            let Some(id) = id.filter(|id| !self.entries.contains_key(id)) else {
                continue;
            };
            let folder = Folder::new(&path);
            if folder.was_started() || folder.has_exit() {
                if let Err(error) = settle::mend(&folder, &*self.clock) {
                    tracing::warn!(command = %id, "what is left of it could not be looked through: {error}");
                }
                let standing = watcher::look(&folder);
                found.push(News {
                    id,
                    standing: standing.clone(),
                });
                self.watch(id, folder, None, standing);
            } else if matches!(folder.supervisor(), Ok(None)) && self.is_old(&path) {
                // What cannot be removed now is tried again.
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(found)
    }

    /// Starts a command, unless it was started before.
    pub fn start(&mut self, id: CommandId, spec: CommandSpec, secrets: BTreeMap<String, String>) {
        if self.entries.contains_key(&id) {
            return;
        }
        let job = Job {
            id,
            spec,
            secrets,
            base: self.options.base.clone(),
            folders: self.options.folders.clone(),
            heartbeat: self.heartbeat(),
            spool_quota: self.options.spool_quota,
        };
        let folder = Folder::new(self.options.state.join("commands").join(id.to_string()));
        // At once, so that a stop finds where to leave its reason; starting reports what is wrong with the
        // folder.
        if !self.spares.make(&folder) {
            let _ = fs::create_dir_all(folder.path());
        }
        self.watch(id, folder, Some(job), Standing::default());
    }

    /// The folder of a command, if it is held.
    pub fn folder(&self, id: CommandId) -> Option<Folder> {
        self.entries.get(&id).map(|entry| entry.folder.clone())
    }

    /// Has a command ended. One that has ended already, or is unknown, stays as it is.
    pub fn stop(&self, id: CommandId, reason: &str) {
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.ended) else {
            return;
        };
        if let Err(error) = entry.folder.write_stop(&StopRecord {
            reason: reason.to_owned(),
        }) {
            // The signal alone ends it too, without the reason.
            tracing::warn!(command = %id, "the reason of a stop could not be written: {error}");
        }
        // This process itself has the lock while it settles what a killed supervisor left.
        if let Ok(Some(supervisor)) = entry.folder.supervisor()
            && supervisor != std::process::id()
        {
            os::send(supervisor, os::Told::Terminate);
        }
    }

    /// Nobody will ask for this command again: stops it if it runs, removes what is kept of it.
    pub fn forget(&mut self, id: CommandId) {
        self.stop(id, "the master does not want it any more");
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.unwanted = true;
        self.remove_unwanted(id);
    }

    /// To be called with all news, in their order.
    pub fn heard(&mut self, news: &News) {
        if let Some(entry) = self.entries.get_mut(&news.id) {
            entry.ended = news.standing.exit.is_some();
            self.remove_unwanted(news.id);
        }
    }

    fn remove_unwanted(&mut self, id: CommandId) {
        let Some(entry) = self
            .entries
            .get(&id)
            .filter(|entry| entry.ended && entry.unwanted)
        else {
            return;
        };
        self.spares.keep(&entry.folder);
        self.entries.remove(&id);
    }

    /// Tells the supervisors that the master was heard.
    pub fn beat(&self) {
        let now = format!("{:<20}", self.clock.now().0);
        // In place: it works on a full disk too.
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.heartbeat());
        if let Err(error) = file.and_then(|mut file| io::Write::write_all(&mut file, now.as_bytes())) {
            tracing::warn!("the heartbeat could not be written: {error}");
        }
    }

    fn heartbeat(&self) -> PathBuf {
        self.options.state.join("heartbeat")
    }

    fn watch(&mut self, id: CommandId, folder: Folder, job: Option<Job>, standing: Standing) {
        let ended = standing.exit.is_some();
        self.entries.insert(
            id,
            Entry {
                folder: folder.clone(),
                ended,
                unwanted: false,
            },
        );
        while self.watchers.try_join_next().is_some() {}
        if !ended {
            let teller = watcher::Teller::new(id, standing, self.news.clone());
            self.watchers.spawn(watcher::watch(
                folder,
                job,
                teller,
                self.spares.clone(),
                self.clock.clone(),
            ));
        }
    }

    fn is_old(&self, path: &Path) -> bool {
        let changed = fs::metadata(path).and_then(|found| found.modified());
        let since = changed
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .unwrap_or_default();
        let age = u128::from(self.clock.now().since(Timestamp(0))).saturating_sub(since.as_millis());
        age > UNUSED.as_millis()
    }
}
