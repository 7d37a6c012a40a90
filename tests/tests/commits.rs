//! What is noted together is committed together. Each commit is a sync of the disk, and a build of many quick steps waits
//! for nothing else so often.

use anyhow::{Result, ensure};
use capstan_tests::{Farm, Programs, commits};
use serde_json::json;

const STEPS: u64 = 20;

/// The beginning and the end of a build, its reports, and steps whose end waited for longer than the ledger's patience on
/// a busy machine.
const BESIDE: u64 = 15;

/// A step begins with the end of the one before and the start of its command in one commit, and its command ends with the
/// row that answers it in another.
#[test]
fn a_build_of_shell_steps_needs_two_commits_for_each() -> Result<()> {
    let mut farm = Farm::create(Programs::of_this_build()?)?;
    let steps = format!("step.shell(name = \"step-%d\" % n, command = [\"true\"]) for n in range({STEPS})");
    farm.write(
        "ci.star",
        format!("builder(\"many\", workers = [worker(\"w1\")], steps = [{steps}])\n"),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    // The plugin is compiled, and the worker has come.
    farm.force("many", &json!({}))?;
    farm.finished("many", 1)?;
    let database = farm.folder().join("data/capstan.db");
    let before = commits::so_far(&database)?;
    farm.force("many", &json!({}))?;
    let build = farm.finished("many", 2)?;
    let found = u64::from(commits::so_far(&database)?.wrapping_sub(before));
    ensure!(
        build["outcome"] == "success",
        "expected a build that succeeds, found {build}"
    );
    println!("{found} commits for {STEPS} steps");
    ensure!(
        found <= 2 * STEPS + BESIDE,
        "expected {} commits at most for a build of {STEPS} steps, found {found}",
        2 * STEPS + BESIDE
    );
    // One for each is the least: nothing leaves the master before it is durable.
    ensure!(found >= STEPS, "expected that commits are counted, found {found}");
    farm.shut_down()
}
