//! Raw SQLite in the shape of the store's journal: the same columns and constraints, write-ahead log, full sync, one writer
//! that takes all that waits, up to 128 appends, into one transaction, and answers after its commit. Nothing is checked.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use capstan_model::journal::Entry;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// As many as the store's writer takes at most.
const GROUP: usize = 128;

const SCHEMA: &str = "
CREATE TABLE steps (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT) STRICT;
CREATE TABLE blobs (digest TEXT NOT NULL PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE journal (
    step INTEGER NOT NULL REFERENCES steps (id),
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    call TEXT NOT NULL,
    class TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    request TEXT,
    request_blob TEXT REFERENCES blobs (digest),
    response TEXT,
    response_blob TEXT REFERENCES blobs (digest),
    at INTEGER NOT NULL,
    PRIMARY KEY (step, seq)
) STRICT;";

const INSERT: &str =
    "INSERT INTO journal (step, seq, kind, call, class, request_hash, request, request_blob, response,
                      response_blob, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// One append, and who waits for its commit.
struct Append {
    step: i64,
    rows: Vec<Entry>,
    done: oneshot::Sender<()>,
}

/// What it did.
pub struct Raw {
    /// Rows that were durable, a second.
    pub rows_per_second: f64,
    /// Appends in one transaction, the mean.
    pub group: f64,
}

/// Appends `rows(seq)` over and over for each of `appenders` steps, `appends` times each, all steps side by side.
pub async fn append(
    folder: &Path,
    appenders: usize,
    appends: usize,
    rows: fn(usize) -> Vec<Entry>,
) -> Result<Raw> {
    let connect = SqliteConnectOptions::new()
        .filename(folder.join("raw.db"))
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .statement_cache_capacity(256)
        .synchronous(SqliteSynchronous::Full);
    let mut writer = SqliteConnection::connect_with(&connect).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut writer).await?;
    for _ in 0..appenders {
        sqlx::query("INSERT INTO steps DEFAULT VALUES")
            .execute(&mut writer)
            .await?;
    }
    let (queue, waiting) = mpsc::channel(1024);
    let mut writing = JoinSet::new();
    writing.spawn(write(writer, waiting));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for step in 1..=appenders {
        let queue = queue.clone();
        tasks.spawn(async move {
            for append in 0..appends {
                let (done, is_done) = oneshot::channel();
                let step = i64::try_from(step)?;
                let rows = rows(append);
                queue
                    .send(Append { step, rows, done })
                    .await
                    .context("the writer has ended")?;
                is_done.await.context("the writer has failed")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let took = start.elapsed().as_secs_f64();
    drop(queue);
    let transactions = writing.join_next().await.context("expected a writer")???;
    let count = appenders * appends;
    Ok(Raw {
        rows_per_second: (count * rows(0).len()) as f64 / took,
        group: count as f64 / transactions as f64,
    })
}

/// Writes until nobody can append any more; answers how many transactions it made.
async fn write(mut conn: SqliteConnection, mut waiting: mpsc::Receiver<Append>) -> Result<usize> {
    let mut transactions = 0;
    let mut group = Vec::with_capacity(GROUP);
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut conn).await?;
        for append in &group {
            for row in &append.rows {
                insert(&mut conn, append.step, row).await?;
            }
        }
        sqlx::raw_sql("COMMIT").execute(&mut conn).await?;
        transactions += 1;
        for append in group.drain(..) {
            // Nobody is left to be told if another append failed.
            let _ = append.done.send(());
        }
    }
    conn.close().await?;
    Ok(transactions)
}

async fn insert(conn: &mut SqliteConnection, step: i64, row: &Entry) -> Result<()> {
    let none: Option<String> = None;
    sqlx::query(INSERT)
        .bind(step)
        .bind(i64::from(row.seq))
        .bind(row.kind.as_str())
        .bind(&row.call)
        .bind(row.class.as_str())
        .bind(row.request_hash.to_string())
        .bind(row.request.as_ref().map(ToString::to_string))
        .bind(none.as_ref())
        .bind(row.response.as_ref().map(ToString::to_string))
        .bind(none.as_ref())
        .bind(row.at.0)
        .execute(conn)
        .await?;
    Ok(())
}
