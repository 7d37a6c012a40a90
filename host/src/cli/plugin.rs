//! The command line of `capstan plugin`.

use std::path::PathBuf;

use capstan_model::Digest;
use capstan_model::plugin::Kind;
use capstan_pack::Language;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Begin a plugin: a folder that builds and passes its test at once
    New(NewArguments),
    /// Build a plugin project into one file
    Build(BuildArguments),
    /// Run a plugin's scenario files against it
    Test(TestArguments),
    /// Show what a plugin file says of itself, and what it can do
    Inspect(InspectArguments),
    /// Compare two versions of a plugin: parameters, rights, limits
    Diff(DiffArguments),
    /// Show what a plugin asks for, and grant it in capstan.toml
    Grant(GrantArguments),
    /// Bring a plugin file into the farm's plugin folder and accept it
    Install(InstallArguments),
    /// List plugins: built in and from the plugin folder, with what keeps them from working
    List,
    /// List what plugins were refused, and what would grant it
    Audit(AuditArguments),
    /// Take a plugin out of the farm's plugin folder
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
pub struct NewArguments {
    /// What it does: step, scheduler, change-source, reporter or generator
    #[arg(value_parser = kind)]
    pub kind: Kind,
    /// Its name in configurations: lower-case words joined by hyphens
    pub name: String,
    /// What it is written in: rust, python, javascript or c
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    pub lang: Language,
    /// The folder to make; by default one of the plugin's name here
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BuildArguments {
    /// The project's folder, the one with plugin.toml
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The file to write; by default NAME.wasm in the project's folder
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct TestArguments {
    /// The project's folder, whose scenarios are tests/*.toml, or one scenario file
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// The plugin file to test, instead of NAME.wasm in the project's folder
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// Run each scenario so many times, and say how many calls that were a second
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repeat: u32,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The plugin file
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The plugin file in use
    pub old: PathBuf,
    /// The plugin file to take its place
    pub new: PathBuf,
}

#[derive(Debug, Args)]
pub struct GrantArguments {
    /// The plugin's name
    pub name: String,
    /// Its kind, where several plugins have that name
    #[arg(long, value_parser = kind)]
    pub kind: Option<Kind>,
    /// Grant everything that it asks for
    #[arg(long, conflicts_with = "only")]
    pub all: bool,
    /// Grant only this, such as `http=https://chat.example.org/*`; may be given several times
    #[arg(long, value_name = "RIGHT=PATTERN")]
    pub only: Vec<String>,
    /// Write without asking once more
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct InstallArguments {
    /// The plugin file, or an https address
    #[arg(value_name = "FILE|URL")]
    pub source: String,
    /// The SHA-256 that it must have
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<Digest>,
}

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// Only of the plugin of this name
    pub name: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = kind)]
    pub kind: Option<Kind>,
    /// How many of each plugin
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// The plugin's name
    pub name: String,
    /// Its kind, where several plugins have the name
    #[arg(long, value_parser = kind)]
    pub kind: Option<Kind>,
    /// Remove it even if the configuration uses it
    #[arg(long)]
    pub force: bool,
}

fn kind(word: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    known.ok_or_else(|| {
        format!("expected step, scheduler, change-source, reporter or generator, found `{word}`")
    })
}
