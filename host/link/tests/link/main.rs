//! The link as workers meet it: real QUIC over loopback, with a master that keeps everything in memory.

mod admission;
mod enrolment;
mod farm;
mod garbage;
mod logs;
mod sessions;
mod worker;
