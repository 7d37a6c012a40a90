//! Real workers: supervisors that are started by hand, and daemons at a master that is only a link.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

mod daemon;
mod farm;
#[cfg(target_os = "linux")]
mod faults;
mod file;
mod master;
mod orphans;
mod supervisor;
mod support;
#[cfg(target_os = "linux")]
mod trees;
#[cfg(target_os = "linux")]
mod upgrade;
