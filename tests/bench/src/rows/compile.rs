//! From the bytes of a plugin file to a plugin that can be called: compiled, and taken from the cache as after a restart.
//! Each built-in plugin by itself, in this process with the master's own engine.

use std::time::Instant;

use anyhow::Result;
use capstan_engine::{Engine, Options};

use super::plugins::micros;
use crate::row::{Bench, Measured, Row, Unit};

/// The row.
pub const ROW: Row = Row {
    name: "compile",
    what: "cold compile and cached load of each built-in plugin",
    run,
};

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let rounds = bench.repeat.max(1);
    let mut lines = Vec::new();
    for (name, bytes) in capstan_builtin::components() {
        let (mut cold, mut cached) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let cache = bench.scratch.join(format!("cache-{name}-{round}"));
            // A new engine each time, as after a restart.
            for times in [&mut cold, &mut cached] {
                let engine = Engine::new(Options {
                    cache_dir: Some(cache.clone()),
                    ..Options::default()
                })?;
                let start = Instant::now();
                engine.load(bytes)?;
                times.push(micros(start) / 1000.0);
            }
            std::fs::remove_dir_all(&cache)?;
        }
        lines.push(Measured {
            note: format!("{:.0} kB of component", bytes.len() as f64 / 1000.0),
            ..Measured::of(format!("{name}: compile"), Unit::Milliseconds, cold)
        });
        lines.push(Measured::of(
            format!("{name}: cached load"),
            Unit::Milliseconds,
            cached,
        ));
    }
    Ok(lines)
}
