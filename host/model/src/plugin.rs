//! A plugin's manifest: what it is, which parameters it takes, which rights it asks for, within which limits.
//!
//! The manifest is JSON in the custom section [`SECTION`] of the component, so that a plugin is one file whose
//! SHA-256 is its identity. Authors write it as `plugin.toml` beside the source; packing embeds it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The custom section of a component that holds its manifest.
pub const SECTION: &str = "capstan:manifest";

/// The version of the manifest's own shape.
pub const SCHEMA: u32 = 1;

/// The WIT package that worlds belong to, without its version.
pub const PACKAGE: &str = "capstan:plugin";

/// The version of the WIT package that this master offers.
pub const PACKAGE_VERSION: &str = "0.1.0";

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this shape: [`SCHEMA`].
    pub schema: u32,
    /// Name, kind, version.
    pub plugin: About,
    /// A JSON Schema of type `object`: the parameters in a configuration.
    #[serde(default = "no_parameters")]
    pub parameters: Value,
    /// The rights it asks for.
    #[serde(default)]
    pub rights: Rights,
    /// Its limits, where they differ from the defaults.
    #[serde(default)]
    pub limits: Limits,
}

fn no_parameters() -> Value {
    serde_json::json!({ "type": "object", "additionalProperties": false })
}

/// Who a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The name in configurations: lower-case words joined by hyphens, unique within a kind.
    pub name: String,
    /// Which world it implements.
    pub kind: Kind,
    /// Its own version, for people.
    pub version: String,
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// An SPDX expression.
    #[serde(default)]
    pub license: String,
}

/// The kinds of plugins; each has a world of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Finds changes.
    ChangeSource,
    /// Turns changes and times into build requests.
    Scheduler,
    /// Does one thing in a build.
    Step,
    /// Tells people.
    Reporter,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::ChangeSource, Self::Scheduler, Self::Step, Self::Reporter];

    /// The word in manifests and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChangeSource => "change-source",
            Self::Scheduler => "scheduler",
            Self::Step => "step",
            Self::Reporter => "reporter",
        }
    }

    /// The WIT world: `step-plugin` and so on.
    pub fn world(self) -> &'static str {
        match self {
            Self::ChangeSource => "change-source-plugin",
            Self::Scheduler => "scheduler-plugin",
            Self::Step => "step-plugin",
            Self::Reporter => "reporter-plugin",
        }
    }

    /// The name space of this kind's functions in a configuration: `step.shell(…)`.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::ChangeSource => "source",
            Self::Scheduler => "schedule",
            Self::Step => "step",
            Self::Reporter => "notify",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Rights, by capability. In a manifest: asked for. In the operator's file: granted. Empty is none.
///
/// A pattern is `*` (anything), a text ending in `/*` (whatever starts with the text before the `*`), or an exact
/// value. A value with a `..` segment matches only `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Programs that a step may run on a worker; a shell line counts as the program `sh`.
    pub commands: Vec<String>,
    /// URLs that may be requested, as `https://host/path/*`.
    pub http: Vec<String>,
    /// Repositories that may be watched, by URL.
    pub git: Vec<String>,
    /// Secrets that may be named.
    pub secrets: Vec<String>,
    /// Files under the farm's folder that a reporter may append to.
    pub files: Vec<String>,
}

/// One capability of [`Rights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// [`Rights::commands`]
    Commands,
    /// [`Rights::http`]
    Http,
    /// [`Rights::git`]
    Git,
    /// [`Rights::secrets`]
    Secrets,
    /// [`Rights::files`]
    Files,
}

impl Right {
    /// Every capability.
    pub const ALL: [Self; 5] = [Self::Commands, Self::Http, Self::Git, Self::Secrets, Self::Files];

    /// The key in manifests and in the operator's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Http => "http",
            Self::Git => "git",
            Self::Secrets => "secrets",
            Self::Files => "files",
        }
    }
}

/// A right that was not there. The text says which plugin, which right, for what, and which side refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("plugin `{plugin}` may not use {} `{value}`: {}", .right.as_str(), self.reason())]
pub struct Refusal {
    /// The plugin's name.
    pub plugin: String,
    /// The capability.
    pub right: Right,
    /// What it wanted to use.
    pub value: String,
    /// Which side did not allow it.
    pub side: Side,
}

/// Who has to allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The plugin's author did not ask for it.
    Manifest,
    /// The operator did not grant it.
    Operator,
}

impl Refusal {
    fn reason(&self) -> String {
        match self.side {
            Side::Manifest => "its manifest does not ask for it".to_owned(),
            Side::Operator => format!(
                "the manifest asks for it, the operator has not granted it; to grant it, add it to `{}` under \
                 [grants.{}] in capstan.toml",
                self.right.as_str(),
                self.plugin
            ),
        }
    }
}

impl Rights {
    /// The patterns of one capability.
    pub fn of(&self, right: Right) -> &[String] {
        match right {
            Right::Commands => &self.commands,
            Right::Http => &self.http,
            Right::Git => &self.git,
            Right::Secrets => &self.secrets,
            Right::Files => &self.files,
        }
    }

    /// Whether some pattern of this capability covers `value`.
    pub fn covers(&self, right: Right, value: &str) -> bool {
        self.of(right).iter().any(|pattern| covers(pattern, value))
    }
}

/// Checks both sides: what the manifest asks for AND what the operator granted.
pub fn check_right(
    plugin: &str,
    asked: &Rights,
    granted: &Rights,
    right: Right,
    value: &str,
) -> Result<(), Refusal> {
    let refuse = |side| Refusal {
        plugin: plugin.to_owned(),
        right,
        value: value.to_owned(),
        side,
    };
    if !asked.covers(right, value) {
        return Err(refuse(Side::Manifest));
    }
    if !granted.covers(right, value) {
        return Err(refuse(Side::Operator));
    }
    Ok(())
}

fn covers(pattern: &str, value: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let climbs = value.split(['/', '\\']).any(|segment| segment == "..");
    match pattern.strip_suffix('*') {
        Some(prefix) if prefix.ends_with('/') => !climbs && value.starts_with(prefix),
        _ => !climbs && pattern == value,
    }
}

/// What one call, or one step, of a plugin may use. Absent fields take the master's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory, in MiB.
    pub memory_mib: Option<u32>,
    /// Time inside the guest between two host calls, in milliseconds.
    pub call_ms: Option<u32>,
    /// Journal rows of one step.
    pub journal_rows: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(http: &[&str]) -> Rights {
        Rights {
            http: http.iter().map(|&s| s.to_owned()).collect(),
            ..Rights::default()
        }
    }

    #[test]
    fn a_pattern_ends_at_a_slash_so_that_no_other_host_fits() {
        let granted = rights(&["https://ci.example.org/*"]);
        assert!(granted.covers(Right::Http, "https://ci.example.org/hook"));
        assert!(!granted.covers(Right::Http, "https://ci.example.org.evil.net/hook"));
        assert!(!granted.covers(Right::Http, "https://ci.example.org@evil.net/hook"));
        assert!(!granted.covers(Right::Http, "https://ci.example.org/a/../b"));
        assert!(!rights(&["https://ci.example*"]).covers(Right::Http, "https://ci.example.org/"));
    }

    #[test]
    fn a_refusal_names_the_side_that_refused() {
        let (all, none) = (rights(&["*"]), Rights::default());
        let side = |asked, granted| {
            check_right("p", asked, granted, Right::Http, "https://x/")
                .unwrap_err()
                .side
        };
        assert_eq!(side(&none, &all), Side::Manifest);
        assert_eq!(side(&all, &none), Side::Operator);
        assert!(check_right("p", &all, &all, Right::Http, "https://x/").is_ok());
        let text = check_right("p", &all, &none, Right::Http, "https://x/")
            .unwrap_err()
            .to_string();
        assert!(text.contains("[grants.p]"), "{text}");
    }
}
