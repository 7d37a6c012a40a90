//! Starting programs: two pipes, read to their end, and waiting, one after the other.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// How many `true` a plain loop runs per second.
pub fn per_second(count: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        printed("true", &[])?;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// What a program printed on its standard output; it has to succeed.
pub fn printed(program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let mut child = started(Command::new(program).args(arguments))?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // One after the other: what these programs print on standard error fits into a pipe.
    child
        .stdout
        .take()
        .context("expected a pipe")?
        .read_to_end(&mut stdout)?;
    child
        .stderr
        .take()
        .context("expected a pipe")?
        .read_to_end(&mut stderr)?;
    let status = child.wait()?;
    ensure!(
        status.success(),
        "expected {program} to succeed, it ended with {status}"
    );
    Ok(stdout)
}

/// Starts a program with both its pipes.
pub fn started(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))
}
