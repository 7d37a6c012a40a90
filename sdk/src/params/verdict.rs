//! A result in a configuration, by its word: `"warnings"`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::Outcome;

const ALL: [Outcome; 7] = [
    Outcome::Success,
    Outcome::Warnings,
    Outcome::Failure,
    Outcome::Skipped,
    Outcome::Exception,
    Outcome::Retry,
    Outcome::Cancelled,
];

/// A result in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict(pub Outcome);

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let found = ALL.into_iter().find(|outcome| outcome.to_string() == word);
        let words = || ALL.map(|outcome| outcome.to_string()).join(", ");
        found
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("expected one of {}, found {word:?}", words())))
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Verdict {
    fn schema_name() -> Cow<'static, str> {
        "Verdict".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ALL.map(|outcome| outcome.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        for outcome in ALL {
            let text = serde_json::to_string(&Verdict(outcome)).unwrap();
            assert_eq!(text, format!("\"{outcome}\""));
            assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), Verdict(outcome));
        }
        let error = serde_json::from_str::<Verdict>("\"fine\"")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("warnings") && error.contains("\"fine\""),
            "{error}"
        );
    }
}
