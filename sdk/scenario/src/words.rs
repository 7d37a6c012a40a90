//! Words of a scenario file: durations, times, values. Read by serde, so that a wrong one is named with its line.

use std::fmt::Write as _;

use capstan_model::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value};

/// The longest duration that means anything: a thousand years.
const MOST_MS: i64 = 1000 * 366 * 24 * 3_600_000;

const UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A duration in milliseconds: `30s`, `1h30min`, or a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub i64);

impl Span {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total = 0_i64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let after = after.trim_start();
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            let (_, ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(ms)?)?;
            rest = after.trim_start();
        }
        (!text.trim().is_empty() && total <= MOST_MS).then_some(Self(total))
    }

    /// `1h30min`; `0s` for nothing.
    pub(crate) fn text(self) -> String {
        let (mut left, mut text) = (self.0.max(0), String::new());
        for (unit, ms) in UNITS.into_iter().rev() {
            if left >= ms {
                let _ = write!(text, "{}{unit}", left / ms);
                left %= ms;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => {
                let ms = number.as_f64()? * 1000.0;
                (0.0..=MOST_MS as f64)
                    .contains(&ms)
                    .then_some(Self(ms.round() as i64))
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Json(value) = Json::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a duration such as \"30s\", \"20min\" or \"1h30min\", or a number of seconds, found {value}"
            ))
        })
    }
}

/// An instant: a date with an offset, or a duration since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Date(Timestamp),
    Since(Span),
}

impl Moment {
    pub(crate) fn at(self, beginning: Timestamp) -> Timestamp {
        match self {
            Self::Date(at) => at,
            Self::Since(span) => beginning.plus_ms(span.0),
        }
    }

    pub(crate) fn of(value: &Value) -> Option<Self> {
        let date = || value.as_str()?.parse::<jiff::Timestamp>().ok();
        let since = || Span::of(value).map(Self::Since);
        date()
            .map(|date| Self::Date(Timestamp(date.as_millisecond())))
            .or_else(since)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Json(value) = Json::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| {
            D::Error::custom(format!(
                "expected a date with an offset such as 2026-01-01T03:30:00Z, or a duration since the beginning such as \
                 \"10min\", found {value}"
            ))
        })
    }
}

/// Any value, as JSON; a date is its text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Json(pub Value);

impl Default for Json {
    fn default() -> Self {
        Self(Value::Object(Map::new()))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        to_json(value).map(Self).map_err(D::Error::custom)
    }
}

fn to_json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or("expected a number that JSON has, found one that it has not")?,
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            let member = |(name, value)| to_json(value).map(|value| (name, value));
            table.into_iter().map(member).collect::<Result<_, _>>()?
        }
    })
}

/// A table, as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)?.0 {
            Value::Object(members) => Ok(Self(members)),
            other => Err(D::Error::custom(format!("expected a table, found {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h30min", 5_400_000),
            ("2 d", 172_800_000),
            ("5ms", 5),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Some(Span(ms)), "{text}");
            assert_eq!(Span::parse(&Span(ms).text()), Some(Span(ms)), "{text}");
        }
        for wrong in ["", "s", "3", "3 weeks", "-1s", "99999999999999d", "1s x"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Span(5_410_005).text(), "1h30min10s5ms");
    }

    #[test]
    fn a_moment_is_a_date_or_a_time_since_the_beginning() {
        let beginning = Timestamp(1000);
        let at = |value: Value| Moment::of(&value).map(|moment| moment.at(beginning).0);
        assert_eq!(at("1970-01-01T00:00:05Z".into()), Some(5000));
        assert_eq!(at("1970-01-01T01:00:05+01:00".into()), Some(5000));
        assert_eq!(at("5s".into()), Some(6000));
        assert_eq!(at(2.into()), Some(3000));
        assert_eq!(at("1970-01-01".into()), None, "a day is no instant");
    }
}
