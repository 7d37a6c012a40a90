//! Changes and the change sources that report them.

use capstan_model::{BuildsetId, Change, ChangeId, NewChange, Properties, Timestamp};
use futures::FutureExt as _;
use serde_json::json;

use crate::events::Draft;
use crate::schedulers::{self, Payload};
use crate::sql::{Conn, Json, Row, Value, args};
use crate::versions::Memory;
use crate::writer::Tx;
use crate::{Error, Store};

/// A change source as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// When it last reported something new, or moved its cursor.
    pub accepted: Option<Timestamp>,
    /// When its newest poll failed; `None` if it went well.
    pub failed: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
}

/// Which changes to list: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Only of this branch.
    pub branch: Option<String>,
    /// Only of this repository.
    pub repository: Option<String>,
    /// Only by this author.
    pub author: Option<String>,
    /// Only of this codebase.
    pub codebase: Option<String>,
    /// Only older ones than this.
    pub before: Option<ChangeId>,
}

/// How many changes that fit one condition are looked through for the others.
const CANDIDATES: u32 = 5000;

/// Changes that fit the other conditions among the newest that an index names.
macro_rules! among {
    ($index:literal) => {
        concat!(
            "SELECT changes.* FROM (SELECT id FROM changes WHERE id < $1",
            $index,
            " ORDER BY id DESC LIMIT $7) AS candidates CROSS JOIN changes WHERE changes.id = candidates.id
             AND ($3 IS NULL OR author = $3) AND ($4 IS NULL OR branch = $4) AND ($5 IS NULL OR repository = $5)
             AND ($6 IS NULL OR codebase = $6) ORDER BY changes.id DESC LIMIT $2"
        )
    };
}

impl ChangeFilter {
    /// The statement that reads them, by the index that says most.
    fn statement(&self, limit: u32) -> (&'static str, Vec<Value>) {
        let given = [&self.author, &self.branch, &self.repository, &self.codebase];
        let given = given.map(Option::is_some);
        let (sql, served) = match given {
            [true, ..] => (among!(" AND author = $3"), 1),
            [_, true, true, _] => (among!(" AND branch = $4 AND repository = $5"), 2),
            [_, true, ..] => (among!(" AND branch = $4"), 1),
            [_, _, true, _] => (among!(" AND repository = $5"), 1),
            [.., true] => (among!(" AND codebase = $6"), 1),
            _ => (among!(""), 0),
        };
        let exact = given.into_iter().filter(|&given| given).count() == served;
        let args = args![
            self.before.unwrap_or(ChangeId(i64::MAX)),
            limit,
            self.author.as_deref(),
            self.branch.as_deref(),
            self.repository.as_deref(),
            self.codebase.as_deref(),
            if exact { limit } else { CANDIDATES },
        ];
        (sql, args)
    }
}

impl Store {
    /// Where that change source was; `None` before its first success.
    pub async fn source_cursor(&self, source: &str) -> Result<Option<Memory>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT cursor, cursor_digest, cursor_version FROM change_sources WHERE name = $1";
        let row = conn.row(sql, args![source]).await?;
        row.map_or(Ok(None), |row| {
            Memory::read(&row, "cursor", "cursor_digest", "cursor_version")
        })
    }

    /// Takes in what a change source found, with its new cursor. A change whose key the source has used before is the
    /// same change. Answers the new ones, and leaves each of them for every subscribed scheduler.
    pub async fn accept_changes(
        &self,
        source: &str,
        cursor: impl Into<Memory>,
        changes: Vec<NewChange>,
        subscribers: &[String],
        now: Timestamp,
    ) -> Result<Vec<Change>, Error> {
        let (source, cursor, subscribers) = (source.to_owned(), cursor.into(), subscribers.to_owned());
        self.write(move |tx| accept(tx, source, cursor, changes, subscribers, now).boxed())
            .await
    }

    /// Takes in a change that somebody sent, under that source, as [`accept_changes`](Self::accept_changes) does; there is no
    /// cursor. `None` if its key was sent before.
    pub async fn send_change(
        &self,
        source: &str,
        change: NewChange,
        subscribers: &[String],
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let (source, subscribers) = (source.to_owned(), subscribers.to_owned());
        self.write(move |tx| async move { take_in(tx, &source, change, &subscribers, now).await }.boxed())
            .await
    }

    /// The change of that source with that key.
    pub async fn change_by_key(&self, source: &str, key: &str) -> Result<Option<Change>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT * FROM changes WHERE source = $1 AND dedup_key = $2";
        let row = conn.row(sql, args![source, key]).await?;
        row.as_ref().map(change).transpose()
    }

    /// Notes that a poll failed. The cursor stays.
    pub async fn source_failed(&self, source: &str, error: &str, now: Timestamp) -> Result<(), Error> {
        let (source, error) = (source.to_owned(), error.to_owned());
        self.write(move |tx| failed(tx, source, error, now).boxed()).await
    }

    /// A poll went well, and brought nothing new: the failure that was noted is over.
    pub async fn source_recovered(&self, source: &str) -> Result<(), Error> {
        let source = source.to_owned();
        let update =
            "UPDATE change_sources SET failed = NULL, error = NULL WHERE name = $1 AND failed IS NOT NULL";
        self.write(move |tx| async move { tx.run(update, args![&source]).await.map(|_| ()) }.boxed())
            .await
    }

    /// Every change source that was ever polled, by name.
    pub async fn sources(&self) -> Result<Vec<SourceStatus>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT id, name, accepted, failed, error FROM change_sources ORDER BY name";
        let status = |row: &Row| {
            Ok(SourceStatus {
                name: row.get("name")?,
                accepted: row.maybe("accepted")?,
                failed: row.maybe("failed")?,
                error: row.maybe("error")?,
            })
        };
        conn.rows(sql, args![]).await?.iter().map(status).collect()
    }

    /// That change.
    pub async fn change(&self, id: ChangeId) -> Result<Option<Change>, Error> {
        load(&mut self.reader().await?, id).await
    }

    /// Changes, newest first, at most `limit`.
    ///
    /// One condition, or repository and branch together, are answered in full. Further ones are looked for among the
    /// newest 5,000 changes before `before` of that author, else of that branch and repository.
    pub async fn changes(&self, filter: &ChangeFilter, limit: u32) -> Result<Vec<Change>, Error> {
        let (sql, args) = filter.statement(limit);
        let mut conn = self.reader().await?;
        conn.rows(sql, args).await?.iter().map(change).collect()
    }

    /// The changes that led to that buildset, oldest first.
    pub async fn changes_of_buildset(&self, buildset: BuildsetId) -> Result<Vec<Change>, Error> {
        let mut conn = self.reader().await?;
        let sql =
            "SELECT changes.* FROM changes JOIN buildset_changes ON buildset_changes.change = changes.id
                   WHERE buildset_changes.buildset = $1 ORDER BY changes.id";
        conn.rows(sql, args![buildset])
            .await?
            .iter()
            .map(change)
            .collect()
    }
}

async fn accept(
    tx: &mut Tx,
    source: String,
    cursor: Memory,
    found: Vec<NewChange>,
    subscribers: Vec<String>,
    now: Timestamp,
) -> Result<Vec<Change>, Error> {
    let (digest, version) = cursor.by.map(|by| (by.digest, by.version)).unzip();
    tx.run(
        "INSERT INTO change_sources (name, cursor, cursor_digest, cursor_version, accepted) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, cursor_digest = excluded.cursor_digest,
         cursor_version = excluded.cursor_version, accepted = excluded.accepted, failed = NULL, error = NULL",
        args![&source, cursor.bytes, digest, version, now],
    )
    .await?;
    let mut accepted = Vec::new();
    for facts in found {
        accepted.extend(take_in(tx, &source, facts, &subscribers, now).await?);
    }
    Ok(accepted)
}

/// Takes in one change, and leaves it for the schedulers; `None` if its source has reported it before.
async fn take_in(
    tx: &mut Tx,
    source: &str,
    facts: NewChange,
    subscribers: &[String],
    now: Timestamp,
) -> Result<Option<Change>, Error> {
    let Some(change) = insert(tx, source, facts, now).await? else {
        return Ok(None);
    };
    for scheduler in subscribers {
        schedulers::enqueue(tx, scheduler, &Payload::Change(change.id), now).await?;
    }
    Ok(Some(change))
}

/// Inserts a change; `None` if its source has reported it before.
async fn insert(
    tx: &mut Tx,
    source: &str,
    facts: NewChange,
    now: Timestamp,
) -> Result<Option<Change>, Error> {
    let known = "SELECT id FROM changes WHERE source = $1 AND dedup_key = $2";
    if tx.row(known, args![source, &facts.dedup_key]).await?.is_some() {
        return Ok(None);
    }
    facts.properties.check().map_err(Error::Properties)?;
    let row = tx
        .one(
            "INSERT INTO changes (source, dedup_key, codebase, repository, project, branch, revision, author, comments,
             files, category, made, received, properties)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id",
            args![
                source,
                &facts.dedup_key,
                &facts.codebase,
                &facts.repository,
                &facts.project,
                facts.branch.as_deref(),
                &facts.revision,
                &facts.author,
                &facts.comments,
                Json(&facts.files),
                facts.category.as_deref(),
                facts.when,
                now,
                Json(&facts.properties),
            ],
        )
        .await?;
    let change = Change {
        id: row.get("id")?,
        source: source.to_owned(),
        received: now,
        facts,
    };
    let payload = json!({ "change": change.id, "source": source, "revision": change.facts.revision });
    Draft::new("change.accepted").payload(payload).add(tx, now);
    Ok(Some(change))
}

async fn failed(tx: &mut Tx, source: String, error: String, now: Timestamp) -> Result<(), Error> {
    let before = tx
        .row("SELECT error FROM change_sources WHERE name = $1", args![&source])
        .await?;
    let before: Option<String> = before.map_or(Ok(None), |row| row.maybe("error"))?;
    tx.run(
        "INSERT INTO change_sources (name, failed, error) VALUES ($1, $2, $3) ON CONFLICT (name)
         DO UPDATE SET failed = excluded.failed, error = excluded.error",
        args![&source, now, &error],
    )
    .await?;
    // A source that fails again and again for one reason is told of once.
    if before.as_ref() != Some(&error) {
        Draft::new("source.failed")
            .payload(json!({ "source": source, "reason": error }))
            .add(tx, now);
    }
    Ok(())
}

pub(crate) async fn load(conn: &mut Conn, id: ChangeId) -> Result<Option<Change>, Error> {
    conn.row("SELECT * FROM changes WHERE id = $1", args![id])
        .await?
        .as_ref()
        .map(change)
        .transpose()
}

fn change(row: &Row) -> Result<Change, Error> {
    Ok(Change {
        id: row.get("id")?,
        source: row.get("source")?,
        received: row.get("received")?,
        facts: NewChange {
            dedup_key: row.get("dedup_key")?,
            codebase: row.get("codebase")?,
            repository: row.get("repository")?,
            project: row.get("project")?,
            branch: row.maybe("branch")?,
            revision: row.get("revision")?,
            author: row.get("author")?,
            comments: row.get("comments")?,
            files: row.get::<Json<Vec<String>>>("files")?.0,
            category: row.maybe("category")?,
            when: row.get("made")?,
            properties: row.get::<Json<Properties>>("properties")?.0,
        },
    })
}
