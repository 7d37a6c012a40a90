//! Which running builds were asked to stop, and why.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use capstan_model::BuildId;
use tokio::sync::watch;

/// The stop signal of each running build.
#[derive(Default)]
pub(crate) struct Stops(Mutex<HashMap<BuildId, watch::Sender<Option<String>>>>);

impl Stops {
    /// A build begins, or is taken up.
    pub fn register(&self, build: BuildId) {
        self.lock()
            .entry(build)
            .or_insert_with(|| watch::Sender::new(None));
    }

    /// A build has ended.
    pub fn forget(&self, build: BuildId) {
        self.lock().remove(&build);
    }

    /// Asks a build to stop; the first reason stays. Answers whether the build runs here.
    pub fn stop(&self, build: BuildId, reason: &str) -> bool {
        let signals = self.lock();
        let Some(signal) = signals.get(&build) else {
            return false;
        };
        signal.send_if_modified(|current| match current {
            Some(_) => false,
            None => {
                *current = Some(reason.to_owned());
                true
            }
        });
        true
    }

    /// Why the build was asked to stop.
    pub fn reason(&self, build: BuildId) -> Option<String> {
        self.lock().get(&build).and_then(|signal| signal.borrow().clone())
    }

    /// The signal for a step of the build; one that never comes for a step that runs in spite of the stop.
    pub fn signal(&self, build: BuildId, in_spite: bool) -> watch::Receiver<Option<String>> {
        let signals = self.lock();
        match signals.get(&build) {
            Some(signal) if !in_spite => signal.subscribe(),
            _ => watch::Sender::new(None).subscribe(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, watch::Sender<Option<String>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
