//! The rows of one step: a cursor that answers from what is recorded, and a tail that is not yet durable.
//!
//! A guest is one sequence of synchronous calls, so an `End` follows its `Start` at once; only the last `Start` of a
//! journal can be open.

use capstan_model::journal::{Class, Created, Effect, Entry, Kind};
use capstan_model::{CommandId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StepError;
use super::canonical;
use super::deed::{Answer, Deed, Request};
use crate::call::Trap;
use crate::limits::MAX_JOURNAL;

/// A guest that asked something else than it had asked before. Its code or its input changed, or it is not
/// deterministic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "the step did not repeat itself: at position {seq} of its journal the recorded call is {recorded}, the requested \
     call is {requested}; the plugin must make the same calls whenever it is given the same answers"
)]
pub struct Mismatch {
    /// The position.
    pub seq: u32,
    /// What the journal has there.
    pub recorded: String,
    /// What the guest asked for.
    pub requested: String,
}

/// What the journal says to a call.
pub(crate) enum Next {
    /// It was answered. The deed is there if the call left the process.
    Recorded(Option<Deed>, Answer),
    /// It left the process and was not answered.
    Open(u32, Deed),
    /// It was never made.
    Live,
}

pub(crate) struct Journal {
    rows: Vec<Entry>,
    /// The next row that the guest has not reached.
    cursor: usize,
    /// Rows from here on are not durable.
    saved: usize,
    effects: Vec<Effect>,
    bytes: usize,
    max_rows: u32,
}

/// Row 0 of a step.
pub fn created_row(created: &Created, now: Timestamp) -> Entry {
    let request = serde_json::to_value(created).unwrap_or_default();
    Entry {
        seq: 0,
        kind: Kind::Created,
        call: "created".to_owned(),
        class: Class::Local,
        request_hash: canonical::hash(&request),
        request: Some(request),
        response: None,
        at: now,
    }
}

/// The commands that a step had killed, and why. A journal answers a kill by itself, so a master that takes the step up says
/// it again: the one before may have died before the worker heard of it.
pub fn kills(stored: &[Entry]) -> Vec<(CommandId, String)> {
    let begun = stored.iter().filter(|row| row.kind == Kind::Start);
    begun
        .filter_map(|row| match parse::<Request>(row.request.as_ref())?.deed {
            Deed::Kill { command, reason } => Some((command, reason)),
            _ => None,
        })
        .collect()
}

impl Journal {
    /// Takes the stored rows, or begins with row 0.
    pub(crate) fn open(
        stored: Vec<Entry>,
        created: Created,
        now: Timestamp,
        max_rows: u32,
    ) -> Result<(Self, Created), StepError> {
        match stored.is_empty() {
            true => {
                let (mut journal, created) = Self::stored(vec![created_row(&created, now)], max_rows)?;
                journal.saved = 0;
                Ok((journal, created))
            }
            false => Self::stored(stored, max_rows),
        }
    }

    /// Takes rows that are durable.
    pub(crate) fn stored(rows: Vec<Entry>, max_rows: u32) -> Result<(Self, Created), StepError> {
        check(&rows).map_err(StepError::BadJournal)?;
        let row0 = rows.first().and_then(|row| row.request.as_ref());
        let created = Created::deserialize(row0.unwrap_or(&Value::Null))
            .map_err(|error| StepError::BadJournal(format!("in row 0: {error}")))?;
        let journal = Self {
            cursor: 1,
            saved: rows.len(),
            effects: Vec::new(),
            bytes: rows.iter().map(size).sum(),
            max_rows,
            rows,
        };
        Ok((journal, created))
    }

    pub(crate) fn max_rows(&self) -> u32 {
        self.max_rows
    }

    /// What the `Start` at `seq` sets out to do, if it is the last row.
    pub(crate) fn open_deed(&self, seq: u32) -> Option<Deed> {
        let last = self.rows.last()?;
        let open = last.kind == Kind::Start && last.seq == seq;
        let request = last.request.as_ref().filter(|_| open);
        Some(parse::<Request>(request)?.deed)
    }

    /// Back to the beginning, for another run of the guest.
    pub(crate) fn rewind(&mut self) {
        self.cursor = 1;
    }

    /// Whether the guest has passed the last recorded row.
    pub(crate) fn is_live(&self) -> bool {
        self.cursor == self.rows.len()
    }

    /// The row that the guest has not reached.
    pub(crate) fn position(&self) -> u32 {
        u32::try_from(self.cursor).unwrap_or(u32::MAX)
    }

    /// When the step began, and when what the guest was answered last was noted: the same on every replay.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        let at = |place: usize| self.rows.get(place).map_or(Timestamp(0), |row| row.at);
        (at(0), at(self.cursor.saturating_sub(1)))
    }

    /// The number of the next row.
    pub(crate) fn next_seq(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The answer of the last row, if the step has ended.
    pub(crate) fn finished(&self) -> Option<&Value> {
        self.rows
            .last()
            .filter(|row| row.kind == Kind::Finished)?
            .response
            .as_ref()
    }

    /// Looks up the guest's next call.
    pub(crate) fn next(&mut self, call: &str, asked: &Value) -> Result<Next, Mismatch> {
        let Some(row) = self.rows.get(self.cursor) else {
            return Ok(Next::Live);
        };
        let asked_here = matches!(row.kind, Kind::Start | Kind::Local);
        if !asked_here || row.call != call || row.request_hash != canonical::hash(asked) {
            return Err(self.mismatch(row, shown(call, asked)));
        }
        let unreadable = |row: &Entry| self.mismatch(row, call.to_owned());
        if row.kind == Kind::Local {
            let answer = parse(row.response.as_ref()).ok_or_else(|| unreadable(row))?;
            self.cursor += 1;
            return Ok(Next::Recorded(None, answer));
        }
        let Request { deed, .. } = parse(row.request.as_ref()).ok_or_else(|| unreadable(row))?;
        let Some(end) = self.rows.get(self.cursor + 1) else {
            let seq = row.seq;
            self.cursor += 1;
            return Ok(Next::Open(seq, deed));
        };
        let answer = parse(end.response.as_ref()).ok_or_else(|| unreadable(end))?;
        self.cursor += 2;
        Ok(Next::Recorded(Some(deed), answer))
    }

    /// The guest has returned: rows that it did not ask for are as wrong as rows that it asked for differently.
    pub(crate) fn at_end(&self) -> Result<(), Mismatch> {
        match self.rows.get(self.cursor) {
            Some(row) => Err(self.mismatch(row, "none: the step returned".to_owned())),
            None => Ok(()),
        }
    }

    /// The commands of the rows that the guest has not reached.
    pub(crate) fn commands_ahead(&self) -> Vec<CommandId> {
        let deeds = self.rows[self.cursor..]
            .iter()
            .filter(|row| row.kind == Kind::Start);
        deeds
            .filter_map(|row| Some(parse::<Request>(row.request.as_ref())?.deed.starts()?.0))
            .collect()
    }

    /// Adds a call that is answered without leaving the process.
    pub(crate) fn local(
        &mut self,
        call: &str,
        asked: &Value,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<(), Trap> {
        let response = serde_json::to_value(answer).unwrap_or_default();
        self.push(
            Kind::Local,
            call,
            Class::Local,
            canonical::hash(asked),
            None,
            Some(response),
            now,
        )
    }

    /// Adds what the last local row changes.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds a call that is about to leave the process.
    pub(crate) fn start(&mut self, deed: &Deed, asked: &Value, now: Timestamp) -> Result<u32, Trap> {
        let seq = self.next_seq();
        let request = Request {
            asked: asked.clone(),
            deed: deed.clone(),
        };
        let request = serde_json::to_value(request).unwrap_or_default();
        self.push(
            Kind::Start,
            deed.call(),
            deed.class(),
            canonical::hash(asked),
            Some(request),
            None,
            now,
        )?;
        Ok(seq)
    }

    /// Adds the answer to the open `Start`.
    pub(crate) fn end(&mut self, seq: u32, deed: &Deed, answer: &Answer, now: Timestamp) -> Result<(), Trap> {
        let (request, response) = (Value::from(seq), serde_json::to_value(answer).unwrap_or_default());
        let hash = canonical::hash(&request);
        self.push(
            Kind::End,
            deed.call(),
            deed.class(),
            hash,
            Some(request),
            Some(response),
            now,
        )
    }

    /// Adds the last row.
    pub(crate) fn finish(&mut self, response: Value, now: Timestamp) -> Result<(), Trap> {
        let hash = canonical::hash(&Value::Null);
        self.push(
            Kind::Finished,
            "finished",
            Class::Local,
            hash,
            None,
            Some(response),
            now,
        )
    }

    /// The rows that are not durable, and what they change.
    pub(crate) fn unsaved(&mut self) -> (Vec<Entry>, Vec<Effect>) {
        (
            self.rows[self.saved..].to_vec(),
            std::mem::take(&mut self.effects),
        )
    }

    pub(crate) fn unsaved_rows(&self) -> usize {
        self.rows.len() - self.saved
    }

    /// Notes that every row is durable.
    pub(crate) fn saved(&mut self) {
        self.saved = self.rows.len();
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    fn push(
        &mut self,
        kind: Kind,
        call: &str,
        class: Class,
        request_hash: capstan_model::Digest,
        request: Option<Value>,
        response: Option<Value>,
        at: Timestamp,
    ) -> Result<(), Trap> {
        let seq = self.next_seq();
        // An answer is always kept: without it, what was done would be done again.
        let opens = matches!(kind, Kind::Start | Kind::Local);
        let row = Entry {
            seq,
            kind,
            call: call.to_owned(),
            class,
            request_hash,
            request,
            response,
            at,
        };
        self.bytes = self.bytes.saturating_add(size(&row));
        if opens && seq >= self.max_rows {
            return Err(Trap::TooMuch(format!(
                "more than {} journal rows; a higher `limits.journal_rows` in its manifest may help",
                self.max_rows
            )));
        }
        if opens && self.bytes > MAX_JOURNAL {
            return Err(Trap::TooMuch(format!(
                "more than {} MiB in its journal",
                MAX_JOURNAL >> 20
            )));
        }
        self.rows.push(row);
        self.cursor = self.rows.len();
        Ok(())
    }

    fn mismatch(&self, row: &Entry, requested: String) -> Mismatch {
        let recorded = match (row.kind, &row.request) {
            (Kind::Start, Some(request)) => shown(&row.call, &request["asked"]),
            (Kind::Local, _) => format!("{} (its parameters are kept as a digest)", row.call),
            _ => row.call.clone(),
        };
        Mismatch {
            seq: row.seq,
            recorded,
            requested,
        }
    }
}

/// Rows count from 0 without gaps, begin with `Created`, and pair.
pub(crate) fn check(rows: &[Entry]) -> Result<(), String> {
    let mut open: Option<u32> = None;
    for (place, row) in rows.iter().enumerate() {
        if usize::try_from(row.seq).ok() != Some(place) {
            return Err(format!("row {} at position {place}", row.seq));
        }
        let fits = match (row.kind, open) {
            (Kind::Created, None) => place == 0,
            (Kind::End, Some(start)) => row.request == Some(Value::from(start)),
            (Kind::Start | Kind::Local | Kind::Finished, None) => place > 0,
            _ => false,
        };
        let last = place + 1 == rows.len();
        if !fits || (row.kind == Kind::Finished && !last) {
            return Err(format!(
                "a row `{}` where none may be, at position {place}",
                row.kind.as_str()
            ));
        }
        open = (row.kind == Kind::Start).then_some(row.seq);
    }
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    serde_json::from_value(value?.clone()).ok()
}

fn size(row: &Entry) -> usize {
    let of = |value: &Option<Value>| value.as_ref().map_or(0, |value| canonical::text(value).len());
    of(&row.request) + of(&row.response) + row.call.len()
}

/// A call and its parameters, as far as they fit a message.
pub(crate) fn shown(call: &str, asked: &Value) -> String {
    const MOST: usize = 400;
    let mut text = if asked.is_null() {
        call.to_owned()
    } else {
        format!("{call} {}", canonical::text(asked))
    };
    let end = text.floor_char_boundary(MOST);
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
    text
}
