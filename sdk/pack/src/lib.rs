//! From a plugin project to one plugin file: finds the language's compiler, builds, wraps the module as a component, and
//! embeds the manifest. `capstan plugin build` and `cargo xtask plugins` use it.
//!
//! The order in which to read it: [`Project`] (the folder and its `plugin.toml`), [`build`], then one file per
//! [`Language`].

mod c;
mod component;
mod javascript;
mod language;
mod manifest;
mod project;
mod python;
mod run;
pub mod rust;
pub mod template;
mod toolbox;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use capstan_model::Digest;
use capstan_model::plugin::Manifest;

pub use language::Language;
pub use project::{FILE, Project};
pub use toolbox::Toolbox;

/// A plugin file, not yet written.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The component with its manifest.
    pub bytes: Vec<u8>,
    /// Of the bytes: the plugin's identity.
    pub digest: Digest,
}

/// Builds a project with the tools of its language.
pub fn build(project: &Project, tools: &Toolbox) -> anyhow::Result<Built> {
    let built = match project.language() {
        Language::Rust => rust::build(project, tools),
        Language::Python => python::build(project, tools).and_then(|component| finish(project, component)),
        Language::Javascript => {
            javascript::build(project, tools).and_then(|component| finish(project, component))
        }
        Language::C => c::build(project, tools).and_then(|component| finish(project, component)),
    };
    built.with_context(|| format!("failed to build {}", project.manifest().plugin.name))
}

/// Whether building in this language would have to fetch a tool first. What is looked for is what [`build`] uses; Rust's
/// compiler, which can be had in many ways, counts as there.
pub fn is_installed(language: Language, tools: &Toolbox) -> bool {
    match language {
        Language::Rust => true,
        Language::Python => python::is_installed(tools),
        Language::Javascript => javascript::is_installed(tools),
        Language::C => c::is_installed(tools),
    }
}

fn finish(project: &Project, component: Vec<u8>) -> anyhow::Result<Built> {
    pack(project.manifest().clone(), component)
}

/// The plugin file of a component and its manifest.
fn pack(manifest: Manifest, component: Vec<u8>) -> anyhow::Result<Built> {
    let mut bytes = component;
    manifest::embed(&mut bytes, &manifest)?;
    let digest = Digest::of(&bytes);
    Ok(Built {
        manifest,
        bytes,
        digest,
    })
}

impl Built {
    /// Writes the file, whole or not at all; says whether it differs from what was there. A file that stays the same
    /// keeps its time, so that nothing that depends on it is built again.
    pub fn write(&self, path: &Path) -> anyhow::Result<bool> {
        write_if_changed(path, &self.bytes)
    }
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    // A plugin is no secret: readable to whoever may read the folder.
    let mode = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out/a.wasm");
        assert!(write_if_changed(&path, b"one").unwrap());
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
