//! Makes a component of a plugin project in JavaScript, with componentize-qjs: QuickJS, and the plugin as it is in memory
//! once its module is loaded.

mod borrow;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use capstan_model::plugin::Kind;

use crate::python::{absolute, part};
use crate::run::{COMPILE, INSTALL, first_line, installed, is_ready, run};
use crate::{Project, Toolbox};

const PROGRAM: &str = "componentize-qjs";

/// The version that the SDK is tested with; the lock file holds the digests of what npm fetches.
const COMPONENTIZE_QJS: &str = "0.4.5";
const PACKAGE: &str = include_str!("javascript/package.json");
const LOCK: &str = include_str!("javascript/package-lock.json");

/// The component, without the manifest.
pub(crate) fn build(project: &Project, tools: &Toolbox) -> anyhow::Result<Vec<u8>> {
    let source = project.source()?;
    let wit = part(project, "wit")?;
    part(project, "capstan-sdk")?;
    let componentize = componentize(tools)?;
    let scratch = tempfile::tempdir()?;
    let output = scratch.path().join("component.wasm");
    tools.say(&format!(
        "componentize-qjs {COMPONENTIZE_QJS} makes a component of {}",
        source.display()
    ));
    let folder = absolute(project.folder())?;
    let mut command = Command::new("node");
    command.arg(&componentize).current_dir(&folder);
    command.arg("--wit").arg(absolute(&wit)?);
    command.args(["--world", project.world()]);
    // Without asynchronous WIT, which the master has turned off.
    command.args(["--sync", "--opt-size"]);
    if project.manifest().plugin.wasi.is_none() {
        command.arg("--stub-wasi");
    }
    command.arg("--js").arg(folder.join(source));
    command.arg("--module-root").arg(&folder);
    command.arg("--output").arg(&output);
    run(&mut command, COMPILE, tools)?;
    let component = fs::read(&output).with_context(|| format!("read {}", output.display()))?;
    match project.manifest().plugin.kind {
        Kind::Reporter => borrow::drop_in_time(&component),
        _ => Ok(component),
    }
}

pub(crate) fn is_installed(tools: &Toolbox) -> bool {
    is_ready(tools, PROGRAM, COMPONENTIZE_QJS)
}

/// The script of componentize-qjs. It has no way to ask an installed one for its version, so it is always our own.
fn componentize(tools: &Toolbox) -> anyhow::Result<PathBuf> {
    let missing = |program: &str| {
        let major = first_line(Path::new(program), &["--version"]);
        let major = major
            .as_deref()
            .map(|v| v.trim_start_matches('v').split('.').next().unwrap_or_default());
        program == "node" && major.and_then(|m| m.parse::<u32>().ok()).is_none_or(|m| m < 18)
            || major.is_none()
    };
    if missing("node") {
        bail!(
            "expected node 18 or newer, found none; install it, on Debian with `apt-get install nodejs npm`"
        );
    }
    let folder = installed(tools, PROGRAM, COMPONENTIZE_QJS, |folder| {
        if missing("npm") {
            bail!("expected npm, found none; install it, on Debian with `apt-get install npm`");
        }
        fs::write(folder.join("package.json"), PACKAGE)?;
        fs::write(folder.join("package-lock.json"), LOCK)?;
        let mut npm = Command::new("npm");
        // Not `npm ci`, which fails where one of the bindings for other machines is not published.
        npm.current_dir(folder).args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--no-update-notifier",
        ]);
        run(&mut npm, INSTALL, tools)
    })?;
    Ok(folder.join("node_modules/componentize-qjs/bin/componentize-qjs"))
}
