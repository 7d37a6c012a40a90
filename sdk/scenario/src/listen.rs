//! What a plugin says through `log`, caught on its way to the master's own log.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// The target of a plugin's messages.
const TARGET: &str = "plugin";
/// More than one call may say, for each of a few calls.
const MOST: usize = 10_000;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text, cut if it is long.
    pub text: String,
}

thread_local! {
    /// Whether what plugins say on this thread is a repetition.
    static REPEATED: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that repeats what was heard before, and hears nothing of it.
pub(crate) fn unheard<R>(run: impl FnOnce() -> R) -> R {
    let before = REPEATED.replace(true);
    let result = run();
    REPEATED.set(before);
    result
}

/// Runs something, and answers what plugins said on this thread meanwhile.
pub(crate) fn listen<R>(run: impl FnOnce() -> R) -> (R, Vec<Message>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let result = tracing::subscriber::with_default(Ear(Arc::clone(&heard)), run);
    let messages = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    (result, messages)
}

struct Ear(Arc<Mutex<Vec<Message>>>);

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == TARGET
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if REPEATED.get() {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG | tracing::Level::TRACE => "debug",
        };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < MOST {
            heard.push(Message { level, text: text.0 });
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
