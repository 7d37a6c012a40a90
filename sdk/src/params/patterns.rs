//! Patterns for names of branches, files, projects: `*` is anything but `/`, `**` is any number of folders, `?` is one
//! character, `[ab]` is one of some. The pattern `*` alone is everything.

use std::borrow::Cow;

use glob::{MatchOptions, Pattern};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::Error;

use super::Texts;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One pattern or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Whether one of them fits.
    pub fn matches(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.as_str() == "*" || pattern.matches_with(name, OPTIONS))
    }
}

impl serde::Serialize for Patterns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Pattern::as_str))
    }
}

impl JsonSchema for Patterns {
    fn schema_name() -> Cow<'static, str> {
        "Patterns".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Texts::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Texts::deserialize(deserializer)?;
        let parse = |text: &String| {
            let wrong = |e| {
                D::Error::custom(format!(
                    "expected a pattern such as `release/*`, found {text:?}: {e}"
                ))
            };
            Pattern::new(text).map_err(wrong)
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(json: &str) -> Patterns {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_star_ends_at_a_slash_and_stands_for_everything_when_alone() {
        for (pattern, name, fits) in [
            ("\"*\"", "feature/x", true),
            ("\"release/*\"", "release/1.0", true),
            ("\"release/*\"", "release/1/0", false),
            ("\"release/**\"", "release/1/0", true),
            ("\"**/*.md\"", "a.md", true),
            ("\"**/*.md\"", "docs/en/a.md", true),
            ("\"*.md\"", "docs/a.md", false),
            ("\"docs/**\"", "docs/a.md", true),
            ("\"v[0-9]*\"", "v2.1", true),
            ("\"main\"", "main2", false),
            ("\"Main\"", "main", false),
            ("[\"main\", \"devel\"]", "devel", true),
            ("[]", "devel", false),
        ] {
            assert_eq!(patterns(pattern).matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let error = serde_json::from_str::<Patterns>("\"a[\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("found \"a[\""), "{error}");
    }
}
