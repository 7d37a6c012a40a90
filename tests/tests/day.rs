//! A day of a long build, in small: everything that can happen to it happens, and nobody who looks at its results can
//! tell. The farm is `examples/day`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::logs::printed;
use capstan_tests::proxy::{Proxy, Weather};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

/// As `examples/day/ci.star` has them.
const STEPS: usize = 40;
const LINES: usize = 20;

/// The whole day takes about a minute and a half on an idle machine.
const NIGHTFALL: Duration = Duration::from_secs(300);

/// A connection over which nothing comes for so long is dead; the cut is longer.
const IDLE: Duration = Duration::from_secs(4);

#[test]
fn a_long_build_survives_its_day() {
    story(|farm| {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/day/ci.star");
        farm.write("ci.star", std::fs::read(example)?)?;
        let proxy = farm.behind_a_proxy()?;
        farm.edit(
            "capstan.toml",
            "[link]",
            &format!("[link]\nidle = \"{}s\"", IDLE.as_secs()),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/day/force", &json!({}))?;
        live_through(farm, &proxy)?;
        let build = wait_for("the end of the day", NIGHTFALL, || {
            let build = farm.api()?.get("/builders/day/builds/1")?;
            Ok((build["state"] == "complete").then_some(build))
        })?;
        check(farm, &build)
    });
}

/// Each thing happens when the build has come to this step: to a build that is at work, whatever the machine's speed.
fn live_through(farm: &mut Farm, proxy: &Proxy) -> Result<()> {
    for step in [3, 7] {
        reach(farm, step)?;
        farm.kill_master()?;
        farm.start_master()?;
    }
    reach(farm, 11)?;
    farm.kill_worker("w1")?;
    farm.start_worker("w1")?;

    reach(farm, 15)?;
    proxy.set(Weather {
        cut: true,
        ..Weather::default()
    });
    wait_for("the master to give the connection up", BOUND, || {
        Ok((farm.api()?.get("/workers/w1")?["connected"] == false).then_some(()))
    })?;
    proxy.set(Weather::default());

    reach(farm, 20)?;
    proxy.move_upstream_port()?;

    reach(farm, 24)?;
    upgrade(farm)?;

    reach(farm, 30)?;
    proxy.set(Weather {
        loss: 0.05,
        ..Weather::default()
    });
    farm.kill_master()?;
    farm.kill_worker("w1")?;
    farm.start_master()?;
    farm.start_worker("w1")?;
    reach(farm, 34)?;
    proxy.set(Weather::default());
    Ok(())
}

/// A newer version of both programs takes over: the same ones, at another place.
fn upgrade(farm: &mut Farm) -> Result<()> {
    let folder = farm.root().join("newer");
    std::fs::create_dir(&folder)?;
    let newer = farm.programs().copied_to(&folder)?;
    let status = farm.stop_master()?;
    ensure!(
        status.success(),
        "expected a clean end of the master, found {status}"
    );
    farm.stop_worker("w1")?;
    farm.set_programs(newer);
    farm.start_master()?;
    farm.start_worker("w1")
}

/// Waits until the build is at this step, counted from 1.
fn reach(farm: &Farm, step: usize) -> Result<()> {
    wait_for(&format!("step {step} of the build"), NIGHTFALL, || {
        let build = farm.api()?.get("/builders/day/builds/1")?;
        let begun = build["steps"].as_array().context("expected steps")?;
        let begun = begun.iter().filter(|step| step["state"] != "pending").count();
        Ok((begun >= step).then_some(()))
    })
}

/// What an undisturbed run gives can be told without one.
fn check(farm: &Farm, build: &Value) -> Result<()> {
    ensure!(build["outcome"] == "success", "expected success, found {build:#}");
    let builds = farm.api()?.get("/builds?builder=day")?;
    let count = builds["builds"].as_array().map(Vec::len);
    ensure!(count == Some(1), "expected one build, found {builds:#}");
    let found = printed(&farm.api()?, build, &farm.root().display().to_string())?;
    for step in 1..=STEPS {
        for (channel, word) in [("stdout", "line"), ("stderr", "note")] {
            let text: String = (1..=LINES)
                .map(|line| format!("step {step} {word} {line}\n"))
                .collect();
            let name = format!("part {step}/stdio/{channel}");
            let found = found.get(&name).map(|bytes| String::from_utf8_lossy(bytes));
            ensure!(
                found.as_deref() == Some(&text),
                "expected {text:?} in {name}, found {found:?}"
            );
        }
    }
    let executions = farm.worker_folder("w1").join("builds/day/executions");
    let executions =
        std::fs::read_to_string(&executions).with_context(|| format!("expected {}", executions.display()))?;
    let expected: String = (1..=STEPS).map(|step| format!("{step}\n")).collect();
    ensure!(
        executions == expected,
        "expected each step once, found {executions}"
    );
    reported_once(farm)
}

/// Both moments of the build were reported, each under one delivery id.
fn reported_once(farm: &Farm) -> Result<()> {
    wait_for("two reports", Duration::from_secs(60), || {
        let mut ids: Vec<_> = farm
            .reports()?
            .iter()
            .map(|report| (report["phase"].to_string(), report["delivery_id"].to_string()))
            .collect();
        ids.sort();
        ids.dedup();
        ensure!(ids.len() <= 2, "expected one delivery id a moment, found {ids:?}");
        Ok((ids.len() == 2).then_some(()))
    })
}
