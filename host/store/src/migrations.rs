//! The schema, one migration after the other, in the same steps for both databases. Run when a store is opened.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::error::driver_reason;

/// Version, name, statements.
pub(crate) type Embedded = (i64, &'static str, &'static str);

/// The schema's steps from the folder of one database.
macro_rules! embedded {
    ($database:literal) => {
        &[
            (
                1,
                "first",
                include_str!(concat!("../migrations/", $database, "/0001_first.sql")),
            ),
            (
                2,
                "lists",
                include_str!(concat!("../migrations/", $database, "/0002_lists.sql")),
            ),
            (
                3,
                "interruptions",
                include_str!(concat!("../migrations/", $database, "/0003_interruptions.sql")),
            ),
            (
                4,
                "master",
                include_str!(concat!("../migrations/", $database, "/0004_master.sql")),
            ),
            (
                5,
                "kept",
                include_str!(concat!("../migrations/", $database, "/0005_kept.sql")),
            ),
            (
                6,
                "versions",
                include_str!(concat!("../migrations/", $database, "/0006_versions.sql")),
            ),
            (
                7,
                "refusals",
                include_str!(concat!("../migrations/", $database, "/0007_refusals.sql")),
            ),
            (
                8,
                "artefacts",
                include_str!(concat!("../migrations/", $database, "/0008_artefacts.sql")),
            ),
            (
                9,
                "queue",
                include_str!(concat!("../migrations/", $database, "/0009_queue.sql")),
            ),
            (
                10,
                "schedulers",
                include_str!(concat!("../migrations/", $database, "/0010_schedulers.sql")),
            ),
            (
                11,
                "locks",
                include_str!(concat!("../migrations/", $database, "/0011_locks.sql")),
            ),
            (
                12,
                "results",
                include_str!(concat!("../migrations/", $database, "/0012_results.sql")),
            ),
            (
                13,
                "trigger",
                include_str!(concat!("../migrations/", $database, "/0013_trigger.sql")),
            ),
            (
                14,
                "changes",
                include_str!(concat!("../migrations/", $database, "/0014_changes.sql")),
            ),
            (
                15,
                "retention",
                include_str!(concat!("../migrations/", $database, "/0015_retention.sql")),
            ),
            (
                17,
                "builders",
                include_str!(concat!("../migrations/", $database, "/0017_builders.sql")),
            ),
            (
                18,
                "virtual",
                include_str!(concat!("../migrations/", $database, "/0018_virtual.sql")),
            ),
            (
                19,
                "quarantines",
                include_str!(concat!("../migrations/", $database, "/0019_quarantines.sql")),
            ),
        ]
    };
}

pub(crate) const SQLITE: &[Embedded] = embedded!("sqlite");
pub(crate) const POSTGRES: &[Embedded] = embedded!("postgres");

/// Where sqlx notes which migrations were applied.
const TABLE: &str = "_sqlx_migrations";

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{}", driver_reason(.0))]
    Driver(sqlx::Error),
    #[error("cannot bring its schema up to date: {0}")]
    Migrate(#[from] MigrateError),
    #[error("it has schema {found}, known are schemas up to {known}")]
    Newer { found: i64, known: i64 },
}

/// Applies what is missing. A database from a newer Capstan is left alone.
pub(crate) async fn run<C: Migrate>(conn: &mut C, embedded: &[Embedded]) -> Result<(), Fault> {
    let known = embedded.last().map_or(0, |(version, ..)| *version);
    conn.ensure_migrations_table(TABLE).await?;
    let applied = conn.list_applied_migrations(TABLE).await?;
    if let Some(found) = applied
        .iter()
        .map(|migration| migration.version)
        .max()
        .filter(|&found| found > known)
    {
        return Err(Fault::Newer { found, known });
    }
    let migration = |&(version, name, sql): &Embedded| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let migrator = Migrator::with_migrations(embedded.iter().map(migration).collect());
    Ok(migrator.run_direct(None, conn, false).await?)
}
