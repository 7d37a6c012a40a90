//! The journals of steps: appended to at the position that the writer expects, together with what the rows change.
//!
//! A row is durable before what it tells of leaves the process (`Start`) or is seen by the guest (`End`). Two masters
//! that run one step collide here: the second finds the position taken, and must stop.

use capstan_model::journal::{Class, Effect, Entry, Kind};
use capstan_model::{Digest, StepId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::{self, CommandLog, NewCommand};
use crate::sql::{Cell, Conn, Row, args};
use crate::steps::{self, Scope, StepState};
use crate::writer::Tx;
use crate::{Error, Store, blobs};

/// Payloads beyond this many bytes of JSON are blobs, so that reading a journal's outline stays cheap.
const INLINE: usize = 32 * 1024;

/// A row of a journal for people: what was called, and how what went in and out begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalGlance {
    /// The position.
    pub seq: u32,
    /// What kind of row this is.
    pub kind: Kind,
    /// The host function.
    pub call: String,
    /// How the call touches the world.
    pub class: Class,
    /// When the row was made.
    pub at: Timestamp,
    /// The request, where the row has it.
    pub request: Option<Excerpt>,
    /// The answer, where the row has it.
    pub response: Option<Excerpt>,
}

/// The beginning of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// Its JSON, as far as the first 2,000 bytes hold whole characters.
    pub start: String,
    /// How many bytes all of it has.
    pub length: u64,
}

/// The most bytes of an [`Excerpt`]; the statement has the same number.
const EXCERPT: usize = 2000;

impl Store {
    /// Rows of a step's journal after that position, or from the first, at most `limit`. However large a payload is,
    /// only its beginning is read.
    pub async fn journal_glance(
        &self,
        step: StepId,
        after_seq: Option<u32>,
        limit: u32,
    ) -> Result<Vec<JournalGlance>, Error> {
        let sql = "SELECT seq, kind, call, class, at, substr(request, 1, 2000) AS request,
                   CAST(octet_length(request) AS BIGINT) AS request_length, substr(requests.bytes, 1, 2000) AS request_bytes,
                   CAST(octet_length(requests.bytes) AS BIGINT) AS request_bytes_length, substr(response, 1, 2000) AS response,
                   CAST(octet_length(response) AS BIGINT) AS response_length, substr(responses.bytes, 1, 2000) AS response_bytes,
                   CAST(octet_length(responses.bytes) AS BIGINT) AS response_bytes_length FROM journal
                   LEFT JOIN blobs AS requests ON requests.digest = journal.request_blob
                   LEFT JOIN blobs AS responses ON responses.digest = journal.response_blob
                   WHERE step = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let after = after_seq.map_or(-1, i64::from);
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, args![step, after, limit]).await?;
        rows.iter().map(glance).collect()
    }

    /// Appends rows to the journal of a running step, with what local rows change in the build and, for the `Start`
    /// of a command, the command with its log. The rows count on from the last one; else it is [`Error::Conflict`].
    /// Appending again exactly the rows that are there changes nothing, so that a caller who could not know may ask
    /// again.
    pub async fn append_journal(
        &self,
        step: StepId,
        entries: Vec<Entry>,
        effects: Vec<Effect>,
        command: Option<NewCommand>,
        now: Timestamp,
    ) -> Result<Option<CommandLog>, Error> {
        self.write(move |tx| append_all(tx, step, entries, effects, command, now).boxed())
            .await
    }

    /// The journal of a step, in order; empty before it has begun.
    pub async fn journal(&self, step: StepId) -> Result<Vec<Entry>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn
            .rows(
                "SELECT journal.*, requests.bytes AS request_bytes, responses.bytes AS response_bytes FROM journal
                 LEFT JOIN blobs AS requests ON requests.digest = journal.request_blob
                 LEFT JOIN blobs AS responses ON responses.digest = journal.response_blob
                 WHERE journal.step = $1 ORDER BY journal.seq",
                args![step],
            )
            .await?;
        rows.iter().map(entry).collect()
    }
}

pub(crate) async fn append_all(
    tx: &mut Tx,
    step: StepId,
    entries: Vec<Entry>,
    effects: Vec<Effect>,
    command: Option<NewCommand>,
    now: Timestamp,
) -> Result<Option<CommandLog>, Error> {
    // Most appends are rows alone, as they should be: one statement for each.
    if effects.is_empty()
        && command.is_none()
        && let Some((first, others)) = entries.split_first()
        && try_insert(tx, step, first, If::Running).await?
    {
        append(tx, step, others).await?;
        return Ok(None);
    }
    let scope = Scope::of(tx, step).await?;
    let appends = scope.state == StepState::Running;
    if let Some(first) = entries.first()
        && !(appends && try_insert(tx, step, first, If::Next).await?)
    {
        if holds(tx, step, &entries).await? {
            return match command {
                Some(command) => commands::log_of(tx, command.id).await,
                None => Ok(None),
            };
        }
        if appends {
            return Err(out_of_place(tx, step, first).await?);
        }
    }
    if !appends {
        return Err(scope.conflict("running"));
    }
    append(tx, step, entries.get(1..).unwrap_or_default()).await?;
    steps::apply(tx, &scope, effects, now).await?;
    match command {
        Some(command) => commands::insert(tx, &scope, command, now).await.map(Some),
        None => Ok(None),
    }
}

/// Whether the journal has exactly these rows at their positions. Their time is compared too: it tells apart a caller
/// who asks again from another who does the same.
pub(crate) async fn holds(conn: &mut Conn, step: StepId, entries: &[Entry]) -> Result<bool, Error> {
    for entry in entries {
        let sql = "SELECT kind, call, class, request_hash, at FROM journal WHERE step = $1 AND seq = $2";
        let Some(row) = conn.row(sql, args![step, entry.seq]).await? else {
            return Ok(false);
        };
        let same = row.get::<Kind>("kind")? == entry.kind
            && row.get::<String>("call")? == entry.call
            && row.get::<Class>("class")? == entry.class
            && row.get::<Digest>("request_hash")? == entry.request_hash
            && row.get::<Timestamp>("at")? == entry.at;
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Appends rows that count on from the last one.
pub(crate) async fn append(tx: &mut Tx, step: StepId, entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        if !try_insert(tx, step, entry, If::Next).await? {
            return Err(out_of_place(tx, step, entry).await?);
        }
    }
    Ok(())
}

/// Why a row could not be appended.
async fn out_of_place(tx: &mut Tx, step: StepId, entry: &Entry) -> Result<Error, Error> {
    let last = "SELECT COALESCE(MAX(seq), -1) + 1 AS next FROM journal WHERE step = $1";
    let expected: u32 = tx.one(last, args![step]).await?.get("next")?;
    let found = entry.seq;
    Ok(Error::conflict(format!(
        "expected row {expected} of the journal of step {step} to be appended, found row {found}"
    )))
}

/// When a row may be appended.
#[derive(Clone, Copy)]
enum If {
    /// If it counts on from the last one.
    Next,
    /// If it does, and the step runs.
    Running,
}

impl If {
    fn statement(self) -> &'static str {
        match self {
            Self::Next => {
                "INSERT INTO journal (step, seq, kind, call, class, request_hash, request, request_blob, response, response_blob,
                 at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
                 WHERE (SELECT COALESCE(MAX(seq), -1) + 1 FROM journal WHERE step = $1) = $2"
            }
            Self::Running => {
                "INSERT INTO journal (step, seq, kind, call, class, request_hash, request, request_blob, response, response_blob,
                 at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
                 WHERE (SELECT COALESCE(MAX(seq), -1) + 1 FROM journal WHERE step = $1) = $2
                 AND EXISTS (SELECT 1 FROM steps WHERE id = $1 AND state = 'running')"
            }
        }
    }
}

/// Appends a row if it may be: asked and done in one statement. Whether it was.
async fn try_insert(tx: &mut Tx, step: StepId, entry: &Entry, condition: If) -> Result<bool, Error> {
    let (request, request_blob) = payload(tx, entry.request.as_ref()).await?;
    let (response, response_blob) = payload(tx, entry.response.as_ref()).await?;
    let touched = tx
        .run(
            condition.statement(),
            args![
                step,
                entry.seq,
                entry.kind.as_str(),
                &entry.call,
                entry.class.as_str(),
                entry.request_hash,
                request,
                request_blob,
                response,
                response_blob,
                entry.at,
            ],
        )
        .await?;
    Ok(touched > 0)
}

/// A payload as it is kept: in the row, or by digest.
async fn payload(tx: &mut Tx, value: Option<&Value>) -> Result<(Option<String>, Option<Digest>), Error> {
    match value.map(Value::to_string) {
        Some(text) if text.len() > INLINE => Ok((None, Some(blobs::put(tx, text.into_bytes()).await?))),
        text => Ok((text, None)),
    }
}

fn glance(row: &Row) -> Result<JournalGlance, Error> {
    Ok(JournalGlance {
        seq: row.get("seq")?,
        kind: row.get("kind")?,
        call: row.get("call")?,
        class: row.get("class")?,
        at: row.get("at")?,
        request: excerpt(
            row,
            [
                "request",
                "request_length",
                "request_bytes",
                "request_bytes_length",
            ],
        )?,
        response: excerpt(
            row,
            [
                "response",
                "response_length",
                "response_bytes",
                "response_bytes_length",
            ],
        )?,
    })
}

/// The beginning of a payload that is either text or a blob. Text was cut by characters, a blob by bytes.
fn excerpt(row: &Row, [text, length, bytes, bytes_length]: [&str; 4]) -> Result<Option<Excerpt>, Error> {
    if let Some(mut start) = row.maybe::<String>(text)? {
        start.truncate(start.floor_char_boundary(EXCERPT));
        let length = row.get(length)?;
        return Ok(Some(Excerpt { start, length }));
    }
    let Some(start) = row.maybe::<Vec<u8>>(bytes)? else {
        return Ok(None);
    };
    let whole = match std::str::from_utf8(&start) {
        Ok(whole) => whole,
        // Only its last character is not whole: that is where the database cut.
        Err(cut) if cut.error_len().is_none() => {
            std::str::from_utf8(&start[..cut.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return Err(row.corrupt(text, &error.to_string())),
    };
    Ok(Some(Excerpt {
        start: whole.to_owned(),
        length: row.get(bytes_length)?,
    }))
}

fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        seq: row.get("seq")?,
        kind: row.get("kind")?,
        call: row.get("call")?,
        class: row.get("class")?,
        request_hash: row.get("request_hash")?,
        request: read_payload(row, "request", "request_bytes")?,
        response: read_payload(row, "response", "response_bytes")?,
        at: row.get("at")?,
    })
}

fn read_payload(row: &Row, inline: &str, blob: &str) -> Result<Option<Value>, Error> {
    if let Some(bytes) = row.maybe::<Vec<u8>>(blob)? {
        return serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| row.corrupt(inline, &error.to_string()));
    }
    let Some(text) = row.maybe::<String>(inline)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| row.corrupt(inline, &error.to_string()))
}

impl Cell for Kind {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        const ALL: [Kind; 5] = [Kind::Created, Kind::Start, Kind::End, Kind::Local, Kind::Finished];
        word(row, column, &ALL, Kind::as_str)
    }
}

impl Cell for Class {
    fn read(row: &Row, column: &str) -> Result<Option<Self>, String> {
        const ALL: [Class; 6] = [
            Class::Local,
            Class::ReadRemote,
            Class::WriteIdempotent,
            Class::RunOnce,
            Class::Timer,
            Class::Http,
        ];
        word(row, column, &ALL, Class::as_str)
    }
}

fn word<T: Copy>(
    row: &Row,
    column: &str,
    all: &[T],
    as_str: fn(T) -> &'static str,
) -> Result<Option<T>, String> {
    let Some(found) = String::read(row, column)? else {
        return Ok(None);
    };
    let expected = || {
        all.iter()
            .map(|&word| as_str(word))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let word = all.iter().copied().find(|&word| as_str(word) == found);
    word.map(Some)
        .ok_or_else(|| format!("expected one of {}, found {found:?}", expected()))
}
