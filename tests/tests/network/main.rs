//! The network between the master and its workers, and workers that never come back through it: what a build must not lose, and what
//! people are told.

mod gone;
mod link;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::proxy::{Proxy, Way, Weather};
use capstan_tests::{BOUND, Farm, Programs, small_disk, story, wait_for};
use serde_json::{Value, json};

/// Short, so that the tests are; all is measured in it.
const IDLE: Duration = Duration::from_secs(2);
/// What a busy machine may add to any of it.
const SLACK: Duration = Duration::from_secs(2);

const CUT: Weather = Weather {
    loss: 0.0,
    reorder: 0.0,
    delay: Duration::ZERO,
    cut: true,
    only: None,
};

/// A farm on a stretch of network that the test controls, whose one command prints numbered lines on both channels until
/// the file `go` is there, and then writes down how many.
fn printing(farm: &mut Farm) -> Result<Proxy> {
    let proxy = farm.behind_a_proxy()?;
    configure_link(farm, &format!("idle = \"{}s\"", IDLE.as_secs()))?;
    let root = farm.root().display();
    let script = format!(
        "echo ran >> {root}/runs; i=0; until [ -e {root}/go ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.01; done; \
         echo $i > {root}/count"
    );
    farm.write("ci.star", star(&["w1"], &script))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    farm.api()?.post("/builders/hello/force", &json!({}))?;
    prints_more(farm)?;
    Ok(proxy)
}

fn configure_link(farm: &Farm, settings: &str) -> Result<()> {
    farm.edit("capstan.toml", "[link]", &format!("[link]\n{settings}"))
}

fn star(workers: &[&str], script: &str) -> String {
    let workers: Vec<_> = workers
        .iter()
        .map(|name| format!("worker({name:?}, slots = 2)"))
        .collect();
    format!(
        "builder(\"hello\", workers = [{}], steps = [step.shell(name = \"print\", command = {script:?})])\n",
        workers.join(", ")
    )
}

/// The bytes of a channel of the one command of a build.
fn channel(farm: &Farm, build: u64, channel: &str) -> Result<String> {
    let api = farm.api()?;
    let build = api.get(&format!("/builders/hello/builds/{build}"))?;
    let steps = build["steps"].as_array().context("expected steps")?;
    let print = steps.iter().find(|step| step["name"] == "print");
    let log = &print.context("expected the step")?["logs"][0]["id"];
    ensure!(log.is_i64(), "expected a log in {build:#}");
    let bytes = api.bytes(&format!("/logs/{log}/raw?channel={channel}"))?;
    Ok(String::from_utf8(bytes)?)
}

/// Waits until the master has more of the log than now.
fn prints_more(farm: &Farm) -> Result<()> {
    let before = channel(farm, 1, "stdout").map_or(0, |text| text.len());
    wait_for("more lines at the master", BOUND, || {
        Ok((channel(farm, 1, "stdout")?.len() > before + 100).then_some(()))
    })
}

/// Lets the command end: it has run once, and each channel is whole.
fn ends_whole(farm: &Farm) -> Result<()> {
    std::fs::write(farm.root().join("go"), "")?;
    let build = farm.finished("hello", 1)?;
    ensure!(build["outcome"] == "success", "expected success, found {build:#}");
    let count: u64 = read(farm, "count")?.trim().parse()?;
    for (name, word) in [("stdout", "out"), ("stderr", "err")] {
        let expected: String = (1..=count).map(|n| format!("{word} {n}\n")).collect();
        let found = channel(farm, 1, name)?;
        ensure!(
            found == expected,
            "expected {count} lines on {name}, found {} lines, {} bytes instead of {}",
            found.lines().count(),
            found.len(),
            expected.len()
        );
    }
    ensure!(read(farm, "runs")? == "ran\n", "expected one run");
    Ok(())
}

fn read(farm: &Farm, file: &str) -> Result<String> {
    let path = farm.root().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("expected {}", path.display()))
}

fn worker(farm: &Farm, name: &str) -> Result<Value> {
    farm.api()?.get(&format!("/workers/{name}"))
}

/// How often a worker's daemon has said this.
fn said(farm: &Farm, name: &str, what: &str) -> Result<usize> {
    Ok(read(farm, &format!("worker-{name}.log"))?.matches(what).count())
}

/// Waits until the master knows the worker to be connected, or not.
fn wait_connected(farm: &Farm, name: &str, connected: bool) -> Result<Value> {
    let what = format!("{name} to be {}connected", if connected { "" } else { "dis" });
    wait_for(&what, BOUND, || {
        let worker = worker(farm, name)?;
        Ok((worker["connected"] == connected).then_some(worker))
    })
}
