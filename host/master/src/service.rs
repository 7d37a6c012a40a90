//! Starts a master: opens what it keeps, puts the configuration in force, opens the link, runs the tasks until the end.

use std::fs::TryLockError;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use capstan_config::{Backend, Diagnostic, Operator, Synchronous};
use capstan_engine::Ports;
use capstan_link::Link;
use capstan_logs::{Artefacts, Logs};
use capstan_model::{Clock, Timestamp};
use capstan_store::{Owner, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Commands;
use crate::configuration::{self, BuiltIn, Request};
use crate::farm::Farm;
use crate::functions::KnownFunctions;
use crate::handle::Handle;
use crate::interruptions::{Absences, Alive};
use crate::locks::{Locks, Slots};
use crate::pipelines::Pipelines;
use crate::plugins::watch::Condemned;
use crate::queue::Queue;
use crate::retention::Retention;
use crate::stops::Stops;
use crate::workers::Door;
use crate::{
    Error, audit, dispatch, files, git, http, interruptions, kept, mail, outbox, plugins, retention,
    schedulers, sealing, secrets, sources, stopping,
};

/// How long to wait for the data folder of a master that was killed just now and may still be dying.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_STEP: Duration = Duration::from_millis(10);
/// How long the store may take to write what waits and to end its connections.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// How long a master that starts waits for its database, and how often it tries.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// What a master is started with.
#[derive(Clone)]
pub struct Options {
    /// The operator's file.
    pub operator: Operator,
    /// The components that are part of the program, by file name.
    pub built_in: BuiltIn,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A master that is ready to run.
pub struct Master {
    farm: Arc<Farm>,
    link: Link,
    alive: Alive,
    audit: audit::Inbox,
    remarks: Vec<Diagnostic>,
    _lock: std::fs::File,
}

/// Whether it is only the database that is away. A file is there or is not.
fn may_pass(error: &Error, operator: &Operator) -> bool {
    use capstan_store::Error::{CommitUnknown, Open, Unavailable};
    match error {
        Error::Store(Unavailable { .. } | CommitUnknown { .. }) => true,
        Error::Store(Open { .. }) => matches!(operator.database.backend, Backend::Postgres(_)),
        _ => false,
    }
}

impl Master {
    /// Opens everything. A second master on the same data folder, a bad configuration, or an address in use is an error,
    /// and nothing has happened then.
    ///
    /// A database server that cannot be reached is waited for: it may be starting, too, or have just crashed.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let mut waited = Duration::ZERO;
        loop {
            let error = match Self::start_now(options.clone()).await {
                Err(error) if waited < PATIENCE && may_pass(&error, &options.operator) => error,
                done => return done,
            };
            tracing::warn!(%error, "the database cannot be reached; trying again for up to {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
            waited += PAUSE;
        }
    }

    async fn start_now(options: Options) -> Result<Self, Error> {
        let Options {
            operator,
            built_in,
            clock,
        } = options;
        let data = operator.master.data.clone();
        let owner = owner(&data, clock.now())?;
        let lock = lock(&owner)?;
        let engine = configuration::engine(&operator)?;
        let (auditor, audit) = audit::channel(Arc::clone(&clock));
        engine.audit_to(auditor);
        let now = clock.now();
        let store = Store::open(&store_options(&operator), now).await?;
        let before = configuration::remembered(&operator, &engine, built_in, &store).await?;
        let request = Request::all(&operator, &engine, built_in, Arc::new(before), now);
        let configured = configuration::configure_as(&operator, request).await?;
        let installation = store.installation();
        let (alive, away) = Alive::open(&data, &*clock)?;
        let epoch = store.begin_epoch(owner, away, now).await?;
        alive.touch(&*clock);
        let logs = Logs::open(data.join("logs"), capstan_logs::Options::default())?;
        let artefacts = Artefacts::at(data.join("artefacts"))?;
        let secrets = secrets::open(&operator);
        let mirrors = Arc::new(git::Mirrors::new(data.join("mirrors")));
        let ports = Ports {
            git: Arc::clone(&mirrors) as _,
            http: Arc::new(
                http::Client::new(secrets.clone()).map_err(|e| Error::failed("make an HTTP client", e))?,
            ),
            files: Arc::new(files::Folder(operator.folder.clone())),
            state: Arc::new(kept::Kept::new(store.clone(), Arc::clone(&clock))),
            mail: Arc::new(mail::Server::new(
                operator.mail.as_ref(),
                secrets.clone(),
                Arc::clone(&clock),
            )?),
        };
        let remarks = configured.remarks.clone();
        for remark in &configured.grants {
            tracing::warn!("{remark}");
        }
        let retention = operator.retention.clone();
        let queue = Queue::open(&store, now).await?;
        let farm = Arc::new(Farm {
            folder: operator.folder.clone(),
            operator,
            store,
            queue,
            logs,
            artefacts,
            engine,
            secrets,
            clock,
            installation,
            epoch,
            started: now,
            built_in,
            plugins: ArcSwap::from_pointee(plugins::Registry::default()),
            plan: watch::Sender::new(Arc::new(configured.plan.clone())),
            functions: KnownFunctions::default(),
            reloading: tokio::sync::Mutex::default(),
            suspects: Notify::new(),
            condemned: Condemned::default(),
            ports,
            pipelines: Pipelines::new(mirrors, data.join("pipelines")),
            link: OnceLock::new(),
            link_address: OnceLock::new(),
            url: OnceLock::new(),
            commands: Commands::default(),
            stops: Stops::default(),
            locks: Locks::default(),
            slots: Slots::default(),
            absences: Absences::default(),
            workers_changed: Notify::new(),
            to_seal: Notify::new(),
            retention: Retention::new(retention),
        });
        configuration::apply(&farm, configured, true).await?;
        let link = open_link(&farm).await?;
        Ok(Self {
            farm,
            link,
            alive,
            audit,
            remarks,
            _lock: lock,
        })
    }

    /// What others may ask of it.
    pub fn handle(&self) -> Handle {
        Handle(self.farm.clone())
    }

    /// What is allowed in the configuration but looks wrong, and what it printed.
    pub fn remarks(&self) -> &[Diagnostic] {
        &self.remarks
    }

    /// Where workers are awaited.
    pub fn link_address(&self) -> SocketAddr {
        self.link.local_addr()
    }

    /// Says where the pages are really served: that is their public address where the operator's file leaves the port
    /// open.
    pub fn set_web_address(&self, address: SocketAddr) {
        let configured = &self.farm.operator.master.url;
        let url = if configured.ends_with(":0") {
            format!("http://{address}")
        } else {
            configured.clone()
        };
        // Set once, by the program that serves the pages.
        let _already = self.farm.url.set(url);
    }

    /// Works until `shutdown`. Builds that run then go on at their workers, and the next master takes them up.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self {
            farm,
            link,
            alive,
            audit,
            remarks: _,
            _lock,
        } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(plugins::watch::run(farm.clone(), shutdown.clone()));
        tasks.spawn(sources::run(farm.clone(), shutdown.clone()));
        tasks.spawn(schedulers::run(farm.clone(), shutdown.clone()));
        tasks.spawn(dispatch::run(farm.clone(), shutdown.clone()));
        tasks.spawn(outbox::run(farm.clone(), shutdown.clone()));
        tasks.spawn(stopping::run(farm.clone(), shutdown.clone()));
        tasks.spawn(sealing::run(farm.clone(), shutdown.clone()));
        tasks.spawn(retention::run(farm.clone(), shutdown.clone()));
        tasks.spawn(secrets::keep(farm.secrets.clone(), shutdown.clone()));
        tasks.spawn(audit::run(farm.clone(), audit, shutdown.clone()));
        tasks.spawn(interruptions::watch(farm.clone(), alive, shutdown.clone()));
        tasks.spawn(link.run(shutdown.clone()));
        let mut result = Ok(());
        loop {
            let ended = tokio::select! {
                ended = tasks.join_next() => ended,
                error = farm.store.displaced(), if !shutdown.is_cancelled() => {
                    result = Err(error.into());
                    shutdown.cancel();
                    continue;
                }
            };
            match ended {
                None => break,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    // A task that panics leaves the rest unsafe to go on: the next start takes everything up.
                    tracing::error!(%error, "a task of the master ended badly");
                    result = Err(Error::failed("run the master", error));
                    shutdown.cancel();
                }
            }
        }
        if tokio::time::timeout(LAST_WRITES, farm.store.close())
            .await
            .is_err()
        {
            tracing::warn!("somebody still reads from the store; not waiting any longer");
        }
        result
    }
}

/// This process, as another master is told of it.
fn owner(data: &Path, now: Timestamp) -> Result<Owner, Error> {
    let failed = |e: std::io::Error| Error::failed(format!("open {}", data.display()), e);
    std::fs::create_dir_all(data).map_err(failed)?;
    let host = nix::unistd::gethostname().map_err(|e| Error::failed("ask for the host's name", e))?;
    Ok(Owner {
        host: host.to_string_lossy().into_owned(),
        process: std::process::id(),
        folder: data.canonicalize().map_err(failed)?,
        since: now,
    })
}

/// Locks the data folder; the file says who did.
fn lock(owner: &Owner) -> Result<std::fs::File, Error> {
    let path = owner.folder.join("master.lock");
    let failed = |e: std::io::Error| Error::failed(format!("open {}", path.display()), e);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .map_err(failed)?;
    let mut waited = Duration::ZERO;
    while let Err(error) = file.try_lock() {
        match error {
            TryLockError::Error(error) => return Err(failed(error)),
            TryLockError::WouldBlock if waited < LOCK_PATIENCE => {}
            TryLockError::WouldBlock => return Err(Error::Conflict(in_use(owner, &path))),
        }
        std::thread::sleep(LOCK_STEP);
        waited += LOCK_STEP;
    }
    let text = serde_json::to_vec(owner).map_err(|e| Error::failed("describe the master", e))?;
    file.set_len(0).map_err(failed)?;
    std::io::Write::write_all(&mut &file, &text).map_err(failed)?;
    Ok(file)
}

fn in_use(owner: &Owner, lock: &Path) -> String {
    let text = std::fs::read(lock).unwrap_or_default();
    let found = serde_json::from_slice(&text).map_or_else(
        |_| "another one that has just begun".to_owned(),
        |found: Owner| found.to_string(),
    );
    format!(
        "expected no other master on the data folder {}, found {found}; stop that one first",
        owner.folder.display()
    )
}

fn store_options(operator: &Operator) -> capstan_store::Options {
    let synchronous = match operator.database.synchronous {
        Synchronous::Full => capstan_store::Synchronous::Full,
        Synchronous::Normal => capstan_store::Synchronous::Normal,
    };
    capstan_store::Options {
        synchronous,
        ..capstan_store::Options::new(operator.database.backend.url())
    }
}

async fn open_link(farm: &Arc<Farm>) -> Result<Link, Error> {
    let options = capstan_link::Options {
        idle: farm.operator.link.idle,
        listen: farm.operator.link.listen,
        data: farm.operator.master.data.clone(),
        installation: farm.installation,
        epoch: farm.epoch,
        ..capstan_link::Options::default()
    };
    let door = Arc::new(Door(Arc::downgrade(farm)));
    let link = Link::bind(options, door)
        .await
        .map_err(|e| Error::failed("open the door for workers", e))?;
    // Set once, before any task runs.
    let _already = (
        farm.link.set(link.handle()),
        farm.link_address.set(link.local_addr()),
    );
    Ok(link)
}
