//! What only SQL shows: both databases have one schema, and a database that cannot be right is refused with a reason.

use std::collections::BTreeSet;
use std::path::Path;

use capstan_model::Outcome;
use capstan_store::{Error, Options, Store};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::farm::{Farm, at, finish};
use crate::postgres;

fn migrations(database: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(database);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a statement of a test's own making.
pub async fn execute(url: &str, statement: &str) {
    if url.starts_with("postgres") {
        return postgres::execute(url, statement.to_owned()).await;
    }
    let mut conn = SqliteConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
}

/// The first column of every row, sorted.
pub async fn texts(url: &str, query: String) -> BTreeSet<String> {
    if url.starts_with("postgres") {
        let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(query))
            .fetch_all(&mut conn)
            .await
            .unwrap();
        return rows.iter().map(|row| row.get(0)).collect();
    }
    let mut conn = SqliteConnection::connect(url).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(&mut conn)
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// `table.column type`, with ` null` where that is allowed, of every column.
pub async fn columns(url: &str) -> BTreeSet<String> {
    let query = if url.starts_with("postgres") {
        "SELECT table_name || '.' || column_name || ' ' || data_type
         || CASE WHEN is_nullable = 'YES' THEN ' null' ELSE '' END
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'"
    } else {
        "SELECT tables.name || '.' || columns.name || ' ' || columns.type
         || CASE WHEN columns.\"notnull\" = 0 THEN ' null' ELSE '' END
         FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' AND tables.name <> '_sqlx_migrations'"
    };
    let one_name = |column: &String| {
        column
            .replace(" bigint", " INTEGER")
            .replace(" bytea", " BLOB")
            .replace(" text", " TEXT")
    };
    texts(url, query.to_owned()).await.iter().map(one_name).collect()
}

async fn indexes(url: &str) -> BTreeSet<String> {
    let query = if url.starts_with("postgres") {
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE '%\\_by\\_%'"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite_%'"
    };
    texts(url, query.to_owned()).await
}

#[tokio::test]
async fn both_databases_have_one_schema() {
    assert_eq!(migrations("sqlite"), migrations("postgres"));
    let sqlite = Farm::sqlite().await;
    let applied = texts(
        &sqlite.url,
        "SELECT CAST(version AS TEXT) FROM _sqlx_migrations".to_owned(),
    )
    .await;
    assert_eq!(
        applied.len(),
        migrations("sqlite").len(),
        "every migration in the folder is built in"
    );
    assert!(columns(&sqlite.url).await.contains("changes.branch TEXT null"));
    let Some(postgres) = Farm::postgres().await else {
        return;
    };
    assert_eq!(columns(&sqlite.url).await, columns(&postgres.url).await);
    assert_eq!(indexes(&sqlite.url).await, indexes(&postgres.url).await);
    postgres.end().await;
}

async fn farms() -> Vec<Farm> {
    let mut farms = vec![Farm::sqlite().await];
    farms.extend(Farm::postgres().await);
    farms
}

#[tokio::test]
async fn a_database_of_a_newer_capstan_is_left_alone() {
    for farm in farms().await {
        let options = farm.close().await;
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (900, 'from the future', true, '', 0)";
        execute(&farm.url, newer).await;
        let refused = Store::open(&options, at(2)).await.unwrap_err().to_string();
        let refused = refused.replace(char::is_numeric, "0");
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused, @"the database has schema 000, this Capstan knows schemas up to 00; run the Capstan that wrote it, or a newer one");
        }
        farm.end().await;
    }
}

#[tokio::test]
async fn a_row_that_capstan_never_wrote_is_named() {
    for farm in farms().await {
        let request = farm.request("b", 0).await;
        let build = farm.build("b", &[request], &["one"]).await;
        farm.store
            .finish_build(build.id, finish(Outcome::Success), at(40))
            .await
            .unwrap();
        execute(&farm.url, "UPDATE builds SET outcome = 'fine'").await;
        execute(&farm.url, "UPDATE steps SET options = '{'").await;
        let outcome = farm.store.build(build.id).await.unwrap_err();
        let options = farm.store.steps(build.id).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome, @"the database is damaged: table builds, row 1, column outcome: expected success, warnings, failure, skipped, exception, retry or cancelled, found \"fine\"");
            insta::assert_snapshot!(options, @"the database is damaged: table steps, row 1, column options: EOF while parsing an object at line 1 column 1");
        }
        farm.end().await;
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_opened_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |url: String| match Store::open(&Options::new(url), at(1)).await.unwrap_err() {
        Error::Open { reason, .. } => format!(
            "open: {}",
            reason.replace(folder.path().to_str().unwrap(), "FOLDER")
        ),
        error => error.to_string(),
    };
    std::fs::write(
        folder.path().join("text.db"),
        "this is not a database, however long it is",
    )
    .unwrap();
    let at_folder = |name: &str| format!("sqlite:{}/{name}", folder.path().display());
    let found = [
        open("mysql://root:hush@db/farm".to_owned()).await,
        open("sqlite::memory:".to_owned()).await,
        open(at_folder("missing/farm.db")).await,
        open(at_folder("text.db")).await,
    ];
    insta::assert_snapshot!(found.join("\n"), @r"
    expected a database address like sqlite:farm.db or postgres://user@host/name, found `mysql://root:…@db/farm`: its scheme is neither sqlite nor postgres
    expected a database address like sqlite:farm.db or postgres://user@host/name, found `sqlite::memory:`: a database in memory does not outlive the master
    open: (code: 14) unable to open database file
    open: (code: 26) file is not a database
    ");
    // Nothing listens on port 1.
    let refused = open("postgres://capstan:hush@127.0.0.1:1/farm".to_owned()).await;
    assert!(
        refused.contains("refused") && !refused.contains("hush"),
        "{refused}"
    );
}
