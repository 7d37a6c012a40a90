//! The plugins at hand: those built in, overridden and added to by the files of the plugin folder.
//!
//! A bad file is listed with its reason; the rest work. What a running build was made from stays loaded by its digest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use capstan_engine::{Engine, Plugin};
use capstan_model::Digest;
use capstan_model::plan::PluginUse;
use capstan_model::plugin::{Kind, Rights};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Where a plugin came from, as people see it, when it is part of the program.
const BUILT_IN: &str = "built in";
/// Larger files are not read.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// A plugin file as it is now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginStatus {
    /// "built in" or the file's name in the plugin folder.
    pub origin: String,
    /// Its kind, if the file could be read so far.
    pub kind: Option<Kind>,
    /// Its name, likewise.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
    /// What it is for.
    pub description: String,
    /// The digest of the file.
    pub digest: Option<Digest>,
    /// Whether configurations get this one; another file may override it.
    pub active: bool,
    /// What its manifest asks for.
    pub asks: Rights,
    /// What the operator granted.
    pub granted: Rights,
    /// Calls since the master was started.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// Uses that were refused for want of a right.
    pub refusals: u64,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// All of them, as of one look at the folder.
#[derive(Default)]
pub struct Registry {
    files: Vec<File>,
    active: HashMap<(Kind, String), usize>,
    grants: BTreeMap<String, Arc<Rights>>,
}

struct File {
    origin: String,
    loaded: Result<(Plugin, Vec<u8>), String>,
}

impl Registry {
    /// Loads the built-in components and the files of `folder`. Only a folder that cannot be listed is an error.
    pub fn load(
        engine: &Engine,
        built_in: &[(&str, &[u8])],
        folder: &Path,
        grants: BTreeMap<String, Rights>,
    ) -> Result<Self, Error> {
        let grants = grants
            .into_iter()
            .map(|(name, rights)| (name, Arc::new(rights)))
            .collect();
        let mut registry = Self {
            grants,
            ..Self::default()
        };
        for (name, bytes) in built_in {
            registry.add(engine, format!("{BUILT_IN}: {name}"), Ok(bytes.to_vec()));
        }
        for path in wasm_files(folder)? {
            let origin = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            registry.add(engine, origin, read(&path));
        }
        Ok(registry)
    }

    fn add(&mut self, engine: &Engine, origin: String, bytes: Result<Vec<u8>, String>) {
        let loaded = bytes.and_then(|bytes| match engine.load(&bytes) {
            Ok(plugin) => Ok((plugin, bytes)),
            Err(error) => Err(error.to_string()),
        });
        let loaded = loaded.and_then(|(plugin, bytes)| {
            let about = &plugin.manifest().plugin;
            let key = (about.kind, about.name.clone());
            let before = self.active.get(&key).map(|&index| &self.files[index].origin);
            if let Some(other) = before.filter(|other| !other.starts_with(BUILT_IN)) {
                return Err(format!(
                    "expected one {} `{}`, found another in {other}; remove one",
                    key.0, key.1
                ));
            }
            self.active.insert(key, self.files.len());
            Ok((plugin, bytes))
        });
        if let Err(error) = &loaded {
            tracing::warn!(origin, error, "a plugin cannot be used");
        }
        self.files.push(File { origin, loaded });
    }

    /// Each plugin that configurations get, with its bytes.
    pub fn active(&self) -> impl Iterator<Item = (&Plugin, &[u8])> {
        let files = self
            .active
            .values()
            .filter_map(|&index| self.files[index].loaded.as_ref().ok());
        files.map(|(plugin, bytes)| (plugin, bytes.as_slice()))
    }

    /// The plugin that a definition was checked against, and what it was granted.
    pub fn find(&self, kind: Kind, wanted: &PluginUse) -> Result<(Plugin, Arc<Rights>), Error> {
        let found = self
            .active
            .get(&(kind, wanted.plugin.clone()))
            .map(|&index| &self.files[index]);
        match found.map(|file| &file.loaded) {
            Some(Ok((plugin, _))) if plugin.digest() == wanted.digest => {
                Ok((plugin.clone(), self.granted(&wanted.plugin)))
            }
            _ => Err(Error::failed(
                format!("use the {kind} `{}`", wanted.plugin),
                format!(
                    "version {} is not loaded any more; reload the configuration",
                    wanted.digest.short()
                ),
            )),
        }
    }

    /// The loaded plugin with that digest.
    pub fn by_digest(&self, digest: Digest) -> Option<Plugin> {
        let loaded = self.files.iter().filter_map(|file| file.loaded.as_ref().ok());
        loaded
            .map(|(plugin, _)| plugin)
            .find(|plugin| plugin.digest() == digest)
            .cloned()
    }

    /// What the operator granted to the plugin of that name.
    pub fn granted(&self, name: &str) -> Arc<Rights> {
        self.grants.get(name).cloned().unwrap_or_default()
    }

    /// Every file, for people.
    pub fn status(&self) -> Vec<PluginStatus> {
        let is_active = |index: usize| self.active.values().any(|&active| active == index);
        let files = self.files.iter().enumerate();
        files
            .map(|(index, file)| self.status_of(file, is_active(index)))
            .collect()
    }

    fn status_of(&self, file: &File, active: bool) -> PluginStatus {
        let origin = file.origin.clone();
        match &file.loaded {
            Err(error) => PluginStatus {
                origin,
                kind: None,
                name: None,
                version: None,
                description: String::new(),
                digest: None,
                active: false,
                asks: Rights::default(),
                granted: Rights::default(),
                calls: 0,
                traps: 0,
                refusals: 0,
                error: Some(error.clone()),
            },
            Ok((plugin, _)) => {
                let manifest = plugin.manifest();
                let counts = plugin.stats();
                PluginStatus {
                    origin,
                    kind: Some(manifest.plugin.kind),
                    name: Some(manifest.plugin.name.clone()),
                    version: Some(manifest.plugin.version.clone()),
                    description: manifest.plugin.description.clone(),
                    digest: Some(plugin.digest()),
                    active,
                    asks: manifest.rights.clone(),
                    granted: (*self.granted(&manifest.plugin.name)).clone(),
                    calls: counts.calls,
                    traps: counts.traps,
                    refusals: counts.refusals,
                    error: None,
                }
            }
        }
    }
}

fn wasm_files(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let failed = |e: std::io::Error| Error::failed(format!("list the plugin folder {}", folder.display()), e);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!(
            "expected a file of at most {MAX_FILE} bytes, found {size}"
        ));
    }
    std::fs::read(path).map_err(|e| format!("failed to read it: {e}"))
}
