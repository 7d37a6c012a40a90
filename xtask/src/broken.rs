//! `cargo xtask broken`: breaks one promise after the other, on purpose, and shows that a test notices. A test that cannot
//! fail protects nothing.
//!
//! Each file `tests/broken/NAME.patch` begins with two lines, `breaks: …` and `caught by: COMMAND`, and goes on with a
//! difference to the sources. It is applied, everything is built, and the command has to fail; then it is taken back.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace::{self, cargo};

/// Which promises.
#[derive(clap::Args)]
pub struct Args {
    /// Only print what would be broken, and by what it is caught
    #[arg(long)]
    list: bool,
    /// Only these, by the file's name without its ending
    names: Vec<String>,
}

/// One broken promise.
struct Broken {
    name: String,
    patch: PathBuf,
    breaks: String,
    caught_by: Vec<String>,
}

/// Breaks them one by one. Fails if one goes unnoticed.
pub fn run(repository: &Path, args: &Args) -> Result<ExitCode> {
    let all = read_all(&repository.join("tests/broken"))?;
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| all.iter().all(|broken| broken.name != **name))
    {
        let known: Vec<_> = all.iter().map(|broken| broken.name.as_str()).collect();
        bail!("expected one of {}, found `{unknown}`", known.join(", "));
    }
    let wanted = |broken: &&Broken| args.names.is_empty() || args.names.contains(&broken.name);
    let mut unnoticed = Vec::new();
    for broken in all.iter().filter(wanted) {
        println!("\n== {}: {}", broken.name, broken.breaks);
        println!("   caught by: {}", broken.caught_by.join(" "));
        if !args.list && !is_caught(repository, broken)? {
            unnoticed.push(broken.name.as_str());
        }
    }
    if unnoticed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nnot noticed: {}", unnoticed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn read_all(folder: &Path) -> Result<Vec<Broken>> {
    let mut patches: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("failed to read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    patches.retain(|path| path.extension().is_some_and(|ending| ending == "patch"));
    patches.sort();
    patches.into_iter().map(read).collect()
}

fn read(patch: PathBuf) -> Result<Broken> {
    let text = std::fs::read_to_string(&patch)?;
    let line = |start: &str| {
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .map(str::trim);
        found.with_context(|| format!("expected a line `{start} …` in {}", patch.display()))
    };
    let name = patch
        .file_stem()
        .context("expected a name")?
        .to_string_lossy()
        .into_owned();
    let breaks = line("breaks:")?.to_owned();
    let caught_by = line("caught by:")?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    Ok(Broken {
        name,
        patch,
        breaks,
        caught_by,
    })
}

/// Whether the command fails on the broken sources.
fn is_caught(repository: &Path, broken: &Broken) -> Result<bool> {
    let changed = git(repository).args(["status", "--porcelain"]).output()?;
    ensure!(
        changed.status.success() && changed.stdout.is_empty(),
        "expected a clean work tree, found changes in {}; run this in a clone of its own, or commit first",
        repository.display()
    );
    let _undo = Applied::new(repository, &broken.patch)?;
    workspace::build(repository, "--all-targets").context("expected broken sources that can be built")?;
    let (program, arguments) = broken.caught_by.split_first().context("expected a command")?;
    ensure!(
        program == "cargo",
        "expected a command of cargo, found `{program}`"
    );
    let start = Instant::now();
    let output = cargo(repository).args(arguments).stdin(Stdio::null()).output()?;
    let took = start.elapsed().as_secs_f64();
    if output.status.success() {
        println!("   NOT NOTICED after {took:.1} s");
        return Ok(false);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<_> = text
        .lines()
        .filter(|line| line.contains("FAILED") || line.contains("failed:"))
        .collect();
    println!("   noticed after {took:.1} s:");
    failed.iter().take(5).for_each(|line| println!("     {line}"));
    ensure!(
        !failed.is_empty(),
        "expected a failed test, found another failure:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(true)
}

/// A patch that is taken back when this is dropped.
struct Applied<'a> {
    repository: &'a Path,
    patch: &'a Path,
}

impl<'a> Applied<'a> {
    fn new(repository: &'a Path, patch: &'a Path) -> Result<Self> {
        let status = git(repository).arg("apply").arg(patch).status()?;
        ensure!(
            status.success(),
            "expected {} to fit the sources; they have changed since, make it anew",
            patch.display()
        );
        Ok(Self { repository, patch })
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        let undone = git(self.repository)
            .args(["apply", "-R"])
            .arg(self.patch)
            .status();
        if !undone.is_ok_and(|status| status.success()) {
            eprintln!(
                "{} could not be taken back: `git checkout -- .` does",
                self.patch.display()
            );
        }
    }
}

fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(repository);
    command
}
