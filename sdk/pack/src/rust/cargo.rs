//! Calls cargo, so that the same sources give the same bytes whoever calls it, and from which folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::TARGET;
use super::compiler::Compiler;

/// What to compile for the bare target.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The folder of the package, or of the workspace.
    pub folder: &'a Path,
    /// cargo's target folder.
    pub target: &'a Path,
    /// All members, with the versions of the lock file and no others; otherwise the package alone.
    pub workspace: bool,
    /// A folder whose name must not show in the bytes, and what it is called there instead.
    pub remap: (&'a Path, &'a str),
}

/// A compiled library.
#[derive(Clone, Debug)]
pub struct Module {
    /// The package's `Cargo.toml`.
    pub package: PathBuf,
    /// The core module.
    pub path: PathBuf,
}

/// Compiles, and answers the modules that came of it.
pub fn compile(compiler: &Compiler, job: &Job<'_>) -> anyhow::Result<Vec<Module>> {
    forget_another_library(compiler, job.target)?;
    let mut cargo = cargo(compiler);
    cargo.current_dir(job.folder);
    cargo.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    if job.workspace {
        cargo.args(["--workspace", "--locked"]);
    }
    cargo.args(["--target", TARGET, "--target-dir"]).arg(job.target);
    let mut flags = compiler.flags.clone();
    flags.push(remap(&cargo_home(), "/cargo"));
    flags.push(remap(job.remap.0, job.remap.1));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    modules(&output(cargo, compiler)?)
}

/// A package, as cargo sees it from its folder.
pub(super) struct Package {
    pub(super) manifest: PathBuf,
    /// The folder of its workspace.
    pub(super) root: PathBuf,
    /// cargo's own target folder for it.
    pub(super) target: PathBuf,
}

/// Asks which package is in `folder`.
pub(super) fn package(compiler: &Compiler, folder: &Path) -> anyhow::Result<Package> {
    #[derive(Deserialize)]
    struct Metadata {
        workspace_root: PathBuf,
        target_directory: PathBuf,
    }
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest
        .canonicalize()
        .with_context(|| format!("expected a package of Rust, found no {}", manifest.display()))?;
    let mut cargo = cargo(compiler);
    cargo.current_dir(folder);
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Metadata = serde_json::from_slice(&output(cargo, compiler)?)?;
    Ok(Package {
        manifest,
        root: metadata.workspace_root,
        target: metadata.target_directory,
    })
}

/// The modules among what cargo says that it made.
fn modules(messages: &[u8]) -> anyhow::Result<Vec<Module>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        manifest_path: Option<PathBuf>,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let mut modules = Vec::new();
    for line in messages
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: Message = serde_json::from_slice(line).context("read what cargo says that it built")?;
        let Some(package) = message
            .manifest_path
            .filter(|_| message.reason == "compiler-artifact")
        else {
            continue;
        };
        let mut files = message.filenames.into_iter();
        if let Some(path) = files.find(|path| path.extension().is_some_and(|e| e == "wasm")) {
            modules.push(Module { package, path });
        }
    }
    Ok(modules)
}

/// Runs cargo, whose words for people go to standard error; what it prints for programs is answered.
pub(super) fn output(mut cargo: Command, compiler: &Compiler) -> anyhow::Result<Vec<u8>> {
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("failed to start {}", compiler.cargo.display()))?;
    let folder = cargo.get_current_dir().unwrap_or(Path::new("."));
    let what = cargo.get_args().next().unwrap_or_default().to_string_lossy();
    ensure!(
        output.status.success(),
        "`cargo {what}` failed in {} ({}){}",
        folder.display(),
        output.status,
        said(&output.stdout)
    );
    Ok(output.stdout)
}

/// The last lines for people among standard output.
fn said(stdout: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdout);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('{') && !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(20)..]
        .iter()
        .map(|line| format!("\n  {line}"))
        .collect()
}

/// A cargo that hears nothing of what the caller's environment says about profiles, flags and folders: it would
/// change the bytes.
pub(super) fn cargo(compiler: &Compiler) -> Command {
    let mut cargo = Command::new(&compiler.cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(changes_the_build) {
            cargo.env_remove(&name);
        }
    }
    cargo.env("RUSTC", &compiler.rustc);
    // Dependencies may carry a rust-toolchain.toml of their own. Whoever calls a `rustc` of rustup's inside their folder
    // would have it install and update toolchains behind the user's back.
    cargo.env("RUSTUP_AUTO_INSTALL", "0");
    if let Some(toolchain) = &compiler.toolchain {
        cargo.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    cargo
}

fn changes_the_build(name: &str) -> bool {
    let groups = [
        "CARGO_PROFILE_",
        "CARGO_BUILD_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
        "CARGO_PKG_",
    ];
    let exact = [
        "CARGO",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_MANIFEST_DIR",
        "RUSTC_BOOTSTRAP",
    ];
    let tools = ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "RUSTFLAGS"];
    groups.iter().any(|group| name.starts_with(group)) || exact.contains(&name) || tools.contains(&name)
}

pub(super) fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

fn cargo_home() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_default()
}

/// What was built with another build of the standard library does not fit this one, and cargo does not notice.
fn forget_another_library(compiler: &Compiler, target: &Path) -> anyhow::Result<()> {
    let Some(library) = &compiler.library else {
        return Ok(());
    };
    let note = target.join("capstan-standard-library");
    if fs::read_to_string(&note).is_ok_and(|known| known == *library) {
        return Ok(());
    }
    remove(&target.join(TARGET))?;
    fs::create_dir_all(target).with_context(|| format!("create {}", target.display()))?;
    fs::write(&note, library).with_context(|| format!("write {}", note.display()))
}

/// Removes a folder that need not exist.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_bytes_is_taken_away_and_rustups_guards_are_not() {
        for name in [
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_BOOTSTRAP",
        ] {
            assert!(changes_the_build(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "RUSTUP_AUTO_INSTALL",
        ] {
            assert!(!changes_the_build(name), "{name}");
        }
    }
}
