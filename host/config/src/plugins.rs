//! The plugins that a configuration may use, with their parameters' schemas made ready. Used by evaluation only.

use std::collections::BTreeMap;

use capstan_model::Digest;
use capstan_model::plan::Bundle;
use capstan_model::plugin::{Kind, Manifest};
use serde::{Deserialize, Serialize};

use crate::schema::Schema;

/// A plugin as the configuration needs to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginInfo {
    /// Its kind.
    pub kind: Kind,
    /// Its name in manifests and in the plan, with hyphens.
    pub name: String,
    /// Its identity.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl PluginInfo {
    /// What `manifest` describes, at the version `digest`.
    pub fn new(manifest: Manifest, digest: Digest) -> Self {
        Self {
            kind: manifest.plugin.kind,
            name: manifest.plugin.name.clone(),
            digest,
            manifest,
        }
    }
}

/// A plugin and its schema.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    /// Why the schema cannot be used, if it cannot; reported where the plugin is used.
    pub(crate) schema: Result<Schema, String>,
}

/// Every plugin by kind and name in configurations (`git_poller`).
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    plugins: BTreeMap<(Kind, String), Plugin>,
}

/// A plugin that a bundle is pinned to and that is not there.
#[derive(Debug)]
pub(crate) struct MissingPin {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

impl Catalogue {
    /// Takes the versions that `pinned` names, and the last given version of every other plugin.
    pub(crate) fn new(infos: &[PluginInfo], pinned: Option<&Bundle>) -> Result<Self, Vec<MissingPin>> {
        let pins = pinned.map_or(&[][..], |bundle| &bundle.plugins);
        let pin = |info: &PluginInfo| {
            pins.iter()
                .find(|pin| pin.kind == info.kind && pin.name == info.name)
        };
        let mut plugins = BTreeMap::new();
        for info in infos
            .iter()
            .filter(|info| pin(info).is_none_or(|pin| pin.digest == info.digest))
        {
            plugins.insert(
                (info.kind, identifier(&info.name)),
                Plugin {
                    name: info.name.clone(),
                    digest: info.digest,
                    schema: Schema::new(info.kind, &info.manifest.parameters),
                },
            );
        }
        let missing: Vec<_> = pins
            .iter()
            .filter(|pin| !plugins.contains_key(&(pin.kind, identifier(&pin.name))))
            .map(|pin| MissingPin {
                kind: pin.kind,
                name: pin.name.clone(),
                digest: pin.digest,
            })
            .collect();
        if missing.is_empty() {
            Ok(Self { plugins })
        } else {
            Err(missing)
        }
    }

    /// The plugin behind `step.shell`: kind and the name in configurations.
    pub(crate) fn get(&self, kind: Kind, function: &str) -> Option<&Plugin> {
        self.plugins.get(&(kind, function.to_owned()))
    }

    /// The functions of one kind, sorted.
    pub(crate) fn functions(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.plugins
            .keys()
            .filter(move |key| key.0 == kind)
            .map(|key| key.1.as_str())
    }
}

/// A plugin's name as Starlark can say it.
pub(crate) fn identifier(name: &str) -> String {
    name.replace('-', "_")
}
