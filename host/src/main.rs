//! The master's program, `capstan`: makes a farm, checks its configuration, runs it, and talks to a running one.
//!
//! `run` wires the crates together and serves; every other command that needs a running master is a client of its REST
//! interface.

mod cli;
mod client;
mod commands;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{
    ArtefactCommand, BuildCommand, ChangeCommand, Cli, Command, PipelineCommand, ReportCommand,
    RetentionCommand, SchedulerCommand, WorkerCommand,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Alone, and before anything else is there.
    if matches!(cli.command, Command::Pipeline(PipelineCommand::Evaluate)) {
        return commands::pipeline::serve();
    }
    // The master's own faults go to a file or the journal with times; a client's user sees only the last error.
    output::start_tracing(matches!(cli.command, Command::Run));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::anyhow!("failed to start the runtime: {error}")),
    };
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return output::fail(&anyhow::anyhow!("failed to install the cryptographic provider"));
    }
    let result = runtime.block_on(dispatch(cli));
    // Nothing that still waits, such as a read of standard input, may hold the program up.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => output::fail(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { common, command } = cli;
    match command {
        Command::Init { folder } => commands::init::run(&folder.unwrap_or_else(|| common.farm.clone())),
        Command::Check { builders } => commands::check::run(&common, builders).await,
        Command::Plan { diff } => commands::plan::run(&common, diff).await,
        Command::Run => serve::run(&common).await,
        Command::Reload => commands::reload::run(&common).await,
        Command::Worker(WorkerCommand::Invite { name, ttl }) => {
            commands::worker::invite(&common, &name, ttl).await
        }
        Command::Worker(WorkerCommand::List) => commands::worker::list(&common).await,
        Command::Worker(WorkerCommand::Pause { name, reason }) => {
            commands::worker::act(&common, &name, "pause", serde_json::json!({ "reason": reason })).await
        }
        Command::Worker(WorkerCommand::Unpause { name }) => {
            commands::worker::act(&common, &name, "unpause", serde_json::json!({})).await
        }
        Command::Worker(WorkerCommand::Revoke { name }) => {
            commands::worker::act(&common, &name, "revoke", serde_json::json!({})).await
        }
        Command::Force(arguments) => commands::force::run(&common, arguments).await,
        Command::Try(arguments) => commands::tries::run(&common, arguments).await,
        Command::Scheduler(SchedulerCommand::List) => commands::scheduler::list(&common).await,
        Command::Scheduler(SchedulerCommand::Form { name }) => {
            commands::scheduler::form(&common, &name).await
        }
        Command::Scheduler(SchedulerCommand::Enable { name }) => {
            commands::scheduler::switch(&common, &name, true).await
        }
        Command::Scheduler(SchedulerCommand::Disable { name }) => {
            commands::scheduler::switch(&common, &name, false).await
        }
        Command::Stop { build, reason } => commands::builds::stop(&common, &build, reason).await,
        Command::Builds { builder, limit } => commands::builds::list(&common, builder, limit).await,
        Command::Rebuild { build, reason } => {
            commands::buildset::rebuild_build(&common, &build, reason).await
        }
        Command::Cancel { request, reason } => {
            commands::buildset::cancel_request(&common, request, reason).await
        }
        Command::Buildset(command) => commands::buildset::run(&common, command).await,
        Command::Build(BuildCommand::Show(arguments)) => commands::builds::show(&common, arguments).await,
        Command::Build(BuildCommand::Blame { build }) => commands::changes::blame(&common, &build).await,
        Command::Build(BuildCommand::Keep { build, reason }) => {
            commands::retention::keep(&common, &build, Some(reason)).await
        }
        Command::Build(BuildCommand::Unkeep { build }) => {
            commands::retention::keep(&common, &build, None).await
        }
        Command::Retention { command: None } => commands::retention::show(&common).await,
        Command::Retention {
            command: Some(RetentionCommand::Run),
        } => commands::retention::run(&common).await,
        Command::Log(arguments) => commands::log::run(&common, arguments).await,
        Command::Artefact(ArtefactCommand::List { build }) => commands::artefact::list(&common, &build).await,
        Command::Artefact(ArtefactCommand::Get { build, name, out }) => {
            commands::artefact::get(&common, &build, &name, out.as_deref()).await
        }
        Command::Report(ReportCommand::List { parked, limit }) => {
            commands::report::list(&common, parked, limit).await
        }
        // Without an id it was `--all`.
        Command::Report(ReportCommand::Retry { id, all: _ }) => commands::report::retry(&common, id).await,
        Command::Replay(arguments) => commands::replay::run(&common, arguments).await,
        Command::Why { request } => commands::why::run(&common, request).await,
        Command::Changes { limit } => commands::changes::list(&common, limit).await,
        Command::Change(ChangeCommand::Send(change)) => commands::changes::send(&common, change).await,
        Command::Plugin(command) => commands::plugin::run(&common, command).await,
        Command::Pipeline(PipelineCommand::Check { file, builder }) => {
            commands::pipeline::run(&common, &file, builder.as_deref()).await
        }
        Command::Pipeline(PipelineCommand::Evaluate) => Ok(commands::pipeline::serve()),
        Command::Plugins => commands::plugin::list::run(&common).await,
    }
}
