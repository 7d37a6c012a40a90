//! `capstan-chaos`: lets seeded faults loose on real farms. Called by `cargo xtask chaos`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use capstan_chaos::campaign::{self, Campaign};
use capstan_chaos::lane::Options;
use capstan_chaos::plan::{Database, Plan};
use capstan_tests::{Programs, process, small_disk};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Lets seeded faults loose on real farms and compares what is left with a run without faults.
#[derive(Parser)]
#[command(name = "capstan-chaos")]
struct Cli {
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
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// What the farms keep their data in
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// Only print what happens in these seeds, and when
    #[arg(long)]
    plan: bool,
    /// The folder with capstan and capstan-worker [default: the one of this program]
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("the campaign failed: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    if cli.plan {
        for seed in cli.from..cli.from + cli.seeds {
            print!("{}", Plan::of(seed, cli.database));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut scratch = tempfile::Builder::new().prefix("capstan-chaos-").tempdir()?;
    if cli.database == Database::Postgres {
        use std::os::unix::fs::PermissionsExt as _;
        // The database's user has to get to its folder.
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o711))?;
    }
    end_on_signals(scratch.path())?;
    let folder = scratch.path().join("programs");
    std::fs::create_dir(&folder)?;
    let programs = Programs::in_folder(&campaign::programs(cli.programs)?)?;
    let options = Options {
        // Copies: a build that goes on beside the campaign must not change what it tests.
        programs: programs.copied_to(&folder)?,
        scratch: scratch.path().to_owned(),
        database: cli.database,
        small_disk: small_disk::is_allowed(),
    };
    let campaign = Campaign {
        from: cli.from,
        seeds: cli.seeds,
        limit: cli.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        jobs: cli.jobs.into(),
        again: format!("cargo xtask chaos --database {}", campaign::word(cli.database)),
    };
    let good = campaign.run(&options, &mut scratch);
    // A scratch folder that is kept is there for the farms in it.
    std::fs::remove_dir_all(&folder).context("failed to remove the copies of the programs")?;
    Ok(if good? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Lets Ctrl-C leave nothing behind: farms are in process groups of their own, which the terminal does not reach.
fn end_on_signals(scratch: &Path) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let scratch = scratch.to_owned();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            process::end_all_under(&scratch);
            // Nobody is left to tell if it stays.
            let _ = std::fs::remove_dir_all(&scratch);
            std::process::exit(130);
        }
    });
    Ok(())
}
