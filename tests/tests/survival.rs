//! What the master's restart, its sudden death and that of a worker's daemon must not change: results, logs, reports,
//! and how often a command runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::logs::{Printed, differences, printed};
use capstan_tests::waiting::{self, ends_as_if_nothing_had_happened};
use capstan_tests::{BOUND, Farm, Programs, Project, sample, story, wait_for};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// Farms that are killed at random instants, and kills during each of the three builds of one farm.
const FARMS: usize = 4;
const KILLS: [usize; 3] = [2, 2, 1];

/// What is left of one run of the sample's three commits.
struct Run {
    builds: Vec<(String, Printed)>,
    /// From each push to the end of its build.
    took: Vec<Duration>,
}

/// Pushes the three commits, each when the one before is built; kills and restarts the master at the given instants
/// after each push.
fn run(farm: &mut Farm, kills: &[Vec<Duration>]) -> Result<Run> {
    let counter = farm.root().join("counter");
    let line = format!("echo ran >> {}; exec sh ./test.sh", counter.display());
    let step = format!("step.shell(name = \"test\", command = [\"sh\", \"-c\", {line:?}]),");
    let project = Project::create(farm.root(), "roman")?;
    farm.write(
        "ci.star",
        sample::configuration(&project.repository(), &["w1"], &step),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    let mut run = Run {
        builds: Vec::new(),
        took: Vec::new(),
    };
    for (index, commit) in sample::HISTORY.into_iter().enumerate() {
        project.push(commit.message, &commit.files())?;
        let pushed = Instant::now();
        for instant in kills.get(index).into_iter().flatten() {
            // The instant is the point of the test: not a wait for something.
            std::thread::sleep(instant.saturating_sub(pushed.elapsed()));
            farm.kill_master()?;
            farm.start_master()?;
        }
        let build = farm.finished("roman", index as u64 + 1)?;
        run.took.push(pushed.elapsed());
        let outcome = build["outcome"]
            .as_str()
            .context("expected an outcome")?
            .to_owned();
        run.builds.push((
            outcome,
            printed(&farm.api()?, &build, &farm.root().display().to_string())?,
        ));
    }
    check_once(farm)?;
    Ok(run)
}

/// Each test ran once, and each build was reported under one delivery id.
fn check_once(farm: &Farm) -> Result<()> {
    let runs = std::fs::read_to_string(farm.root().join("counter"))?
        .lines()
        .count();
    ensure!(
        runs == 3,
        "expected the tests to run 3 times, they ran {runs} times"
    );
    let builds = farm.api()?.get("/builds?builder=roman")?;
    ensure!(
        builds["builds"].as_array().map(Vec::len) == Some(3),
        "expected 3 builds, found {builds:#}"
    );
    wait_for("a report of each build", BOUND, || {
        let reports = farm.reports()?;
        let field = |name: &str| {
            reports
                .iter()
                .map(|report| report[name].to_string())
                .collect::<BTreeSet<_>>()
        };
        let (ids, numbers) = (field("delivery_id"), field("number"));
        ensure!(
            ids.len() <= 3,
            "expected one delivery id a build, found {reports:#?}"
        );
        Ok((ids.len() == 3 && numbers.len() == 3).then_some(()))
    })
}

fn new_farm() -> Result<Farm> {
    Farm::create(Programs::of_this_build()?)
}

#[test]
fn a_master_killed_at_random_instants_changes_nothing() {
    let seed = std::env::var("CAPSTAN_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u32>);
    println!("seed {seed}: set CAPSTAN_TEST_SEED={seed} for the same instants");
    let mut random = SmallRng::seed_from_u64(u64::from(seed));
    let mut farm = new_farm().expect("a farm");
    let undisturbed = run(&mut farm, &[]).expect("the undisturbed run");
    drop(farm);
    let outcomes: Vec<_> = undisturbed
        .builds
        .iter()
        .map(|(outcome, _)| outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["success", "failure", "success"]);
    for number in 1..=FARMS {
        let each = KILLS.iter().zip(&undisturbed.took);
        let kills: Vec<_> = each
            .map(|(&count, took)| instants(&mut random, count, *took))
            .collect();
        println!("farm {number}: the master is killed after {kills:?}");
        let mut farm = new_farm().expect("a farm");
        let disturbed =
            run(&mut farm, &kills).unwrap_or_else(|error| panic!("seed {seed}, farm {number}: {error:#}"));
        for (index, (found, expected)) in disturbed.builds.iter().zip(&undisturbed.builds).enumerate() {
            let place = format!("seed {seed}, farm {number}, build {}", index + 1);
            assert_eq!(found.0, expected.0, "{place}");
            let differ = differences(&expected.1, &found.1);
            assert!(
                differ.is_empty(),
                "{place}: the logs differ:\n{}",
                differ.join("\n")
            );
        }
    }
}

fn instants(random: &mut SmallRng, count: usize, within: Duration) -> Vec<Duration> {
    let mut instants: Vec<_> = (0..count)
        .map(|_| within.mul_f64(random.random_range(0.0..1.0)))
        .collect();
    instants.sort();
    instants
}

/// A farm whose one command runs until the test allows its end, and counts how often it was started.
fn waiting(farm: &mut Farm) -> Result<()> {
    farm.write("ci.star", waiting::configuration(farm))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    waiting::begin(farm)
}

#[test]
fn a_restarted_master_takes_its_builds_up_again() {
    story(|farm| {
        waiting(farm)?;
        let start = Instant::now();
        let status = farm.stop_master()?;
        ensure!(status.success(), "expected a clean end, found {status}");
        ensure!(
            start.elapsed() < Duration::from_secs(5),
            "the master took {:?} to end",
            start.elapsed()
        );
        farm.start_master()?;
        ends_as_if_nothing_had_happened(farm).map(drop)
    });
}

#[test]
fn a_stop_outlives_the_master() {
    story(|farm| {
        waiting(farm)?;
        farm.api()?
            .post("/builds/1/stop", &json!({ "reason": "no longer wanted" }))?;
        farm.kill_master()?;
        farm.start_master()?;
        let build = farm.finished("hello", 1)?;
        ensure!(
            build["outcome"] == "cancelled",
            "expected cancelled, found {build:#}"
        );
        wait_for("the command to be gone from the worker", BOUND, || {
            Ok(worker_files(farm, "spec.json")?.is_empty().then_some(()))
        })
    });
}

#[test]
fn a_worker_that_lost_its_memory_does_not_run_a_command_again() {
    story(|farm| {
        waiting(farm)?;
        // A command of which the master has heard nothing could as well never have arrived: it would be sent again.
        wait_for("the master to have some of the log", BOUND, || {
            let build = farm.api()?.get("/builds/1")?;
            let Some(log) = build["steps"][0]["logs"][0]["id"].as_i64() else {
                return Ok(None);
            };
            let printed = farm.api()?.bytes(&format!("/logs/{log}/raw"))?;
            Ok((!printed.is_empty()).then_some(()))
        })?;
        farm.kill_worker("w1")?;
        let commands = farm.worker_folder("w1").join("commands");
        let aside = farm.root().join("aside");
        std::fs::rename(&commands, &aside)?;
        farm.start_worker("w1")?;
        let counted = || {
            Ok(std::fs::read_to_string(farm.root().join("counter"))?
                .lines()
                .count())
        };
        let build = wait_for("the build to end", BOUND, || {
            let build = farm.api()?.get("/builds/1")?;
            Ok((build["state"] == "complete").then_some(build))
        })?;
        ensure!(build["outcome"] == "retry", "expected retry, found {build:#}");
        ensure!(build.to_string().contains("forgotten"), "{build:#}");
        std::fs::write(farm.root().join("go"), "")?;
        let retried = farm.finished("hello", 2)?;
        ensure!(
            retried["outcome"] == "success",
            "expected success, found {retried:#}"
        );
        let runs: Result<usize> = counted();
        ensure!(runs? == 2, "each build's command runs once");
        Ok(())
    });
}

#[test]
fn a_command_that_ends_while_the_master_is_away_is_not_lost() {
    story(|farm| {
        waiting(farm)?;
        farm.kill_master()?;
        std::fs::write(farm.root().join("go"), "")?;
        wait_for("the command's end on the worker", BOUND, || {
            Ok((!worker_files(farm, "exit.json")?.is_empty()).then_some(()))
        })?;
        farm.start_master()?;
        ends_as_if_nothing_had_happened(farm).map(drop)
    });
}

/// The paths of the files of that name under the worker's folder.
fn worker_files(farm: &Farm, name: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![farm.worker_folder("w1")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[test]
fn a_command_outlives_its_workers_daemon() {
    story(|farm| {
        waiting(farm)?;
        farm.kill_worker("w1")?;
        farm.start_worker("w1")?;
        ends_as_if_nothing_had_happened(farm).map(drop)
    });
}

#[test]
fn master_and_worker_may_die_together() {
    story(|farm| {
        waiting(farm)?;
        farm.kill_worker("w1")?;
        farm.kill_master()?;
        farm.start_master()?;
        farm.start_worker("w1")?;
        ends_as_if_nothing_had_happened(farm).map(drop)
    });
}

#[test]
fn what_was_asked_for_waits_for_a_worker_over_a_restart() {
    story(|farm| {
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"greet\", command = \"echo hello\")"),
        )?;
        farm.start_master()?;
        farm.api()?
            .post("/builders/hello/force", &json!({ "reason": "no worker yet" }))?;
        farm.kill_master()?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.finished("hello", 1)?;
        assert_eq!(build["outcome"], "success", "{build:#}");
        assert_eq!(build["reason"], "no worker yet", "{build:#}");
        Ok(())
    });
}

#[test]
fn a_second_master_on_the_same_farm_refuses() {
    story(|farm| {
        farm.write("ci.star", sample::hello("step.shell(command = \"true\")"))?;
        farm.start_master()?;
        let first = farm.master()?.id().to_string();
        let refused = farm.capstan_refused(&["run"])?;
        assert!(
            refused.contains(&first),
            "expected the first master's process id {first} in: {refused}"
        );
        assert_eq!(farm.api()?.get("/health")?["status"], "ok");
        Ok(())
    });
}
