//! One text or a list of them, as people like to write it.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One text or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire")]
pub struct Texts(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum Wire {
    One(String),
    Several(Vec<String>),
}

impl From<Wire> for Texts {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::One(text) => Self(vec![text]),
            Wire::Several(texts) => Self(texts),
        }
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl Deref for Texts {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl<S: Into<String>> FromIterator<S> for Texts {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        Self(texts.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_a_list_of_one() {
        let texts: Texts = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(&*texts, ["a"]);
        let texts: Texts = serde_json::from_str("[\"a\", \"b\"]").unwrap();
        assert_eq!(texts.len(), 2);
        let error = serde_json::from_str::<Texts>("3").unwrap_err().to_string();
        assert!(error.contains("expected a text or a list of texts"), "{error}");
    }
}
