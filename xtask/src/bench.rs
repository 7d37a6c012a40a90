//! `cargo xtask bench`: builds the programs as they are shipped and lets `capstan-bench` measure them.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::workspace::{self, cargo};

/// What is measured, and how.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Print the rows that there are
    #[arg(long)]
    list: bool,
    /// Small counts: shows that the rows work, not what they measure
    #[arg(long)]
    quick: bool,
    /// How often each row is repeated; its figure is the median
    #[arg(long)]
    repeat: Option<u8>,
    /// The rows to measure; all if none is named
    rows: Vec<String>,
}

/// Builds the plugins and the programs for release, then measures.
pub fn run(repository: &Path, args: &Args) -> Result<ExitCode> {
    // What is built says so on standard output; that is kept for the table, or one JSON document.
    let table = std::io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(std::io::stderr()).context("failed to redirect the standard output")?;
    workspace::plugins(repository)?;
    let mut build = cargo(repository);
    build.args(["build", "--release", "--locked"]);
    for package in ["capstan", "capstan-worker", "capstan-bench"] {
        build.args(["--package", package]);
    }
    workspace::run("build", &mut build)?;
    let program = programs()?.join("capstan-bench");
    let mut bench = Command::new(&program);
    for (flag, wanted) in [
        ("--json", args.json),
        ("--list", args.list),
        ("--quick", args.quick),
    ] {
        bench.args(wanted.then_some(flag));
    }
    if let Some(repeat) = args.repeat {
        bench.arg("--repeat").arg(repeat.to_string());
    }
    let status = bench
        .args(&args.rows)
        .stdout(table)
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    // It has said itself what went wrong.
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where cargo puts programs for release: beside the folder of this one, whatever profile that has.
fn programs() -> Result<PathBuf> {
    let own = workspace::programs()?;
    let target = own
        .parent()
        .context("expected this program's folder in a target folder")?;
    Ok(target.join("release"))
}
