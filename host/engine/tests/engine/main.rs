//! The plugin runtime through its public door, with the fixture plugins of `tests/guests`.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod calls;
mod diagnostics;
mod farm;
mod load;
mod mismatch;
mod replay;
mod resume;
mod steps;
mod stops;
mod support;
mod waiting;
mod wit;
