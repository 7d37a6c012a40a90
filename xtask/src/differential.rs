//! `cargo xtask differential`: installs a Buildbot of a fixed version in a virtual environment, and lets `capstan-differential`
//! send the same changes through its schedulers and through ours.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

use crate::workspace;

/// How much is sent.
#[derive(clap::Args)]
pub struct Args {
    /// How many changes; by default all of the stream
    #[arg(long)]
    changes: Option<u32>,
}

const REQUIREMENTS: &str = "tests/differential/requirements.txt";

/// Builds, installs and compares.
pub fn run(repository: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let python = environment(repository)?;
    workspace::plugins(repository)?;
    workspace::build(repository, "--bins")?;
    let folder = repository.join("target/differential");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let program = workspace::programs()?.join("capstan-differential");
    let mut comparison = Command::new(&program);
    comparison.arg(python).arg(folder);
    comparison.args(args.changes.map(|changes| changes.to_string()));
    let status = comparison
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    // It has said itself what differs.
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The Python of a virtual environment that has what the requirements name.
fn environment(repository: &Path) -> anyhow::Result<std::path::PathBuf> {
    let folder = repository.join("target/tools/buildbot");
    let (python, done) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = std::fs::read(repository.join(REQUIREMENTS))?;
    if std::fs::read(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let mut question = Command::new("python3");
    question
        .args(["-c", "import venv, ensurepip"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    if !question.status().is_ok_and(|status| status.success()) {
        workspace::install("python3-venv", "python3 with venv")?;
    }
    let mut make = Command::new("python3");
    workspace::run("venv", make.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    workspace::run("pip", install.arg(repository.join(REQUIREMENTS)))?;
    std::fs::write(done, wanted)?;
    Ok(python)
}
