//! The plugins at hand: those built in, overridden and added to by the files of the plugin folder.
//!
//! A bad file is listed with its reason; the rest work. What a running build was made from stays loaded by its digest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use capstan_engine::{Engine, Plugin, RefusalCount};
use capstan_model::plan::PluginUse;
use capstan_model::plugin::{Kind, Limits, Right, Rights, Side};
use capstan_model::{Digest, Timestamp};
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
    /// Its size in bytes, if it could be read.
    pub size: Option<u64>,
    /// What one call may use.
    pub limits: Limits,
    /// Calls since this version was loaded.
    pub calls: u64,
    /// Calls that ended without a good answer, traps among them.
    pub failures: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// The time of a call on average, without what it waited for, in microseconds.
    pub mean_us: u64,
    /// The longest of these times, in microseconds.
    pub longest_us: u64,
    /// Uses that were refused for want of a right.
    pub refusals: u64,
    /// The last values that were refused, the last first.
    pub refused: Vec<RefusedUse>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// Something that a plugin was not allowed to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedUse {
    /// The capability.
    pub right: Right,
    /// What it wanted to use.
    pub value: String,
    /// Who did not allow it.
    pub side: Side,
    /// How often.
    pub count: u64,
    /// When it happened last.
    pub last: Timestamp,
}

impl RefusedUse {
    fn new(count: RefusalCount, now: Timestamp) -> Self {
        let ago = i64::try_from(count.last.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self {
            right: count.refusal.right,
            value: count.refusal.value,
            side: count.refusal.side,
            count: count.count,
            last: now.plus_ms(-ago),
        }
    }
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
    size: Option<u64>,
    loaded: Result<(Plugin, Vec<u8>), String>,
}

impl Registry {
    /// Loads the built-in components and the files of `folder`. Only a folder that cannot be listed is an error.
    /// What `before` had loaded of the same bytes is taken over, with its counts.
    pub fn load(
        engine: &Engine,
        before: &Self,
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
            registry.add(engine, before, format!("{BUILT_IN}: {name}"), Ok(bytes.to_vec()));
        }
        for path in wasm_files(folder)? {
            let origin = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            registry.add(engine, before, origin, read(&path));
        }
        Ok(registry)
    }

    fn add(&mut self, engine: &Engine, before: &Self, origin: String, bytes: Result<Vec<u8>, String>) {
        let size = bytes.as_ref().ok().map(|bytes| bytes.len() as u64);
        let loaded = bytes.and_then(|bytes| {
            let known = before.by_digest(Digest::of(&bytes));
            match known.map_or_else(|| engine.load(&bytes), Ok) {
                Ok(plugin) => Ok((plugin, bytes)),
                Err(error) => Err(error.to_string()),
            }
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
        self.files.push(File { origin, size, loaded });
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
    pub fn status(&self, now: Timestamp) -> Vec<PluginStatus> {
        let is_active = |index: usize| self.active.values().any(|&active| active == index);
        let files = self.files.iter().enumerate();
        files
            .map(|(index, file)| self.status_of(file, is_active(index), now))
            .collect()
    }

    fn status_of(&self, file: &File, active: bool, now: Timestamp) -> PluginStatus {
        let (origin, size) = (file.origin.clone(), file.size);
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
                size,
                limits: Limits::default(),
                calls: 0,
                failures: 0,
                traps: 0,
                mean_us: 0,
                longest_us: 0,
                refusals: 0,
                refused: Vec::new(),
                error: Some(error.clone()),
            },
            Ok((plugin, _)) => {
                let manifest = plugin.manifest();
                let counts = plugin.stats();
                let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let refused = plugin.refusals().into_iter();
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
                    size,
                    limits: plugin.limits(),
                    calls: counts.calls,
                    failures: counts.failures,
                    traps: counts.traps,
                    mean_us: us(counts.mean()),
                    longest_us: us(counts.longest),
                    refusals: counts.refusals,
                    refused: refused.map(|count| RefusedUse::new(count, now)).collect(),
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
