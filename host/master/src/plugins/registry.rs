//! The plugins at hand, as of one look at the folder: the files with what became of each, and the version of every plugin that
//! configurations get. Made by `proposal`, put in force by `configuration`, asked by everybody who calls a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use capstan_config::Operator;
use capstan_engine::Plugin;
use capstan_model::plan::PluginUse;
use capstan_model::plugin::{Kind, Rights};
use capstan_model::{Digest, Timestamp};

use super::folder::Stamp;
use crate::Error;

/// Kind and name: what a configuration calls.
pub(crate) type Key = (Kind, String);

/// Versions that were replaced and stay in memory, for builds that began with them; older ones are in the store.
const RETIRED: usize = 16;
/// A version that was called so often without being given up has proved itself.
const PROVEN: u64 = 1000;

/// A plugin file that is loaded.
#[derive(Clone)]
pub(crate) struct Version {
    pub plugin: Plugin,
    pub bytes: Arc<[u8]>,
}

impl Version {
    pub fn key(&self) -> Key {
        (self.plugin.kind(), self.plugin.name().to_owned())
    }

    pub fn digest(&self) -> Digest {
        self.plugin.digest()
    }

    pub fn version(&self) -> &str {
        &self.plugin.manifest().plugin.version
    }
}

/// Where a version came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is part of the program.
    BuiltIn(String),
    /// A file of the plugin folder, by its name.
    File(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn(name) => write!(f, "built in: {name}"),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// The version of a plugin that configurations get.
#[derive(Clone)]
pub(crate) struct InForce {
    pub version: Version,
    pub origin: Origin,
    pub since: Timestamp,
    /// The version that it took the place of, while the master may go back to it.
    pub predecessor: Option<(Version, Origin)>,
    /// What its counters said when it was put in force.
    began: (u64, u64),
    /// Why it is still in force although the folder says otherwise, or why the master could not go back.
    pub note: Option<String>,
}

impl InForce {
    pub fn new(version: Version, origin: Origin, since: Timestamp) -> Self {
        let counts = version.plugin.stats();
        Self {
            version,
            origin,
            since,
            predecessor: None,
            began: (counts.calls, counts.traps),
            note: None,
        }
    }

    pub fn digest(&self) -> Digest {
        self.version.digest()
    }

    /// The same, as the folder has it now.
    pub fn from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self.note = None;
        self
    }

    /// Takes the place of `before`. A version that kept trapping is nothing to go back to: then its predecessor is.
    pub fn after(mut self, before: &Self) -> Self {
        self.predecessor = if before.traps() > 0 && before.predecessor.is_some() {
            before.predecessor.clone()
        } else {
            Some((before.version.clone(), before.origin.clone()))
        };
        self
    }

    /// How often it trapped since it was put in force.
    pub fn traps(&self) -> u64 {
        self.version.plugin.stats().traps.saturating_sub(self.began.1)
    }

    /// Whether the master goes back to its predecessor if it keeps trapping.
    pub fn on_trial(&self) -> bool {
        let calls = self.version.plugin.stats().calls.saturating_sub(self.began.0);
        self.predecessor.is_some() && calls <= PROVEN
    }
}

/// What the operator says of plugin files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The plugin folder.
    pub folder: PathBuf,
    pub pinning: bool,
    /// Traps after which a version on trial is given up; 0 is never.
    pub return_after: u64,
    pub grants: BTreeMap<String, Arc<Rights>>,
}

impl Settings {
    pub fn new(operator: &Operator) -> Self {
        let grants = operator.grants.iter();
        Self {
            folder: operator.master.plugins.clone(),
            pinning: operator.plugins.pinning,
            return_after: u64::from(operator.plugins.return_after),
            grants: grants
                .map(|(name, rights)| (name.clone(), Arc::new(rights.clone())))
                .collect(),
        }
    }

    /// What the operator granted to the plugin of that name.
    pub fn granted(&self, name: &str) -> Arc<Rights> {
        self.grants.get(name).cloned().unwrap_or_default()
    }

    /// A line for each plugin that was granted something else before.
    pub fn regranted(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.grants.keys().chain(before.grants.keys()).collect();
        let other = names
            .into_iter()
            .filter(|name| self.granted(name) != before.granted(name));
        other.map(|name| format!("grants of {name} changed")).collect()
    }
}

/// A file of the plugin folder.
#[derive(Clone)]
pub(crate) struct File {
    pub name: String,
    /// `None` if it is to be read again at the next look.
    pub stamp: Option<Stamp>,
    pub loaded: Result<Version, String>,
    /// Why it is not used.
    pub refused: Option<Refused>,
}

/// Why a file that is there is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It cannot be loaded.
    Broken(String),
    /// It waits for somebody to accept these rights.
    Waiting(Box<Rights>, String),
    /// It may not take the place of what is in force, or the configuration does not fit it.
    Kept(String),
}

impl Refused {
    pub fn reason(&self) -> &str {
        match self {
            Self::Broken(reason) | Self::Waiting(_, reason) | Self::Kept(reason) => reason,
        }
    }
}

/// A component that is part of the program, and why it cannot be used if it cannot.
#[derive(Clone)]
pub(crate) struct BuiltIn {
    pub name: String,
    pub size: u64,
    pub loaded: Result<Version, String>,
}

/// What is in force, by kind and name.
pub(crate) type Choice = BTreeMap<Key, InForce>;

/// All plugins, as of one look at the folder.
#[derive(Clone, Default)]
pub struct Registry {
    pub(crate) built_in: Vec<BuiltIn>,
    pub(crate) files: Vec<File>,
    pub(crate) in_force: Choice,
    pub(crate) settings: Settings,
    pub(crate) retired: Vec<Plugin>,
}

impl Registry {
    /// Each plugin that configurations get.
    pub fn active(&self) -> impl Iterator<Item = &Plugin> {
        self.in_force.values().map(|chosen| &chosen.version.plugin)
    }

    /// The plugin that a definition was checked against, and what it was granted. One that was replaced since still answers
    /// whoever has the plan of before.
    pub fn find(&self, kind: Kind, wanted: &PluginUse) -> Result<(Plugin, Arc<Rights>), Error> {
        let chosen = self.in_force.get(&(kind, wanted.plugin.clone()));
        let chosen = chosen.filter(|chosen| chosen.digest() == wanted.digest);
        let found = chosen.map(|chosen| chosen.version.plugin.clone());
        match found.or_else(|| self.by_digest(wanted.digest)) {
            Some(plugin) => Ok((plugin, self.granted(&wanted.plugin))),
            None => Err(Error::failed(
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
        let known = |plugin: &&Plugin| plugin.digest() == digest;
        self.versions()
            .map(|version| &version.plugin)
            .chain(&self.retired)
            .find(known)
            .cloned()
    }

    /// The loaded version with that digest.
    pub(crate) fn version(&self, digest: Digest) -> Option<&Version> {
        self.versions().find(|version| version.digest() == digest)
    }

    fn versions(&self) -> impl Iterator<Item = &Version> {
        let in_force = self.in_force.values().flat_map(|chosen| {
            let before = chosen.predecessor.as_ref().map(|(version, _)| version);
            [Some(&chosen.version), before].into_iter().flatten()
        });
        let files = self.files.iter().filter_map(|file| file.loaded.as_ref().ok());
        in_force
            .chain(files)
            .chain(self.built_in().map(|(_, version)| version))
    }

    /// The components that are part of the program.
    pub(crate) fn built_in(&self) -> impl Iterator<Item = (Origin, &Version)> {
        self.built_in.iter().filter_map(|built_in| {
            let version = built_in.loaded.as_ref().ok()?;
            Some((Origin::BuiltIn(built_in.name.clone()), version))
        })
    }

    /// What the operator granted to the plugin of that name.
    pub fn granted(&self, name: &str) -> Arc<Rights> {
        self.settings.granted(name)
    }

    /// The file of that name.
    pub(crate) fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// What is in force under this plugin's kind and name, if it is this very version and on trial.
    pub(crate) fn on_trial(&self, plugin: &Plugin) -> Option<&InForce> {
        let chosen = self.in_force.get(&(plugin.kind(), plugin.name().to_owned()))?;
        (chosen.digest() == plugin.digest() && chosen.on_trial()).then_some(chosen)
    }

    /// Whether a version on trial has trapped as often as the operator lets it.
    pub(crate) fn has_failed(&self, chosen: &InForce) -> bool {
        let most = self.settings.return_after;
        most > 0 && chosen.on_trial() && chosen.traps() >= most
    }

    /// Remembers what `before` had in force and this one has not.
    pub(crate) fn retire(&mut self, before: &Self) {
        self.retired = before.retired.clone();
        for chosen in before.in_force.values() {
            let plugin = &chosen.version.plugin;
            let digest = plugin.digest();
            if self.in_force.values().any(|now| now.digest() == digest)
                || self.retired.iter().any(|known| known.digest() == digest)
            {
                continue;
            }
            self.retired.push(plugin.clone());
        }
        let many = self.retired.len().saturating_sub(RETIRED);
        self.retired.drain(..many);
    }
}
