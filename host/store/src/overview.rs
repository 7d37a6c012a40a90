//! What overview pages show: of each builder its newest builds, since when it is red, what waits and how long it
//! usually takes; of changes the builds that they led to. Read by `web`.
//!
//! Each answer is a fixed number of statements, and each statement reads what it answers and no history beside it.

use std::collections::HashMap;

use capstan_model::{BuildId, ChangeId, Outcome, Timestamp, VirtualBuilder};
use serde::{Deserialize, Serialize};

use crate::builds::BuildState;
use crate::dialect::{in_keys, keys};
use crate::sql::{Conn, Row, args};
use crate::{Error, Store, builders};

/// A build in a few words, as one of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildGlance {
    /// The key.
    pub id: BuildId,
    /// Its number within its builder, from 1.
    pub number: u64,
    /// How far it is.
    pub state: BuildState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// A few words about how it ended.
    pub summary: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// What became of a builder lately.
///
/// Success and warnings make it green, failure and exception red, in the order of the builds' numbers; what was
/// cancelled, skipped or is to be retried says nothing about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderHistory {
    /// Its name.
    pub builder: String,
    /// What is said of it, if it is a virtual one.
    pub about: Option<VirtualBuilder>,
    /// Its newest builds, newest first.
    pub recent: Vec<BuildGlance>,
    /// If it is red: the first build that made it so after the last green one.
    pub red_since: Option<BuildGlance>,
    /// How many of its requests wait.
    pub pending: u64,
    /// How long its builds take: the median of its newest ten green ones, in milliseconds.
    pub usual_ms: Option<u64>,
}

/// The newest green builds of `builders.id`, as many as that, with their durations; none is below zero, though a clock may
/// have been turned back. One search for each result: a search for both at once would have to sort all of them.
macro_rules! newest_green {
    ($count:literal) => {
        concat!(
            "(SELECT id, duration FROM (SELECT id,
              CASE WHEN finished > started THEN finished - started ELSE 0 END AS duration FROM builds
              WHERE builder = builders.id AND outcome = 'success' ORDER BY id DESC LIMIT ",
            $count,
            ") AS clean UNION ALL SELECT id, duration FROM (SELECT id,
              CASE WHEN finished > started THEN finished - started ELSE 0 END AS duration FROM builds
              WHERE builder = builders.id AND outcome = 'warnings' ORDER BY id DESC LIMIT ",
            $count,
            ") AS warned ORDER BY id DESC LIMIT ",
            $count,
            ") AS green"
        )
    };
}

/// A row for each builder, or for the one of that name. `usual` is half of the sum of the two middle durations, which
/// are the same one if their number is odd.
const OUTLINES: &str = concat!(
    "SELECT outlines.id AS id, name, about, pending, usual,
     (SELECT builds.id FROM builds WHERE builder = outlines.id AND outcome = 'failure' AND builds.id > green
      ORDER BY builds.id LIMIT 1) AS failure,
     (SELECT builds.id FROM builds WHERE builder = outlines.id AND outcome = 'exception' AND builds.id > green
      ORDER BY builds.id LIMIT 1) AS exception
     FROM (SELECT builders.id AS id, builders.name AS name, builders.about AS about,
      (SELECT COUNT(*) FROM requests WHERE builder = builders.id AND state = 'pending') AS pending,
      (SELECT COALESCE(MAX(id), 0) FROM ",
    newest_green!("1"),
    ") AS green,
      (SELECT (MIN(duration) + MAX(duration)) / 2 FROM
       (SELECT duration, ROW_NUMBER() OVER (ORDER BY duration) AS place, COUNT(*) OVER () AS total FROM ",
    newest_green!("10"),
    ") AS ranked WHERE place IN ((total + 1) / 2, (total + 2) / 2)) AS usual
      FROM builders WHERE $1 IS NULL OR builders.name = $1) AS outlines ORDER BY name"
);

/// The newest builds of each builder, or of the one of that name. Numbers have no gaps, so that the newest are found
/// without counting. SQLite takes the tables in this order because it says CROSS.
const RECENT: &str = "SELECT builds.id, builds.builder, number, state, outcome, summary, started, finished
     FROM builders CROSS JOIN builds WHERE builds.builder = builders.id
     AND builds.number >= builders.next_number - $2 AND ($1 IS NULL OR builders.name = $1)
     ORDER BY builders.id, builds.number DESC";

impl Store {
    /// What became lately of every builder that was ever asked for, by name, with at most `recent` builds of each.
    pub async fn builder_histories(&self, recent: u32) -> Result<Vec<BuilderHistory>, Error> {
        histories(&mut self.reader().await?, None, recent).await
    }

    /// What became lately of that builder, with at most `recent` builds.
    pub async fn builder_history(&self, name: &str, recent: u32) -> Result<Option<BuilderHistory>, Error> {
        let found = histories(&mut self.reader().await?, Some(name), recent).await?;
        Ok(found.into_iter().next())
    }

    /// The builds that each of these changes led to, with their builders: by change, then by builder, newest first.
    pub async fn builds_of_changes(
        &self,
        changes: &[ChangeId],
    ) -> Result<Vec<(ChangeId, String, BuildGlance)>, Error> {
        let sql = in_keys!(
            "SELECT DISTINCT buildset_changes.change, builders.name AS builder_name, builds.id, builds.number,
             builds.state, builds.outcome, builds.summary, builds.started, builds.finished FROM buildset_changes
             JOIN requests ON requests.buildset = buildset_changes.buildset
             JOIN build_requests ON build_requests.request = requests.id
             JOIN builds ON builds.id = build_requests.build JOIN builders ON builders.id = builds.builder
             WHERE buildset_changes.change IN ",
            " ORDER BY buildset_changes.change, builders.name, builds.id DESC"
        );
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, vec![keys(changes.iter().map(|id| id.0))]).await?;
        rows.iter()
            .map(|row| Ok((row.get("change")?, row.get("builder_name")?, glance(row)?)))
            .collect()
    }
}

async fn histories(conn: &mut Conn, name: Option<&str>, recent: u32) -> Result<Vec<BuilderHistory>, Error> {
    let outlines = conn.rows(OUTLINES, args![name]).await?;
    let mut newest: HashMap<i64, Vec<BuildGlance>> = HashMap::new();
    for row in conn.rows(RECENT, args![name, recent]).await? {
        newest.entry(row.get("builder")?).or_default().push(glance(&row)?);
    }
    let red = outlines.iter().map(first_red).collect::<Result<Vec<_>, _>>()?;
    let mut first = glances(conn, red.iter().flatten()).await?;
    let mut found = Vec::with_capacity(outlines.len());
    for (row, red) in outlines.iter().zip(red) {
        found.push(BuilderHistory {
            builder: row.get("name")?,
            about: builders::about(row)?,
            recent: newest.remove(&row.get("id")?).unwrap_or_default(),
            red_since: red.and_then(|id| first.remove(&id)),
            pending: row.get("pending")?,
            usual_ms: row.maybe("usual")?,
        });
    }
    Ok(found)
}

/// The first build since the last green one that made a builder red.
fn first_red(outline: &Row) -> Result<Option<BuildId>, Error> {
    let (failure, exception) = (outline.maybe("failure")?, outline.maybe("exception")?);
    Ok(failure.into_iter().chain(exception).min())
}

async fn glances(
    conn: &mut Conn,
    builds: impl Iterator<Item = &BuildId>,
) -> Result<HashMap<BuildId, BuildGlance>, Error> {
    let sql = in_keys!(
        "SELECT id, number, state, outcome, summary, started, finished FROM builds WHERE id IN ",
        ""
    );
    let rows = conn.rows(sql, vec![keys(builds.map(|id| id.0))]).await?;
    rows.iter()
        .map(|row| glance(row).map(|build| (build.id, build)))
        .collect()
}

fn glance(row: &Row) -> Result<BuildGlance, Error> {
    Ok(BuildGlance {
        id: row.get("id")?,
        number: row.get("number")?,
        state: row.get("state")?,
        outcome: row.maybe("outcome")?,
        summary: row.get("summary")?,
        started: row.get("started")?,
        finished: row.maybe("finished")?,
    })
}
