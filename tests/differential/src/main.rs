//! `cargo xtask differential`: one stream of changes goes through the same schedulers twice, through Capstan's components and
//! through a real Buildbot; the requests that they make have to be the same. What is different on purpose, and so is not among the
//! cases, `docs/src/differences-from-buildbot.md` justifies.
//!
//! Read `cases.rs` for the schedulers, `stream.rs` for the changes, `ours.rs` for Capstan's side, `../drive.py` for Buildbot's,
//! `compare.rs` for the judgement.

mod cases;
mod compare;
mod ours;
mod stream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// What is checked out for a buildset, as both sides print it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Empty where there is only one.
    pub codebase: String,
    /// Its address.
    pub repository: String,
    /// May be empty.
    pub project: String,
    /// None is the default branch.
    pub branch: Option<String>,
    /// None is the newest.
    pub revision: Option<String>,
}

/// A buildset that a scheduler asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// Seconds since the Unix epoch.
    pub at: i64,
    /// By codebase.
    pub stamps: Vec<Stamp>,
    /// Sorted.
    pub builders: Vec<String>,
    /// Which scheduler.
    pub scheduler: String,
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let usage =
        "usage: capstan-differential PYTHON FOLDER [CHANGES]: a Python with Buildbot, an empty folder";
    let python = arguments.next().context(usage)?;
    let folder = PathBuf::from(arguments.next().context(usage)?);
    let count = match arguments.next() {
        Some(text) => text.parse().context("expected CHANGES to be a number")?,
        None => stream::CHANGES,
    };
    let plan = cases::plan()?;
    let changes = stream::changes(count, plan.begin);
    let plan = plan.ending_after(&changes);
    println!("{} changes, {} schedulers", changes.len(), plan.cases.len());
    prepare(&python, &folder, &plan, &changes)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ours = runtime.block_on(ours::requests(&plan, &changes))?;
    println!(
        "Capstan asked for {} buildsets; Buildbot is asked, which takes minutes",
        ours.len()
    );
    let theirs = buildbots(&python, &folder)?;
    println!("Buildbot asked for {}", theirs.len());
    let verdict = compare::compare(&plan, by_scheduler(ours), by_scheduler(theirs));
    print!("{verdict}");
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn by_scheduler(all: Vec<Asked>) -> BTreeMap<String, Vec<Asked>> {
    let mut found: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    for one in all {
        found.entry(one.scheduler.clone()).or_default().push(one);
    }
    for asked in found.values_mut() {
        asked.sort();
    }
    found
}

/// Buildbot's own command line; its package has no `__main__`.
const CREATE: &str = "from buildbot.scripts.runner import run; run()";

/// Makes the folder of a master, with the cases and the stream in it.
fn prepare(python: &str, folder: &Path, plan: &cases::Plan, changes: &[stream::Change]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let made = Command::new(python)
        .args(["-c", CREATE, "create-master", "--quiet"])
        .arg(folder)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("expected {python} to run"))?;
    ensure!(
        made.success(),
        "expected `buildbot create-master` to succeed, found {made}"
    );
    fs::write(folder.join("cases.json"), serde_json::to_vec_pretty(plan)?)?;
    let lines: Result<Vec<String>, _> = changes.iter().map(serde_json::to_string).collect();
    fs::write(folder.join("stream.jsonl"), lines?.join("\n") + "\n")?;
    Ok(())
}

/// Buildbot's side.
fn buildbots(python: &str, folder: &Path) -> Result<Vec<Asked>> {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("drive.py");
    let ran = Command::new(python)
        .arg(driver)
        .arg(folder)
        // Nights are Buildbot's local nights.
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        ran.status.success(),
        "expected Buildbot's side to end well, found {}",
        ran.status
    );
    let text = String::from_utf8(ran.stdout)?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("expected a buildset, found {line}")))
        .collect()
}
