//! Real workers: supervisors that are started by hand, and daemons at a master that is only a link.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

mod daemon;
mod master;
mod supervisor;
mod support;
