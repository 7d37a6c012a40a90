//! What a guest sees of the world through WASI: a clock that only its own calls and its journal move, random numbers from
//! one seed, output that becomes diagnostics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use capstan_model::{Digest, Timestamp};

use crate::bindings::log::Level;
use crate::call::Trap;
use crate::guest::HasGuest;
use crate::limits::{MAX_MESSAGE, MAX_PAYLOAD, MAX_RESOURCES};

/// What each reading of the clock moves it by, so that a guest that waits by reading it comes to an end.
const READING: Duration = Duration::from_micros(1);

/// Ready from a time of the guest's clock on.
pub(super) enum Pollable {}
/// Standard input: at its end.
pub(super) enum Input {}
/// Standard output or standard error.
pub(super) enum Output {}
/// A network that reaches nothing.
pub(super) enum Network {}
/// A stream's fault; none is ever made.
pub(super) enum Fault {}
/// A resource that nothing makes: a file, a socket.
pub(super) enum Never {}

/// A store's data, for a guest that may import WASI.
pub(crate) trait WorldHost: HasGuest + Send {
    /// How far the guest's clock is at least.
    fn passed(&mut self) -> Duration;

    /// Passes a line of output on.
    fn say(&mut self, level: Level, line: String);

    /// The guest's world.
    fn world(&mut self) -> &mut World {
        &mut self.guest().world
    }
}

/// Where a guest's clock and its random numbers begin.
#[derive(Clone)]
pub(crate) enum Beginning {
    /// They are the same at each call with the same input: a step's row 0, a scheduler's state and time.
    Given {
        /// What the clock shows at first.
        at: Timestamp,
        /// What the random numbers are made from.
        seed: Digest,
    },
    /// They are those of the machine when the call began.
    Machine(Arc<dyn capstan_model::Clock>),
}

/// See the module. Nothing is computed before it is asked for: most guests have no WASI.
pub(crate) struct World {
    beginning: Beginning,
    /// The machine's clock when the guest first looked.
    began: Option<(Timestamp, Instant)>,
    /// The guest's clock.
    now: Duration,
    seed: Option<Digest>,
    blocks: u64,
    unused: Vec<u8>,
    /// Handles that the guest holds, and the time at which each is ready; the handle is the place.
    held: Vec<Option<Held>>,
    /// Lines of standard output and standard error that have not ended.
    lines: [Vec<u8>; 2],
}

/// One handle.
#[derive(Clone, Copy)]
pub(super) enum Held {
    Ready(Duration),
    Stream(Stream),
    Other,
}

/// The guest's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

impl World {
    pub(crate) fn new(beginning: Beginning) -> Self {
        Self {
            beginning,
            began: None,
            now: Duration::ZERO,
            seed: None,
            blocks: 0,
            unused: Vec::new(),
            held: Vec::new(),
            lines: [Vec::new(), Vec::new()],
        }
    }

    /// How far the machine's own clock is since the guest first looked; nothing where the beginning is given.
    pub(crate) fn machine(&mut self) -> Duration {
        match &self.beginning {
            Beginning::Given { .. } => Duration::ZERO,
            Beginning::Machine(_) => {
                self.origin();
                self.began.map(|(_, since)| since.elapsed()).unwrap_or_default()
            }
        }
    }

    /// What the wall clock showed at the clock's zero.
    fn origin(&mut self) -> Timestamp {
        match &self.beginning {
            Beginning::Given { at, .. } => *at,
            Beginning::Machine(clock) => self.began.get_or_insert_with(|| (clock.now(), Instant::now())).0,
        }
    }

    /// Reads the guest's clock, which is `passed` at least.
    pub(super) fn read_clock(&mut self, passed: Duration) -> Duration {
        self.now = self.now.saturating_add(READING).max(passed);
        self.now
    }

    /// Reads the wall clock: seconds and nanoseconds since the epoch.
    pub(super) fn read_wall(&mut self, passed: Duration) -> (u64, u32) {
        let now = self.read_clock(passed);
        let origin = Duration::from_millis(u64::try_from(self.origin().0).unwrap_or(0));
        let wall = origin.saturating_add(now);
        (wall.as_secs(), wall.subsec_nanos())
    }

    /// Moves the guest's clock on to `until`: what a guest that sleeps gets.
    fn skip(&mut self, until: Duration) {
        self.now = self.now.max(until);
    }

    /// The next so many random bytes.
    pub(super) fn random(&mut self, bytes: usize) -> Vec<u8> {
        let seed = *self.seed.get_or_insert_with(|| match &self.beginning {
            Beginning::Given { seed, .. } => *seed,
            Beginning::Machine(_) => {
                let fresh = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
                Digest::of(&fresh.map(uuid::Uuid::into_bytes).concat())
            }
        });
        let mut out = std::mem::take(&mut self.unused);
        while out.len() < bytes {
            let block = format!("{seed} {}", self.blocks);
            out.extend_from_slice(Digest::of(block.as_bytes()).as_bytes());
            self.blocks += 1;
        }
        self.unused = out.split_off(bytes);
        out
    }

    /// Notes a handle. The guest holds a bounded number at once.
    pub(super) fn hold(&mut self, held: Held) -> Result<u32, Trap> {
        let place = match self.held.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.held.len() < MAX_RESOURCES => {
                self.held.push(None);
                self.held.len() - 1
            }
            None => {
                return Err(Trap::TooMuch(format!(
                    "more than {MAX_RESOURCES} WASI handles at once"
                )));
            }
        };
        self.held[place] = Some(held);
        Ok(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// The guest has dropped a handle.
    pub(super) fn forget(&mut self, place: u32) {
        if let Some(held) = self.held.get_mut(place as usize) {
            *held = None;
        }
    }

    /// The stream behind a handle.
    pub(super) fn stream(&self, place: u32) -> Option<Stream> {
        match self.held.get(place as usize)? {
            Some(Held::Stream(stream)) => Some(*stream),
            _ => None,
        }
    }

    /// Which of these are ready. If none is, the clock is moved on to the first that will be: no guest waits.
    pub(super) fn poll(&mut self, passed: Duration, places: &[u32]) -> Vec<u32> {
        let now = self.read_clock(passed);
        let at = |place: &u32| match self.held.get(*place as usize) {
            Some(Some(Held::Ready(at))) => *at,
            _ => Duration::ZERO,
        };
        let times: Vec<Duration> = places.iter().map(at).collect();
        let now = now.max(times.iter().min().copied().unwrap_or_default());
        self.skip(now);
        (0..)
            .zip(times)
            .filter(|(_, at)| *at <= now)
            .map(|(place, _)| place)
            .collect()
    }

    /// Whether this one is ready.
    pub(super) fn ready(&mut self, passed: Duration, place: u32) -> bool {
        let now = self.read_clock(passed);
        !matches!(self.held.get(place as usize), Some(Some(Held::Ready(at))) if *at > now)
    }

    /// Adds to a stream; answers the lines that are whole. A line without an end is cut where a message is.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let line = &mut self.lines[stream as usize];
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            for piece in part.chunks(MAX_MESSAGE) {
                line.extend_from_slice(piece);
                if piece.ends_with(b"\n") || line.len() >= MAX_MESSAGE {
                    whole.push(text(line));
                    line.clear();
                }
            }
        }
        whole
    }

    /// What is left of a stream's last line.
    fn last(&mut self, stream: Stream) -> Option<String> {
        let line = std::mem::take(&mut self.lines[stream as usize]);
        (!line.is_empty()).then(|| text(&line))
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches(['\r', '\n'])
        .to_owned()
}

/// Takes output of the guest.
pub(super) fn heard<T: WorldHost>(host: &mut T, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
    if bytes.len() > MAX_PAYLOAD {
        let bytes = bytes.len();
        return Err(host.guest().end(Trap::TooMuch(format!(
            "{bytes} bytes of output at once, at most {MAX_PAYLOAD} fit"
        ))));
    }
    for line in host.world().write(stream, bytes) {
        tell(host, stream, line);
    }
    Ok(())
}

/// Passes on what the guest left unfinished. Called when it has returned or was ended.
pub(crate) fn rest<T: WorldHost>(host: &mut T) {
    for stream in [Stream::Output, Stream::Error] {
        if let Some(line) = host.world().last(stream) {
            tell(host, stream, line);
        }
    }
}

fn tell<T: WorldHost>(host: &mut T, stream: Stream, line: String) {
    if line.trim().is_empty() {
        return;
    }
    match stream {
        Stream::Output => host.say(Level::Info, line),
        Stream::Error => {
            // The last line of a traceback says what went wrong, should the guest be ended by it.
            if !line.starts_with("note: ") {
                host.guest().complained(&line);
            }
            host.say(Level::Warn, line);
        }
    }
}
