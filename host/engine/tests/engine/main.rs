//! The plugin runtime through its public door, with the fixture plugins of `tests/guests`.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod calls;
mod diagnostics;
mod farm;
mod load;
mod resume;
mod steps;
mod support;
mod wit;
