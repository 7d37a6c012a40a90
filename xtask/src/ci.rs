//! `cargo xtask ci`: everything that a change has to pass, stage by stage, each with its time. `.ci/run` prepares the
//! machine and calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::workspace::{self, cargo};
use crate::{chaos, demo, languages, test};

/// Programs of the Rust world that are built once into `target/tools`; versions fixed, so that a gate gives the same
/// verdict tomorrow.
const MDBOOK: &str = "0.5.4";
const CARGO_DENY: &str = "0.20.2";

/// The guest workspaces, which cargo does not see from the root. The SDK belongs to the plugins' one.
const GUESTS: [&str; 2] = ["plugins/Cargo.toml", "tests/guests/Cargo.toml"];

/// Which stages.
#[derive(clap::Args)]
pub struct Args {
    /// Only these stages
    stages: Vec<String>,
}

type Stage = (&'static str, fn(&Path) -> Result<()>);

/// In the order of what fails fast.
const STAGES: [Stage; 10] = [
    ("format", format),
    ("plugins", workspace::plugins),
    ("clippy", clippy),
    ("guests", clippy_guests),
    ("test", tests),
    ("languages", languages::run),
    ("chaos", disturb),
    ("docs", docs),
    ("deny", deny),
    ("demo", play),
];

/// Runs the stages and prints what each took. The first that fails ends the run.
pub fn run(repository: &Path, args: &Args) -> Result<ExitCode> {
    if let Some(unknown) = args
        .stages
        .iter()
        .find(|name| STAGES.iter().all(|(known, _)| known != name))
    {
        let known: Vec<_> = STAGES.iter().map(|(name, _)| *name).collect();
        bail!("expected a stage ({}), found `{unknown}`", known.join(", "));
    }
    let mut times = Vec::new();
    let wanted = |name: &str| args.stages.is_empty() || args.stages.iter().any(|stage| stage == name);
    for (name, stage) in STAGES.into_iter().filter(|(name, _)| wanted(name)) {
        println!("\n==== {name}");
        let start = Instant::now();
        let result = stage(repository);
        times.push((name, start.elapsed()));
        if let Err(error) = result {
            summary(&times);
            return Err(error.context(format!("the stage {name} failed")));
        }
    }
    summary(&times);
    Ok(ExitCode::SUCCESS)
}

fn summary(times: &[(&str, Duration)]) {
    println!("\n==== times");
    for (name, time) in times {
        println!("{name:<10} {:>7.1} s", time.as_secs_f64());
    }
    let all: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:<10} {:>7.1} s", "all", all.as_secs_f64());
}

fn guests(repository: &Path) -> impl Iterator<Item = &'static str> {
    GUESTS
        .into_iter()
        .filter(|manifest| repository.join(manifest).is_file())
}

fn format(repository: &Path) -> Result<()> {
    workspace::run(
        "native workspace",
        cargo(repository).args(["fmt", "--all", "--check"]),
    )?;
    guests(repository).try_for_each(|manifest| {
        workspace::run(
            manifest,
            cargo(repository).args(["fmt", "--all", "--check", "--manifest-path", manifest]),
        )
    })
}

fn clippy(repository: &Path) -> Result<()> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    workspace::run("native workspace", cargo(repository).args(arguments))
}

/// For the machine that runs this, not for the bare target: the lints are the same and no second compiler is needed.
fn clippy_guests(repository: &Path) -> Result<()> {
    guests(repository).try_for_each(|manifest| {
        let mut command = cargo(repository);
        command.args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--manifest-path",
            manifest,
        ]);
        command.args(["--target-dir", "target/guests/native", "--", "-D", "warnings"]);
        workspace::run(manifest, &mut command)
    })
}

fn tests(repository: &Path) -> Result<()> {
    good(
        test::run(repository, &Defaults::parse_from(["ci"]).test)?,
        "tests",
    )
}

/// As many seeds as a change can wait for.
fn disturb(repository: &Path) -> Result<()> {
    good(
        chaos::run(repository, &Chaos::parse_from(["ci", "--seeds", "25"]).chaos)?,
        "the chaos campaign",
    )
}

fn play(repository: &Path) -> Result<()> {
    good(
        demo::run(repository, &Demo::parse_from(["ci", "--once"]).demo)?,
        "the demo",
    )
}

fn good(code: ExitCode, what: &str) -> Result<()> {
    if code == ExitCode::SUCCESS {
        Ok(())
    } else {
        bail!("{what} failed")
    }
}

/// The tests as they are without arguments.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    test: test::Args,
}

#[derive(Parser)]
struct Chaos {
    #[command(flatten)]
    chaos: chaos::Args,
}

#[derive(Parser)]
struct Demo {
    #[command(flatten)]
    demo: demo::Args,
}

fn docs(repository: &Path) -> Result<()> {
    let mdbook = tool(repository, "mdbook", MDBOOK, &["--no-default-features"])?;
    workspace::run(
        "book",
        Command::new(mdbook)
            .current_dir(repository)
            .args(["build", "docs"]),
    )?;
    let mut rustdoc = cargo(repository);
    rustdoc
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings");
    workspace::run("rustdoc", &mut rustdoc)
}

/// Licences, sources, duplicates. Advisories are left out: their database is no part of a build.
fn deny(repository: &Path) -> Result<()> {
    let deny = tool(repository, "cargo-deny", CARGO_DENY, &[])?;
    let arguments = ["--workspace", "--locked", "check", "licenses", "bans", "sources"];
    workspace::run(
        "cargo-deny",
        Command::new(deny).current_dir(repository).args(arguments),
    )
}

/// A program from the package registry, built once; the version is part of its folder's name.
fn tool(repository: &Path, name: &str, version: &str, features: &[&str]) -> Result<PathBuf> {
    let folder = repository.join("target/tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        let mut install = cargo(repository);
        install
            .args(["install", name, "--locked", "--version", version])
            .args(features)
            .arg("--root")
            .arg(&folder);
        workspace::run(name, &mut install).with_context(|| format!("failed to install {name}"))?;
    }
    Ok(program)
}
