//! `cargo xtask plugins`: finds a Rust that compiles for the bare WASM target, builds the guest workspaces with it and
//! packs each guest into one file. Everything it makes is under `target/guests`, whatever cargo's own target folder is.

mod build;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};

use build::{Packed, Workspace};
use capstan_pack::Toolbox;
use capstan_pack::rust::{self, Compiler, remove};

/// How plugins are built.
#[derive(clap::Args)]
pub struct Args {
    /// Where the compiler comes from
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    compiler: Way,
    /// Throw away what was built before
    #[arg(long)]
    clean: bool,
    /// Build a second time from nothing and compare the bytes
    #[arg(long)]
    check_reproducible: bool,
}

/// Where the compiler comes from.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Way {
    /// The first way that works
    Auto,
    /// A toolchain of rustup, to which the target is added if it is missing
    Rustup,
    /// A compiler with the standard library's sources, such as Debian's rustc-web
    Debian,
}

impl Way {
    fn tools(self, cache: &Path) -> Toolbox {
        Toolbox {
            compiler: match self {
                Self::Auto => rust::Way::Auto,
                Self::Rustup => rust::Way::Rustup,
                Self::Debian => rust::Way::Debian,
            },
            install: true,
            ..Toolbox::new(cache, |line| println!("plugins: {line}"))
        }
    }
}

/// The folders in the repository that this task reads and writes.
struct Places {
    repository: PathBuf,
    guests: PathBuf,
}

impl Places {
    fn workspaces(&self) -> Vec<Workspace> {
        let workspace = |folder: &str, output: &str| Workspace {
            folder: self.repository.join(folder),
            output: self.guests.join(output),
        };
        let all = [
            workspace("plugins", "builtin"),
            workspace("tests/guests", "fixtures"),
        ];
        all.into_iter()
            .filter(|w| w.folder.join("Cargo.toml").is_file())
            .collect()
    }
}

/// Builds everything and says what came of it.
pub fn run(repository: &Path, args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let places = Places {
        repository: repository.to_owned(),
        guests: repository.join("target/guests"),
    };
    fs::create_dir_all(&places.guests).with_context(|| format!("create {}", places.guests.display()))?;
    let _only_one = lock(&places.guests.join(".lock"))?;
    let compiler = rust::find(&args.compiler.tools(&places.guests))?;
    println!("plugins: {compiler}");
    let target = places.guests.join("cargo").join(compiler.key());
    if args.clean {
        remove(&target)?;
    }
    for workspace in places.workspaces() {
        let packed = build::build(&places, &workspace, &compiler, &target)?;
        report::print(&places, &packed);
        if args.check_reproducible {
            check_reproducible(&places, &workspace, &compiler, &packed)?;
        }
    }
    println!("plugins: done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// A change of the folders' names must not show either, so the second target folder has another name.
fn check_reproducible(
    places: &Places,
    workspace: &Workspace,
    compiler: &Compiler,
    first: &[Packed],
) -> anyhow::Result<()> {
    let again = places.guests.join("again");
    remove(&again)?;
    let second = Workspace {
        folder: workspace.folder.clone(),
        output: again.join("output"),
    };
    let second = build::build(places, &second, compiler, &again.join("cargo"))?;
    ensure!(
        first.len() == second.len(),
        "expected {} plugins in both builds, found {}",
        first.len(),
        second.len()
    );
    for (a, b) in first.iter().zip(&second) {
        let (name, one, two) = (&a.name, &a.digest, &b.digest);
        ensure!(
            one == two,
            "expected the same bytes from two builds of {name}, found {one} and {two}"
        );
    }
    println!(
        "plugins: two builds of {} gave the same bytes",
        workspace.folder.display()
    );
    remove(&again)
}

/// Two runs at a time would write the same files.
fn lock(path: &Path) -> anyhow::Result<fs::File> {
    let file = fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("plugins: waiting for another run, which holds {}", path.display());
        file.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}
