//! The plugin runtime through its public door, with the fixture plugins of `tests/guests`.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod artefacts;
mod calls;
mod compat;
mod diagnostics;
mod farm;
mod isolation;
mod load;
mod migration;
mod mismatch;
mod page;
mod replay;
mod reporters;
mod resume;
mod rights;
mod steps;
mod stops;
mod support;
mod triggers;
mod waiting;
mod wasi;
mod wit;
