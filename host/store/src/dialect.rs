//! All that differs between SQLite and PostgreSQL: how pools are made, how transactions begin, and lists of keys.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrate;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgPool, SqlitePool};

use crate::options::{Options, Synchronous};
use crate::sql::{Bind, Conn, Value};
use crate::{Error, migrations};

/// How long a statement waits for another process that writes to the same SQLite file, and a reader for a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many rows SQLite's thread may be ahead of who reads them. All are collected anyway; when it has to wait for room,
/// the two threads wake each other in turn, which costs more than the rows do.
const ROWS: usize = 1000;

/// A statement for both databases.
#[derive(Clone, Copy)]
pub(crate) struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self {
            sqlite: both,
            postgres: both,
        }
    }
}

/// A statement that looks for keys in the list that is parameter `$1` (see [`keys`]): the list stands between the
/// parts.
macro_rules! in_keys {
    ($before:expr, $after:literal) => {
        $crate::dialect::Sql {
            sqlite: concat!($before, "(SELECT value FROM json_each($1))", $after),
            postgres: concat!(
                $before,
                "(SELECT value::bigint FROM json_array_elements_text($1::json))",
                $after
            ),
        }
    };
}
pub(crate) use in_keys;

/// The parameter for [`in_keys`].
pub(crate) fn keys(keys: impl IntoIterator<Item = i64>) -> Value {
    let keys: Vec<_> = keys.into_iter().map(|key| key.to_string()).collect();
    format!("[{}]", keys.join(",")).bind()
}

/// Connections to either database: one that writes, several that read.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres { writer: PgPool, readers: PgPool },
}

impl Pools {
    /// Opens the database, makes it if it is a missing SQLite file, and brings its schema up to date.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let url = options.url.as_str();
        let address = |reason: String| Error::Address {
            found: options.url.to_string(),
            reason,
        };
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") if url.contains(":memory:") || url.contains("mode=memory") => Err(address(
                "a database in memory does not outlive the master".to_owned(),
            )),
            Some("sqlite") => {
                let parsed = SqliteConnectOptions::from_str(url).map_err(|e| address(e.to_string()))?;
                let connect = sqlite(parsed, options);
                migrate(&connect, migrations::SQLITE)
                    .await
                    .map_err(|fault| cannot_open(options, fault))?;
                let pool = |size| {
                    let pool = SqlitePoolOptions::new()
                        .max_connections(size)
                        .acquire_timeout(PATIENCE);
                    pool.test_before_acquire(false)
                        .idle_timeout(None)
                        .max_lifetime(None)
                };
                Ok(Self::Sqlite {
                    writer: pool(1).connect_lazy_with(connect.clone()),
                    readers: pool(options.readers).connect_lazy_with(connect.pragma("query_only", "true")),
                })
            }
            Some("postgres" | "postgresql") => {
                let parsed = PgConnectOptions::from_str(url).map_err(|e| address(e.to_string()))?;
                let connect = parsed.application_name("capstan").statement_cache_capacity(256);
                migrate(&connect, migrations::POSTGRES)
                    .await
                    .map_err(|fault| cannot_open(options, fault))?;
                let pool = |size| {
                    PgPoolOptions::new()
                        .max_connections(size)
                        .acquire_timeout(PATIENCE)
                        .max_lifetime(None)
                };
                Ok(Self::Postgres {
                    writer: pool(1).idle_timeout(None).connect_lazy_with(connect.clone()),
                    readers: pool(options.readers).connect_lazy_with(connect),
                })
            }
            _ => Err(address("its scheme is neither sqlite nor postgres".to_owned())),
        }
    }

    /// The writer's connection; there is only one.
    pub async fn writer(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Sqlite { writer, .. } => writer.acquire().await.map(Conn::Sqlite),
            Self::Postgres { writer, .. } => writer.acquire().await.map(Conn::Postgres),
        }
    }

    /// A reader's connection.
    pub async fn reader(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Sqlite { readers, .. } => readers.acquire().await.map(Conn::Sqlite),
            Self::Postgres { readers, .. } => readers.acquire().await.map(Conn::Postgres),
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Brings the schema up to date over a connection of its own: a pool would hide why it cannot connect.
async fn migrate<O: ConnectOptions>(
    connect: &O,
    embedded: &[migrations::Embedded],
) -> Result<(), migrations::Fault>
where
    O::Connection: Migrate + Sized,
{
    let mut conn = connect.connect().await.map_err(migrations::Fault::Driver)?;
    migrations::run(&mut conn, embedded).await?;
    conn.close().await.map_err(migrations::Fault::Driver)
}

fn cannot_open(options: &Options, fault: migrations::Fault) -> Error {
    match fault {
        migrations::Fault::Newer { found, known } => Error::NewerSchema { found, known },
        fault => Error::Open {
            database: options.url.to_string(),
            reason: fault.to_string(),
        },
    }
}

/// WAL lets readers and the writer go on side by side. FULL survives power failure; NORMAL only a killed process.
fn sqlite(parsed: SqliteConnectOptions, options: &Options) -> SqliteConnectOptions {
    let synchronous = match options.synchronous {
        Synchronous::Full => SqliteSynchronous::Full,
        Synchronous::Normal => SqliteSynchronous::Normal,
    };
    parsed
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(256)
        .row_buffer_size(ROWS)
        .synchronous(synchronous)
}

impl Conn {
    /// The statement that begins a transaction which will write. SQLite's deferred transactions fail at once when they
    /// turn from reading to writing behind another writer; an immediate one waits its turn.
    pub fn begin_statement(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        }
    }

    /// Gives up a connection whose state nobody knows.
    pub fn discard(mut self) {
        match &mut self {
            Self::Sqlite(conn) => conn.close_on_drop(),
            Self::Postgres(conn) => conn.close_on_drop(),
        }
    }

    /// Whether a failed commit may have happened all the same: only where there is a network between.
    pub fn commit_may_be_unknown(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}
