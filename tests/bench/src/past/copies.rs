//! Copies one build in a SQLite database, with all that belongs to it, as often as wanted. The statements know which columns
//! are keys, times and the like; whatever else a table holds is taken over.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{PERIOD_MS, STEPS};

/// Only so many of the newest builds have journals: nothing lists them, and all would fill the disk.
const JOURNALS: usize = 1000;
/// A column that a copy does not share with the first build, and its value there: `t` is the first build's row, `n` the
/// copy's number, `owner` its builder, `nth` its number there, `per` how many rows a build has in that table.
type Own = (&'static str, &'static str);

/// What differs from copy to copy, table by table, referenced ones first.
const TABLES: &[(&str, &[Own])] = &[
    (
        "changes",
        &[
            ("id", "t.id + n * per"),
            ("dedup_key", "'change-' || n"),
            ("revision", "printf('%040x', n)"),
            ("made", "t.made + n * period"),
            ("received", "t.received + n * period"),
        ],
    ),
    (
        "source_stamps",
        &[
            ("id", "t.id + n * per"),
            ("fingerprint", "printf('%064x', n)"),
            ("revision", "printf('%040x', n)"),
            ("created", "t.created + n * period"),
        ],
    ),
    (
        "buildsets",
        &[
            ("id", "t.id + n"),
            ("submitted", "t.submitted + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    (
        "buildset_sources",
        &[
            ("buildset", "t.buildset + n"),
            ("source_stamp", "t.source_stamp + n"),
        ],
    ),
    (
        "buildset_changes",
        &[("buildset", "t.buildset + n"), ("change", "t.change + n")],
    ),
    (
        "requests",
        &[
            ("id", "t.id + n"),
            ("buildset", "t.buildset + n"),
            ("builder", "owner"),
            ("submitted", "t.submitted + n * period"),
            ("claimed", "t.claimed + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    (
        "builds",
        &[
            ("id", "t.id + n"),
            ("builder", "owner"),
            ("number", "nth"),
            ("worker", "n % 10 + 1"),
            (
                "outcome",
                "CASE n % 10 WHEN 3 THEN 'failure' WHEN 7 THEN 'warnings' ELSE 'success' END",
            ),
            ("started", "t.started + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    (
        "build_requests",
        &[("build", "t.build + n"), ("request", "t.request + n")],
    ),
    (
        "build_sources",
        &[("build", "t.build + n"), ("source_stamp", "t.source_stamp + n")],
    ),
    (
        "build_branches",
        &[("builder", "owner"), ("build", "t.build + n")],
    ),
    ("build_properties", &[("build", "t.build + n")]),
    (
        "steps",
        &[
            ("id", "t.id + n * per"),
            ("build", "t.build + n"),
            ("started", "t.started + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    (
        "logs",
        &[
            ("id", "t.id + n * per"),
            ("step", "t.step + n * per"),
            ("created", "t.created + n * period"),
        ],
    ),
    (
        "commands",
        &[
            ("id", "substr(t.id, 1, 24) || printf('%012x', n)"),
            ("step", "t.step + n * per"),
            ("log", "t.log + n * per"),
            ("started", "t.started + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    ("journal", &[("step", "t.step + n * steps")]),
    (
        "outbox",
        &[
            ("id", "t.id + n * per"),
            ("delivery_id", "t.delivery_id || '-' || n"),
            ("build", "t.build + n"),
            ("created", "t.created + n * period"),
            ("finished", "t.finished + n * period"),
        ],
    ),
    (
        "events",
        &[
            ("id", "t.id + n * per"),
            ("at", "t.at + n * period"),
            (
                "builder",
                "CASE WHEN t.builder IS NULL THEN NULL ELSE 'builder-' || (owner - 1) END",
            ),
            ("build", "t.build + n"),
            ("step", "t.step + n * steps"),
            ("request", "t.request + n"),
        ],
    ),
];

/// Tables that do not grow with builds, or that no list reads.
const ONCE: &[&str] = &[
    "installation",
    "blobs",
    "plans",
    "change_sources",
    "schedulers",
    "scheduler_events",
    "timers",
    "builders",
    "workers",
    "certificates",
    "invites",
    "step_links",
];

/// Copies the only build of a database until there are `builds`, and names `builders` builders.
pub async fn make(database: &Path, builds: usize, builders: usize) -> Result<()> {
    // A copy that fails is thrown away, and nobody needs this file after a power failure: no journal, no sync.
    let options = SqliteConnectOptions::new()
        .filename(database)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-200000");
    let mut conn = SqliteConnection::connect_with(&options).await?;
    run(&mut conn, "BEGIN".to_owned()).await?;
    for builder in 1..builders {
        let insert = format!("INSERT INTO builders (name, next_number) VALUES ('builder-{builder}', 1)");
        run(&mut conn, insert).await?;
    }
    know_all_tables(&mut conn).await?;
    let copies = builds.saturating_sub(1);
    number_copies(&mut conn, copies, builders).await?;
    for (table, own) in TABLES {
        let from = if *table == "journal" {
            copies.saturating_sub(JOURNALS)
        } else {
            0
        };
        copy_table(&mut conn, table, own, builders, from)
            .await
            .with_context(|| format!("failed to copy {table}"))?;
    }
    let next = "UPDATE builders SET next_number = 1 +
                COALESCE((SELECT MAX(number) FROM builds WHERE builds.builder = builders.id), 0)";
    run(&mut conn, next.to_owned()).await?;
    run(&mut conn, "COMMIT".to_owned()).await?;
    conn.close().await?;
    Ok(())
}

/// Which builder each copy is of, and its number there.
async fn number_copies(conn: &mut SqliteConnection, copies: usize, builders: usize) -> Result<()> {
    let table =
        "CREATE TEMP TABLE copies (n INTEGER PRIMARY KEY, owner INTEGER NOT NULL, nth INTEGER NOT NULL)";
    run(conn, table.to_owned()).await?;
    // The first builder has the build that is copied.
    let count = format!(
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {copies}),
         owned AS (SELECT n, CASE WHEN n <= 3 THEN {builders} WHEN n % 10 = 0 THEN 2
                   ELSE n % ({builders} - 1) + 1 END AS owner FROM c)
         INSERT INTO copies
         SELECT n, owner, ROW_NUMBER() OVER (PARTITION BY owner ORDER BY n) + (owner = 1) FROM owned"
    );
    run(conn, count).await
}

/// Whether every table that grows with builds is copied: one that a later schema adds must not be forgotten.
async fn know_all_tables(conn: &mut SqliteConnection) -> Result<()> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '%sqlx%'
                  AND name NOT LIKE 'sqlite_%'";
    for row in sqlx::query(tables).fetch_all(&mut *conn).await? {
        let name: String = row.try_get("name")?;
        let known = ONCE.contains(&name.as_str()) || TABLES.iter().any(|(table, _)| *table == name);
        ensure!(
            known,
            "expected to know whether table {name} grows with builds; add it to TABLES or ONCE"
        );
    }
    Ok(())
}

async fn copy_table(
    conn: &mut SqliteConnection,
    table: &str,
    own: &[Own],
    builders: usize,
    from: usize,
) -> Result<()> {
    run(
        conn,
        format!("CREATE TEMP TABLE first_{table} AS SELECT * FROM main.{table}"),
    )
    .await?;
    let columns = sqlx::query("SELECT name FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(&mut *conn)
        .await?;
    let columns: Vec<String> = columns
        .iter()
        .map(|row| row.try_get("name"))
        .collect::<Result<_, _>>()?;
    for (name, _) in own {
        ensure!(
            columns.iter().any(|column| column == name),
            "expected a column {name}"
        );
    }
    let value = |column: &String| match own.iter().find(|(name, _)| name == column) {
        Some((_, value)) => (*value).to_owned(),
        None => format!("t.\"{column}\""),
    };
    let (names, values): (Vec<_>, Vec<_>) = columns.iter().map(|c| (format!("\"{c}\""), value(c))).unzip();
    let insert = format!(
        "INSERT INTO main.{table} ({}) SELECT {} FROM copies
         CROSS JOIN (SELECT COUNT(*) AS per, {builders} AS builders, {PERIOD_MS} AS period, {STEPS} AS steps
                     FROM first_{table})
         CROSS JOIN first_{table} AS t WHERE n > {from}",
        names.join(", "),
        values.join(", ")
    );
    run(conn, insert).await
}

async fn run(conn: &mut SqliteConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}
