//! The plugins as people see them: one row for each component of the program, each file, and each version that is in force
//! although no file holds it any more.

use std::time::Duration;

use capstan_engine::{Plugin, RefusalCount};
use capstan_model::plugin::{Kind, Limits, Right, Rights, Side};
use capstan_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::registry::{InForce, Origin, Refused, Registry, Version};

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
    /// What became of it.
    #[serde(default)]
    pub state: PluginState,
    /// Since when this version is in force.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// What is to be said of a version that is in force: why it is although the folder says otherwise.
    #[serde(default)]
    pub note: Option<String>,
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

/// What became of a plugin file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// Configurations get it.
    #[default]
    InForce,
    /// Configurations get it although the folder has another file, or none, in its place.
    Kept,
    /// Another one of its kind and name is in force.
    Overridden,
    /// Somebody has to accept the rights that it asks for.
    Waiting,
    /// It could be loaded, and may not be used or does not fit the configuration.
    Refused,
    /// It cannot be loaded.
    Broken,
}

impl PluginState {
    /// The word in the API and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in-force",
            Self::Kept => "kept",
            Self::Overridden => "overridden",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Broken => "broken",
        }
    }
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

impl PluginStatus {
    /// A file that says nothing of itself.
    fn broken(origin: String, size: Option<u64>, reason: &str) -> Self {
        Self {
            origin,
            kind: None,
            name: None,
            version: None,
            description: String::new(),
            digest: None,
            active: false,
            state: PluginState::Broken,
            since: None,
            note: None,
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
            error: Some(reason.to_owned()),
        }
    }

    fn loaded(origin: String, version: &Version, granted: Rights, now: Timestamp) -> Self {
        let plugin: &Plugin = &version.plugin;
        let (manifest, counts) = (plugin.manifest(), plugin.stats());
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let refused = plugin.refusals().into_iter();
        Self {
            origin,
            kind: Some(manifest.plugin.kind),
            name: Some(manifest.plugin.name.clone()),
            version: Some(manifest.plugin.version.clone()),
            description: manifest.plugin.description.clone(),
            digest: Some(plugin.digest()),
            active: false,
            state: PluginState::Overridden,
            since: None,
            note: None,
            asks: manifest.rights.clone(),
            granted,
            size: Some(version.bytes.len() as u64),
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

    fn in_force(mut self, chosen: &InForce) -> Self {
        self.active = true;
        self.state = PluginState::InForce;
        self.since = Some(chosen.since);
        self.note = chosen.note.clone();
        self
    }
}

impl Registry {
    /// Every plugin, for people.
    pub fn status(&self, now: Timestamp) -> Vec<PluginStatus> {
        let mut rows = Vec::new();
        for built_in in &self.built_in {
            let origin = Origin::BuiltIn(built_in.name.clone());
            rows.push(match &built_in.loaded {
                Ok(version) => self.row(&origin, version, now),
                Err(reason) => PluginStatus::broken(origin.to_string(), Some(built_in.size), reason),
            });
        }
        for file in &self.files {
            let origin = Origin::File(file.name.clone());
            let mut row = match &file.loaded {
                Ok(version) => self.row(&origin, version, now),
                Err(reason) => {
                    let size = file.stamp.as_ref().map(|stamp| stamp.size);
                    PluginStatus::broken(file.name.clone(), size, reason)
                }
            };
            if let Some(refused) = file.refused.as_ref().filter(|_| !row.active) {
                row.error = Some(refused.reason().to_owned());
                row.state = match refused {
                    Refused::Broken(_) => PluginState::Broken,
                    Refused::Waiting(..) => PluginState::Waiting,
                    Refused::Kept(_) => PluginState::Refused,
                };
            }
            rows.push(row);
        }
        for chosen in self.in_force.values().filter(|chosen| !self.has_file(chosen)) {
            let granted = (*self.granted(chosen.version.plugin.name())).clone();
            let origin = chosen.origin.to_string();
            let row = PluginStatus::loaded(origin, &chosen.version, granted, now).in_force(chosen);
            rows.push(PluginStatus {
                state: PluginState::Kept,
                ..row
            });
        }
        rows
    }

    fn row(&self, origin: &Origin, version: &Version, now: Timestamp) -> PluginStatus {
        let granted = (*self.granted(version.plugin.name())).clone();
        let row = PluginStatus::loaded(origin.to_string(), version, granted, now);
        match self.in_force.get(&version.key()) {
            Some(chosen) if chosen.digest() == version.digest() && chosen.origin == *origin => {
                row.in_force(chosen)
            }
            _ => row,
        }
    }

    /// Whether what is in force lies in the folder, or in the program, as it is.
    fn has_file(&self, chosen: &InForce) -> bool {
        let Origin::File(name) = &chosen.origin else {
            return true;
        };
        let loaded = self.file(name).and_then(|file| file.loaded.as_ref().ok());
        loaded.is_some_and(|version| version.digest() == chosen.digest())
    }
}
