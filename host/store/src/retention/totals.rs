//! How much there is of everything, and what is known of what is no more.

use capstan_model::{BuildId, LogId, Timestamp};

use super::builds::Weight;
use crate::sql::{Row, args};
use crate::{Error, Store};

/// Rows of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Its name: `builds`, `logs`.
    pub name: &'static str,
    /// How many, and the bytes of their files.
    pub weight: Weight,
}

/// Everything that grows, in the order in which people think of it.
pub type Totals = Vec<Total>;

/// Something that was removed, though its build or its place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The build.
    pub build: BuildId,
    /// When it had ended.
    pub finished: Timestamp,
    /// When it was removed.
    pub removed: Timestamp,
}

macro_rules! rows {
    ($table:literal) => {
        concat!(
            "SELECT COUNT(*) AS count, CAST(0 AS BIGINT) AS bytes FROM ",
            $table
        )
    };
}

impl Store {
    /// Counts everything that grows. Reads whole tables: not for pages.
    pub async fn totals(&self) -> Result<Totals, Error> {
        let counted: [(&'static str, &'static str); 10] = [
            ("builds", rows!("builds")),
            (
                "logs",
                "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(logs.length), 0) AS BIGINT) AS bytes FROM logs
                 JOIN steps ON steps.id = logs.step JOIN builds ON builds.id = steps.build
                 WHERE logs.transport = 0 AND builds.logs_removed IS NULL",
            ),
            (
                "artefacts",
                "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM artefacts",
            ),
            ("requests", rows!("requests")),
            ("changes", rows!("changes")),
            ("calls", rows!("scheduler_calls")),
            ("reports", rows!("outbox")),
            ("refusals", rows!("refusals")),
            ("events", rows!("events")),
            ("kept", rows!("builds WHERE kept IS NOT NULL")),
        ];
        let mut conn = self.reader().await?;
        let mut totals = Vec::with_capacity(counted.len());
        for (name, sql) in counted {
            let row = conn.one(sql, args![]).await?;
            let weight = Weight {
                count: row.get("count")?,
                bytes: row.get("bytes")?,
            };
            totals.push(Total { name, weight });
        }
        Ok(totals)
    }

    /// What is known of a build that was removed.
    pub async fn removed_build(&self, build: BuildId) -> Result<Option<Gone>, Error> {
        let sql = "SELECT id, finished, removed FROM removed_builds WHERE id = $1";
        let row = self.reader().await?.row(sql, args![build]).await?;
        row.as_ref().map(gone).transpose()
    }

    /// The same by builder and number.
    pub async fn removed_build_by_number(&self, builder: &str, number: u64) -> Result<Option<Gone>, Error> {
        let sql = "SELECT removed_builds.id, finished, removed FROM removed_builds
                   JOIN builders ON builders.id = removed_builds.builder WHERE builders.name = $1 AND number = $2";
        let row = self.reader().await?.row(sql, args![builder, number]).await?;
        row.as_ref().map(gone).transpose()
    }

    /// What is known of the bytes of a log, if they were removed and its build was not.
    pub async fn removed_log(&self, log: LogId) -> Result<Option<Gone>, Error> {
        let sql = "SELECT builds.id, COALESCE(builds.finished, builds.started) AS finished, builds.logs_removed AS removed
                   FROM logs JOIN steps ON steps.id = logs.step JOIN builds ON builds.id = steps.build
                   WHERE logs.id = $1 AND builds.logs_removed IS NOT NULL";
        let row = self.reader().await?.row(sql, args![log]).await?;
        row.as_ref().map(gone).transpose()
    }

    /// What is known of the artefacts of a build, if they were removed and it was not.
    pub async fn removed_artefacts(&self, build: BuildId) -> Result<Option<Gone>, Error> {
        let sql =
            "SELECT id, COALESCE(finished, started) AS finished, artefacts_removed AS removed FROM builds
                   WHERE id = $1 AND artefacts_removed IS NOT NULL";
        let row = self.reader().await?.row(sql, args![build]).await?;
        row.as_ref().map(gone).transpose()
    }
}

fn gone(row: &Row) -> Result<Gone, Error> {
    Ok(Gone {
        build: row.get("id")?,
        finished: row.get("finished")?,
        removed: row.get("removed")?,
    })
}
