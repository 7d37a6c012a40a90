//! Plugins in Rust: compiled for the bare target, so that they import nothing but the plugin interfaces.
//!
//! The order in which to read it: `compiler` (which Rust), `sysroot` (its standard library, where it has none for the
//! target), `cargo` (how it is called), `parameters` (their schema, from the type that takes them).

mod cargo;
mod compiler;
mod parameters;
mod sysroot;

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::{Built, Project, Toolbox, component, pack};

pub use cargo::{Job, Module, compile, remove};
pub use compiler::{Compiler, Way, find};

/// The bare target: no WASI, so that a guest is deterministic.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Builds a project by itself, with cargo's own folders unless the toolbox names others.
pub(crate) fn build(project: &Project, tools: &Toolbox) -> anyhow::Result<Built> {
    let compiler = find(tools)?;
    tools.say(&format!("compiling with {compiler}"));
    let package = cargo::package(&compiler, project.folder())?;
    let target = tools.target.as_ref().unwrap_or(&package.target);
    let job = Job {
        folder: project.folder(),
        target,
        workspace: false,
        remap: (&package.root, "/plugin"),
    };
    let modules = compile(&compiler, &job)?;
    let Some(module) = modules.iter().find(|module| module.package == package.manifest) else {
        bail!(
            "expected `crate-type = [\"cdylib\"]` under [lib] in {}, found no such library",
            package.manifest.display()
        );
    };
    let mut project = project.clone();
    if !project.parameters_given() {
        tools.say("asking the parameters' type for its schema");
        project.manifest_mut().parameters = parameters::derive(&compiler, project.folder(), target)?;
    }
    pack_module(&project, &module.path)
}

/// Makes a plugin file of a compiled module and the project that it came from. Its parameters are those of
/// `plugin.toml`.
pub fn pack_module(project: &Project, module: &Path) -> anyhow::Result<Built> {
    let module = fs::read(module).with_context(|| format!("read {}", module.display()))?;
    pack(project.manifest().clone(), component::wrap(&module)?)
}
