//! `cargo xtask test`: every test there is, and their number. Calls cargo for each workspace, lets its output through and
//! adds up the results.

mod browser;
pub mod postgres;
mod tally;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use capstan_pack::{Language, Toolbox};

use crate::workspace::{self, cargo};
use tally::Tally;

/// Which tests.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out what needs PostgreSQL
    #[arg(long)]
    no_postgres: bool,
    /// Leave out what needs Chromium
    #[arg(long)]
    no_browser: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Runs the tests. The last line of its output is the sum.
pub fn run(repository: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if !args.no_postgres {
        postgres::require()?;
    }
    if !args.no_browser {
        browser::require()?;
    }
    workspace::plugins(repository)?;
    workspace::build(repository, "--all-targets")?;
    let mut tally = Tally::default();
    left_out(repository, args)
        .into_iter()
        .for_each(|part| tally.leave_out(part));
    for (name, mut command) in suites(repository, args) {
        println!("\n== {name}");
        run_suite(name, &mut command, &mut tally)?;
    }
    println!("\n{tally}");
    Ok(if tally.succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The native workspace, and that of the plugins and their SDK, which run natively here.
fn suites(repository: &Path, args: &Args) -> [(&'static str, Command); 2] {
    let test = ["test", "--workspace", "--locked", "--no-fail-fast"];
    let mut native = cargo(repository);
    native.args(test);
    if args.no_postgres {
        native.env("CAPSTAN_NO_POSTGRES", "1");
    }
    if args.no_browser {
        native.args(["--exclude", browser::PACKAGE]);
    }
    let mut plugins = cargo(repository);
    plugins.args(test).args(["--manifest-path", "plugins/Cargo.toml"]);
    plugins.args(["--target-dir", "target/guests/native"]);
    native.args(&args.filter);
    plugins.args(&args.filter);
    [("native workspace", native), ("plugins and SDK", plugins)]
}

/// What these tests do not cover here, and why.
fn left_out(repository: &Path, args: &Args) -> Vec<String> {
    let mut parts = Vec::new();
    if args.no_postgres {
        parts.push("PostgreSQL (--no-postgres)".to_owned());
    }
    if args.no_browser {
        parts.push("the pages in a browser (--no-browser)".to_owned());
    }
    if let Some(filter) = &args.filter {
        parts.push(format!("tests without `{filter}` in their names"));
    }
    if !capstan_tests::small_disk::is_allowed() {
        parts.push("a full disk (no private mount namespace is allowed here)".to_owned());
    }
    let tools = Toolbox::new(repository.join("target/conformance/tools"), |_| {});
    let missing = Language::ALL
        .into_iter()
        .filter(|&language| !capstan_pack::is_installed(language, &tools));
    parts.extend(missing.map(|language| format!("plugins in {language} (`cargo xtask ci languages`)")));
    parts
}

fn run_suite(name: &str, command: &mut Command, tally: &mut Tally) -> anyhow::Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start cargo")?;
    let output = child.stdout.take().context("a pipe was asked for")?;
    let mut screen = std::io::stdout().lock();
    // By line and as bytes: a test may print anything.
    for line in BufReader::new(output).split(b'\n') {
        let mut line = line?;
        tally.read(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        screen.write_all(&line)?;
    }
    drop(screen);
    if !child.wait()?.success() {
        tally.fail(name);
    }
    Ok(())
}
