//! The journals of steps: appended to at the position that the writer expects, together with what the rows change.
//!
//! A row is durable before what it tells of leaves the process (`Start`) or is seen by the guest (`End`). Two masters
//! that run one step collide here: the second finds the position taken, and must stop.

use capstan_model::journal::{Class, Effect, Entry, Kind};
use capstan_model::{Digest, StepId, Timestamp};
use futures::FutureExt as _;
use serde_json::Value;

use crate::commands::{self, CommandLog, NewCommand};
use crate::sql::{Cell, Conn, Row, args};
use crate::steps::{self, Scope, StepState};
use crate::writer::Tx;
use crate::{Error, Store, blobs};

/// Payloads beyond this many bytes of JSON are blobs, so that reading a journal's outline stays cheap.
const INLINE: usize = 32 * 1024;

impl Store {
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

async fn append_all(
    tx: &mut Tx,
    step: StepId,
    entries: Vec<Entry>,
    effects: Vec<Effect>,
    command: Option<NewCommand>,
    now: Timestamp,
) -> Result<Option<CommandLog>, Error> {
    let scope = Scope::of(tx, step).await?;
    if !entries.is_empty() && holds(tx, step, &entries).await? {
        return match command {
            Some(command) => commands::log_of(tx, command.id).await,
            None => Ok(None),
        };
    }
    if scope.state != StepState::Running {
        return Err(scope.conflict("running"));
    }
    append(tx, step, &entries).await?;
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
    let last = "SELECT COALESCE(MAX(seq), -1) + 1 AS next FROM journal WHERE step = $1";
    let next: u32 = tx.one(last, args![step]).await?.get("next")?;
    for (entry, expected) in entries.iter().zip(next..) {
        if entry.seq != expected {
            let found = entry.seq;
            return Err(Error::conflict(format!(
                "expected row {expected} of the journal of step {step} to be appended, found row {found}"
            )));
        }
        insert(tx, step, entry).await?;
    }
    Ok(())
}

async fn insert(tx: &mut Tx, step: StepId, entry: &Entry) -> Result<(), Error> {
    let (request, request_blob) = payload(tx, entry.request.as_ref()).await?;
    let (response, response_blob) = payload(tx, entry.response.as_ref()).await?;
    tx.run(
        "INSERT INTO journal (step, seq, kind, call, class, request_hash, request, request_blob, response, response_blob,
         at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
    Ok(())
}

/// A payload as it is kept: in the row, or by digest.
async fn payload(tx: &mut Tx, value: Option<&Value>) -> Result<(Option<String>, Option<Digest>), Error> {
    match value.map(Value::to_string) {
        Some(text) if text.len() > INLINE => Ok((None, Some(blobs::put(tx, text.into_bytes()).await?))),
        text => Ok((text, None)),
    }
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
