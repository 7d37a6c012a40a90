//! Calls of the host: as a plugin made them, as a scenario expects them, and the comparison of the two.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value, json};
use toml::Spanned;

use crate::fault::{Fault, Source};
use crate::fit;
use crate::words::Json;

/// How many calls a message lists.
const LISTED: usize = 50;
/// How many calls a scenario may list.
const MOST_EXPECTED: usize = 10_000;

/// One call that a plugin made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// `commands.run` …
    pub name: String,
    /// A few words: the program and its arguments, the method and the URL.
    pub words: String,
    /// What was asked.
    pub with: Value,
}

impl Call {
    pub(crate) fn new(name: &str, words: impl Into<String>, with: Value) -> Self {
        Self {
            name: name.to_owned(),
            words: words.into(),
            with,
        }
    }

    /// With the body as JSON too, if it is some.
    pub(crate) fn with_json(mut self, body: &[u8]) -> Self {
        if let (Value::Object(with), Ok(json)) = (&mut self.with, serde_json::from_slice(body)) {
            with.insert("json".to_owned(), json);
        }
        self
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.words.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", fit::cut(&self.words))
        }
    }
}

/// One call that a scenario expects.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Any number of calls.
    Any,
    /// A call whose text fits.
    Text(String),
    /// A call of this name with these members.
    Table(String, Map<String, Value>),
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)?.0 {
            Value::String(text) if text == "..." => Ok(Self::Any),
            Value::String(text) => Ok(Self::Text(text)),
            Value::Object(mut members) => match members.remove("call") {
                Some(Value::String(name)) => Ok(Self::Table(name, members)),
                _ => Err(D::Error::custom(
                    "expected `call = \"…\"` in the table of a call, found none",
                )),
            },
            other => Err(D::Error::custom(format!(
                "expected a call: a text such as \"commands.run make *\", or a table with `call`; found {other}"
            ))),
        }
    }
}

impl Expected {
    fn fits(&self, call: &Call) -> Result<(), String> {
        match self {
            Self::Any => Ok(()),
            // The words as they are: what is shown may be cut.
            Self::Text(pattern) => {
                let whole = format!("{} {}", call.name, call.words);
                if fit::text(pattern, whole.trim_end()) {
                    Ok(())
                } else {
                    Err(format!("expected `{pattern}`, found `{call}`"))
                }
            }
            Self::Table(name, _) if *name != call.name => Err(format!("expected `{name}`, found `{call}`")),
            Self::Table(_, members) => fit::value(&Value::Object(members.clone()), &call.with)
                .map_err(|differs| format!("`{call}`: {differs}")),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("..."),
            Self::Text(text) => f.write_str(text),
            Self::Table(name, members) => write!(f, "{name} {}", fit::cut(&json!(members).to_string())),
        }
    }
}

/// Compares all calls with those that are expected.
pub(crate) fn compare(
    source: &Source,
    list: &Spanned<Vec<Spanned<Expected>>>,
    found: &[Call],
) -> Result<(), Fault> {
    let expected = list.get_ref();
    if expected.len() > MOST_EXPECTED {
        let message = format!(
            "calls: expected at most {MOST_EXPECTED}, found {}",
            expected.len()
        );
        return Err(source.fault(Some(list.span()), message));
    }
    // For each number of expected ones that are through: after how many of the found ones that can be.
    let mut open = vec![false; found.len() + 1];
    open[0] = true;
    for (place, item) in expected.iter().enumerate() {
        let mut next = vec![false; found.len() + 1];
        for at in (0..=found.len()).filter(|at| open[*at]) {
            if matches!(item.get_ref(), Expected::Any) {
                next[at..].fill(true);
                break;
            }
            if found
                .get(at)
                .is_some_and(|call| item.get_ref().fits(call).is_ok())
            {
                next[at + 1] = true;
            }
        }
        if !next.contains(&true) {
            let after_any = place > 0 && matches!(expected[place - 1].get_ref(), Expected::Any);
            let at = open.iter().position(|open| *open).unwrap_or_default();
            let text = unmatched(item.get_ref(), found, at, after_any);
            return Err(source.fault(Some(item.span()), format!("{text}{}", listed(found))));
        }
        open = next;
    }
    if open[found.len()] {
        return Ok(());
    }
    let at = open.iter().rposition(|open| *open).unwrap_or_default();
    let text = match found.get(at) {
        Some(call) => format!("call {}: expected none, found `{call}`", at + 1),
        None => "expected no calls, found some".to_owned(),
    };
    Err(source.fault(Some(list.span()), format!("{text}{}", listed(found))))
}

fn unmatched(item: &Expected, found: &[Call], at: usize, after_any: bool) -> String {
    match found.get(at) {
        Some(_) if after_any => format!("from call {} on: expected `{item}`, found none that fits", at + 1),
        Some(call) => match item.fits(call) {
            Err(text) => format!("call {}: {text}", at + 1),
            Ok(()) => format!("call {}: expected `{item}`", at + 1),
        },
        None => format!("call {}: expected `{item}`, found none", at + 1),
    }
}

fn listed(found: &[Call]) -> String {
    let mut text = String::from("\n  calls:");
    if found.is_empty() {
        text.push_str(" none");
    }
    for (place, call) in found.iter().take(LISTED).enumerate() {
        text.push_str(&format!("\n    {}. {call}", place + 1));
    }
    if found.len() > LISTED {
        text.push_str(&format!("\n    … and {} more", found.len() - LISTED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, found: &[&str]) -> Result<(), String> {
        #[derive(serde::Deserialize)]
        struct File {
            calls: Spanned<Vec<Spanned<Expected>>>,
        }
        let text = format!("calls = {expected}");
        let file: File = toml::from_str(&text).unwrap();
        let call = |text: &&str| {
            let (name, words) = text.split_once(' ').unwrap_or((text, ""));
            Call::new(name, words, json!({ "words": words }))
        };
        let found: Vec<Call> = found.iter().map(call).collect();
        let source = Source::new("f", &text);
        compare(&source, &file.calls, &found).map_err(|fault| fault.to_string())
    }

    #[test]
    fn three_dots_stand_for_any_number_of_calls() {
        let found = ["a 1", "b 2", "c 3", "b 4"];
        for (expected, fits) in [
            (r#"["a 1", "b 2", "c 3", "b 4"]"#, true),
            (r#"["...", "b 4"]"#, true),
            (r#"["...", "b *", "...", "b *"]"#, true),
            (r#"["..."]"#, true),
            (r#"["a 1", "..."]"#, true),
            (r#"["a 1"]"#, false),
            (r#"["...", "c 3"]"#, false),
            ("[]", false),
            (r#"[{ call = "a", words = "1" }, "...", { call = "b" }]"#, true),
            (r#"[{ call = "a", words = "2" }, "..."]"#, false),
        ] {
            assert_eq!(
                check(expected, &found).is_ok(),
                fits,
                "{expected}: {:?}",
                check(expected, &found)
            );
        }
    }

    #[test]
    fn a_difference_names_the_line_the_call_and_all_there_were() {
        let error = |expected| check(expected, &["a 1", "b 2"]).unwrap_err();
        assert_eq!(
            error("[\n\"a 1\",\n\"b 3\",\n]"),
            "f:3: call 2: expected `b 3`, found `b 2`\n  calls:\n    1. a 1\n    2. b 2"
        );
        assert!(error(r#"["a 1"]"#).starts_with("f:1: call 2: expected none, found `b 2`"));
        assert!(error(r#"["a 1", "b 2", "c 3"]"#).contains("call 3: expected `c 3`, found none"));
        assert!(error(r#"["...", "c *"]"#).contains("from call 1 on: expected `c *`, found none that fits"));
        assert!(
            error(r#"["a 1", { call = "b", words = "9" }]"#)
                .contains("`b 2`: words: expected \"9\", found \"2\"")
        );
    }
}
