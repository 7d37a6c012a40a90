//! The command line, as clap sees it.

mod plugin;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use plugin::{
    BuildArguments, DiffArguments, GrantArguments, InspectArguments, InstallArguments, NewArguments,
    PluginCommand, RemoveArguments, TestArguments,
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
    /// Check the configuration and show the plan that it makes
    Check,
    /// Run the master in the foreground
    Run,
    /// Make a running master read its configuration and plugin folder again
    Reload,
    /// Invite, list, pause and revoke workers
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Ask for a build
    Force(ForceArguments),
    /// Stop a running build
    Stop {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
        /// Why, for people
        #[arg(long, default_value = "stopped on the command line")]
        reason: String,
    },
    /// List builds, newest first
    Builds {
        /// Only of this builder
        #[arg(long)]
        builder: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Look at one build
    #[command(subcommand)]
    Build(BuildCommand),
    /// Print a log
    Log(LogArguments),
    /// Run a step's plugin again on its recorded journal, without any effect
    Replay(ReplayArguments),
    /// List changes, newest first
    Changes {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Write, build, look at and install plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List plugins: the same as `plugin list`
    Plugins,
}

#[derive(Debug, Subcommand)]
pub enum BuildCommand {
    /// Show a build with its steps, or what its steps asked of the master
    Show(ShowArguments),
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// `ID` or `BUILDER/NUMBER`
    pub build: String,
    /// Only this step: its name or position
    pub step: Option<String>,
    /// The journal: what each step asked of the master, and the answers
    #[arg(long)]
    pub journal: bool,
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

#[derive(Debug, Args)]
pub struct ForceArguments {
    /// The builder
    pub builder: String,
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
    /// A property, the value as JSON or plain text; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, serde_json::Value)>,
    /// Show the build live, and end with 0 only if it succeeds
    #[arg(long)]
    pub follow: bool,
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
    fn a_property_is_json_where_it_can_be() {
        assert_eq!(property("n=3").unwrap().1, serde_json::json!(3));
        assert_eq!(
            property("name=a=b").unwrap(),
            ("name".to_owned(), serde_json::json!("a=b"))
        );
    }
}
