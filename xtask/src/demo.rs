//! `cargo xtask demo`: a farm that builds a small project, from nothing. Three pushes become builds and reports, shown as
//! they happen; then the farm keeps serving until Ctrl-C.

mod feed;
mod screen;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use capstan_tests::{Farm, Programs, Project, sample};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::workspace;
use feed::Seen;
use screen::Screen;

/// How long one push may take to become a report.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the demo runs.
#[derive(clap::Args)]
pub struct Args {
    /// End after the three builds: with 0 if they ended success, failure, success, else with 1
    #[arg(long)]
    once: bool,
    /// Keep the farm's folder
    #[arg(long)]
    keep: bool,
}

/// Builds what is needed and plays the demo.
pub fn run(repository: &Path, args: &Args) -> Result<ExitCode> {
    let screen = Screen::new();
    screen.phase("plugins: every policy is a WebAssembly component");
    workspace::plugins(repository)?;
    screen.phase("programs: capstan and capstan-worker");
    workspace::build(repository, "--bins")?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut farm = Farm::create(Programs::in_folder(&workspace::programs()?)?)?;
    if args.keep {
        println!("the farm's folder stays: {}", farm.keep().display());
    }
    let played = play(&mut farm, &screen, args, &stop);
    if played.is_err() {
        farm.show_outputs();
    }
    if !stop.load(Ordering::Relaxed) || args.once {
        screen.phase("end");
    }
    farm.shut_down()?;
    let good = played?;
    screen.note(if good {
        "all three builds ended as they should"
    } else {
        "the demo did not end as it should"
    });
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn play(farm: &mut Farm, screen: &Arc<Screen>, args: &Args, stop: &AtomicBool) -> Result<bool> {
    screen.phase("farm: a master and two workers");
    let project = Project::create(farm.root(), "roman")?;
    farm.write(
        "ci.star",
        sample::configuration(&project.repository(), &["w1", "w2"], sample::STEPS),
    )?;
    let started = Instant::now();
    farm.start_master()?;
    screen.note(&format!(
        "the master is ready at {} after {} ms",
        farm.web()?,
        started.elapsed().as_millis()
    ));
    for name in ["w1", "w2"] {
        farm.add_worker(name)?;
        screen.note(&format!("the worker {name} has joined"));
    }
    let seen = feed::start(farm.api()?, Arc::clone(screen));
    let mut good = true;
    for (number, commit) in (1..).zip(sample::HISTORY) {
        screen.phase(&format!("push {number}: {}", commit.message));
        project.push(commit.message, &commit.files())?;
        let Some(outcome) = reported(&seen, number, stop)? else {
            return Ok(false);
        };
        good &= outcome == commit.outcome;
        if outcome != commit.outcome {
            screen.note(&format!(
                "expected this build to end with {}, it ended with {outcome}",
                commit.outcome
            ));
        }
    }
    if !args.once {
        serve(farm, screen, stop)?;
    }
    Ok(good)
}

/// Waits until the report of a build was shown. `None`: somebody pressed Ctrl-C.
fn reported(seen: &Receiver<Seen>, number: i64, stop: &AtomicBool) -> Result<Option<String>> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match seen.recv_timeout(Duration::from_millis(50)) {
            Ok(Seen::Reported {
                number: found,
                outcome,
            }) if found == number => return Ok(Some(outcome)),
            Ok(Seen::Reported { .. }) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Seen::Broken(why)) => bail!("the event feed broke: {why}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the event feed ended"),
        }
    }
    bail!("expected a report of build roman/{number} within {PATIENCE:?}, there was none")
}

fn serve(farm: &mut Farm, screen: &Screen, stop: &AtomicBool) -> Result<()> {
    screen.phase(&format!("the farm is at {} until Ctrl-C", farm.web()?));
    let program = workspace::programs()?.join("capstan");
    screen.note(&format!(
        "try: {} --farm {} force roman --follow",
        program.display(),
        farm.folder().display()
    ));
    while !stop.load(Ordering::Relaxed) {
        let ended = farm.master()?.wait(Duration::from_millis(200));
        if let Ok(status) = ended {
            bail!("the master ended with {status}");
        }
    }
    stop_builds(farm).context("failed to stop the builds that run")
}

/// Nothing that this demo started stays: a command would outlive its worker.
fn stop_builds(farm: &Farm) -> Result<()> {
    let running = farm.api()?.get("/builds?state=running")?;
    for build in running["builds"].as_array().into_iter().flatten() {
        farm.api()?.post(
            &format!("/builds/{}/stop", build["id"]),
            &serde_json::json!({ "reason": "the demo ends" }),
        )?;
    }
    Ok(())
}
