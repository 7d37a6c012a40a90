//! The link as workers meet it: real QUIC over loopback, with a master that keeps everything in memory.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

mod admission;
mod enrolment;
mod farm;
mod garbage;
mod logs;
mod sessions;
mod worker;
