//! The plugin folder as it lies there: which file is which plugin. Used by `install`, `grant` and `remove`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use capstan_model::plugin::Kind;

use super::file::PluginFile;

/// A plugin in the folder.
pub struct Installed {
    pub path: PathBuf,
    pub kind: Kind,
    pub name: String,
}

/// Every file that says which plugin it is; others are passed over.
pub fn list(folder: &Path) -> anyhow::Result<Vec<Installed>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", folder.display())),
    };
    let mut installed = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        let is_plugin = path.extension().is_some_and(|extension| extension == "wasm") && path.is_file();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(['.', '#']));
        if !is_plugin || hidden {
            continue;
        }
        if let Ok(file) = PluginFile::read(&path) {
            let about = file.outside.manifest.plugin;
            installed.push(Installed {
                path,
                kind: about.kind,
                name: about.name,
            });
        }
    }
    installed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(installed)
}
