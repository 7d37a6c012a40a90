//! Versions put into a running farm, and what came of them: which one is in force, and whether every change was counted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::versions::version;
use capstan_tests::{BOUND, Farm, wait_for};
use serde_json::Value;

/// `each` changes five times a second, a build for each ten of them, a report for each build.
pub fn configuration(limit: u64, each: u64, step_ms: u64) -> String {
    format!(
        r#"
worker("w1", slots = 4)
busy = builder(name = "busy", workers = ["w1"], collapse = False, steps = [step.swap_step(name = "say")])
slow = builder(name = "slow", workers = ["w1"], steps = [step.swap_step(name = "say", ms = {step_ms})])
source.swap_source(name = "numbers", limit = {limit}, each = {each}, pause_ms = 200)
schedule.swap_scheduler(name = "tens", builders = [busy])
notify.swap_reporter(name = "tell", file = "reports/swap", on = ["finished"])
"#
    )
}

pub const GUESTS: [&str; 4] = ["swap-source", "swap-scheduler", "swap-step", "swap-reporter"];

/// Puts a file into the plugin folder the way a careful program does.
pub fn put(farm: &Farm, file: &str, bytes: &[u8]) -> Result<()> {
    farm.write(&format!("plugins/.{file}.new"), bytes)?;
    let folder = farm.folder().join("plugins");
    Ok(std::fs::rename(
        folder.join(format!(".{file}.new")),
        folder.join(format!("{file}.wasm")),
    )?)
}

pub fn put_all(farm: &Farm, text: &str, mark: &str) -> Result<()> {
    for guest in GUESTS {
        put(farm, guest, &version(guest, text, mark)?)?;
    }
    Ok(())
}

pub fn grant(farm: &Farm) -> Result<()> {
    let text = farm.read("capstan.toml")?;
    farm.write(
        "capstan.toml",
        text + "\n[grants.swap-reporter]\nfiles = [\"reports/*\"]\n",
    )
}

/// The rows of `capstan plugin list` for a plugin.
pub fn rows(farm: &Farm, name: &str) -> Result<Vec<Value>> {
    let all = farm.api()?.get("/plugins")?;
    let all = all["plugins"].as_array().context("expected plugins")?;
    Ok(all.iter().filter(|row| row["name"] == name).cloned().collect())
}

pub fn in_force(farm: &Farm, name: &str) -> Result<Option<String>> {
    let rows = rows(farm, name)?;
    let active = rows.iter().find(|row| row["active"] == true);
    Ok(active.and_then(|row| row["version"].as_str().map(str::to_owned)))
}

pub fn wait_in_force(farm: &Farm, name: &str, expected: &str) -> Result<()> {
    wait_for(&format!("{name} {expected} to be in force"), BOUND, || {
        Ok((in_force(farm, name)?.as_deref() == Some(expected)).then_some(()))
    })
}

/// Waits until the file of that plugin is in that state, and answers its reason.
pub fn wait_state(farm: &Farm, name: &str, state: &str) -> Result<String> {
    wait_for(&format!("{name} to be {state}"), BOUND, || {
        let row = rows(farm, name)?.into_iter().find(|row| row["state"] == state);
        Ok(row.map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            text("error") + &text("note")
        }))
    })
}

pub fn builds(farm: &Farm, builder: &str) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let before = all
            .last()
            .map_or(String::new(), |build| format!("&before={}", build["id"]));
        let page = farm
            .api()?
            .get(&format!("/builds?builder={builder}&limit=100{before}"))?;
        let page = page["builds"].as_array().context("expected builds")?.clone();
        if page.is_empty() {
            all.reverse();
            return Ok(all);
        }
        all.extend(page);
    }
}

pub fn reasons(farm: &Farm) -> Result<Vec<String>> {
    let mut reasons = Vec::new();
    let mut requests = BTreeMap::new();
    for build in builds(farm, "busy")? {
        for request in build["requests"].as_array().into_iter().flatten() {
            let id = request.as_i64().context("expected a request's id")?;
            let request = farm.api()?.get(&format!("/requests/{id}"))?;
            requests.insert(id, request["reason"].as_str().unwrap_or_default().to_owned());
        }
    }
    reasons.extend(requests.into_values());
    Ok(reasons)
}

/// Every ten changes came to the scheduler once and in order; answers which version said so.
pub fn ensure_all_in_order(reasons: &[String], limit: u64) -> Result<Vec<String>> {
    let mut marks = Vec::new();
    for (index, reason) in reasons.iter().enumerate() {
        let from = index as u64 * 10;
        let (range, mark) = reason.split_once(' ').context("expected a range and a mark")?;
        ensure!(
            range == format!("{from}-{}", from + 9),
            "expected each change once and in order, found {reasons:?}"
        );
        marks.push(mark.to_owned());
    }
    ensure!(
        reasons.len() as u64 == limit / 10,
        "expected {} requests, found {reasons:?}",
        limit / 10
    );
    Ok(marks)
}

pub fn wait_builds(farm: &Farm, count: usize) -> Result<()> {
    wait_for(
        &format!("{count} builds to end"),
        Duration::from_secs(120),
        || {
            let builds = builds(farm, "busy")?;
            let ended = builds.iter().filter(|build| build["state"] == "complete").count();
            Ok((ended >= count).then_some(()))
        },
    )
}
