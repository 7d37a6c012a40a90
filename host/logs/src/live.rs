//! One log that may still grow: its segment, its count, and whoever waits for more of it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use capstan_model::LogId;
use capstan_wire::frame;
use tokio::sync::{OnceCell, watch};

use crate::lines::{Tally, Totals, checkpoint_before};
use crate::sealed::{self, Sealed};
use crate::segment;
use crate::view::{Source, View};
use crate::{Error, Options};

/// How far a log is. What `Logs::watch` rings with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Durable bytes of frames.
    pub length: u64,
    /// Lines that can be read.
    pub lines: u64,
    /// Whether nothing follows any more.
    pub complete: bool,
}

/// Where the files of one log are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) live: PathBuf,
    pub(crate) sealed: PathBuf,
    pub(crate) temporary: PathBuf,
}

/// One log of the store, shared by its writer and its readers.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: LogId,
    paths: Paths,
    pub(crate) loaded: OnceCell<()>,
    /// Held over each change of the files, from before the write to after the new state is seen.
    pub(crate) writing: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    #[cfg(test)]
    pub(crate) space: Mutex<Option<u64>>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    tally: Tally,
    /// Rises with each writer; only the newest may write.
    writer: u64,
    /// Nothing follows, though it is not sealed yet: what there is.
    ended: Option<Totals>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Nothing,
    Open(Arc<File>),
    Sealed(Arc<Sealed>),
}

impl Live {
    pub(crate) fn new(id: LogId, paths: Paths) -> Self {
        Self {
            id,
            paths,
            loaded: OnceCell::new(),
            writing: Arc::default(),
            state: Mutex::default(),
            progress: watch::Sender::default(),
            #[cfg(test)]
            space: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what the disk holds. A sealed form holds even if a crash left the segment beside it.
    pub(crate) fn load(&self) -> Result<(), Error> {
        if let Some(sealed) = Sealed::open(&self.paths.sealed, self.id)? {
            self.remove_segment()?;
            self.state().stage = Stage::Sealed(Arc::new(sealed));
        } else if self.paths.live.exists() {
            let (file, tally) = segment::recover(&self.paths.live, self.id)?;
            let mut state = self.state();
            state.stage = Stage::Open(Arc::new(file));
            state.tally = tally;
        }
        self.ring();
        Ok(())
    }

    fn remove_segment(&self) -> Result<(), Error> {
        remove_file(&self.paths.live)
    }

    /// Removes both forms; writers have nothing to write to any more.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.end();
        self.remove_segment()?;
        remove_file(&self.paths.sealed)?;
        self.state().stage = Stage::Nothing;
        Ok(())
    }

    fn ring(&self) {
        let Totals { length, lines, .. } = self.totals();
        let complete = self.is_complete();
        self.progress.send_if_modified(|progress| {
            let news = Progress {
                length,
                lines,
                complete,
            };
            std::mem::replace(progress, news) != news
        });
    }

    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.state().stage, Stage::Sealed(_))
    }

    fn is_complete(&self) -> bool {
        let state = self.state();
        state.ended.is_some() || matches!(state.stage, Stage::Sealed(_))
    }

    /// Nothing follows any more.
    pub(crate) fn end(&self) {
        {
            let mut state = self.state();
            let (totals, _) = state.tally.contents();
            state.ended.get_or_insert(totals);
        }
        self.ring();
    }

    pub(crate) fn is_idle_and_empty(&self) -> bool {
        matches!(self.state().stage, Stage::Nothing) && self.progress.receiver_count() == 0
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn totals(&self) -> Totals {
        let state = self.state();
        match &state.stage {
            Stage::Sealed(sealed) => sealed.totals(),
            Stage::Nothing | Stage::Open(_) => state.ended.unwrap_or_else(|| state.tally.totals()),
        }
    }

    /// What there is now, for somebody who is going to read from `line` on.
    pub(crate) fn view(&self, line: u64) -> View {
        let state = self.state();
        let (totals, checkpoints) = match &state.stage {
            Stage::Sealed(sealed) => (sealed.totals(), sealed.checkpoints()),
            Stage::Nothing | Stage::Open(_) => {
                let totals = state.ended.unwrap_or_else(|| state.tally.totals());
                (totals, state.tally.checkpoints())
            }
        };
        let source = match &state.stage {
            Stage::Nothing => Source::Nothing,
            Stage::Sealed(sealed) => Source::Sealed(Arc::clone(sealed)),
            Stage::Open(file) => Source::Live {
                file: Arc::clone(file),
                path: self.paths.live.clone(),
            },
        };
        View {
            totals,
            complete: state.ended.is_some() || matches!(source, Source::Sealed(_)),
            source,
            checkpoint: checkpoint_before(checkpoints, line),
        }
    }

    /// Makes the segment if there is none. The number is the new writer's; it supersedes older ones, and the end that one of
    /// them came to.
    pub(crate) fn start_writing(&self) -> Result<u64, Error> {
        if matches!(self.state().stage, Stage::Nothing) {
            let file = segment::create(&self.paths.live, &self.paths.temporary, self.id)?;
            self.state().stage = Stage::Open(Arc::new(file));
        }
        let number = {
            let mut state = self.state();
            state.ended = None;
            state.writer += 1;
            state.writer
        };
        self.ring();
        Ok(number)
    }

    /// Appends what is new in `bytes`, which start at `offset`. Gives the durable length.
    pub(crate) fn append(
        &self,
        writer: u64,
        offset: u64,
        bytes: &[u8],
        options: &Options,
    ) -> Result<u64, Error> {
        let length = self.totals().length;
        let known = offset.saturating_add(bytes.len() as u64) <= length;
        let Some(file) = self.file_of(writer, known)? else {
            return Ok(length);
        };
        let news = new_frames(self.id, length, offset, bytes)?;
        if news.is_empty() {
            return Ok(length);
        }
        #[cfg(test)]
        self.check_space(length + news.len() as u64)?;
        segment::write(&file, &self.paths.live, length, news, options.sync)?;
        {
            let mut state = self.state();
            frame::frames(news)
                .map_while(Result::ok)
                .for_each(|frame| state.tally.add(&frame));
        }
        self.ring();
        Ok(length + news.len() as u64)
    }

    /// The segment to write to; `None` if the log is sealed and nothing new is offered.
    fn file_of(&self, writer: u64, known: bool) -> Result<Option<Arc<File>>, Error> {
        let state = self.state();
        match &state.stage {
            Stage::Sealed(_) if known => Ok(None),
            Stage::Open(_) if state.ended.is_some() && known => Ok(None),
            Stage::Open(_) if state.ended.is_some() => Err(Error::Sealed(self.id)),
            Stage::Sealed(_) | Stage::Nothing => Err(Error::Sealed(self.id)),
            Stage::Open(_) if state.writer != writer => Err(Error::Superseded(self.id)),
            Stage::Open(file) => Ok(Some(Arc::clone(file))),
        }
    }

    /// Writes the sealed form and removes the segment.
    pub(crate) fn seal(&self, options: &Options) -> Result<Totals, Error> {
        if !self.is_sealed() {
            let view = self.view(0);
            let contents = self.state().tally.contents();
            let Paths {
                sealed: path,
                temporary,
                ..
            } = &self.paths;
            sealed::write(path, temporary, self.id, &view, contents, options.compression)?;
            let sealed = Sealed::open(path, self.id)?;
            let sealed = sealed.ok_or_else(|| Error::corrupt(path, 0, "the file vanished"))?;
            self.state().stage = Stage::Sealed(Arc::new(sealed));
        }
        self.ring();
        self.remove_segment()?;
        Ok(self.totals())
    }

    #[cfg(test)]
    fn check_space(&self, length: u64) -> Result<(), Error> {
        match *self.space.lock().unwrap() {
            Some(space) if length > space => Err(Error::io("write to", &self.paths.live)(
                std::io::ErrorKind::StorageFull.into(),
            )),
            _ => Ok(()),
        }
    }
}

fn remove_file(path: &std::path::Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The part of `bytes` (whole frames from `offset` on) that starts at `length`.
fn new_frames(log: LogId, length: u64, offset: u64, bytes: &[u8]) -> Result<&[u8], Error> {
    if offset > length {
        return Err(Error::Gap {
            log,
            expected: length,
            found: offset,
        });
    }
    let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
    let mut walk = frame::frames(bytes);
    let mut aligned = known == 0 || known >= bytes.len();
    loop {
        let at = walk.consumed();
        match walk.next() {
            Some(Ok(_)) => aligned |= walk.consumed() == known,
            Some(Err(source)) => {
                return Err(Error::Frame {
                    log,
                    offset: offset + at as u64,
                    source,
                });
            }
            None if at < bytes.len() => {
                return Err(Error::Cut {
                    log,
                    offset: offset + at as u64,
                });
            }
            None if !aligned => return Err(Error::Cut { log, offset: length }),
            None => return Ok(bytes.get(known..).unwrap_or_default()),
        }
    }
}
