//! The command line, as clap sees it.

mod builds;
mod changes;
mod plugin;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use builds::{BuildCommand, BuildsetCommand, ShowArguments};
pub use changes::{ChangeCommand, SendArguments, TryArguments};
pub use plugin::{
    AuditArguments, BuildArguments, DiffArguments, GrantArguments, InspectArguments, InstallArguments,
    NewArguments, PluginCommand, RemoveArguments, TestArguments,
};

/// A continuous-integration framework whose every policy is a WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "capstan", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The farm's folder, the one with capstan.toml
    #[arg(
        long,
        global = true,
        default_value = ".",
        value_name = "DIR",
        env = "CAPSTAN_FARM"
    )]
    pub farm: PathBuf,
    /// The address of a running master, if it is not the farm's own
    #[arg(long, global = true, value_name = "URL", env = "CAPSTAN_URL")]
    pub url: Option<String>,
    /// The control token, if it is not the farm's own
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "CAPSTAN_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new farm: capstan.toml, ci.star, a control token
    Init {
        /// Where; made if it does not exist
        folder: Option<PathBuf>,
    },
    /// Check the configuration and say how much it defines
    Check {
        /// List the builders
        #[arg(long)]
        builders: bool,
    },
    /// Show the plan that the configuration makes
    Plan {
        /// Show only what a reload would change in the running master; the exit code is 2 if that is something, 0 if not
        #[arg(long)]
        diff: bool,
    },
    /// Run the master in the foreground
    Run,
    /// Make a running master read its configuration and plugin folder again
    Reload,
    /// Invite, list, pause and revoke workers
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Ask a builder for a build, or a scheduler for what it builds
    Force(ForceArguments),
    /// Ask a scheduler to build a patch that is not committed
    Try(TryArguments),
    /// List schedulers, look at their forms, switch them on and off
    #[command(subcommand)]
    Scheduler(SchedulerCommand),
    /// Stop a running build
    Stop {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
        /// Why, for people
        #[arg(long, default_value = "stopped on the command line")]
        reason: String,
    },
    /// Build the same again: the same revision with the same properties
    Rebuild {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
    },
    /// Cancel a request that waits
    Cancel {
        /// The request's id
        request: i64,
        /// Why, for people
        #[arg(long, default_value = "cancelled on the command line")]
        reason: String,
    },
    /// Look at requests that were made together, cancel them, build them again
    #[command(subcommand)]
    Buildset(BuildsetCommand),
    /// List builds, newest first
    Builds {
        /// Only of this builder
        #[arg(long)]
        builder: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Say why a request has not started, or what became of it
    Why {
        /// The request's id
        request: i64,
    },
    /// Look at one build
    #[command(subcommand)]
    Build(BuildCommand),
    /// Print a log
    Log(LogArguments),
    /// List and fetch what the steps of a build stored
    #[command(subcommand)]
    Artefact(ArtefactCommand),
    /// Run a step's plugin again on its recorded journal, without any effect
    Replay(ReplayArguments),
    /// Take in changes that no change source finds
    #[command(subcommand)]
    Change(ChangeCommand),
    /// List changes, newest first
    Changes {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// List reports, and have told after all what was given up
    #[command(subcommand)]
    Report(ReportCommand),
    /// Say what there is, and what the rules of retention would remove
    Retention {
        #[command(subcommand)]
        command: Option<RetentionCommand>,
    },
    /// Write, build, look at and install plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List plugins: the same as `plugin list`
    Plugins,
    /// Look at the pipeline of a repository
    #[command(subcommand)]
    Pipeline(PipelineCommand),
}

#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// Evaluate a pipeline's file as the master would, and say which steps it has or what is wrong
    Check {
        /// The file; what it loads is taken from the same repository
        file: PathBuf,
        /// Only what this builder of the farm allows; otherwise all built-in steps and any secret
        #[arg(long)]
        builder: Option<String>,
    },
    /// Evaluate a pipeline for a master, within limits
    #[command(hide = true)]
    Evaluate,
}

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Carry the rules out now, and say what was removed
    Run,
}

#[derive(Debug, Subcommand)]
pub enum ArtefactCommand {
    /// List the artefacts of a build
    List {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
    },
    /// Fetch an artefact; the file is there only when all of it is
    Get {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
        /// The artefact's name
        name: String,
        /// The file or folder to write to, `-` for standard output; by default the last word of the name, here
        #[arg(short = 'o', long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// List reports, newest first
    List {
        /// Only those that were given up
        #[arg(long)]
        parked: bool,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Have a parked report delivered after all
    Retry {
        /// The report's id
        #[arg(required_unless_present = "all")]
        id: Option<i64>,
        /// Every parked report
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Print a join string, good for one use
    Invite {
        /// The worker's name
        name: String,
        /// How long it is good for: seconds, or 30s, 20min, 24h
        #[arg(long, default_value = "24h", value_parser = duration)]
        ttl: Duration,
    },
    /// List workers
    List,
    /// Give a worker no new builds
    Pause {
        /// The worker's name
        name: String,
        /// Why, for people
        #[arg(long, default_value = "paused on the command line")]
        reason: String,
    },
    /// Give a worker builds again
    Unpause {
        /// The worker's name
        name: String,
    },
    /// End a worker's membership; a new invitation lets it join again
    Revoke {
        /// The worker's name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum SchedulerCommand {
    /// List schedulers
    List,
    /// Show what a scheduler asks for
    Form {
        /// The scheduler
        name: String,
    },
    /// Switch a scheduler on
    Enable {
        /// The scheduler
        name: String,
    },
    /// Switch a scheduler off, across restarts; what happens meanwhile is dropped
    Disable {
        /// The scheduler
        name: String,
    },
}

/// What a scheduler is asked for.
#[derive(Debug, Args)]
pub struct AskedArguments {
    /// Only this builder of the scheduler; may be repeated
    #[arg(long = "on", visible_alias = "builder", value_name = "BUILDER")]
    pub on: Vec<String>,
    /// The codebase that branch, revision and repository are of
    #[arg(long, default_value = "")]
    pub codebase: String,
    /// The branch; the repository's default if none
    #[arg(long)]
    pub branch: Option<String>,
    /// The revision; the newest of the branch if none
    #[arg(long)]
    pub revision: Option<String>,
    /// The repository, where the builder's steps name none
    #[arg(long)]
    pub repository: Option<String>,
    /// Why, for people
    #[arg(long)]
    pub reason: Option<String>,
    /// Who asks, for people
    #[arg(long, env = "USER", hide_env_values = true)]
    pub owner: Option<String>,
    /// A property, the value as JSON or plain text; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, serde_json::Value)>,
    /// Show the build live, and end with 0 only if it succeeds
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct ForceArguments {
    /// The builder or scheduler
    pub name: String,
    /// A field of the scheduler's form; of a group, `GROUP.FIELD`; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = field)]
    pub values: Vec<(String, serde_json::Value)>,
    /// A field of the scheduler's form, from a file; may be repeated
    #[arg(long = "set-file", value_name = "NAME=FILE", value_parser = file)]
    pub files: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub asked: AskedArguments,
}

#[derive(Debug, Args)]
pub struct LogArguments {
    /// `ID` or `BUILDER/NUMBER`
    pub build: String,
    /// The step's name or position
    pub step: String,
    /// The log's name; the step's first if none
    pub log: Option<String>,
    /// Go on until the log is complete
    #[arg(long)]
    pub follow: bool,
    /// The bytes as they came, of standard output and standard error
    #[arg(long)]
    pub raw: bool,
}

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// `ID` or `BUILDER/NUMBER`
    #[arg(required_unless_present = "from", requires = "step")]
    pub build: Option<String>,
    /// The step's name or position
    pub step: Option<String>,
    /// Another build of the plugin, instead of the one that the step ran with
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// Take journal and plugin from a saved file; needs no master
    #[arg(long, value_name = "FILE", conflicts_with_all = ["build", "step", "save"])]
    pub from: Option<PathBuf>,
    /// Write journal and plugin into one file instead, to be replayed elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "plugin")]
    pub save: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "min" | "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => {
            return Err(format!(
                "expected seconds, or a number with s, min, h or d, found `{text}`"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("expected a number before the unit, found `{text}`"))?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// The form says what a value is: `1.10` stays as it is written. Only lists and objects are JSON.
fn field(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = named(text)?;
    let json = value
        .starts_with(['[', '{'])
        .then(|| serde_json::from_str(value).ok());
    let value = json.flatten().unwrap_or_else(|| value.into());
    Ok((name.to_owned(), value))
}

fn file(text: &str) -> Result<(String, PathBuf), String> {
    named(text).map(|(name, path)| (name.to_owned(), path.into()))
}

fn named(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("expected NAME=VALUE, found `{text}`"))
}

fn property(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE, found `{text}`"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_known_unit() {
        assert_eq!(duration("24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        assert!(duration("1 week").unwrap_err().contains("expected"));
    }

    #[test]
    fn a_field_of_a_form_stays_as_it_is_written() {
        assert_eq!(field("version=1.10").unwrap().1, serde_json::json!("1.10"));
        assert_eq!(field("on=[\"a\"]").unwrap().1, serde_json::json!(["a"]));
        assert_eq!(field("text=[odd").unwrap().1, serde_json::json!("[odd"));
        assert!(field("=x").is_err() && field("x").is_err());
    }

    #[test]
    fn a_property_is_json_where_it_can_be() {
        assert_eq!(property("n=3").unwrap().1, serde_json::json!(3));
        assert_eq!(
            property("name=a=b").unwrap(),
            ("name".to_owned(), serde_json::json!("a=b"))
        );
    }
}
