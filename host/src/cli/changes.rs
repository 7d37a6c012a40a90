//! What `capstan change` and `capstan try` take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AskedArguments, property};

#[derive(Debug, Subcommand)]
pub enum ChangeCommand {
    /// Tell the schedulers of a change, as a change source would
    Send(SendArguments),
}

#[derive(Debug, Args)]
pub struct SendArguments {
    /// The revision
    #[arg(long)]
    pub revision: String,
    /// Who made it
    #[arg(long, env = "USER", hide_env_values = true)]
    pub author: String,
    /// The branch; the repository's default if none
    #[arg(long)]
    pub branch: Option<String>,
    /// The repository, as workers reach it
    #[arg(long, default_value = "")]
    pub repository: String,
    /// The project
    #[arg(long, default_value = "")]
    pub project: String,
    /// The codebase, where builds have several
    #[arg(long, default_value = "")]
    pub codebase: String,
    /// What the author says about it
    #[arg(long, default_value = "")]
    pub comments: String,
    /// A file that it touches; may be repeated; none is any of them
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<String>,
    /// A classification for filters
    #[arg(long)]
    pub category: Option<String>,
    /// A property, the value as JSON or plain text; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, serde_json::Value)>,
    /// When it was made, in seconds since 1970; now if none
    #[arg(long, value_name = "SECONDS")]
    pub when: Option<i64>,
    /// The same key again is the same change
    #[arg(long)]
    pub key: Option<String>,
}

#[derive(Debug, Args)]
pub struct TryArguments {
    /// The scheduler; the only one that takes patches if none
    pub scheduler: Option<String>,
    /// The patch, a unified diff; `-` is standard input; by default what the working tree here has and its base has not
    #[arg(long, visible_alias = "patch", value_name = "FILE")]
    pub diff: Option<PathBuf>,
    /// The revision that the working tree is compared with; by default where it left its upstream branch
    #[arg(long, value_name = "REVISION", conflicts_with = "diff")]
    pub base: Option<String>,
    /// How many leading folders of the patch's paths to leave out
    #[arg(long, default_value_t = 1)]
    pub level: u32,
    /// The folder of the checkout that the patch applies to
    #[arg(long, default_value = "", value_name = "DIR")]
    pub subdirectory: String,
    /// What the patch is about, for people
    #[arg(long, default_value = "")]
    pub comment: String,
    #[command(flatten)]
    pub asked: AskedArguments,
}
