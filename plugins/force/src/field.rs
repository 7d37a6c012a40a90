//! The fields of a form, as a configuration has them.

use capstan_sdk::scheduler::Stamp;
use regex_lite::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A text of a form is at most so long where the field does not say, and a file.
const MAX_TEXT: usize = 64 << 10;
/// What a field may allow at most. The value is a property, which a master takes up to this size, as JSON.
pub(crate) const MOST: usize = 256 << 10;

/// One field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    /// The property's name; a group without one puts its fields beside the others.
    #[serde(default)]
    pub name: String,
    #[serde(rename = "type", default)]
    pub kind: Kind,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub help: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub default: Option<Value>,
    /// The whole of a text has to fit.
    #[serde(default)]
    pub regex: Option<String>,
    #[serde(default)]
    pub min: Option<i64>,
    #[serde(default)]
    pub max: Option<i64>,
    /// In bytes.
    #[serde(default)]
    pub max_size: Option<usize>,
    #[serde(default)]
    pub choices: Choices,
    /// What to choose from while the function that names the choices fails.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Why it failed; the master says so.
    #[serde(default)]
    pub choices_fault: Option<String>,
    /// Whether several of the choices may be taken.
    #[serde(default)]
    pub multiple: bool,
    /// Whether something else than the choices may be given.
    #[serde(default)]
    pub other: bool,
    /// Of a group.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Of a codebase: what to check out if nothing is filled in.
    #[serde(default)]
    pub source: Stamp,
    /// Of a codebase: what may be filled in.
    #[serde(default = "everything")]
    pub ask: Vec<Part>,
}

/// What to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choices {
    These(Vec<String>),
    /// What a function of the configuration says. The master asks it, and puts its answer here, before it asks for the form or
    /// calls; elsewhere there is nothing to choose from.
    Live,
}

impl Default for Choices {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("$deferred").is_some() {
            return Ok(Self::Live);
        }
        let list = Vec::deserialize(value);
        list.map(Self::These).map_err(|_| {
            serde::de::Error::custom("choices: expected a list of texts, or a function that answers one")
        })
    }
}

impl Choices {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::These(list) => list,
            Self::Live => &[],
        }
    }
}

/// What a field takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    String,
    Text,
    Int,
    Bool,
    Choice,
    Codebase,
    Group,
    File,
    Secret,
    Fixed,
}

/// What of a source stamp may be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Branch,
    Revision,
    Repository,
    Project,
}

fn everything() -> Vec<Part> {
    vec![Part::Branch, Part::Revision, Part::Repository, Part::Project]
}

impl Part {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Revision => "revision",
            Self::Repository => "repository",
            Self::Project => "project",
        }
    }
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Text => "text",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Choice => "choice",
            Self::Codebase => "codebase",
            Self::Group => "group",
            Self::File => "file",
            Self::Secret => "secret",
            Self::Fixed => "fixed",
        }
    }
}

impl Field {
    /// What a page or a command line needs to know.
    pub(crate) fn describe(&self) -> Value {
        let mut shown = json!({
            "name": self.key(),
            "type": self.kind.word(),
            "label": self.label.as_deref().unwrap_or(self.key()),
            "required": self.required,
        });
        let mut add = |name: &str, value: Value, there: bool| {
            if there {
                shown[name] = value;
            }
        };
        add("help", json!(self.help), !self.help.is_empty());
        add("default", json!(self.default), self.default.is_some());
        add("regex", json!(self.regex), self.regex.is_some());
        add("min", json!(self.min), self.min.is_some());
        add("max", json!(self.max), self.max.is_some());
        let sized = matches!(self.kind, Kind::String | Kind::Text | Kind::File);
        add("max_size", json!(self.most_bytes()), sized);
        let chosen = matches!(self.kind, Kind::Choice | Kind::Secret);
        add("choices", json!(self.choices.list()), chosen);
        add(
            "choices_fault",
            json!(self.choices_fault),
            self.choices_fault.is_some(),
        );
        add("multiple", json!(self.multiple), self.kind == Kind::Choice);
        add("other", json!(self.other), self.kind == Kind::Choice);
        let fields = self.fields.iter().map(Self::describe).collect();
        add("fields", Value::Array(fields), self.kind == Kind::Group);
        let is_codebase = self.kind == Kind::Codebase;
        add("source", json!(self.source), is_codebase);
        let ask: Vec<_> = self.ask.iter().map(|part| part.word()).collect();
        add("ask", json!(ask), is_codebase);
        shown
    }

    /// Under which name values are given.
    pub(crate) fn key(&self) -> &str {
        match (self.kind, self.name.as_str()) {
            (Kind::Codebase, "") if self.source.codebase.is_empty() => "source",
            (Kind::Codebase, "") => &self.source.codebase,
            (_, name) => name,
        }
    }

    pub(crate) fn most_bytes(&self) -> usize {
        self.max_size.unwrap_or(MAX_TEXT)
    }

    /// The compiled expression, which the whole of a text has to fit; time by its size and the text's length, never more.
    pub(crate) fn expression(&self) -> Option<Result<Regex, String>> {
        self.regex.as_deref().map(scheduling::whole_expression)
    }
}
