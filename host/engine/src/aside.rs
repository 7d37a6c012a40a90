//! Calls of guests with much memory leave the executor's threads alone. A guest is interrupted between instructions, but one
//! instruction may copy all of its memory: milliseconds in which nobody else on that thread has a turn.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Handle, RuntimeFlavor};

/// From so much memory on, copying it or giving it back takes milliseconds.
pub(crate) const LARGE: usize = 8 << 20;

/// Whether a guest's memory is [`LARGE`]. Clones share the answer; it never goes back, for memory does not shrink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Large(Arc<AtomicBool>);

impl Large {
    /// Whether it is.
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that it is; answers whether that is news.
    pub fn now(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Drives a call; each of its turns is one on a thread that the executor does without, once the guest is large.
pub(crate) async fn drive<F: Future>(large: Large, call: F) -> F::Output {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        if large.is() && can_step_aside() {
            tokio::task::block_in_place(|| call.as_mut().poll(context))
        } else {
            call.as_mut().poll(context)
        }
    })
    .await
}

/// An executor of one thread cannot do without it.
fn can_step_aside() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}
