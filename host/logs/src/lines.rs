//! Lines: the index that people read a log by. The bytes are the truth; this module only numbers and cuts them.
//!
//! A line is what one channel says up to a `\n`. The channels do not mix: each has its own unfinished line, and a line
//! gets its number when its `\n` arrives, or at the end of the log (first standard output's, then standard error's, then
//! the header's). A `\r` stays in the text. Of a line longer than [`MAX_LINE_TEXT`] only the start is ever held.

use capstan_model::Channel;
use capstan_wire::frame::Frame;
use serde::{Deserialize, Serialize};

/// The longest text of one line that is served; more is counted, and stays in the bytes.
pub const MAX_LINE_TEXT: usize = 64 * 1024;

/// How much of an unfinished line a checkpoint copies. Who needs the rest of a longer one reads it where it starts.
const MAX_PENDING: usize = 256;

/// Bytes of frames between checkpoints: what a reader of a range walks over at most in an ordinary log.
const CHECKPOINT_BYTES: u64 = 128 * 1024;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 0, in the order in which lines were completed.
    pub number: u64,
    /// Who said it.
    pub channel: Channel,
    /// When its first byte was seen, in milliseconds since the command started.
    pub elapsed_ms: u64,
    /// Its bytes without the `\n`: at most [`MAX_LINE_TEXT`].
    pub text: Vec<u8>,
    /// How many bytes were cut off the end of `text`.
    pub omitted: u64,
}

impl Line {
    /// The line for people: what is not UTF-8 is replaced, what was cut off is counted.
    pub fn to_text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        match self.omitted {
            0 => text.into_owned(),
            omitted => format!("{text} … [{omitted} more bytes in this line]"),
        }
    }
}

/// How much there is of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes of frames, headers included: the number that writers and workers agree on.
    pub length: u64,
    /// Lines; while the log is open, the completed ones.
    pub lines: u64,
    /// Bytes of standard output.
    pub stdout: u64,
    /// Bytes of standard error.
    pub stderr: u64,
    /// Bytes of the worker's own remarks.
    pub header: u64,
}

impl Totals {
    /// Payload bytes of one channel.
    pub fn channel(&self, channel: Channel) -> u64 {
        match channel {
            Channel::Stdout => self.stdout,
            Channel::Stderr => self.stderr,
            Channel::Header => self.header,
        }
    }

    fn channel_mut(&mut self, channel: Channel) -> &mut u64 {
        match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
            Channel::Header => &mut self.header,
        }
    }
}

/// A byte of a log: a frame's offset and a place in its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) skip: u32,
}

/// The unfinished line of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    start: Place,
    elapsed_ms: u64,
    length: u64,
    /// What was kept of it: its first bytes.
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
}

/// A place from which lines can be read without what comes before it: just after some line's `\n`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The number of the next line to be completed.
    pub(crate) line: u64,
    /// Where to go on.
    pub(crate) place: Place,
    pending: [Pending; 3],
}

/// A line that its `\n` or the end of the log completed.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) line: Line,
    /// Set when the text in `line` is not all that is served of it: where to read it again.
    pub(crate) again: Option<Place>,
}

/// The checkpoint to start from in order to read `line`.
pub(crate) fn checkpoint_before(checkpoints: &[Checkpoint], line: u64) -> Checkpoint {
    let after = checkpoints.partition_point(|checkpoint| checkpoint.line <= line);
    after
        .checked_sub(1)
        .and_then(|at| checkpoints.get(at))
        .cloned()
        .unwrap_or_default()
}

/// Makes lines of payloads, whose unfinished ones it holds up to `keep` bytes each.
#[derive(Debug)]
pub(crate) struct Assembler {
    next: u64,
    keep: usize,
    pending: [Pending; 3],
}

impl Assembler {
    /// Goes on at `checkpoint` and serves text up to [`MAX_LINE_TEXT`].
    pub(crate) fn at(checkpoint: &Checkpoint) -> Self {
        Self {
            next: checkpoint.line,
            keep: MAX_LINE_TEXT,
            pending: checkpoint.pending.clone(),
        }
    }

    /// Takes the payload of `frame` from `place` on, up to and including its first `\n`. Gives how many bytes that was,
    /// and the line if there was one.
    pub(crate) fn feed(&mut self, place: Place, frame: &Frame<'_>) -> (u32, Option<Completed>) {
        let payload = &frame.payload[place.skip as usize..];
        let end = memchr::memchr(b'\n', payload);
        let part = &payload[..end.unwrap_or(payload.len())];
        let pending = &mut self.pending[frame.channel as usize - 1];
        if pending.length == 0 {
            (pending.start, pending.elapsed_ms) = (place, frame.elapsed_ms);
        }
        // Text that does not follow on what was kept would be wrong.
        if pending.length == pending.text.len() as u64 {
            let room = self.keep.saturating_sub(pending.text.len());
            pending.text.extend_from_slice(&part[..room.min(part.len())]);
        }
        pending.length += part.len() as u64;
        let used = part.len() + usize::from(end.is_some());
        // A payload is at most 64 KiB, so a place in it fits.
        (used as u32, end.map(|_| self.complete(frame.channel)))
    }

    /// At the end of the log: the unfinished lines become lines.
    pub(crate) fn finish(&mut self) -> Vec<Completed> {
        let channels = [Channel::Stdout, Channel::Stderr, Channel::Header];
        let unfinished = channels
            .into_iter()
            .filter(|&c| self.pending[c as usize - 1].length > 0);
        unfinished
            .collect::<Vec<_>>()
            .into_iter()
            .map(|channel| self.complete(channel))
            .collect()
    }

    fn complete(&mut self, channel: Channel) -> Completed {
        let pending = std::mem::take(&mut self.pending[channel as usize - 1]);
        let number = self.next;
        self.next += 1;
        let served = pending.length.min(MAX_LINE_TEXT as u64);
        let again = (served > pending.text.len() as u64).then_some(pending.start);
        let (elapsed_ms, text, omitted) = (pending.elapsed_ms, pending.text, pending.length - served);
        Completed {
            line: Line {
                number,
                channel,
                elapsed_ms,
                text,
                omitted,
            },
            again,
        }
    }
}

/// Counts a log while it grows and notes checkpoints: less than eight kilobytes for each megabyte.
#[derive(Debug)]
pub(crate) struct Tally {
    totals: Totals,
    assembler: Assembler,
    checkpoints: Vec<Checkpoint>,
}

impl Default for Tally {
    fn default() -> Self {
        let assembler = Assembler {
            keep: MAX_PENDING,
            ..Assembler::at(&Checkpoint::default())
        };
        Self {
            totals: Totals::default(),
            assembler,
            checkpoints: Vec::new(),
        }
    }
}

impl Tally {
    /// Adds the next frame.
    pub(crate) fn add(&mut self, frame: &Frame<'_>) {
        let mut place = Place {
            offset: self.totals.length,
            skip: 0,
        };
        while (place.skip as usize) < frame.payload.len() {
            let (used, completed) = self.assembler.feed(place, frame);
            place.skip += used;
            if completed.is_some() {
                self.note_checkpoint(place);
            }
        }
        *self.totals.channel_mut(frame.channel) += frame.payload.len() as u64;
        self.totals.length += frame.size() as u64;
        self.totals.lines = self.assembler.next;
    }

    fn note_checkpoint(&mut self, place: Place) {
        let last = self
            .checkpoints
            .last()
            .map_or(0, |checkpoint| checkpoint.place.offset);
        if place.offset >= last + CHECKPOINT_BYTES {
            let (line, pending) = (self.assembler.next, self.assembler.pending.clone());
            self.checkpoints.push(Checkpoint { line, place, pending });
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The final totals, if nothing follows any more, and the checkpoints.
    pub(crate) fn contents(&self) -> (Totals, Vec<Checkpoint>) {
        let unfinished = self.assembler.pending.iter().filter(|p| p.length > 0).count();
        let totals = Totals {
            lines: self.totals.lines + unfinished as u64,
            ..self.totals
        };
        (totals, self.checkpoints.clone())
    }

    pub(crate) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }
}
