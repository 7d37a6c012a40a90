//! `capstan-worker run`: dials the master, and dials again whenever the connection is gone; in between, and
//! meanwhile, commands run under their supervisors. Killing this process loses nothing: the next one finds
//! everything on disk.
//!
//! One task linearises what happens: news of commands, orders of the master, the end of connections. What to
//! say and do about it decides [`capstan_wire::session::Worker`].

pub mod commands;
mod connection;
mod log;
mod settle;
mod spares;
mod watcher;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capstan_client::Connection;
use capstan_model::{Clock, CommandId};
use capstan_wire::control::Hello;
use capstan_wire::session;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::folder::{Lock, lock_file, lock_holder};
use crate::member::{self, Member};
use crate::os;
use crate::state::State;
use commands::{Commands, News};
use connection::End;

/// How long a daemon waits for a folder that is in use.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);

/// How long the end of the daemon waits for a log that is being repaired; the next daemon repairs it.
const REPAIRS: Duration = Duration::from_millis(300);

/// Why the daemon cannot run, or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder holds no membership, or a damaged one.
    #[error(transparent)]
    Member(#[from] member::Error),
    /// Two daemons would fight over the commands.
    #[error(
        "the folder {folder} is in use by the capstan-worker with process id {holder}; stop it, or use another folder"
    )]
    InUse {
        /// The worker's folder.
        folder: PathBuf,
        /// The other daemon.
        holder: u32,
    },
    /// The state folder refuses.
    #[error("the state in {folder} could not be read or written: {source}")]
    State {
        /// The worker's folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The master does not want this worker.
    #[error("the master has sent this worker away: {0}")]
    Dismissed(String),
}

/// Shared by the main task and the tasks that send logs; locked for an instant only.
type Session = Arc<Mutex<session::Worker>>;

/// The daemon of one folder.
pub struct Daemon {
    member: Member,
    state: State,
    identity: capstan_client::Identity,
    commands: Commands,
    news: mpsc::Receiver<News>,
    session: Session,
    /// Commands whose start the session was told.
    started: BTreeSet<CommandId>,
    /// Whether commands have control groups.
    groups: bool,
    stop: CancellationToken,
    _lock: Lock,
}

impl Daemon {
    /// Takes possession of the worker's folder.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>, stop: CancellationToken) -> Result<Self, Error> {
        let member = Member::load(folder)?;
        let state = |source| Error::State {
            folder: folder.to_owned(),
            source,
        };
        let Some(lock) = patient_lock(&folder.join("lock")).map_err(state)? else {
            let holder = lock_holder(&folder.join("lock"))
                .map_err(state)?
                .unwrap_or_default();
            return Err(Error::InUse {
                folder: folder.to_owned(),
                holder,
            });
        };
        os::clear_groups();
        let identity = member.identity()?;
        let remembered = State::open(folder).map_err(state)?;
        let options = commands::Options {
            state: member.folder.clone(),
            base: member.base(),
            folders: member.folders.clone(),
            spool_quota: member.spool_quota(),
        };
        let (commands, news) = Commands::open(options, clock).map_err(state)?;
        let session = Arc::new(Mutex::new(session::Worker::new(remembered.epoch_seen())));
        let started = BTreeSet::new();
        Ok(Self {
            member,
            state: remembered,
            identity,
            commands,
            news,
            session,
            started,
            groups: os::can_group(),
            stop,
            _lock: lock,
        })
    }

    /// Serves until told to stop. Commands go on.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            self.take_up().map_err(|source| Error::State {
                folder: self.member.folder.clone(),
                source,
            })?;
            let Some(dialled) = self.dial().await else {
                return Ok(());
            };
            match dialled {
                Ok(connection) => {
                    let begun = tokio::time::Instant::now();
                    match self.converse(connection).await {
                        End::Told => return Ok(()),
                        End::Dismissed(reason) => return Err(Error::Dismissed(reason)),
                        End::Lost(reason) => tracing::warn!("the connection to the master ended: {reason}"),
                    }
                    if begun.elapsed() >= Backoff::SETTLED {
                        backoff = Backoff::default();
                    }
                }
                Err(reason) => tracing::warn!("no connection to the master: {reason}"),
            }
            if !self.pause(backoff.next()).await {
                return Ok(());
            }
        }
    }

    /// Tells the session about commands on disk that it does not know.
    fn take_up(&mut self) -> io::Result<()> {
        for News { id, standing } in self.commands.rescan()? {
            if standing.started.is_some() {
                self.started.insert(id);
            }
            lock(&self.session).restore(id, standing.started, standing.length, standing.exit);
        }
        Ok(())
    }

    /// Dials each address once. `None`: told to stop.
    async fn dial(&mut self) -> Option<Result<Connection, capstan_client::Error>> {
        let (identity, addresses) = (self.identity.clone(), self.member.addresses.clone());
        let dialling = dial(&identity, &addresses);
        tokio::pin!(dialling);
        loop {
            tokio::select! {
                dialled = &mut dialling => return Some(dialled),
                () = self.stop.cancelled() => return None,
                Some(news) = self.news.recv() => {
                    tell(&mut self.commands, &self.session, &mut self.started, news);
                }
            }
        }
    }

    /// Waits before the next try. `false`: told to stop.
    async fn pause(&mut self, length: Duration) -> bool {
        let end = tokio::time::sleep(length);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return true,
                () = self.stop.cancelled() => return false,
                Some(news) = self.news.recv() => {
                    tell(&mut self.commands, &self.session, &mut self.started, news);
                }
            }
        }
    }

    fn hello(&self) -> Hello {
        let mut facts = os::facts();
        let trees = if self.groups { "cgroup" } else { "proc" };
        facts.insert("process_trees".to_owned(), trees.to_owned());
        Hello {
            minor: capstan_wire::PROTOCOL_MINOR,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.state.boot(),
            slots: self.member.slots,
            labels: self.member.labels.clone(),
            facts,
            epoch_seen: 0,
            commands: Vec::new(),
        }
    }
}

/// Takes the lock of a worker's folder. Somebody may hold it for an instant who only looks, or a process that a killed daemon
/// was about to start.
fn patient_lock(path: &Path) -> io::Result<Option<Lock>> {
    let begun = std::time::Instant::now();
    loop {
        match lock_file(path)? {
            None if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            found => return Ok(found),
        }
    }
}

async fn dial(
    identity: &capstan_client::Identity,
    addresses: &[String],
) -> Result<Connection, capstan_client::Error> {
    let options = capstan_client::Options::default();
    let mut last = capstan_client::Error::NoAddress;
    for address in addresses {
        match capstan_client::connect(identity, address, &options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Passes news on to whom they concern; gives what the session makes of it.
fn tell(
    commands: &mut Commands,
    session: &Session,
    started: &mut BTreeSet<CommandId>,
    news: News,
) -> Vec<session::worker::Action> {
    commands.heard(&news);
    let News { id, standing } = news;
    let mut session = lock(session);
    let mut actions = Vec::new();
    if let Some(at) = standing.started.filter(|_| started.insert(id)) {
        actions.extend(session.started(id, at));
    }
    match standing.exit {
        Some(report) => {
            started.remove(&id);
            actions.extend(session.exited(id, report));
        }
        None => actions.extend(session.grew(id, standing.length)),
    }
    actions
}

fn lock(session: &Session) -> MutexGuard<'_, session::Worker> {
    // A panic elsewhere does not make its state wrong: every call leaves it whole.
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits that grow, and differ between workers, so that a master that returns is not dialled by all at once.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    /// A dial that finds nobody takes five seconds more; so after any absence a worker is back within about ten seconds.
    const LONGEST: Duration = Duration::from_secs(5);
    /// A connection that lasted so long was a good one: a master that ends each at once is not dialled all
    /// the time.
    const SETTLED: Duration = Duration::from_secs(1);

    fn next(&mut self) -> Duration {
        let whole = Self::FIRST.saturating_mul(1 << self.0.min(16)).min(Self::LONGEST);
        self.0 += 1;
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// The main program of `capstan-worker run`: stops at SIGTERM or SIGINT.
pub fn main(folder: &Path, clock: Arc<dyn Clock>) -> Result<(), Error> {
    let state = |source| Error::State {
        folder: folder.to_owned(),
        source,
    };
    // One thread does: the daemon only moves bytes. Blocking threads are for the rare repair of a spool.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(state)?;
    let done = runtime.block_on(async {
        let stop = CancellationToken::new();
        let daemon = Daemon::open(folder, clock, stop.clone())?;
        let signals = os::stop_signal().map_err(state)?;
        let running = daemon.run();
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            () = signals => stop.cancel(),
        }
        running.await
    });
    runtime.shutdown_timeout(REPAIRS);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_never_vanish() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= Backoff::FIRST / 2 && waits[0] <= Backoff::FIRST);
        assert!(
            waits[10..]
                .iter()
                .all(|wait| (Backoff::LONGEST / 2..=Backoff::LONGEST).contains(wait))
        );
    }
}
