//! Compares what was found with what a scenario expects, and gathers the differences.

use capstan_model::Timestamp;
use serde_json::{Map, Value};

use crate::call::{self, Call};
use crate::fault::{Fault, Source};
use crate::fit;
use crate::format::{At, Calls};
use crate::listen::Message;
use crate::words::{Members, Moment, Span};

/// Gathers faults of one run.
pub(crate) struct Judge<'a> {
    pub source: &'a Source,
    /// When the scenario begins.
    pub beginning: Timestamp,
    pub faults: Vec<Fault>,
}

/// So many faults of one scenario are enough.
const MOST_FAULTS: usize = 50;

impl<'a> Judge<'a> {
    pub(crate) fn new(source: &'a Source, beginning: Timestamp) -> Self {
        Self {
            source,
            beginning,
            faults: Vec::new(),
        }
    }

    /// A fault at a place of the file, or about the whole.
    pub(crate) fn fault<T>(&mut self, at: Option<&At<T>>, message: impl Into<String>) {
        self.push(self.source.fault(at.map(toml::Spanned::span), message));
    }

    /// A fault about the whole.
    pub(crate) fn whole(&mut self, message: impl Into<String>) {
        self.push(self.source.fault(None, message));
    }

    fn push(&mut self, fault: Fault) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// A text, if one is expected.
    pub(crate) fn text(&mut self, what: &str, expected: Option<&At<String>>, found: Option<&str>) {
        let Some(expected) = expected else { return };
        if !found.is_some_and(|found| fit::text(expected.get_ref(), found)) {
            let found = found.map_or("nothing".to_owned(), |found| format!("`{}`", fit::cut(found)));
            let message = format!("{what}: expected `{}`, found {found}", expected.get_ref());
            self.fault(Some(expected), message);
        }
    }

    /// Whether something failed as it should: without an expected error a failure is a fault, and with one success is. A failure of
    /// which nothing is expected is told at `at`.
    pub(crate) fn failure<T>(
        &mut self,
        what: &str,
        expected: Option<&At<String>>,
        found: Option<&str>,
        at: Option<&At<T>>,
    ) {
        match (expected, found) {
            (None, None) => {}
            (Some(_), _) => self.text(&format!("{what}: error"), expected, found),
            (None, Some(found)) => self.fault(
                at,
                format!("{what}: expected no error, found `{}`", fit::cut(found)),
            ),
        }
    }

    /// A value, if one is expected.
    pub(crate) fn value(&mut self, what: &str, expected: Option<&At<impl AsJson>>, found: &Value) {
        let Some(expected) = expected else { return };
        if let Err(text) = fit::value(&expected.get_ref().json(), found) {
            let message = format!("{what}: {text}");
            self.fault(Some(expected), message);
        }
    }

    /// A list of tables, if one is expected. `at` in them is a moment.
    pub(crate) fn list(&mut self, what: &str, expected: Option<&At<Vec<At<Members>>>>, found: &[Value]) {
        let Some(expected) = expected else { return };
        let items = expected.get_ref();
        for (place, item) in items.iter().enumerate() {
            let number = place + 1;
            match found.get(place) {
                None => {
                    let text = fit::shown(&Value::Object(item.get_ref().0.clone()));
                    self.fault(
                        Some(item),
                        format!("{what} {number}: expected {text}, found no more"),
                    );
                }
                Some(found) => {
                    if let Err(text) = self.member(&item.get_ref().0, found) {
                        self.fault(Some(item), format!("{what} {number}: {text}"));
                    }
                }
            }
        }
        if let Some(more) = found.get(items.len()) {
            let (number, text) = (items.len() + 1, fit::shown(&self.readable(more)));
            self.fault(
                Some(expected),
                format!("{what} {number}: expected no more, found {text}"),
            );
        }
    }

    fn member(&self, expected: &Map<String, Value>, found: &Value) -> Result<(), String> {
        let mut expected = expected.clone();
        if let (Some(at), Some(found)) = (expected.remove("at"), found["at"].as_i64()) {
            let moment = Moment::of(&at).ok_or_else(|| {
                format!("at: expected a date with an offset or a duration since the beginning, found {at}")
            })?;
            let expected = moment.at(self.beginning);
            if expected.0 != found {
                let (expected, found) = (self.since(expected.0), self.since(found));
                return Err(format!("at: expected {expected}, found {found}"));
            }
        }
        fit::value(&Value::Object(expected), found)
    }

    /// An instant as people read it: since the beginning.
    pub(crate) fn since(&self, at: i64) -> String {
        let ms = at.saturating_sub(self.beginning.0);
        if ms < 0 {
            format!("{} before the beginning", Span(-ms).text())
        } else {
            Span(ms).text()
        }
    }

    fn readable(&self, found: &Value) -> Value {
        let mut found = found.clone();
        if let Some(at) = found["at"].as_i64() {
            found["at"] = Value::String(self.since(at));
        }
        found
    }

    /// Calls, if some are expected.
    pub(crate) fn calls(&mut self, expected: Option<&Calls>, found: &[Call]) {
        let compared = expected.map(|expected| call::compare(self.source, expected, found));
        if let Some(Err(fault)) = compared {
            self.push(fault);
        }
    }

    /// Messages that are expected, in order; others may come between.
    pub(crate) fn said(&mut self, expected: Option<&At<Vec<At<String>>>>, found: &[Message]) {
        let mut rest = found.iter();
        for item in expected.into_iter().flat_map(|list| list.get_ref()) {
            if !rest.any(|message| fit::text(item.get_ref(), &message.text)) {
                let list: Vec<String> = found
                    .iter()
                    .take(20)
                    .map(|message| fit::cut(&message.text))
                    .collect();
                let list = if list.is_empty() {
                    "nothing".to_owned()
                } else {
                    list.join("\n    ")
                };
                let message = format!(
                    "said: expected `{}`, found none that fits\n  said:\n    {list}",
                    item.get_ref()
                );
                return self.fault(Some(item), message);
            }
        }
    }
}

/// What a scenario expects of a value.
pub(crate) trait AsJson {
    fn json(&self) -> Value;
}

impl AsJson for crate::words::Json {
    fn json(&self) -> Value {
        self.0.clone()
    }
}

/// What a plugin remembers: JSON if it is some, else text.
pub(crate) fn remembered(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

/// The bytes of what a scenario says that a plugin remembers.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Properties by their names.
pub(crate) fn by_name(properties: &capstan_model::Properties) -> Value {
    let member = |p: &capstan_model::Property| (p.name.clone(), p.value.clone());
    Value::Object(properties.iter().map(member).collect())
}

/// Properties that a scenario gives.
pub(crate) fn properties(members: &Members) -> capstan_model::Properties {
    let mut all = capstan_model::Properties::default();
    for (name, value) in &members.0 {
        all.set(name.clone(), value.clone(), "scenario");
    }
    all
}
