//! The fields of a form, as a configuration has them.

use capstan_sdk::scheduler::Stamp;
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest regular expression, in bytes, and what one may become.
const MAX_EXPRESSION: usize = 4096;
const MAX_COMPILED: usize = 128 << 10;
/// A text of a form is at most so long where the field does not say, and a file.
const MAX_TEXT: usize = 64 << 10;
/// What a field may allow at most: the value is a property.
pub(crate) const MOST: usize = 512 << 10;

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
    pub choices: Vec<String>,
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
        add("choices", json!(self.choices), chosen);
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
        let text = self.regex.as_ref()?;
        if text.len() > MAX_EXPRESSION {
            let found = text.len();
            return Some(Err(format!(
                "expected a regular expression of at most {MAX_EXPRESSION} bytes, found {found}"
            )));
        }
        let build = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(MAX_COMPILED)
                .nest_limit(50)
                .build()
        };
        // By itself first: an odd parenthesis must not pair with ours.
        let built = build(text).and_then(|_| build(&format!("^(?:{text})$")));
        Some(built.map_err(|error| format!("expected a regular expression, found {text:?}: {error}")))
    }
}
