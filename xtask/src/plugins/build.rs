//! Builds one workspace of guests with cargo and packs each of its plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::compiler::Compiler;
use super::pack::{self, Packed};
use super::{Places, TARGET};

/// A cargo workspace of guests, and where its packed plugins go.
pub(super) struct Workspace {
    pub(super) folder: PathBuf,
    pub(super) output: PathBuf,
}

/// Compiles and packs every member that has a `plugin.toml`; plugins that vanished lose their file.
pub(super) fn build(
    places: &Places,
    workspace: &Workspace,
    compiler: &Compiler,
    target: &Path,
) -> anyhow::Result<Vec<Packed>> {
    compile(places, workspace, compiler, target)?;
    let mut packed = BTreeMap::new();
    for folder in members(&workspace.folder)? {
        let module = target.join(TARGET).join("release").join(module_name(&folder)?);
        let plugin = pack::pack(&folder, &module, &workspace.output)
            .with_context(|| format!("failed to pack {}", folder.display()))?;
        if let Some(other) = packed.insert(plugin.name.clone(), plugin) {
            bail!(
                "expected plugins of different names, found `{}` twice in {}",
                other.name,
                workspace.folder.display()
            );
        }
    }
    let packed: Vec<_> = packed.into_values().collect();
    sweep(&workspace.output, &packed)?;
    Ok(packed)
}

fn compile(places: &Places, workspace: &Workspace, compiler: &Compiler, target: &Path) -> anyhow::Result<()> {
    let mut cargo = cargo(compiler);
    cargo.current_dir(&workspace.folder);
    cargo
        .args([
            "build",
            "--workspace",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(target);
    let mut flags = compiler.flags.clone();
    flags.push(remap(&cargo_home(), "/cargo"));
    flags.push(remap(&places.repository, "/capstan"));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let status = cargo
        .status()
        .with_context(|| format!("failed to start {}", compiler.cargo.display()))?;
    ensure!(
        status.success(),
        "failed to build the guests in {} ({status})",
        workspace.folder.display()
    );
    Ok(())
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

/// The folders of the workspace that hold a plugin, by name.
fn members(workspace: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace).with_context(|| format!("read {}", workspace.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        if folder.join("plugin.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

#[derive(Deserialize)]
struct CargoToml {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// The file that cargo makes of the crate in `folder`.
fn module_name(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let cargo: CargoToml = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    Ok(format!("{}.wasm", cargo.package.name.replace('-', "_")))
}

fn sweep(output: &Path, packed: &[Packed]) -> anyhow::Result<()> {
    for entry in fs::read_dir(output).with_context(|| format!("read {}", output.display()))? {
        let path = entry?.path();
        let stale = path.extension().is_some_and(|e| e == "wasm") && packed.iter().all(|p| p.path != path);
        if stale {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
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
