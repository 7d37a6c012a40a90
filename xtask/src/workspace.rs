//! Builds what other tasks need: the plugins, then the whole workspace at once, so that each dependency is built with
//! one set of features and the next task finds it done.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::plugins;

/// The plugins task as it is without arguments.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    args: plugins::Args,
}

/// Builds the plugins, which the master's program embeds.
pub fn plugins(repository: &Path) -> anyhow::Result<()> {
    plugins::run(repository, &Defaults::parse_from(["plugins"]).args)
}

/// Builds the native workspace: with `--bins` the programs, with `--all-targets` the tests too.
pub fn build(repository: &Path, targets: &str) -> anyhow::Result<()> {
    run(
        "build",
        cargo(repository).args(["build", "--workspace", "--locked", targets]),
    )
}

/// The cargo that runs this task, in the repository, in the environment that it was called in.
pub fn cargo(repository: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository);
    // What `cargo run` says of this package. Build scripts look at these (ring's does): left in place, they would have
    // half of the dependencies built again whenever a task and a plain `cargo build` take turns.
    let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        command.env_remove(name);
    }
    command
}

/// Runs one program, showing what it prints, and how long it took.
pub fn run(name: &str, command: &mut Command) -> anyhow::Result<()> {
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("failed to start {}", command.get_program().display()))?;
    ensure!(status.success(), "{name} failed: {status}");
    println!("{name}: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Where cargo put the programs: beside this one.
pub fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    own.parent()
        .map(Path::to_owned)
        .context("expected this program in a folder")
}

/// Installs a Debian package if it may: as root, on Debian. Otherwise an error that names the package.
pub fn install(package: &str, reason: &str) -> anyhow::Result<()> {
    let debian = Path::new("/etc/debian_version").exists() && nix::unistd::geteuid().is_root();
    ensure!(
        debian,
        "expected {reason}, found none; install the package `{package}`"
    );
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(std::process::Stdio::null());
        command
    };
    // Lists may be older than the packages that the mirror still has.
    run("apt-get update", &mut apt(&["-qq", "update"]))?;
    run(
        "apt-get install",
        &mut apt(&["-qq", "install", "--yes", "--no-install-recommends", package]),
    )
}
