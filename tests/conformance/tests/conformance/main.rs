//! One described set of behaviours, for the same plugins in every language: what a step, a reporter and a scheduler do is said
//! once, and each language must do just that. Which languages: see [`capstan_conformance::languages`].

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

#[path = "../../../../host/engine/tests/engine/farm.rs"]
#[expect(dead_code, reason = "the engine's own tests use the rest")]
mod farm;
mod generators;
mod reporters;
mod schedulers;
mod steps;
mod support;
mod templates;
