//! What SQLite does for each list: no table that grows with history is gone through.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::filling::Filled;
use crate::reads;

/// Tables that have no more rows after a year than after a week.
const SMALL: [&str; 2] = ["builders", "workers"];

/// The statements that stores have run.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut Statement(&self.0));
        }
    }
}

struct Statement<'s>(&'s Mutex<Vec<String>>);

impl Visit for Statement<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        // What sets a connection up is of no interest, and SQLite carries some of it out when asked to explain it.
        if field.name() == "db.statement" && value.trim().starts_with("SELECT") {
            self.0.lock().unwrap().push(value.trim().to_owned());
        }
    }
}

/// The steps of SQLite's plan for that statement.
async fn plan(conn: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
        .fetch_all(conn)
        .await
        .unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// What a list reads, and how: every step of its plans that names a table or sorts.
async fn accesses(conn: &mut SqliteConnection, statements: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for statement in statements {
        let steps = plan(conn, statement).await.into_iter();
        let reads = ["SCAN ", "SEARCH ", "USE TEMP "];
        let reads = steps.filter(|step| reads.iter().any(|word| step.starts_with(word)));
        found.extend(reads.filter(|step| !step.contains("VIRTUAL TABLE")));
    }
    found
}

/// Whether a statement asks for rows by keys that are given: it reads no others.
fn is_by_keys(statement: &str) -> bool {
    statement.contains("json_each")
}

#[tokio::test]
async fn no_list_reads_the_history_beside_it() {
    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let farm = Filled::with(4000).await;
    let mut lists = Vec::new();
    for read in reads::all(&farm) {
        statements.0.lock().unwrap().clear();
        let rows = (read.call)(farm.store.clone()).await.unwrap();
        assert_eq!(
            rows == 0,
            read.name.starts_with("no "),
            "{}: {rows} rows",
            read.name
        );
        let ran = statements.0.lock().unwrap().clone();
        assert!(
            !ran.is_empty(),
            "{}: expected to hear of its statements",
            read.name
        );
        lists.push((read.name, ran));
    }
    farm.store.close().await;
    let mut conn = SqliteConnection::connect(&farm.url).await.unwrap();
    let tables = sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table'");
    let tables: Vec<String> = tables
        .fetch_all(&mut conn)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut text = String::new();
    for (name, ran) in &lists {
        for access in accesses(&mut conn, ran).await {
            let scanned = access
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            let grows = scanned
                .is_some_and(|name| tables.iter().any(|table| table == name) && !SMALL.contains(&name));
            let by_key_alone =
                access.contains("PRIMARY KEY (rowid<?)") || access.contains("PRIMARY KEY (rowid>?)");
            let bad = grows || access.contains("AUTOMATIC") || (by_key_alone && !name.starts_with("all "));
            assert!(!bad, "{name}: {access}");
        }
        text += &format!("{name}\n");
        let searches: Vec<_> = ran.iter().filter(|sql| !is_by_keys(sql)).cloned().collect();
        for access in accesses(&mut conn, &searches).await {
            text += &format!("  {access}\n");
        }
    }
    insta::assert_snapshot!(text);
    every_index_is_needed(&mut conn, &lists).await;
}

/// Without any one index of the lists' migration, some list would be read otherwise.
async fn every_index_is_needed(conn: &mut SqliteConnection, lists: &[(&str, Vec<String>)]) {
    let migration = include_str!("../../migrations/sqlite/0002_lists.sql");
    let names = migration
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE INDEX "));
    let names: Vec<_> = names.map(|rest| rest.split(' ').next().unwrap()).collect();
    assert!(names.len() > 10);
    let ran: Vec<_> = lists.iter().flat_map(|(_, ran)| ran.clone()).collect();
    let with_all = accesses(conn, &ran).await;
    for name in names {
        let mut without = conn.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(format!("DROP INDEX {name}")))
            .execute(&mut *without)
            .await
            .unwrap();
        let found = accesses(&mut without, &ran).await;
        assert_ne!(found, with_all, "no list reads the index {name}");
        without.rollback().await.unwrap();
    }
}
