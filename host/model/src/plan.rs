//! The plan: what a configuration means, after every check. Made by `config`, carried out by `master`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::Kind;
use crate::{Digest, EnvValue};

/// Everything that a configuration defines. Applied atomically; builds pin the one that they were made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it was made from.
    pub bundle: Bundle,
    /// The workers that may connect.
    pub workers: Vec<Worker>,
    /// The builders, in the order of the configuration.
    pub builders: Vec<Builder>,
    /// The change sources.
    pub sources: Vec<Source>,
    /// The schedulers.
    pub schedulers: Vec<Scheduler>,
    /// The reporters.
    pub reporters: Vec<Reporter>,
}

impl Plan {
    /// The builder of that name.
    pub fn builder(&self, name: &str) -> Option<&Builder> {
        self.builders.iter().find(|b| b.name == name)
    }

    /// The plan's identity: the digest of its bundle's list of contents.
    pub fn digest(&self) -> Digest {
        self.bundle.digest()
    }
}

/// What a plan was made from, content-addressed: evaluating the same bundle gives the same plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The file that evaluation starts with: a key of `files`.
    pub entry: String,
    /// Each file that was read, by its path relative to the farm's folder, with its content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Each plugin that a definition uses, by kind and name.
    pub plugins: Vec<PluginPin>,
}

/// One plugin at one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PluginPin {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its bytes' digest.
    pub digest: Digest,
}

impl Bundle {
    /// The digest of the entry's name, each path with its content's digest, and each plugin's digest.
    pub fn digest(&self) -> Digest {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(path, bytes)| (path, Digest::of(bytes)))
            .collect();
        let list = serde_json::to_vec(&(&self.entry, files, &self.plugins)).unwrap_or_default();
        Digest::of(&list)
    }
}

/// Where in the configuration something was defined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file, relative to the farm's folder.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A plugin with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginUse {
    /// The plugin's name.
    pub plugin: String,
    /// The version that the parameters were checked against.
    pub digest: Digest,
    /// The parameters: a JSON object that fits the manifest's schema.
    pub config: Value,
    /// Where it was written.
    pub location: Location,
}

/// A worker that may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its name, as in its certificate.
    pub name: String,
    /// How many builds it runs at a time; `None` takes what the worker offers.
    pub slots: Option<u32>,
    /// Labels beside those that the worker reports.
    pub labels: Vec<String>,
    /// Where it was written.
    pub location: Location,
}

/// A builder: where and how one kind of build is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Builder {
    /// Its name, unique.
    pub name: String,
    /// For people.
    pub description: String,
    /// For filters.
    pub tags: Vec<String>,
    /// The workers that may run it, by name; empty means by labels alone.
    pub workers: Vec<String>,
    /// The labels that a worker must have, all of them.
    pub labels: Vec<String>,
    /// Environment of every command.
    pub env: BTreeMap<String, EnvValue>,
    /// Properties of every build.
    pub properties: BTreeMap<String, Value>,
    /// Whether waiting requests with the same sources (but for the revision) become one build.
    pub collapse: bool,
    /// What a build does.
    pub steps: Vec<Step>,
    /// Where it was written.
    pub location: Location,
}

impl Builder {
    /// The builder's directory on a worker: its name with everything but letters, digits, `.`, `_` and `-` replaced,
    /// and a digest's start where that changed something, so that two builders never share one by accident.
    pub fn directory(&self) -> String {
        let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let safe: String = self
            .name
            .chars()
            .take(60)
            .map(|c| if keep(c) { c } else { '_' })
            .collect();
        if safe == self.name && !safe.starts_with('.') {
            safe
        } else {
            let digest = Digest::of(self.name.as_bytes()).to_string();
            format!("{}-{}", safe.trim_start_matches('.'), &digest[..8])
        }
    }
}

/// One step of a builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name within the builder; unique.
    pub name: String,
    /// The plugin that does it.
    #[serde(rename = "use")]
    pub plugin: PluginUse,
    /// Whether a failure ends the build (later steps run only if `always_run`).
    pub halt_on_failure: bool,
    /// Whether a failure makes the build fail.
    pub flunk_on_failure: bool,
    /// Whether a failure leaves the build at least at warnings.
    pub warn_on_failure: bool,
    /// Whether it runs even after the build was halted or stopped.
    pub always_run: bool,
    /// Environment of its commands, over the builder's.
    pub env: BTreeMap<String, EnvValue>,
}

/// A change source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, unique among change sources.
    pub name: String,
    /// The plugin.
    #[serde(rename = "use")]
    pub plugin: PluginUse,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Its name, unique among schedulers.
    pub name: String,
    /// The builders that it asks for.
    pub builders: Vec<String>,
    /// The plugin.
    #[serde(rename = "use")]
    pub plugin: PluginUse,
}

/// A reporter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reporter {
    /// Its name, unique among reporters.
    pub name: String,
    /// The builders that it reports on; empty is all.
    pub builders: Vec<String>,
    /// Which moments it reports.
    pub phases: Vec<Phase>,
    /// The plugin.
    #[serde(rename = "use")]
    pub plugin: PluginUse,
}

/// A moment that can be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A build began.
    Started,
    /// A build ended.
    Finished,
}

impl Phase {
    /// The word in configurations, payloads and delivery ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Finished => "finished",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            description: String::new(),
            tags: vec![],
            workers: vec![],
            labels: vec![],
            env: BTreeMap::new(),
            properties: BTreeMap::new(),
            collapse: true,
            steps: vec![],
            location: Location::default(),
        }
    }

    #[test]
    fn directories_are_one_safe_component_and_never_shared() {
        assert_eq!(builder("linux-x86_64").directory(), "linux-x86_64");
        for name in ["..", ".", "a/b", "a b", "/etc", ".git"] {
            let dir = builder(name).directory();
            assert!(
                !dir.contains('/') && !dir.starts_with('.') && !dir.is_empty(),
                "{name} gave {dir}"
            );
        }
        assert_ne!(builder("a b").directory(), builder("a_b").directory());
        assert_ne!(builder("a b").directory(), builder("a/b").directory());
    }
}
