//! Builds that have ended, as the rules look at them: builder by builder, oldest first.

use capstan_model::{BuildId, BuilderId, Outcome, Timestamp};

use crate::dialect::{in_keys, keys};
use crate::sql::{Row, args};
use crate::{Builder, Error, Store};

/// A build that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldBuild {
    /// The key.
    pub id: BuildId,
    /// Its number within the builder.
    pub number: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether somebody keeps it.
    pub kept: bool,
    /// Whether a report of it is still to be delivered.
    pub reporting: bool,
    /// Whether it is the last one of its builder, or of one of its branches there, that went well.
    pub last_good: bool,
    /// Whether its logs were removed already.
    pub logs_removed: bool,
    /// Whether its artefacts were.
    pub artefacts_removed: bool,
}

/// How much there is of some builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many things: builds, logs, artefacts.
    pub count: u64,
    /// Their bytes: of logs what was printed, with the frames around it.
    pub bytes: u64,
}

impl std::ops::AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl Store {
    /// Every builder that ever had a build.
    pub async fn built(&self) -> Result<Vec<Builder>, Error> {
        let mut all = self.builders().await?;
        all.retain(|builder| builder.next_number > 1);
        Ok(all)
    }

    /// The builds of a builder that have ended, after that number, oldest first.
    pub async fn ended_builds(
        &self,
        builder: BuilderId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OldBuild>, Error> {
        // Of the builder, or of what blame goes back to (`blame.rs`): the last one of the branch of its first source, without a patch.
        let sql = "SELECT builds.id, builds.number, builds.outcome, builds.started, builds.finished, builds.kept,
                   builds.logs_removed, builds.artefacts_removed,
                   CAST(CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE outbox.build = builds.id AND outbox.state = 'pending')
                       THEN 1 ELSE 0 END AS BIGINT) AS reporting,
                   CAST(CASE WHEN builds.outcome IN ('success', 'warnings') AND (
                       NOT EXISTS (SELECT 1 FROM builds AS later WHERE later.builder = builds.builder
                           AND later.outcome IN ('success', 'warnings') AND later.id > builds.id)
                       OR NOT EXISTS (SELECT 1 FROM build_sources JOIN source_stamps ON source_stamps.id = build_sources.source_stamp
                           WHERE build_sources.build = builds.id AND source_stamps.patch IS NOT NULL)
                       AND NOT EXISTS (SELECT 1 FROM builds AS later
                           LEFT JOIN build_sources AS source ON source.build = later.id AND source.position = 0
                           LEFT JOIN source_stamps AS stamp ON stamp.id = source.source_stamp
                           WHERE later.builder = builds.builder AND later.id > builds.id
                           AND later.outcome IN ('success', 'warnings')
                           AND COALESCE(stamp.branch, '') = COALESCE(own_stamp.branch, '')
                           AND NOT EXISTS (SELECT 1 FROM build_sources JOIN source_stamps ON source_stamps.id = build_sources.source_stamp
                               WHERE build_sources.build = later.id AND source_stamps.patch IS NOT NULL)))
                       THEN 1 ELSE 0 END AS BIGINT) AS last_good
                   FROM builds LEFT JOIN build_sources AS own ON own.build = builds.id AND own.position = 0
                   LEFT JOIN source_stamps AS own_stamp ON own_stamp.id = own.source_stamp
                   WHERE builds.builder = $1 AND builds.number > $2 AND builds.outcome IS NOT NULL
                   ORDER BY builds.number LIMIT $3";
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, args![builder, after, limit]).await?;
        rows.iter().map(old_build).collect()
    }

    /// The number of the `nth` newest build of the builder that ended with one of these results; `None` if there are fewer.
    pub async fn nth_newest(
        &self,
        builder: BuilderId,
        outcomes: &[Outcome],
        nth: u64,
    ) -> Result<Option<u64>, Error> {
        let words: Vec<_> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        let outcomes = format!(",{},", words.join(","));
        let sql = "SELECT number FROM builds WHERE builder = $1 AND outcome IS NOT NULL
                   AND $2 LIKE '%,' || outcome || ',%' ORDER BY number DESC LIMIT 1 OFFSET $3";
        let args = args![builder, outcomes, nth.saturating_sub(1)];
        let row = self.reader().await?.row(sql, args).await?;
        row.map(|row| row.get("number")).transpose()
    }

    /// The logs that these builds still have.
    pub async fn logs_weigh(&self, builds: &[BuildId]) -> Result<Weight, Error> {
        let sql = in_keys!(
            "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(logs.length), 0) AS BIGINT) AS bytes
             FROM builds CROSS JOIN steps CROSS JOIN logs WHERE steps.build = builds.id AND logs.step = steps.id
             AND logs.transport = 0 AND builds.logs_removed IS NULL AND builds.id IN ",
            ""
        );
        self.weigh(sql, builds).await
    }

    /// The artefacts that these builds have; content that they share with others counts, too.
    pub async fn artefacts_weigh(&self, builds: &[BuildId]) -> Result<Weight, Error> {
        let sql = in_keys!(
            "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM artefacts WHERE build_id IN ",
            ""
        );
        self.weigh(sql, builds).await
    }

    async fn weigh(&self, sql: crate::dialect::Sql, builds: &[BuildId]) -> Result<Weight, Error> {
        if builds.is_empty() {
            return Ok(Weight::default());
        }
        let mut conn = self.reader().await?;
        let row = conn.one(sql, vec![keys(builds.iter().map(|id| id.0))]).await?;
        Ok(Weight {
            count: row.get("count")?,
            bytes: row.get("bytes")?,
        })
    }
}

fn old_build(row: &Row) -> Result<OldBuild, Error> {
    Ok(OldBuild {
        id: row.get("id")?,
        number: row.get("number")?,
        outcome: row.get("outcome")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        kept: row.maybe::<String>("kept")?.is_some(),
        reporting: row.get("reporting")?,
        last_good: row.get("last_good")?,
        logs_removed: row.maybe::<Timestamp>("logs_removed")?.is_some(),
        artefacts_removed: row.maybe::<Timestamp>("artefacts_removed")?.is_some(),
    })
}
