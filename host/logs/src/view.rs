//! What a reader sees of a log: a moment of it, whichever form it is stored in. Blocking; callers keep it off the
//! runtime's threads.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use capstan_wire::frame::{self, Frame};

use crate::Error;
use crate::lines::{Checkpoint, Totals};
use crate::sealed::Sealed;
use crate::segment;

/// A log as it was at one moment. It stays readable when the log grows or is sealed.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) totals: Totals,
    /// Whether nothing follows any more.
    pub(crate) complete: bool,
    pub(crate) source: Source,
    /// Where to start in order to read the line that the view was made for.
    pub(crate) checkpoint: Checkpoint,
}

/// Where the frames are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Nothing was written yet.
    Nothing,
    /// In a live segment.
    Live { file: Arc<File>, path: PathBuf },
    /// In a sealed file.
    Sealed(Arc<Sealed>),
}

impl View {
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// Puts at least one and about 256 KiB of whole frames from `offset` into `chunk`; none at the end of the log.
    pub(crate) fn read(&self, offset: u64, chunk: &mut Vec<u8>) -> Result<(), Error> {
        chunk.clear();
        if offset >= self.totals.length {
            return Ok(());
        }
        match &self.source {
            Source::Nothing => Ok(()),
            Source::Sealed(sealed) => sealed.read(offset, chunk),
            Source::Live { file, path } => {
                let left = usize::try_from(self.totals.length - offset).unwrap_or(usize::MAX);
                chunk.resize(left.min(segment::READ), 0);
                let position = segment::HEADER as u64 + offset;
                let size = segment::read_at(file, chunk, position).map_err(Error::io("read", path))?;
                let mut walk = frame::frames(&chunk[..size]);
                let error = walk.by_ref().find_map(Result::err);
                match (walk.consumed(), error) {
                    (0, Some(error)) => Err(Error::corrupt(path, position, error)),
                    (0, None) => Err(Error::corrupt(path, position, "the file ends within a frame")),
                    (consumed, _) => {
                        chunk.truncate(consumed);
                        Ok(())
                    }
                }
            }
        }
    }

    fn path(&self) -> PathBuf {
        match &self.source {
            Source::Nothing => PathBuf::new(),
            Source::Live { path, .. } => path.clone(),
            Source::Sealed(sealed) => sealed.path().to_owned(),
        }
    }
}

/// Walks over the frames of a view, one chunk in memory at a time.
pub(crate) struct Cursor {
    view: View,
    chunk: Vec<u8>,
    at: usize,
    /// The offset of the end of `chunk`.
    offset: u64,
}

impl Cursor {
    /// Starts at `offset`, which is a frame's.
    pub(crate) fn new(view: View, offset: u64) -> Self {
        Self {
            view,
            chunk: Vec::new(),
            at: 0,
            offset,
        }
    }

    /// The next frame and its offset; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Frame<'_>)>, Error> {
        if self.at == self.chunk.len() {
            self.view.read(self.offset, &mut self.chunk)?;
            self.at = 0;
            self.offset += self.chunk.len() as u64;
            if self.chunk.is_empty() {
                return Ok(None);
            }
        }
        let offset = self.offset - (self.chunk.len() - self.at) as u64;
        let damaged = |reason: &dyn ToString| Error::corrupt(&self.view.path(), offset, reason.to_string());
        match frame::decode(&self.chunk[self.at..]) {
            Ok(Some(frame)) => {
                self.at += frame.size();
                Ok(Some((offset, frame)))
            }
            Ok(None) => Err(damaged(&"a block ends within a frame")),
            Err(error) => Err(damaged(&error)),
        }
    }
}
