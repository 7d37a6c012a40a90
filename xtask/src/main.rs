//! The project's own tasks, run as `cargo xtask TASK`. Depends on neither the engine nor the host, so that it is
//! built in seconds on a machine that has nothing yet.

mod bench;
mod broken;
mod chaos;
mod ci;
mod demo;
mod differential;
mod languages;
mod plugins;
mod test;
mod workspace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of the Capstan project")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the built-in plugins, and those of the tests, into target/guests
    Plugins(plugins::Args),
    /// Plays a farm that builds a small project: three pushes, three builds, three reports
    Demo(demo::Args),
    /// Measures the programs as they are shipped, and the machine's own limits beside them
    Bench(bench::Args),
    /// Runs every test and prints their number
    Test(test::Args),
    /// Breaks one promise after the other, on purpose, and shows that a test notices
    Broken(broken::Args),
    /// Lets seeded faults loose on real farms and compares what is left with a run without faults
    Chaos(chaos::Args),
    /// Sends the same changes through the schedulers of a real Buildbot and through ours, and compares what they ask for
    Differential(differential::Args),
    /// Runs everything that a change has to pass
    Ci(ci::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().task {
        Task::Plugins(args) => plugins::run(&repository(), &args).map(|()| ExitCode::SUCCESS),
        Task::Demo(args) => demo::run(&repository(), &args),
        Task::Bench(args) => bench::run(&repository(), &args),
        Task::Test(args) => test::run(&repository(), &args),
        Task::Broken(args) => broken::run(&repository(), &args),
        Task::Chaos(args) => chaos::run(&repository(), &args),
        Task::Differential(args) => differential::run(&repository(), &args),
        Task::Ci(args) => ci::run(&repository(), &args),
    }
}

/// The folder that this crate's own folder is in.
fn repository() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map(Path::to_owned).unwrap_or_default()
}
