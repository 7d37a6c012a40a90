//! The program `capstan-worker`: `join` a master once, `run` from then on; `supervise` is for `run` alone.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use capstan_model::SystemClock;
use capstan_wire::join::Join;
use capstan_worker::join::{Wish, join};
use capstan_worker::{daemon, supervise};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Runs commands for a Capstan master.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Join a master with the join string that `capstan worker invite NAME` printed there.
    Join(JoinArgs),
    /// Serve the master until told to stop. Running commands go on without this process.
    Run {
        #[command(flatten)]
        place: Place,
    },
    /// Supervise one command; started by `run`.
    #[command(hide = true)]
    Supervise {
        /// The command's folder; without it, wait to be told.
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Place {
    /// The worker's folder.
    #[arg(long, default_value = "capstan-worker")]
    dir: PathBuf,
}

#[derive(Args)]
struct JoinArgs {
    /// The join string; good for one use.
    string: String,
    #[command(flatten)]
    place: Place,
    /// How many builds at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// A word that builders can ask for; may be repeated.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Replace the worker that the folder holds.
    #[arg(long)]
    force: bool,
    /// Only show what the join string says; it stays unused.
    #[arg(long)]
    name_check: bool,
    /// Go on as `run` does.
    #[arg(long)]
    run: bool,
}

/// The status of a worker that its master has sent away: a service manager is not to start it again, because it would only push
/// aside another one with a copy of its folder, which is started again, too.
const DISMISSED: u8 = 3;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Join(args) => joined(args),
        Command::Run { place } => run(&place.dir),
        Command::Supervise { dir } => dir
            .map_or_else(
                || supervise::wait(&SystemClock),
                |dir| supervise::supervise(&dir, &SystemClock),
            )
            .map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capstan-worker: {error:#}");
            match error.downcast_ref() {
                Some(daemon::Error::Dismissed(_)) => ExitCode::from(DISMISSED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(dir: &Path) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("CAPSTAN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .init();
    if let Some(file) = SystemClock::offset_file() {
        tracing::warn!(file = %file.display(), "the clock is moved by a number in a file: this is for tests only");
    }
    Ok(daemon::main(dir, Arc::new(SystemClock))?)
}

fn joined(args: JoinArgs) -> anyhow::Result<()> {
    let invitation: Join = args.string.parse()?;
    if args.name_check {
        println!("worker:    {}", invitation.name);
        println!("master:    {}", invitation.addresses.join(", "));
        println!("authority: {}", invitation.authority);
        return Ok(());
    }
    let wish = Wish {
        slots: args.slots,
        labels: args.labels,
        force: args.force,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let member = runtime.block_on(join(&invitation, &args.place.dir, wish))?;
    drop(runtime);
    println!(
        "joined as {}; start it with `capstan-worker run --dir {}`",
        member.name,
        args.place.dir.display()
    );
    if args.run { run(&args.place.dir) } else { Ok(()) }
}
