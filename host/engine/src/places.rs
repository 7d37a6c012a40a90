//! The places of a pool of instances. Whoever makes an instance takes one first; a step that waits with a warm instance
//! gives its place up when another is wanted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// One for everybody who waits for a place and whom nobody makes room for yet.
    wanted: Semaphore,
    /// How many make room, and nobody has taken it yet.
    leaving: Mutex<usize>,
}

/// A wish for a place, as long as it is not fulfilled.
struct Wish<'a>(&'a Places);

impl Places {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            wanted: Semaphore::new(0),
            leaving: Mutex::new(0),
        }
    }

    /// Waits for a place. Hold it as long as the store.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        self.wanted.add_permits(1);
        let _wish = Wish(self);
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Waits until somebody wants a place that is not there; who is told must make room.
    pub(crate) async fn wanted(&self) {
        match self.wanted.acquire().await {
            Ok(wish) => {
                wish.forget();
                *self.leaving() += 1;
            }
            Err(_closed) => std::future::pending().await,
        }
    }

    fn leaving(&self) -> MutexGuard<'_, usize> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        // Whoever makes room makes it for the next one.
        let mut leaving = self.0.leaving();
        match leaving.checked_sub(1) {
            Some(left) => *leaving = left,
            None => {
                self.0.wanted.forget_permits(1);
            }
        }
    }
}
