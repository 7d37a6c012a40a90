//! Reading a log: by line, by byte, by frame. Each call reads one moment of the log; following is calling again.

use bytes::Bytes;
use capstan_model::{Channel, LogId};
use capstan_wire::frame;
use futures::Stream;

use crate::lines::{Assembler, Completed, MAX_LINE_TEXT, Place};
use crate::view::{Cursor, View};
use crate::{Error, Line, Logs, blocking};

/// The most lines of one answer.
const MAX_LINES: usize = 10_000;
/// Text of one answer; the line that exceeds it is the last.
const MAX_TEXT: usize = 4 * 1024 * 1024;
/// Bytes of one item of a raw stream; a little more when a frame crosses it.
const RAW_ITEM: usize = 256 * 1024;
/// Frames of one answer.
const MAX_FRAMES: usize = 4 * 1024 * 1024;

/// A range of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The number of the first one, as asked for.
    pub first: u64,
    /// The lines. Fewer than asked for at the end of the log and when they are very long.
    pub lines: Vec<Line>,
    /// How many lines the log has now.
    pub total: u64,
    /// Whether the log has all its lines.
    pub complete: bool,
}

/// Which channels of a log are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels([bool; 3]);

impl Channels {
    /// Everything.
    pub const ALL: Self = Self([true; 3]);
    /// What the command said: standard output and standard error.
    pub const OUTPUT: Self = Self([true, true, false]);

    /// One channel.
    pub fn only(channel: Channel) -> Self {
        let mut wanted = [false; 3];
        wanted[channel as usize - 1] = true;
        Self(wanted)
    }

    fn has(self, channel: Channel) -> bool {
        self.0[channel as usize - 1]
    }
}

impl Logs {
    /// Up to `count` lines (at most 10,000, and at most about 4 MiB of text) from number `from` on. Only the blocks
    /// around them are read.
    pub async fn read_lines(&self, log: LogId, from: u64, count: usize) -> Result<Lines, Error> {
        let view = self.log(log).await?.view(from);
        blocking(move || read_lines(view, from, count.min(MAX_LINES))).await
    }

    /// The bytes of `channels`, in the order in which they were seen, up to what there is now. One piece of about
    /// 256 KiB is in memory at a time.
    pub async fn raw(
        &self,
        log: LogId,
        channels: Channels,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let cursor = Cursor::new(self.log(log).await?.view(0), 0);
        Ok(futures::stream::try_unfold(cursor, move |cursor| {
            blocking(move || raw_item(cursor, channels))
        }))
    }

    /// About `max` bytes (at most 4 MiB) of whole frames from `offset` on, which is a frame's; empty at the end.
    pub async fn frames_from(&self, log: LogId, offset: u64, max: usize) -> Result<Bytes, Error> {
        let view = self.log(log).await?.view(0);
        blocking(move || {
            let (mut cursor, mut frames) = (Cursor::new(view, offset), Vec::new());
            while let Some((_, frame)) = cursor.next()? {
                if !frames.is_empty() && frames.len() + frame.size() > max.min(MAX_FRAMES) {
                    break;
                }
                frame::encode(&mut frames, frame.elapsed_ms, frame.channel, frame.payload);
            }
            Ok(frames.into())
        })
        .await
    }

    /// The first `count` bytes of one channel, or all of them if there are fewer.
    pub async fn head_of_channel(
        &self,
        log: LogId,
        channel: Channel,
        count: usize,
    ) -> Result<Vec<u8>, Error> {
        let view = self.log(log).await?.view(0);
        let available = usize::try_from(view.totals.channel(channel)).unwrap_or(usize::MAX);
        blocking(move || {
            let (mut cursor, mut head, wanted) = (Cursor::new(view, 0), Vec::new(), count.min(available));
            while head.len() < wanted
                && let Some((_, frame)) = cursor.next()?
            {
                if frame.channel == channel {
                    let room = wanted - head.len();
                    head.extend_from_slice(&frame.payload[..room.min(frame.payload.len())]);
                }
            }
            Ok(head)
        })
        .await
    }
}

fn read_lines(view: View, from: u64, count: usize) -> Result<Lines, Error> {
    let (total, complete) = (view.totals.lines, view.complete());
    let left = count.min(usize::try_from(total.saturating_sub(from)).unwrap_or(usize::MAX));
    let place = view.checkpoint.place;
    let mut assembler = Assembler::at(&view.checkpoint);
    let mut cursor = Cursor::new(view.clone(), place.offset);
    let mut wanted = Wanted {
        view,
        from,
        left,
        text: 0,
        lines: Vec::new(),
    };
    let mut skip = place.skip;
    while wanted.more()
        && let Some((offset, frame)) = cursor.next()?
    {
        while wanted.more() && (skip as usize) < frame.payload.len() {
            let (used, completed) = assembler.feed(Place { offset, skip }, &frame);
            skip += used;
            completed.map_or(Ok(()), |completed| wanted.take(completed))?;
        }
        skip = 0;
    }
    if complete {
        assembler
            .finish()
            .into_iter()
            .try_for_each(|completed| wanted.take(completed))?;
    }
    Ok(Lines {
        first: from,
        lines: wanted.lines,
        total,
        complete,
    })
}

/// Collects lines until there are enough.
struct Wanted {
    view: View,
    from: u64,
    left: usize,
    text: usize,
    lines: Vec<Line>,
}

impl Wanted {
    fn more(&self) -> bool {
        self.left > 0 && self.text < MAX_TEXT
    }

    fn take(&mut self, Completed { mut line, again }: Completed) -> Result<(), Error> {
        if line.number >= self.from && self.more() {
            if let Some(start) = again {
                line.text = read_text(&self.view, start, line.channel)?;
            }
            self.left -= 1;
            self.text += line.text.len();
            self.lines.push(line);
        }
        Ok(())
    }
}

/// The text of the line of `channel` that starts at `start`: for a line that began before the checkpoint.
fn read_text(view: &View, start: Place, channel: Channel) -> Result<Vec<u8>, Error> {
    let (mut cursor, mut text, mut skip) = (Cursor::new(view.clone(), start.offset), Vec::new(), start.skip);
    while text.len() < MAX_LINE_TEXT
        && let Some((_, frame)) = cursor.next()?
    {
        if frame.channel == channel {
            let part = frame.payload.get(skip as usize..).unwrap_or_default();
            let end = memchr::memchr(b'\n', part);
            text.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            if end.is_some() {
                break;
            }
        }
        skip = 0;
    }
    text.truncate(MAX_LINE_TEXT);
    Ok(text)
}

fn raw_item(mut cursor: Cursor, channels: Channels) -> Result<Option<(Bytes, Cursor)>, Error> {
    let mut item = Vec::new();
    while item.len() < RAW_ITEM
        && let Some((_, frame)) = cursor.next()?
    {
        if channels.has(frame.channel) {
            item.extend_from_slice(frame.payload);
        }
    }
    Ok((!item.is_empty()).then(|| (item.into(), cursor)))
}
