//! The plan: what a configuration means, after every check. Made by `config`, carried out by `master`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::Kind;
use crate::{Condition, Digest, EndBuildOn, EnvValue, Lock, LockAccess, Rules};

/// Everything that a configuration defines. Applied atomically; builds pin the one that they were made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it was made from.
    pub bundle: Bundle,
    /// The workers that may connect.
    pub workers: Vec<Worker>,
    /// What keeps builds and steps from running side by side.
    #[serde(default)]
    pub locks: Vec<Lock>,
    /// The builders, in the order of the configuration.
    pub builders: Vec<Builder>,
    /// The change sources.
    pub sources: Vec<Source>,
    /// The schedulers.
    pub schedulers: Vec<Scheduler>,
    /// The reporters.
    pub reporters: Vec<Reporter>,
    /// Which of the builders with waiting requests are served first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<FunctionRef>,
    /// Properties of every build of every builder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
    /// Environment of every command, below that of workers, builders and steps.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    /// The functions that the configuration keeps, in the order of their numbers.
    #[serde(default)]
    pub functions: Vec<FunctionRef>,
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
    /// The names of the functions that it keeps, by their numbers: what follows from the rest, and no part of the digest. An
    /// evaluation that comes to others is not the one that builds are pinned to. Empty where it was not noted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
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

/// A function of the configuration that is called later. It stays in the evaluation that made it; whoever calls it asks for that
/// by the plan's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRef {
    /// Its number: functions are counted from 0 in the order in which evaluation came to them.
    pub number: u32,
    /// Its name, for people.
    pub name: String,
    /// Where the configuration first gave it away.
    pub location: Location,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its name, as in its certificate.
    pub name: String,
    /// How many builds it runs at a time; `None` takes what the worker offers.
    pub slots: Option<u32>,
    /// Labels beside those that the worker reports.
    pub labels: Vec<String>,
    /// Properties of every build on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Value>,
    /// Properties of builds on it that have none of these names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, Value>,
    /// Environment of every command on it, below that of builders and steps.
    #[serde(default, skip_serializing_if = "Env::is_empty")]
    pub env: Env,
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
    /// What it belongs to, for people; empty is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// For filters.
    pub tags: Vec<String>,
    /// The workers that may run it, by name; empty means by labels alone.
    pub workers: Vec<String>,
    /// What a worker's labels must fulfil, all of it: each is an expression as [`Labels`](crate::Labels) reads it.
    pub labels: Vec<String>,
    /// The folder that it shares with the builders that name the same; without one it has a folder of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Environment of every command.
    pub env: Env,
    /// Properties of every build; may be deferred until it starts.
    pub properties: BTreeMap<String, Value>,
    /// Properties of builds that have none of these names; may be deferred until one starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, Value>,
    /// The builder that its builds are shown under, by the keys of a [`VirtualBuilder`](crate::VirtualBuilder), each of which may
    /// be deferred until a build starts. Empty is itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub virtual_builder: BTreeMap<String, Value>,
    /// Whether waiting requests with the same sources (but for the revision) become one build.
    pub collapse: bool,
    /// Whether a new request for a branch cancels the older ones for it, and stops their builds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_older: bool,
    /// Who is served first, and where: what builder and functions say of its requests.
    #[serde(default, skip_serializing_if = "Queueing::is_default")]
    pub queueing: Queueing,
    /// What each build holds from its start to its end.
    #[serde(default)]
    pub locks: LockList,
    /// What a build does.
    pub steps: Vec<Step>,
    /// Where it was written.
    pub location: Location,
}

impl Builder {
    /// The directory on a worker: the name of the builder, or of the folder that it shares, with everything but letters, digits,
    /// `.`, `_` and `-` replaced, and a digest's start where that changed something, so that two never share one by accident.
    pub fn directory(&self) -> String {
        let name = self.directory.as_ref().unwrap_or(&self.name);
        let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let safe: String = name
            .chars()
            .take(60)
            .map(|c| if keep(c) { c } else { '_' })
            .collect();
        if safe == *name && !safe.starts_with('.') {
            safe
        } else {
            let digest = Digest::of(name.as_bytes()).to_string();
            format!("{}-{}", safe.trim_start_matches('.'), &digest[..8])
        }
    }
}

/// How the waiting requests of a builder are served, beside their own priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queueing {
    /// Added to the priority of each request; higher is sooner.
    pub priority: i32,
    /// Whether two requests that are alike become one build; only asked where `collapse` is set.
    pub collapse: Option<FunctionRef>,
    /// Which of the free workers takes a request.
    pub next_worker: Option<FunctionRef>,
    /// Whether a request may start on a worker now.
    pub may_start: Option<FunctionRef>,
    /// Whose clock `may_start` is told; empty is UTC.
    pub time_zone: String,
}

impl Queueing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The locks that a build or a step holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockList {
    /// Always these.
    Fixed(Vec<LockAccess>),
    /// What this function answers: it is told of the build when its worker is known.
    Function(FunctionRef),
}

impl Default for LockList {
    fn default() -> Self {
        Self::Fixed(Vec::new())
    }
}

impl LockList {
    /// The locks, where they are known without asking.
    pub fn fixed(&self) -> Option<&[LockAccess]> {
        match self {
            Self::Fixed(list) => Some(list),
            Self::Function(_) => None,
        }
    }

    /// Whether nothing is ever held.
    pub fn is_empty(&self) -> bool {
        self.fixed().is_some_and(<[_]>::is_empty)
    }
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Environment as the configuration gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Env {
    /// A deferred value whose map is the environment; what stands beside it goes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<Value>,
    /// The variables that are known.
    #[serde(default)]
    pub fixed: BTreeMap<String, EnvValue>,
    /// Those whose value is deferred.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deferred: BTreeMap<String, Value>,
}

impl Env {
    /// Whether something of it is known only when a step begins.
    pub fn is_deferred(&self) -> bool {
        self.map.is_some() || !self.deferred.is_empty()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && !self.is_deferred()
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
    /// What its result means to the build.
    #[serde(flatten)]
    pub rules: Rules,
    /// Whether it runs even after the build was halted or stopped.
    pub always_run: bool,
    /// Whether it runs when its turn comes; it is skipped otherwise.
    #[serde(default = "Condition::always", skip_serializing_if = "Condition::is_always")]
    pub run_if: Condition,
    /// Whether pages leave it out once it has ended.
    #[serde(default = "Condition::never", skip_serializing_if = "Condition::is_never")]
    pub hide_if: Condition,
    /// Its results that end the build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub end_build_on: EndBuildOn,
    /// What it holds while it runs.
    #[serde(default)]
    pub locks: LockList,
    /// Environment of its commands, over the builder's.
    pub env: Env,
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
    /// The builders that it asks for; empty where a function says so for each request.
    pub builders: Vec<String>,
    /// The function that names the builders of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builders_by: Option<FunctionRef>,
    /// The schedulers whose complete buildsets it is told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<String>,
    /// Whether its new requests for a branch cancel its older ones for the same builder and branch, and stop their builds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel_older: bool,
    /// Whether the first failure in one of its buildsets cancels what is left of that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fail_fast: bool,
    /// What functions say of its changes and requests.
    #[serde(flatten)]
    pub judging: Judging,
    /// The plugin.
    #[serde(rename = "use")]
    pub plugin: PluginUse,
}

/// What functions say of a scheduler's changes and requests. The master asks them, whatever the plugin is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Judging {
    /// Whether it is told of a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_filter: Option<FunctionRef>,
    /// Whether a change is a reason to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_important: Option<FunctionRef>,
    /// The priority of a request.
    #[serde(rename = "priority_by", skip_serializing_if = "Option::is_none")]
    pub priority: Option<FunctionRef>,
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
            project: String::new(),
            directory: None,
            env: Env::default(),
            properties: BTreeMap::new(),
            defaults: BTreeMap::new(),
            virtual_builder: BTreeMap::new(),
            collapse: true,
            queueing: Queueing::default(),
            cancel_older: false,
            locks: LockList::default(),
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
        let long = "ü".repeat(200);
        assert!(builder(&long).directory().len() < 100);
        assert_ne!(builder(&long).directory(), builder(&"ü".repeat(199)).directory());
    }

    #[test]
    fn a_folder_that_is_named_is_shared() {
        let sharing = |name: &str, directory: &str| Builder {
            directory: Some(directory.to_owned()),
            ..builder(name)
        };
        assert_eq!(sharing("a", "group").directory(), "group");
        assert_eq!(
            sharing("a", "the group").directory(),
            sharing("b", "the group").directory()
        );
        assert!(!sharing("a", "../b").directory().contains('/'));
    }
}
