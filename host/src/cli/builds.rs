//! What `capstan build` and `capstan buildset` take.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum BuildCommand {
    /// Show a build with its steps, or what its steps asked of the master
    Show(ShowArguments),
    /// Say who may have broken a build: the authors of what came since the last good one of its branch
    Blame {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
    },
    /// Keep a build, whatever the rules of retention say
    Keep {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
        /// Why, for people
        #[arg(long, default_value = "kept on the command line")]
        reason: String,
    },
    /// Leave a build to the rules of retention again
    Unkeep {
        /// `ID` or `BUILDER/NUMBER`
        build: String,
    },
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
pub enum BuildsetCommand {
    /// Show a buildset and what became of its requests
    Show {
        /// The buildset's id
        id: i64,
    },
    /// Cancel what has not ended: requests that wait, and their builds
    Cancel {
        /// The buildset's id
        id: i64,
        /// Why, for people
        #[arg(long, default_value = "cancelled on the command line")]
        reason: String,
    },
    /// Build a buildset again, at the revisions that it built
    Rebuild {
        /// The buildset's id
        id: i64,
        /// Only the builders whose requests did not go well
        #[arg(long)]
        failed: bool,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
    },
}
