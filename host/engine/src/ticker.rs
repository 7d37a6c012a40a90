//! The beat that interrupts guests: each beat ends an epoch of both engines, at which a guest that runs gives others their
//! turn, or is ended. `engine` starts it, `guest` asks it how long the last beat was.
//!
//! It beats slowly while no guest runs for as long as a beat, and fast as soon as one does: how long others wait for their
//! turn is what a beat lasts, for each guest that runs before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::EngineError;

/// A beat while no guest has used up one.
const SLOW: Duration = Duration::from_millis(10);
/// A beat while one has.
const FAST: Duration = Duration::from_millis(1);
/// So many fast beats that interrupted nobody end the hurry.
const CALM: u32 = 20;

/// What both sides know.
#[derive(Default)]
pub(crate) struct Ticker {
    /// Whether a guest was interrupted since the last beat.
    met: AtomicBool,
    /// How long the last beat was, in microseconds.
    last: AtomicU64,
}

impl Ticker {
    /// Called when a guest is interrupted. Answers how long it may have run since it was last, at most.
    pub(crate) fn meets(&self) -> Duration {
        self.met.store(true, Ordering::Relaxed);
        Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// Starts the beat for these engines; it ends when all are gone. A thread of its own, because a guest that spins on
    /// every thread of the executor must still be interrupted.
    pub(crate) fn start(engines: &[&wasmtime::Engine]) -> Result<Arc<Self>, EngineError> {
        let ticker = Arc::new(Self::default());
        let engines: Vec<_> = engines.iter().map(|engine| engine.weak()).collect();
        let shared = Arc::clone(&ticker);
        std::thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .spawn(move || shared.beat(&engines))
            .map_err(EngineError::Ticker)?;
        Ok(ticker)
    }

    fn beat(&self, engines: &[wasmtime::EngineWeak]) {
        let (mut calm, mut last) = (CALM, Instant::now());
        loop {
            std::thread::sleep(if calm < CALM { FAST } else { SLOW });
            let alive: Vec<_> = engines.iter().filter_map(wasmtime::EngineWeak::upgrade).collect();
            if alive.is_empty() {
                return;
            }
            let now = Instant::now();
            let span = now.saturating_duration_since(last);
            last = now;
            self.last.store(
                u64::try_from(span.as_micros()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
            alive.iter().for_each(wasmtime::Engine::increment_epoch);
            calm = if self.met.swap(false, Ordering::Relaxed) {
                0
            } else {
                (calm + 1).min(CALM)
            };
        }
    }
}
