//! A real master with the whole hostile corpus in its plugin folder: it starts, lists each file that it refused with its
//! reason, and a healthy builder is served while hostile steps run, hostile schedulers are told of it, and hostile reporters
//! are given its reports.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_hostile::{Expected, Guest, corpus};
use capstan_tests::{Farm, story, wait_for};
use serde_json::{Value, json};

/// Steps that run beside the healthy builds: they spin, recurse, take memory, flood the journal, the log and the link.
const STEPS: [&str; 10] = [
    "loops-plain",
    "loops-post-return-of-a-step",
    "loops-between-calls",
    "recursion-plain",
    "memory-grow",
    "memory-table-growth",
    "border-string-not-utf8",
    "handles-leak",
    "journal-rows",
    "journal-texts",
];
/// What is told and asked meanwhile.
const SCHEDULERS: [&str; 4] = [
    "loops-many-branches",
    "schedulers-large-state",
    "schedulers-reason-huge",
    "journal-diagnostics",
];
const SOURCES: [&str; 3] = [
    "sources-duplicate-keys",
    "sources-cursor-huge",
    "loops-between-requests",
];
const REPORTERS: [&str; 4] = [
    "border-answer-large-error",
    "reporters-json-over-and-over",
    "reporters-terminal",
    "handles-negative",
];

/// What the master may need with all of it, in MiB.
const MAX_MIB: u64 = 1500;

fn configuration() -> String {
    let function = |name: &str| name.replace('-', "_");
    let uses = |space: &str, names: &[&str], more: &str| -> String {
        names
            .iter()
            .map(|name| format!("{space}.{}(name = {name:?}{more})\n", function(name)))
            .collect()
    };
    let steps: String = STEPS
        .iter()
        .map(|name| format!("step.{}(name = {name:?}, always_run = True),\n", function(name)))
        .collect();
    format!(
        "w1 = worker(\"w1\", slots = 4)\n\
         healthy = builder(\"healthy\", workers = [w1], steps = [step.shell(command = \"echo well\")])\n\
         builder(\"hostile\", workers = [w1], steps = [\n{steps}])\n\
         {}{}{}",
        uses("schedule", &SCHEDULERS, ", builders = [healthy]"),
        uses("source", &SOURCES, ""),
        uses("notify", &REPORTERS, ""),
    )
}

#[test]
fn a_master_with_the_whole_corpus_serves_the_healthy() {
    let guests = corpus(9).expect("the corpus can be made");
    story(|farm| {
        for guest in &guests {
            farm.write(&format!("plugins/{}.wasm", guest.name), &guest.bytes)?;
        }
        farm.write("ci.star", configuration())?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        listed(farm, &guests)?;
        farm.api()?.post("/builders/hostile/force", &json!({}))?;
        wait_for("the hostile build to begin", Duration::from_secs(20), || {
            let builds = farm.api()?.get("/builds?builder=hostile&limit=1")?;
            Ok(builds["builds"]
                .as_array()
                .filter(|all| !all.is_empty())
                .map(|_| ()))
        })?;
        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(farm.force("healthy", &json!({}))?["outcome"], "success");
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "a healthy build took {:?}",
                began.elapsed()
            );
        }
        each_step_ended_for_its_reason(farm, &guests)?;
        assert_eq!(farm.force("healthy", &json!({}))?["outcome"], "success");
        let mib = resident_mib(farm)?;
        assert!(mib < MAX_MIB, "the master has grown to {mib} MiB");
        println!("{} plugin files, the master has {mib} MiB", guests.len());
        Ok(())
    });
}

/// Each file that must be refused is listed with the reason that its header names; the others are listed as plugins.
fn listed(farm: &Farm, guests: &[Guest]) -> Result<()> {
    let plugins = farm.api()?.get("/plugins")?;
    let plugins = plugins["plugins"].as_array().context("expected plugins")?;
    for guest in guests {
        let file = format!("{}.wasm", guest.name);
        let listed = plugins.iter().find(|plugin| plugin["origin"] == file.as_str());
        let listed = listed.with_context(|| format!("expected {file} to be listed"))?;
        let error = listed["error"].as_str();
        match guest.header.expected.as_slice() {
            // The master does not even read it.
            [Expected::Refused(_), ..] if guest.name == "shapes-large" => {
                ensure!(error.is_some(), "{listed:#}")
            }
            [Expected::Refused(reason), ..] => {
                ensure!(
                    error.is_some_and(|error| error.contains(reason)),
                    "{file}: expected {reason:?}, found {error:?}"
                );
            }
            _ => ensure!(error.is_none(), "{file}: {error:?}"),
        }
    }
    Ok(())
}

fn each_step_ended_for_its_reason(farm: &Farm, guests: &[Guest]) -> Result<()> {
    let build = farm.finished("hostile", 1)?;
    let steps = build["steps"].as_array().context("expected steps")?;
    for name in STEPS {
        let step = steps
            .iter()
            .find(|step| step["name"] == name)
            .with_context(|| format!("no step {name}: {build:#}"))?;
        let guest = guests
            .iter()
            .find(|guest| guest.name == name)
            .context("a guest")?;
        let Some(Expected::Ends(reason)) = guest.header.expected.first() else {
            continue;
        };
        // The time that a plugin has is another on a real master.
        let reason = reason.split(" 300 ms").next().unwrap_or_default();
        ensure!(
            step["outcome"] == "exception" && says(step, reason),
            "{name}: expected {reason:?}, found {step:#}"
        );
    }
    Ok(())
}

fn says(step: &Value, reason: &str) -> bool {
    step.to_string().contains(&reason.replace('"', "\\\""))
}

fn resident_mib(farm: &mut Farm) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", farm.master()?.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("expected VmRSS")?;
    let kib: u64 = line
        .split_whitespace()
        .next()
        .context("expected a number")?
        .parse()?;
    Ok(kib >> 10)
}
