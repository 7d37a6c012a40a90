//! What the machine itself does, in the shape of a row and in the same run: plain loops without any of our code.

pub mod disk;
pub mod idle_connections;
pub mod pipe;
pub mod quic;
pub mod sockets;
pub mod spawn;
pub mod sqlite;

use anyhow::Result;

use crate::row::{Figure, Unit};

/// What limits logs: the slowest of the ways that a byte goes.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// A command's output read from its pipe, in megabytes per second.
    pub pipe: f64,
    /// A QUIC stream over the loopback.
    pub quic: f64,
    /// A file written in order and synced at its end.
    pub disk: f64,
}

impl Stages {
    /// Measures each by itself, with `count` streams of `bytes` at once, a multiple of a line's length.
    pub fn measure(folder: &std::path::Path, count: usize, bytes: usize) -> Result<Self> {
        Ok(Self {
            pipe: pipe::throughput(count, bytes)?,
            quic: quic::throughput(count, bytes)?,
            disk: disk::throughput(folder, count, bytes)?,
        })
    }

    /// The slowest of them and its name.
    pub fn slowest(&self) -> (String, Figure) {
        let all = [("pipe", self.pipe), ("raw QUIC", self.quic), ("disk", self.disk)];
        let slowest = all.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
        let (name, value) = slowest.unwrap_or(("nothing", f64::NAN));
        (name.to_owned(), Figure::new(value, Unit::MegabytesPerSecond))
    }

    /// All of them, for a note.
    pub fn describe(&self) -> String {
        format!(
            "pipe {:.0} MB/s, raw QUIC {:.0} MB/s, disk with sync {:.0} MB/s",
            self.pipe, self.quic, self.disk
        )
    }
}

/// Megabytes per second of `count` streams of `bytes` that together took so long.
fn megabytes_per_second(count: usize, bytes: usize, took: std::time::Duration) -> f64 {
    (count * bytes) as f64 / 1e6 / took.as_secs_f64()
}
