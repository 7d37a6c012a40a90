//! A plugin's manifest: what it is, which parameters it takes, which rights it asks for, within which limits.
//!
//! The manifest is JSON in the custom section [`SECTION`] of the component, so that a plugin is one file whose
//! SHA-256 is its identity. Authors write it as `plugin.toml` beside the source; packing embeds it.

mod lists;
mod pattern;
mod rights;
mod web;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use pattern::{Malformed, Pattern, fits};
pub use rights::{Refusal, Right, Rights, Side, check_right};
pub use web::WebPattern;

/// The custom section of a component that holds its manifest.
pub const SECTION: &str = "capstan:manifest";

/// The version of the manifest's own shape.
pub const SCHEMA: u32 = 1;

/// The WIT package that worlds belong to, without its version.
pub const PACKAGE: &str = "capstan:plugin";

/// The version of the WIT package that this master offers.
pub const PACKAGE_VERSION: &str = "0.1.1";

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

impl Manifest {
    /// Says what its shape alone does not rule out; the text begins with the field.
    pub fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema: expected {SCHEMA}, found {}", self.schema));
        }
        check_name(&self.plugin.name).map_err(|fault| format!("plugin.name: {fault}"))?;
        if self.plugin.version.is_empty() {
            return Err("plugin.version: expected a version, found nothing".to_owned());
        }
        for (key, text, most) in [
            ("version", &self.plugin.version, 64),
            ("description", &self.plugin.description, 1000),
            ("license", &self.plugin.license, 200),
        ] {
            // They are shown in lists, on pages and in terminals.
            if text.len() > most || text.chars().any(char::is_control) {
                let shown: String = text.chars().take(80).collect();
                return Err(format!(
                    "plugin.{key}: expected one line of at most {most} bytes, found {shown:?}"
                ));
            }
        }
        match self.parameters.get("type").and_then(Value::as_str) {
            Some("object") => Ok(()),
            _ => Err("parameters: expected a JSON Schema with \"type\": \"object\"".to_owned()),
        }
    }
}

/// Whether plugins can have this name.
pub fn check_name(name: &str) -> Result<(), String> {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.len() <= 64 && name.split('-').all(word) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(format!(
        "expected lower-case words joined by hyphens, at most 64 characters, found {shown:?}"
    ))
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
    /// What stands in for the system interfaces (WASI) that its code imports. Without it, such an import is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi: Option<Wasi>,
}

/// What a plugin gets where its code imports WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wasi {
    /// A set that reaches nothing: no files, no network, no environment, a clock and randomness that a step's replay
    /// gives again.
    Stub,
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
    /// Makes builders when a configuration is loaded.
    Generator,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::ChangeSource,
        Self::Scheduler,
        Self::Step,
        Self::Reporter,
        Self::Generator,
    ];

    /// The word in manifests and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChangeSource => "change-source",
            Self::Scheduler => "scheduler",
            Self::Step => "step",
            Self::Reporter => "reporter",
            Self::Generator => "generator",
        }
    }

    /// The WIT world: `step-plugin` and so on.
    pub fn world(self) -> &'static str {
        match self {
            Self::ChangeSource => "change-source-plugin",
            Self::Scheduler => "scheduler-plugin",
            Self::Step => "step-plugin",
            Self::Reporter => "reporter-plugin",
            Self::Generator => "generator-plugin",
        }
    }

    /// The name space of this kind's functions in a configuration: `step.shell(…)`.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::ChangeSource => "source",
            Self::Scheduler => "schedule",
            Self::Step => "step",
            Self::Reporter => "notify",
            Self::Generator => "generate",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
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
mod tests;
