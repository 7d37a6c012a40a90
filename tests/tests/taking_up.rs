//! What a master that takes a build up owes to its worker: orders that the master before it gave, and whose word died with it;
//! and what it must not hold against a worker: a log that cannot be stored.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use capstan_tests::{BOUND, Farm, sample, small_disk, story, wait_for};
use nix::sys::signal::Signal;

/// Longer than everything that is to happen here takes.
const LONG: Duration = Duration::from_secs(30);

/// Starts a farm whose one step carries out `script`.
fn playing(farm: &mut Farm, script: &str) -> Result<()> {
    let wasm = "../target/guests/fixtures/fixture-step.wasm";
    let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join(wasm);
    std::fs::create_dir_all(farm.folder().join("plugins"))?;
    std::fs::copy(wasm, farm.folder().join("plugins/fixture-step.wasm"))?;
    let text = farm.read("capstan.toml")?;
    let granted = format!("{text}\n[grants.fixture-step]\ncommands = [\"*\"]\n");
    farm.write("capstan.toml", granted)?;
    let step = format!("step.fixture_step(name = \"play\", script = {script})");
    farm.write("ci.star", sample::hello(&step))?;
    farm.start_master()?;
    farm.add_worker("w1")
}

fn kill_both(farm: &mut Farm) -> Result<()> {
    farm.kill_master()?;
    farm.kill_worker("w1")?;
    farm.start_master()?;
    farm.start_worker("w1")
}

fn exists(path: &Path) -> Result<()> {
    wait_for("a command's mark", BOUND, || Ok(path.exists().then_some(())))
}

fn mark(farm: &Farm) -> PathBuf {
    farm.root().join("up")
}

#[test]
fn an_order_that_was_lost_with_the_master_is_given_again_before_anybody_waits_for_its_command() {
    story(|farm| {
        let up = mark(farm);
        let (server, client) = (
            format!("echo > {0}; sleep 30", up.display()),
            format!(
                "for i in $(seq 100); do test -e {} && exit 0; sleep 0.1; done; exit 1",
                up.display()
            ),
        );
        let script = format!(
            "[{{\"op\": \"start\", \"shell\": {server:?}}}, {{\"op\": \"run\", \"shell\": {client:?}}}]"
        );
        playing(farm, &script)?;
        // It is connected, and takes nothing in.
        farm.worker("w1")?.signal(Signal::SIGSTOP)?;
        farm.capstan_ok(&["force", "hello"])?;
        wait_for("both orders", BOUND, || {
            let build = farm.api()?.get("/builds/1")?;
            let logs = build["steps"][0]["logs"].as_array().map(Vec::len);
            Ok((logs == Some(2)).then_some(()))
        })?;
        kill_both(farm)?;
        let build = farm.finished("hello", 1)?;
        ensure!(up.exists(), "the command in the background never ran: {build:#}");
        Ok(())
    });
}

#[test]
fn a_kill_that_was_lost_with_the_master_is_said_again() {
    story(|farm| {
        let up = mark(farm);
        let command = format!("echo > {}; sleep 600", up.display());
        let script = format!(
            "[{{\"op\": \"start\", \"shell\": {command:?}}}, {{\"op\": \"sleep\", \"ms\": 2000}}, \
             {{\"op\": \"kill\", \"command\": 0, \"reason\": \"enough\"}}, {{\"op\": \"wait\", \"command\": 0}}]"
        );
        playing(farm, &script)?;
        farm.capstan_ok(&["force", "hello"])?;
        exists(&up)?;
        farm.worker("w1")?.signal(Signal::SIGSTOP)?;
        wait_for("the kill to be recorded", BOUND, || {
            let journal = farm.capstan_ok(&["build", "show", "1", "--journal"])?;
            Ok(journal.contains("command.wait").then_some(()))
        })?;
        kill_both(farm)?;
        wait_for("the end of the build", LONG, || {
            let build = farm.api()?.get("/builds/1")?;
            Ok((!build["outcome"].is_null()).then_some(()))
        })
    });
}

#[test]
fn a_disk_that_is_full_when_a_log_begins_ends_that_step_alone() {
    if !small_disk::is_allowed() {
        return;
    }
    story(|farm| {
        let steps = "step.shell(name = \"one\", command = \"echo one\"), step.shell(name = \"two\", command = \"echo two\")";
        farm.write("ci.star", sample::hello(steps))?;
        let logs = farm.folder().join("data/logs");
        // One page: the first log takes it.
        farm.on_small_disk(&logs, "4k")?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "hello"])?;
        wait_for("the end of the build", LONG, || {
            let build = farm.api()?.get("/builds/1")?;
            Ok((build["outcome"] == "exception").then_some(()))
        })?;
        wait_for("the worker to be connected", BOUND, || {
            Ok((farm.api()?.get("/workers/w1")?["connected"] == true).then_some(()))
        })
    });
}

#[test]
fn a_stop_across_a_restart_of_the_master_keeps_the_last_words_of_the_command() {
    story(|farm| {
        let up = mark(farm);
        let command = format!(
            "trap 'echo by''e; exit 1' TERM; echo > {}; while :; do sleep 0.1; done",
            up.display()
        );
        farm.write(
            "ci.star",
            sample::hello(&format!("step.shell(name = \"one\", command = {command:?})")),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "hello"])?;
        exists(&up)?;
        farm.worker("w1")?.signal(Signal::SIGSTOP)?;
        farm.capstan_ok(&["stop", "1"])?;
        farm.kill_master()?;
        farm.start_master()?;
        wait_for("the master to take the build up", BOUND, || {
            let journal = farm.capstan_ok(&["build", "show", "1", "--journal"])?;
            Ok(journal.contains("ancelled").then_some(()))
        })?;
        farm.worker("w1")?.signal(Signal::SIGCONT)?;
        let build = farm.finished("hello", 1)?;
        let log = &build["steps"][0]["logs"][0]["id"];
        let said = farm.api()?.bytes(&format!("/logs/{log}/raw?channel=stdout"))?;
        ensure!(
            said == b"bye\n",
            "expected the last words, found {:?}",
            String::from_utf8_lossy(&said)
        );
        Ok(())
    });
}
