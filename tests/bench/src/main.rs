//! `capstan-bench`: measures the real programs, and in the same run the machine's own limit beside each figure. Called by
//! `cargo xtask bench`. A reader starts with [`row`], then one file of [`rows`].

mod builders;
mod clock;
mod crowd;
mod emit;
mod launch;
mod limit;
mod measured;
mod past;
mod report;
mod row;
mod rows;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use capstan_tests::process;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use report::Outcome;
use row::{Bench, Row};

/// Measures the farm and the machine.
#[derive(Parser)]
#[command(name = "capstan-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Print the rows that there are
    #[arg(long)]
    list: bool,
    /// Small counts: shows that the rows work, not what they measure
    #[arg(long)]
    quick: bool,
    /// How often each row is repeated; its figure is the median [default: 3, 1 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    repeat: Option<u8>,
    /// The folder with capstan and capstan-worker [default: the one of this program]
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The rows to measure [default: all]
    rows: Vec<String>,
    #[command(subcommand)]
    command: Option<Helper>,
}

/// What this program does as a command of the farm that it measures.
#[derive(Subcommand)]
enum Helper {
    /// Prints lines
    #[command(hide = true)]
    Emit(emit::Args),
}

fn main() -> Result<ExitCode> {
    if limit::idle_connections::serve_if_told()? {
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    if let Some(Helper::Emit(args)) = cli.command {
        emit::run(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.list {
        for row in rows::ALL {
            println!("{:<12} {}", row.name, row.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&cli.rows)?;
    let scratch = tempfile::Builder::new().prefix("capstan-bench-").tempdir()?;
    end_on_signals(scratch.path().to_owned());
    let bench = Bench {
        programs: cli.programs.map_or_else(beside, |folder| {
            std::path::absolute(&folder).context("failed to find the folder of the programs")
        })?,
        scratch: scratch.path().to_owned(),
        quick: cli.quick,
        repeat: usize::from(cli.repeat.unwrap_or(if cli.quick { 1 } else { 3 })),
    };
    let outcomes: Vec<_> = chosen.into_iter().map(|row| measure(&bench, row)).collect();
    if cli.json {
        println!("{}", report::json(&outcomes, bench.quick, bench.repeat));
    } else {
        print!("{}", report::table(&outcomes));
    }
    Ok(if outcomes.iter().all(|outcome| outcome.lines.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The rows of these names, in the order of the table; all of them if none is named.
fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    for name in names {
        if !rows::ALL.iter().any(|row| row.name == name) {
            let known: Vec<_> = rows::ALL.iter().map(|row| row.name).collect();
            bail!("expected a row of {}; found `{name}`", known.join(", "));
        }
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(rows::ALL.iter().filter(wanted).collect())
}

fn measure(bench: &Bench, row: &'static Row) -> Outcome {
    eprintln!("{}: {}", row.name, row.what);
    let start = Instant::now();
    let lines = (row.run)(bench);
    match &lines {
        Ok(_) => eprintln!("{}: done in {:.1} s", row.name, start.elapsed().as_secs_f64()),
        Err(error) => eprintln!("{}: failed: {error:#}", row.name),
    }
    Outcome { row: row.name, lines }
}

/// Lets Ctrl-C leave nothing behind: farms are in process groups of their own, which the terminal does not reach.
fn end_on_signals(scratch: PathBuf) {
    std::thread::spawn(move || {
        let asked = || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    interrupted = tokio::signal::ctrl_c() => interrupted?,
                    _ = terminate.recv() => {}
                }
                Ok(())
            })
        };
        if let Err(error) = asked() {
            eprintln!("failed to listen for signals, Ctrl-C will leave processes behind: {error:#}");
            return;
        }
        process::end_all_under(&scratch);
        // Nobody is left to tell if it stays.
        let _ = std::fs::remove_dir_all(&scratch);
        std::process::exit(130);
    });
}

/// The folder of this program.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    own.parent()
        .map(PathBuf::from)
        .context("expected this program in a folder")
}
