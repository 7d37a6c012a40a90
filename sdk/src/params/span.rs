//! A duration: a number of seconds, or a text such as `20min`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A duration in a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// In milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Reads `30s`, `20 min`, `12h`, `1d`, `1500ms`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, ms) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start())?;
        number.parse::<u64>().ok()?.checked_mul(ms).map(Self)
    }
}

/// In the largest unit that leaves a whole number: `90 s`, `20 min`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, ms): &(&str, u64)| self.0 >= *ms && self.0.is_multiple_of(*ms);
        let (unit, ms) = UNITS.into_iter().rev().find(fits).unwrap_or(("s", 1000));
        write!(f, "{} {unit}", self.0 / ms)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// As a text without a blank: `20min`.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string().replace(' ', ""))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+ ?(ms|s|min|h|d)$" },
        ] })
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration: a number of seconds, or a text such as \"30s\", \"20min\" or \"12h\"")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span::from_secs(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Span, E> {
        let ms = seconds * 1000.0;
        // Beyond this a float does not hold every millisecond; it is longer than any build.
        let usable = (0.0..9e15).contains(&ms);
        if usable {
            Ok(Span(ms.round() as u64))
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Float(seconds), &self))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        Span::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seconds_and_texts_are_durations() {
        for (json, ms) in [
            ("30", 30_000),
            ("0.5", 500),
            ("\"30s\"", 30_000),
            ("\"20 min\"", 1_200_000),
            ("\"12h\"", 43_200_000),
            ("\"1d\"", 86_400_000),
            ("\"1500ms\"", 1500),
            ("\"0s\"", 0),
        ] {
            assert_eq!(
                serde_json::from_str::<Span>(json).unwrap(),
                Span::from_ms(ms),
                "{json}"
            );
        }
        for wrong in [
            "-1",
            "\"\"",
            "\"20\"",
            "\"min\"",
            "\"2m\"",
            "\"99999999999999999d\"",
            "true",
            "1e300",
        ] {
            let error = serde_json::from_str::<Span>(wrong).unwrap_err().to_string();
            assert!(
                error.contains("a duration: a number of seconds, or a text"),
                "{wrong}: {error}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn what_is_shown_can_be_read(ms in 0u64..100_000_000_000) {
            prop_assert_eq!(Span::parse(&Span::from_ms(ms).to_string()), Some(Span::from_ms(ms)));
        }
    }
}
