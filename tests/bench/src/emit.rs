//! `capstan-bench emit`: the commands that the farm runs for the rows. They print as fast as a pipe takes it, or one
//! line at a time with the moment at which it was printed.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::clock;

/// A line of a large log: 80 characters with its end.
pub const LINE: usize = 80;

/// A write that fills a pipe of the usual size.
const CHUNK: usize = 64 << 10;

/// What to print.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// So many lines of 80 characters, at once
    #[arg(long, default_value_t = 0)]
    lines: usize,
    /// So many lines with the time of their printing, in nanoseconds
    #[arg(long, default_value_t = 0)]
    ticks: usize,
    /// Milliseconds between these
    #[arg(long, default_value_t = 20)]
    every: u64,
}

/// The arguments that make this program print `lines` lines.
pub fn lines(lines: usize) -> Vec<String> {
    ["emit", "--lines", &lines.to_string()]
        .map(str::to_owned)
        .to_vec()
}

/// The arguments that make this program print `ticks` times.
pub fn ticks(ticks: usize, every: Duration) -> Vec<String> {
    let (ticks, every) = (ticks.to_string(), every.as_millis().to_string());
    ["emit", "--ticks", &ticks, "--every", &every]
        .map(str::to_owned)
        .to_vec()
}

/// Prints what was asked for.
pub fn run(args: Args) -> io::Result<()> {
    let mut out = io::stdout().lock();
    print_lines(&mut out, args.lines)?;
    for _ in 0..args.ticks {
        std::thread::sleep(Duration::from_millis(args.every));
        writeln!(out, "{}", clock::nanoseconds())?;
        out.flush()?;
    }
    Ok(())
}

fn print_lines(out: &mut impl io::Write, lines: usize) -> io::Result<()> {
    let mut line = [b'.'; LINE];
    line[LINE - 1] = b'\n';
    let chunk = line.repeat(CHUNK / LINE);
    let mut left = lines * LINE;
    while left > 0 {
        let part = &chunk[..left.min(chunk.len())];
        out.write_all(part)?;
        left -= part.len();
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_the_lines_that_were_asked_for() {
        for count in [0, 1, 819, 820, 5000] {
            let mut text = Vec::new();
            print_lines(&mut text, count).expect("memory takes everything");
            assert_eq!(text.len(), count * LINE);
            assert!(text.chunks(LINE).all(|line| line.ends_with(b".\n")));
        }
    }
}
