//! `capstan plugin`: one file per command.

pub mod audit;
pub mod build;
pub mod diff;
mod file;
mod folder;
pub mod grant;
pub mod inspect;
pub mod install;
pub mod list;
pub mod new;
pub mod remove;
pub mod test;

use std::process::ExitCode;

use crate::cli::{Common, PluginCommand};

/// Does one of them.
pub async fn run(common: &Common, command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(arguments) => new::run(&arguments),
        PluginCommand::Build(arguments) => build::run(common, &arguments),
        PluginCommand::Test(arguments) => test::run(common, &arguments),
        PluginCommand::Inspect(arguments) => inspect::run(common, &arguments),
        PluginCommand::Diff(arguments) => diff::run(common, &arguments),
        PluginCommand::Grant(arguments) => grant::run(common, &arguments).await,
        PluginCommand::Install(arguments) => install::run(common, &arguments).await,
        PluginCommand::List => list::run(common).await,
        PluginCommand::Audit(arguments) => audit::run(common, &arguments).await,
        PluginCommand::Remove(arguments) => remove::run(common, &arguments).await,
    }
}
