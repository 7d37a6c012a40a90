//! Log frames: the one form of a log's bytes in the worker's spool, on the link and in the master's live segment.
//!
//! A log is a sequence of frames; an *offset* into a log counts the bytes of whole frames, headers included. Because the
//! supervisor of a command writes each frame once, in the order in which it saw the output, every copy of a log is the
//! same bytes, and resuming is a question of one number.
//!
//! ```text
//! payload length  u32 little-endian, 1 ..= MAX_PAYLOAD
//! checksum        u32 little-endian, CRC-32 of the rest of the header and the payload
//! elapsed         u64 little-endian, milliseconds since the command started
//! channel         u8, `Channel as u8`
//! payload
//! ```

use capstan_model::Channel;

/// Bytes of a frame before its payload.
pub const HEADER: usize = 17;

/// The longest payload of one frame.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// One frame, borrowed from the buffer that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Milliseconds since the command started.
    pub elapsed_ms: u64,
    /// Which pipe it came through.
    pub channel: Channel,
    /// The bytes as they came; never empty.
    pub payload: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The length is impossible.
    #[error("expected a frame of 1 to {MAX_PAYLOAD} bytes, found a length of {0}")]
    Length(u32),
    /// The checksum does not fit the bytes.
    #[error("expected the checksum {expected:08x}, found {found:08x}")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// No such channel.
    #[error("expected a channel from 1 to 3, found {0}")]
    Channel(u8),
}

impl Frame<'_> {
    /// The size of this frame with its header.
    pub fn size(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// Appends the frames for `payload` to `out`: none if it is empty, several if it is longer than [`MAX_PAYLOAD`].
pub fn encode(out: &mut Vec<u8>, elapsed_ms: u64, channel: Channel, payload: &[u8]) {
    for part in payload.chunks(MAX_PAYLOAD) {
        let start = out.len();
        // The chunk is at most MAX_PAYLOAD long, so the length fits.
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&elapsed_ms.to_le_bytes());
        out.push(channel as u8);
        out.extend_from_slice(part);
        let sum = checksum(part.len() as u32, &out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The first frame of `bytes`, or `None` when they end before it does.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, Error> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return match bytes.first_chunk::<4>() {
            Some(length) => check_length(u32::from_le_bytes(*length)).map(|_| None),
            None => Ok(None),
        };
    };
    let (length, expected) = (u32_at(header, 0), u32_at(header, 4));
    let Some(payload) = rest.get(..check_length(length)?) else {
        return Ok(None);
    };
    let found = checksum(length, &bytes[8..HEADER + payload.len()]);
    if found != expected {
        return Err(Error::Checksum { expected, found });
    }
    let channel = Channel::from_number(header[16]).ok_or(Error::Channel(header[16]))?;
    let elapsed_ms = u64::from(u32_at(header, 8)) | u64::from(u32_at(header, 12)) << 32;
    Ok(Some(Frame {
        elapsed_ms,
        channel,
        payload,
    }))
}

/// Walks over whole frames. Ends before the first incomplete one; an error ends it too.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames {
        rest: bytes,
        consumed: 0,
    }
}

/// See [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    consumed: usize,
}

impl Frames<'_> {
    /// How many bytes of whole frames were walked over so far.
    pub fn consumed(&self) -> usize {
        self.consumed
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = decode(self.rest).transpose()?;
        match &found {
            Ok(frame) => {
                self.rest = &self.rest[frame.size()..];
                self.consumed += frame.size();
            }
            Err(_) => self.rest = &[],
        }
        Some(found)
    }
}

fn check_length(length: u32) -> Result<usize, Error> {
    match length as usize {
        size @ 1..=MAX_PAYLOAD => Ok(size),
        _ => Err(Error::Length(length)),
    }
}

fn checksum(length: u32, rest: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length.to_le_bytes());
    sum.update(rest);
    sum.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk::<4>()
        .map_or(0, |b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_from_any_prefix(parts in prop::collection::vec((any::<u64>(), 1u8..=3, prop::collection::vec(any::<u8>(), 0..200)), 0..8), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            for (elapsed, channel, payload) in &parts {
                encode(&mut bytes, *elapsed, Channel::from_number(*channel).unwrap(), payload);
            }
            let expected: Vec<_> = parts.iter().filter(|p| !p.2.is_empty()).collect();
            let decoded: Vec<_> = frames(&bytes).map(|f| f.unwrap()).collect();
            prop_assert_eq!(decoded.len(), expected.len());
            for (frame, (elapsed, channel, payload)) in decoded.iter().zip(expected) {
                prop_assert_eq!((frame.elapsed_ms, frame.channel as u8, frame.payload), (*elapsed, *channel, payload.as_slice()));
            }
            let cut = cut.index(bytes.len() + 1);
            let mut walk = frames(&bytes[..cut]);
            prop_assert!(walk.by_ref().all(|f| f.is_ok()));
            prop_assert!(walk.consumed() <= cut);
        }

        #[test]
        fn a_flipped_bit_is_never_taken_for_the_same_log(payload in prop::collection::vec(any::<u8>(), 1..100), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = Vec::new();
            encode(&mut bytes, 5, Channel::Stdout, &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(!matches!(decode(&bytes), Ok(Some(_))));
        }
    }

    #[test]
    fn a_long_payload_becomes_several_frames() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 0, Channel::Stderr, &vec![7; MAX_PAYLOAD + 1]);
        let sizes: Vec<_> = frames(&bytes).map(|f| f.unwrap().payload.len()).collect();
        assert_eq!(sizes, [MAX_PAYLOAD, 1]);
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_awaited() {
        assert_eq!(decode(&[0, 0, 0, 0]), Err(Error::Length(0)));
        assert_eq!(decode(&u32::MAX.to_le_bytes()), Err(Error::Length(u32::MAX)));
    }
}
