//! Values that are known only when a build runs: texts with holes, properties, functions. Made by `config` when a configuration
//! is loaded, rendered by it when the master begins with a build or a step. In a plan's JSON such a value is an object with the single key [`KEY`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The only key of an object that stands for a deferred value. Configurations cannot write such an object themselves.
pub const KEY: &str = "$deferred";

/// One deferred value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deferred {
    /// A text with holes.
    Interpolate(Template),
    /// The value of a property, of any type.
    Property(PropertyOr),
    /// What a function of the configuration answers; its number among [`crate::plan::Plan::functions`].
    Function(u32),
    /// One of the secrets that the configuration names, chosen when a build runs.
    Secret(ChosenSecret),
}

/// A secret whose name is known only when a build runs. What chooses may come from people who start builds: it never leads to a
/// secret that is not among these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenSecret {
    /// A deferred value: the secret's name, or an object with the single key `secret` and the name.
    pub of: Box<Value>,
    /// The names that it can have.
    pub among: Vec<String>,
}

/// A property, or what stands for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PropertyOr {
    /// The property's name.
    pub name: String,
    /// What is taken where it is not set or null; may be deferred itself. Without it that is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Box<Value>>,
}

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// As it was written, for people.
    pub text: String,
    /// Its parts, in their order.
    pub parts: Vec<Part>,
    /// The values that were given with it, by name; may be deferred themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Text that stays.
    Text(String),
    /// What is filled in.
    Hole(Hole),
}

/// `{name:-default|filter}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Whose value is filled in.
    pub of: Name,
    /// What is filled in instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
    /// What is done with the text, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// What a hole names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// A property of the build.
    Property(String),
    /// One of the template's own values.
    Value(String),
    /// A field of the source with this codebase.
    Source {
        /// The codebase; empty for that of a farm with one.
        codebase: String,
        /// Which field.
        field: SourceField,
    },
    /// The worker's name.
    Worker,
    /// The builder's name.
    Builder,
    /// The build's number within its builder.
    BuildNumber,
}

/// A field of a source stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceField {
    /// The branch.
    Branch,
    /// The revision.
    Revision,
    /// The repository.
    Repository,
    /// The project.
    Project,
    /// The codebase.
    Codebase,
}

impl SourceField {
    /// Every field with its word in templates.
    pub const ALL: [(&'static str, Self); 5] = [
        ("branch", Self::Branch),
        ("revision", Self::Revision),
        ("repository", Self::Repository),
        ("project", Self::Project),
        ("codebase", Self::Codebase),
    ];
}

/// What takes the place of a value. A value that is null counts as not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// `:-text`: this text where the value is not set (Buildbot's `:-`).
    IfUnset(String),
    /// `:~text`: this text where the value is not set, empty, 0 or false (Buildbot's `:~`).
    IfEmpty(String),
    /// `:+text`: this text where the value is set, and nothing where it is not (Buildbot's `:+`).
    IfSet(String),
}

/// What is done with the text of a hole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Small letters.
    Lower,
    /// Capital letters.
    Upper,
    /// Small ASCII letters, digits and single hyphens, for names of hosts, images and folders.
    Slug,
    /// What follows the last `/`, but for those at the end.
    Basename,
    /// The value as JSON.
    Json,
    /// So many characters from the start.
    First(u32),
    /// Each occurrence of the first text becomes the second.
    Replace(String, String),
}

impl Deferred {
    /// The object that stands for it.
    pub fn to_value(&self) -> Value {
        let inner = serde_json::to_value(self).unwrap_or_default();
        Value::Object(Map::from_iter([(KEY.to_owned(), inner)]))
    }

    /// The deferred value that this one stands for; the error is an object of that form that means nothing.
    pub fn of(value: &Value) -> Option<Result<Self, serde_json::Error>> {
        inner(value).map(Self::deserialize)
    }

    /// Whether a value is deferred itself.
    pub fn is(value: &Value) -> bool {
        inner(value).is_some()
    }

    /// Whether a value is deferred, or something in it is.
    pub fn within(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(Self::within),
            Value::Object(map) => Self::is(value) || map.values().any(Self::within),
            _ => false,
        }
    }
}

fn inner(value: &Value) -> Option<&Value> {
    let map = value.as_object()?;
    map.get(KEY).filter(|_| map.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Rows of steps keep these: a master of another version has to read them.
    #[test]
    fn the_stored_form_is_as_it_was() {
        let template = Template {
            text: "{branch:-main|first:8} on {src.lib.revision}".to_owned(),
            parts: vec![
                Part::Hole(Hole {
                    of: Name::Property("branch".to_owned()),
                    instead: Some(Instead::IfUnset("main".to_owned())),
                    filters: vec![Filter::First(8), Filter::Replace("/".to_owned(), "-".to_owned())],
                }),
                Part::Text(" on ".to_owned()),
                Part::Hole(Hole {
                    of: Name::Source {
                        codebase: "lib".to_owned(),
                        field: SourceField::Revision,
                    },
                    instead: None,
                    filters: vec![],
                }),
            ],
            values: BTreeMap::new(),
        };
        for (deferred, stored) in [
            (Deferred::Function(3), json!({ "$deferred": { "function": 3 } })),
            (
                Deferred::Secret(ChosenSecret {
                    of: Box::new(json!({ "$deferred": { "property": { "name": "key" } } })),
                    among: vec!["staging-key".to_owned(), "live-key".to_owned()],
                }),
                json!({ "$deferred": { "secret": {
                    "of": { "$deferred": { "property": { "name": "key" } } }, "among": ["staging-key", "live-key"],
                } } }),
            ),
            (
                Deferred::Property(PropertyOr {
                    name: "flags".to_owned(),
                    default: Some(Box::new(json!([]))),
                }),
                json!({ "$deferred": { "property": { "name": "flags", "default": [] } } }),
            ),
            (
                Deferred::Interpolate(template),
                json!({ "$deferred": { "interpolate": {
                    "text": "{branch:-main|first:8} on {src.lib.revision}",
                    "parts": [
                        { "hole": { "of": { "property": "branch" }, "instead": { "if-unset": "main" },
                                    "filters": [{ "first": 8 }, { "replace": ["/", "-"] }] } },
                        { "text": " on " },
                        { "hole": { "of": { "source": { "codebase": "lib", "field": "revision" } } } },
                    ],
                } } }),
            ),
        ] {
            assert_eq!(deferred.to_value(), stored);
            assert_eq!(Deferred::of(&stored).unwrap().unwrap(), deferred);
            assert!(Deferred::within(&json!({ "a": [1, { "b": stored }] })));
        }
        assert!(!Deferred::within(&json!({ "$deferred": 1, "more": 2 })));
        assert!(
            Deferred::of(&json!({ "$deferred": { "other": 1 } }))
                .unwrap()
                .is_err()
        );
    }
}
