//! A log on the link: one unidirectional stream that the worker opens per command and connection.
//!
//! First a header (a control-style message: length, CBOR), then raw [`crate::frame`] bytes from the offset that the master
//! asked for, up to the end of the log. The stream is finished when the command has ended and everything was sent.

use bytes::{Bytes, BytesMut};
use capstan_model::CommandId;
use serde::{Deserialize, Serialize};

use crate::frame;

/// The longest header.
pub const MAX_HEADER: usize = 1024;

/// The first message of a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose log.
    pub id: CommandId,
    /// The offset of the first frame byte that follows; a frame boundary.
    pub offset: u64,
}

/// Turns the pieces in which a stream delivers a log into whole, checked frames.
#[derive(Debug, Default)]
pub struct Assembler {
    buffer: BytesMut,
}

impl Assembler {
    /// Adds the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Every whole frame so far, as they came; empty if there is none.
    pub fn take(&mut self) -> Result<Bytes, frame::Error> {
        let mut walk = frame::frames(&self.buffer);
        walk.by_ref().try_for_each(|frame| frame.map(drop))?;
        let whole = walk.consumed();
        Ok(self.buffer.split_to(whole).freeze())
    }

    /// How many bytes wait for the rest of their frame, or for [`Assembler::take`].
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::Channel;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_log_survives_any_cutting(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..12),
            cuts in prop::collection::vec(1usize..700, 1..20),
        ) {
            let mut log = Vec::new();
            for payload in &payloads {
                frame::encode(&mut log, 1, Channel::Stdout, payload);
            }
            let (mut assembler, mut arrived, mut rest) = (Assembler::default(), Vec::new(), log.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                assembler.push(piece);
                let whole = assembler.take().unwrap();
                prop_assert_eq!(frame::frames(&whole).map(|f| f.unwrap().size()).sum::<usize>(), whole.len());
                arrived.extend_from_slice(&whole);
            }
            prop_assert_eq!(assembler.pending(), 0);
            prop_assert_eq!(arrived, log);
        }

        #[test]
        fn bytes_that_are_no_frames_never_pile_up(noise in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut assembler = Assembler::default();
            for piece in noise.chunks(64) {
                assembler.push(piece);
                if assembler.take().is_err() {
                    return Ok(());
                }
                prop_assert!(assembler.pending() < frame::HEADER + frame::MAX_PAYLOAD);
            }
        }
    }
}
