//! Builds one workspace of guests with cargo and packs each of its plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use capstan_model::Digest;
use capstan_model::plugin::Kind;
use capstan_pack::rust::{self, Compiler, Job, Module};
use capstan_pack::{FILE, Project};

use super::Places;

/// A cargo workspace of guests, and where its packed plugins go.
pub(super) struct Workspace {
    pub(super) folder: PathBuf,
    pub(super) output: PathBuf,
}

/// A finished plugin file.
pub(super) struct Packed {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) size: usize,
    pub(super) digest: Digest,
    /// Whether its bytes differ from those that were there before.
    pub(super) changed: bool,
}

/// Compiles and packs every member that has a `plugin.toml`; plugins that vanished lose their file.
pub(super) fn build(
    places: &Places,
    workspace: &Workspace,
    compiler: &Compiler,
    target: &Path,
) -> anyhow::Result<Vec<Packed>> {
    let job = Job {
        folder: &workspace.folder,
        target,
        workspace: true,
        remap: (&places.repository, "/capstan"),
    };
    let modules = rust::compile(compiler, &job)?;
    let mut packed = BTreeMap::new();
    for folder in members(&workspace.folder)? {
        let plugin = pack(&folder, &modules, &workspace.output)
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

fn pack(folder: &Path, modules: &[Module], output: &Path) -> anyhow::Result<Packed> {
    let package = folder.join("Cargo.toml").canonicalize()?;
    let module = modules.iter().find(|module| module.package == package);
    let module = module.context("expected a library of crate-type cdylib, found none")?;
    let built = rust::pack_module(&Project::open(folder)?, &module.path)?;
    let (name, kind) = (built.manifest.plugin.name.clone(), built.manifest.plugin.kind);
    let path = output.join(format!("{name}.wasm"));
    let changed = built.write(&path)?;
    let (size, digest) = (built.bytes.len(), built.digest);
    Ok(Packed {
        name,
        kind,
        path,
        size,
        digest,
        changed,
    })
}

/// The folders of the workspace that hold a plugin, by name.
fn members(workspace: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace).with_context(|| format!("read {}", workspace.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        if folder.join(FILE).is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
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
