//! `cargo xtask chaos`: builds the programs as the tests do and lets `capstan-chaos` disturb farms of them.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::test::postgres;
use crate::workspace;

/// Which seeds, and how.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 25)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Begin no seed after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Farms side by side
    #[arg(long, default_value_t = 2)]
    jobs: u8,
    /// What the farms keep their data in: sqlite or postgres
    #[arg(long, default_value = "sqlite", value_parser = ["sqlite", "postgres"])]
    database: String,
    /// Only print what happens in these seeds, and when
    #[arg(long)]
    plan: bool,
}

/// Builds the plugins and the programs, then runs the campaign.
pub fn run(repository: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if args.database == "postgres" && !args.plan {
        postgres::require()?;
    }
    workspace::plugins(repository)?;
    workspace::build(repository, "--bins")?;
    let program = workspace::programs()?.join("capstan-chaos");
    let mut campaign = Command::new(&program);
    for (flag, value) in [
        ("--seeds", args.seeds),
        ("--from", args.from),
        ("--jobs", args.jobs.into()),
    ] {
        campaign.arg(flag).arg(value.to_string());
    }
    campaign.args(["--database", &args.database]);
    if let Some(minutes) = args.minutes {
        campaign.arg("--minutes").arg(minutes.to_string());
    }
    campaign.args(args.plan.then_some("--plan"));
    let status = campaign
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    // It has said itself what went wrong.
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
