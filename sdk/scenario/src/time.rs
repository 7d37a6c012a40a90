//! Virtual time: a clock that goes on only when nothing else can, and the loop that polls one future under it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use capstan_model::Timestamp;

/// How long one run may really take.
const MOST_REAL: Duration = Duration::from_secs(60);

/// A clock and who waits for it.
#[derive(Debug)]
pub(crate) struct Time(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    next: u64,
    waiting: BTreeMap<(Timestamp, u64), Waker>,
}

/// Why a run came to no end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stuck {
    #[error("it waits for something that never comes")]
    Forever,
    #[error("expected its end within {} seconds, found none", MOST_REAL.as_secs())]
    TooLong,
}

impl Time {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Inner {
            now,
            next: 0,
            waiting: BTreeMap::new(),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner().now
    }

    /// Moves the clock; never back.
    pub(crate) fn set(&self, now: Timestamp) {
        let mut inner = self.inner();
        inner.now = inner.now.max(now);
    }

    /// Waits for an instant.
    pub(crate) async fn until(&self, at: Timestamp) {
        poll_fn(|context| {
            let mut inner = self.inner();
            if inner.now >= at {
                return Poll::Ready(());
            }
            inner.next += 1;
            let key = (at, inner.next);
            inner.waiting.insert(key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Moves the clock to the next instant that somebody waits for.
    fn advance(&self) -> bool {
        let mut inner = self.inner();
        let Some(((at, _), waker)) = inner.waiting.pop_first() else {
            return false;
        };
        inner.now = inner.now.max(at);
        drop(inner);
        waker.wake();
        true
    }

    /// Polls a future to its end. Time goes on whenever nothing else does.
    pub(crate) fn run<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let (mut future, woken) = (pin!(future), Arc::new(Woken(AtomicBool::new(true))));
        let waker = Waker::from(Arc::clone(&woken));
        let began = Instant::now();
        loop {
            if woken.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(output);
                }
                if began.elapsed() > MOST_REAL {
                    return Err(Stuck::TooLong);
                }
            } else if !self.advance() {
                return Err(Stuck::Forever);
            }
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_to_the_next_instant_that_is_waited_for() {
        let time = Time::new(Timestamp(0));
        let order = Mutex::new(Vec::new());
        let wait = async |at| {
            time.until(Timestamp(at)).await;
            order.lock().unwrap().push((at, time.now().0));
        };
        let all = async { futures::join!(wait(3000), wait(1000), wait(86_400_000), wait(0)) };
        time.run(all).unwrap();
        assert_eq!(
            *order.lock().unwrap(),
            [(0, 0), (1000, 1000), (3000, 3000), (86_400_000, 86_400_000)]
        );
    }

    #[test]
    fn what_never_comes_is_not_waited_for() {
        let time = Time::new(Timestamp(0));
        assert_eq!(time.run(std::future::pending::<()>()), Err(Stuck::Forever));
    }
}
