//! The writing end of a log, held by whoever receives its bytes: the link for a command, the master for a plugin.

use std::sync::Arc;

use bytes::Bytes;
use capstan_model::Channel;
use capstan_wire::frame;

use crate::live::Live;
use crate::{Error, Options, Totals, blocking};

/// Appends to one log. Cloning is not offered: a log has one writer.
#[derive(Debug)]
pub struct Writer {
    live: Arc<Live>,
    number: u64,
    options: Options,
}

impl Writer {
    pub(crate) fn new(live: Arc<Live>, number: u64, options: Options) -> Self {
        Self {
            live,
            number,
            options,
        }
    }

    /// The durable length in bytes of frames: where the sender goes on.
    pub fn length(&self) -> u64 {
        self.totals().length
    }

    /// The length by channel, and the lines.
    pub fn totals(&self) -> Totals {
        self.live.totals()
    }

    /// Appends `bytes`, whole frames that start at `offset`, and gives the durable length. What the log already has is
    /// skipped; an offset behind the durable length is [`Error::Gap`]. Nothing or all of it is appended, also when the
    /// caller goes away while it waits.
    pub async fn append(&mut self, offset: u64, bytes: Bytes) -> Result<u64, Error> {
        let guard = Arc::clone(&self.live.writing).lock_owned().await;
        let (live, number, options) = (Arc::clone(&self.live), self.number, self.options.clone());
        blocking(move || {
            let _guard = guard;
            live.append(number, offset, &bytes, &options)
        })
        .await
    }

    /// Appends text that starts at `byte_offset` of what `channel` says, for writers that have no frames: the same call
    /// again changes nothing. Gives the durable length of the log in bytes of frames.
    pub async fn append_text(
        &mut self,
        byte_offset: u64,
        channel: Channel,
        elapsed_ms: u64,
        text: &[u8],
    ) -> Result<u64, Error> {
        let totals = self.totals();
        let (log, expected) = (self.live.id, totals.channel(channel));
        if byte_offset > expected {
            return Err(Error::Gap {
                log,
                expected,
                found: byte_offset,
            });
        }
        let known = usize::try_from(expected - byte_offset).unwrap_or(usize::MAX);
        let mut frames = Vec::new();
        frame::encode(
            &mut frames,
            elapsed_ms,
            channel,
            text.get(known..).unwrap_or_default(),
        );
        self.append(totals.length, frames.into()).await
    }

    /// Lets the next writes fail as on a full disk when the log would be longer than `space`.
    #[cfg(test)]
    pub(crate) fn limit_space(&self, space: Option<u64>) {
        *self.live.space.lock().unwrap() = space;
    }
}
