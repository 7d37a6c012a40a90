//! One master at a time works on a database: who has it in its charge, and how a second one is told.
//!
//! On PostgreSQL the writer's own session holds an advisory lock, so that nothing can be committed without it: when the
//! connection is lost, so is the lock, and the next connection has to take it anew and find the epoch unchanged. On SQLite a
//! lock on a file beside the database is held until the process ends. The row of the installation says who it is.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use capstan_model::Timestamp;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sql::{Conn, Json, args};
use crate::writer::Tx;
use crate::{Away, Error, Store, interruptions};

/// A master: what another one is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine that it runs on.
    pub host: String,
    /// Its process id there.
    pub process: u32,
    /// Its data folder there.
    pub folder: PathBuf,
    /// When it was started.
    pub since: Timestamp,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host,
            process,
            folder,
            since,
        } = self;
        let folder = folder.display();
        write!(
            f,
            "a master with process id {process} on host `{host}`, with the data folder {folder}"
        )?;
        match jiff::Timestamp::from_millisecond(since.0) {
            Ok(since) => write!(f, ", since {}", since.strftime("%Y-%m-%d %H:%M:%S UTC")),
            Err(_) => Ok(()),
        }
    }
}

/// How long to wait for a master that was stopped or killed just now.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two attempts.
const STEP: Duration = Duration::from_millis(50);

/// A database server that hears nothing from a machine for half a minute ends its session, and with it the lock.
const NOTICE: &str =
    "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// The charge of a database.
pub(crate) struct Charge {
    installation: Uuid,
    /// Known once it has begun.
    epoch: Option<u64>,
    hold: Hold,
}

enum Hold {
    File { _locked: File },
    Session(Session),
}

/// A session of PostgreSQL's. Its number may be another's later.
struct Session {
    process: i64,
    began: String,
}

impl Charge {
    /// Takes charge over this connection. [`Error::Taken`] names who has it.
    pub async fn take(conn: &mut Conn, owner: &Owner, installation: Uuid) -> Result<Self, Error> {
        let mut waited = Duration::ZERO;
        loop {
            let hold = match conn {
                Conn::Sqlite(_) => lock_file(conn).await?,
                Conn::Postgres(_) => lock_session(conn, installation).await?,
            };
            if let Some(hold) = hold {
                return Ok(Self {
                    installation,
                    epoch: None,
                    hold,
                });
            }
            let found = holder(conn).await?.map(|(_, found)| found);
            // Only one process has that folder in use, and it is this one: a session of its predecessor is a leftover.
            if let Some(found) = &found
                && (&found.host, &found.folder) == (&owner.host, &owner.folder)
            {
                end_holder(conn, installation).await?;
            }
            if waited >= PATIENCE {
                return Err(match found {
                    Some(owner) => Error::Taken {
                        owner: Box::new(owner),
                    },
                    None => Error::conflict(
                        "expected to be the only master on the database, found another one that has just begun",
                    ),
                });
            }
            tokio::time::sleep(STEP).await;
            waited += STEP;
        }
    }

    /// Notes the epoch that began with it.
    pub fn begun(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    /// Takes charge anew over another connection. [`Error::Unavailable`] as long as the lost session is still there,
    /// [`Error::Displaced`] when another master came meanwhile.
    pub async fn renew(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let Hold::Session(before) = &self.hold else {
            return Ok(());
        };
        let hold = lock_session(conn, self.installation).await?;
        let found = holder(conn).await?;
        if let Some((epoch, owner)) = found
            && self.epoch.is_some_and(|own| own != epoch)
        {
            let owner = Box::new(owner);
            return Err(Error::Displaced { owner });
        }
        match hold {
            Some(hold) => {
                self.hold = hold;
                Ok(())
            }
            None => {
                // A commit of which nobody heard is decided with it.
                end_session(conn, before).await?;
                Err(Error::Unavailable {
                    reason: "another session works on the database".to_owned(),
                })
            }
        }
    }

    /// Whether it can be lost with a connection.
    pub fn may_be_lost(&self) -> bool {
        matches!(self.hold, Hold::Session(_))
    }
}

impl Store {
    /// A master begins after nobody was master for so long: it takes charge of the database until the store is closed or
    /// dropped. Answers the number of its epoch, from 1. Every worker counts as disconnected until it connects to this master.
    /// [`Error::Taken`] while another master has it.
    pub async fn begin_epoch(&self, owner: Owner, away: Away, now: Timestamp) -> Result<u64, Error> {
        self.claim(owner, away, now).await
    }

    /// Answers when another master has taken the database over: this one can write no more, and had better end.
    pub async fn displaced(&self) -> Error {
        let owner = self.displacement().await;
        Error::Displaced {
            owner: Box::new(owner),
        }
    }
}

/// Begins an epoch of that master.
pub(crate) async fn begin_epoch(
    tx: &mut Tx,
    owner: &Owner,
    away: Away,
    now: Timestamp,
) -> Result<u64, Error> {
    interruptions::master_was_away(tx, away.ms, now).await?;
    let gone = "UPDATE workers SET connected = 0, since = $1 WHERE connected = 1";
    tx.run(gone, args![away.last_alive.unwrap_or(now).min(now)])
        .await?;
    let update = "UPDATE installation SET epoch = epoch + 1, epoch_began = $1, master = $2 WHERE id = 1 RETURNING epoch";
    tx.one(update, args![now, Json(owner)]).await?.get("epoch")
}

/// The newest epoch, and whose it is.
async fn holder(conn: &mut Conn) -> Result<Option<(u64, Owner)>, Error> {
    let row = conn
        .one("SELECT id, epoch, master FROM installation", args![])
        .await?;
    let owner = row.maybe::<Json<Owner>>("master")?;
    owner.map(|owner| Ok((row.get("epoch")?, owner.0))).transpose()
}

/// Locks the file beside a SQLite database; `None` if somebody has.
async fn lock_file(conn: &mut Conn) -> Result<Option<Hold>, Error> {
    let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let file: String = conn.one(sql, args![]).await?.get("file")?;
    let locked = tokio::task::spawn_blocking(move || try_lock(Path::new(&file)));
    let locked = locked.map(|done| done.unwrap_or_else(|error| Err(std::io::Error::other(error))));
    let locked = locked.await.map_err(|error| Error::Open {
        database: "the lock beside it".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(locked.map(|_locked| Hold::File { _locked }))
}

/// A database may be reached by several names.
fn try_lock(database: &Path) -> std::io::Result<Option<File>> {
    let mut path = database.canonicalize()?.into_os_string();
    path.push(".master");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The lock's key in PostgreSQL: installations in different schemas of one database do not meet.
fn key(installation: Uuid) -> i64 {
    let (high, low) = installation.as_u64_pair();
    (high ^ low).cast_signed()
}

/// Takes the advisory lock for the session; `None` if another session has it.
async fn lock_session(conn: &mut Conn, installation: Uuid) -> Result<Option<Hold>, Error> {
    let sql = "SELECT CAST(CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END AS BIGINT) AS held,
               CAST(pid AS BIGINT) AS process, CAST(backend_start AS TEXT) AS began
               FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let row = conn.one(sql, args![key(installation)]).await?;
    if !row.get::<bool>("held")? {
        return Ok(None);
    }
    conn.control(NOTICE)
        .await
        .map_err(|error| Error::from_driver(NOTICE, &error))?;
    Ok(Some(Hold::Session(Session {
        process: row.get("process")?,
        began: row.get("began")?,
    })))
}

/// Ends a session of ours that was lost, but that the server still keeps.
async fn end_session(conn: &mut Conn, session: &Session) -> Result<(), Error> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid = $1 AND CAST(backend_start AS TEXT) = $2 AND pid <> pg_backend_pid()";
    conn.rows(sql, args![session.process, &session.began])
        .await
        .map(|_| ())
}

/// Ends the session that holds the lock. On SQLite the lock ends with its process.
async fn end_holder(conn: &mut Conn, installation: Uuid) -> Result<(), Error> {
    if matches!(conn, Conn::Sqlite(_)) {
        return Ok(());
    }
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
               AND ((CAST(classid AS BIGINT) << 32) | CAST(objid AS BIGINT)) = $1 AND pid <> pg_backend_pid()
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    conn.rows(sql, args![key(installation)]).await.map(|_| ())
}
