//! `capstan pipeline check`: looks at the pipeline of a repository before it is pushed. And the process in which the master has one
//! evaluated, which shuts itself in before it reads anything.

use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use capstan_config::PluginInfo;
use capstan_config::pipeline::{Answer, Request, check};
use capstan_master::Configured;
use capstan_model::plan::Step;
use capstan_model::plugin::Kind;
use capstan_model::{Digest, Pipeline, counted};
use nix::sys::resource::{Resource, setrlimit};

use super::check::{evaluate as configuration, good};
use crate::cli::Common;
use crate::output::{fail, print, print_error, print_json};

/// Bytes that the process that evaluates may map: the program itself, a stack, and 64 MiB of values.
const MEMORY: u64 = 768 << 20;
/// Seconds that it may compute.
const SECONDS: u64 = 20;
/// Standard input, output and error, which are open.
const DESCRIPTORS: u64 = 3;

/// Evaluates what standard input says, for a master.
pub fn serve() -> ExitCode {
    let served = shut_in().and_then(|()| {
        let (input, output) = (std::io::BufReader::new(std::io::stdin()), std::io::stdout());
        capstan_config::pipeline::serve(input, output).context("failed to talk to the master")
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// From here on no file can be opened, nothing can be written to one, and memory and time have an end.
fn shut_in() -> anyhow::Result<()> {
    let limits = [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CPU, SECONDS),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, most, most).with_context(|| format!("failed to limit {resource:?}"))?;
    }
    Ok(())
}

/// Checks a file of the folder that the command is called in.
pub async fn run(common: &Common, file: &Path, builder: Option<&str>) -> anyhow::Result<ExitCode> {
    let (folder, file) = located(file)?;
    let request = match builder {
        Some(builder) => match good(configuration(common).await?) {
            Some(configured) => allowed_by(&configured, builder, file)?,
            None => return Ok(ExitCode::FAILURE),
        },
        None => anything(file)?,
    };
    let answer = tokio::task::spawn_blocking(move || check(&folder, &request)).await?;
    let failed = answer.fault.is_some();
    if common.json {
        print_json(&serde_json::to_value(&answer)?);
    } else {
        show(&answer);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn show(answer: &Answer) {
    if !answer.told.is_empty() {
        print_error(answer.told.trim_end());
    }
    if answer.fault.is_none() {
        let lines = answer.steps.iter().map(|step| {
            let Step { name, plugin, .. } = step;
            format!("  {name} ({}, {})", plugin.plugin, plugin.location)
        });
        let steps = counted(answer.steps.len() as u64, "step");
        print(&format!(
            "The pipeline is good. It has {steps}:\n{}",
            lines.collect::<Vec<_>>().join("\n")
        ));
    }
}

/// The top of the repository that the file is in, and the file's path from there; outside of any it is the current folder.
fn located(file: &Path) -> anyhow::Result<(PathBuf, String)> {
    let here = std::env::current_dir().context("failed to find the current folder")?;
    let whole = here.join(file);
    ensure!(
        whole
            .components()
            .all(|part| !matches!(part, Component::ParentDir)),
        "expected a file below the current folder, found {}",
        file.display()
    );
    let folder = whole.parent().unwrap_or(&here);
    let top = folder.ancestors().find(|folder| folder.join(".git").exists());
    let top = top.unwrap_or(&here).to_owned();
    let inside = whole.strip_prefix(&top).ok().and_then(Path::to_str);
    let Some(inside) = inside else {
        bail!(
            "expected a file below {}, found {}",
            top.display(),
            file.display()
        );
    };
    let plain = Path::new(inside)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    let plain: PathBuf = plain.collect();
    Ok((top, plain.to_string_lossy().into_owned()))
}

/// What a builder of the farm allows its pipeline.
fn allowed_by(configured: &Configured, builder: &str, file: String) -> anyhow::Result<Request> {
    let found = configured.plan.builder(builder);
    let found =
        found.with_context(|| format!("expected a builder of the configuration, found `{builder}`"))?;
    let pipelines = || found.steps.iter().filter_map(|step| Pipeline::of(&step.plugin));
    let of_file = pipelines().find(|pipeline| pipeline.file == file);
    let pipeline = of_file.or_else(|| pipelines().next());
    let pipeline = pipeline.with_context(|| {
        format!("expected a builder with pipeline(…) among its steps, found `{builder}` without one")
    })?;
    let allowed = pipeline.allow.iter().map(|step| {
        let plugin = configured.registry.by_digest(step.digest);
        let plugin = plugin.with_context(|| format!("expected the plugin `{}`, found none", step.plugin))?;
        Ok(PluginInfo::new(plugin.manifest().clone(), plugin.digest()))
    });
    Ok(Request {
        file,
        builder: builder.to_owned(),
        allowed: allowed.collect::<anyhow::Result<_>>()?,
        secrets: Some(pipeline.secrets),
        workdir: pipeline.workdir,
    })
}

/// All built-in steps, and any secret.
fn anything(file: String) -> anyhow::Result<Request> {
    Ok(Request {
        file,
        builder: "any".to_owned(),
        allowed: built_in()?,
        secrets: None,
        workdir: None,
    })
}

/// The built-in steps.
fn built_in() -> anyhow::Result<Vec<PluginInfo>> {
    let infos = capstan_builtin::components().iter().map(|(name, bytes)| {
        let outside =
            capstan_engine::inspect(bytes).with_context(|| format!("failed to read the plugin {name}"))?;
        Ok(PluginInfo::new(outside.manifest, Digest::of(bytes)))
    });
    let infos = infos.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(infos.into_iter().filter(|info| info.kind == Kind::Step).collect())
}
