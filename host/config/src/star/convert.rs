//! Starlark values as JSON, exactly or not at all. Used for parameters of plugins and for properties.

use serde_json::{Map, Number, Value as Json, json};
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::list::ListRef;
use starlark::values::structs::StructRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value};

use super::collector::Collector;
use super::limits::NESTING;
use super::values::{Function, Handle};
use crate::json::quote;

/// Why a value has no JSON form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It holds a definition that was reported already.
    Broken,
    /// It is something else.
    Other {
        expected: String,
        found: String,
        hint: Option<String>,
    },
}

/// The JSON form of a value; secrets become `{"secret": name}`.
pub(super) fn to_json(value: Value<'_>, collector: &Collector) -> Result<Json, Unfit> {
    convert(value, collector, 0)
}

fn convert(value: Value<'_>, collector: &Collector, depth: usize) -> Result<Json, Unfit> {
    if depth > NESTING {
        return Err(unfit(
            format!("at most {NESTING} lists and dicts within each other"),
            "more",
            None,
        ));
    }
    let text_length = value.unpack_str().map_or(0, str::len);
    let left = collector
        .budget
        .get()
        .checked_sub(text_length + size_of::<Json>());
    collector.budget.set(left.ok_or_else(|| {
        unfit(
            "a smaller configuration",
            "values that are too large together when written out",
            None,
        )
    })?);
    let all = |values: &[Value<'_>]| {
        values
            .iter()
            .map(|&item| convert(item, collector, depth + 1))
            .collect::<Result<Vec<_>, _>>()
    };
    if let Some(scalar) = scalar(value)? {
        Ok(scalar)
    } else if let Some(list) = ListRef::from_value(value) {
        all(list.content()).map(Json::Array)
    } else if let Some(tuple) = TupleRef::from_value(value) {
        all(tuple.content()).map(Json::Array)
    } else if let Some(dict) = DictRef::from_value(value) {
        let mut map = Map::new();
        for (key, item) in dict.iter() {
            let name = key
                .unpack_str()
                .ok_or_else(|| unfit("a dict with strings as keys", describe(key), None))?;
            map.insert(name.to_owned(), convert(item, collector, depth + 1)?);
        }
        Ok(Json::Object(map))
    } else if let Some(fields) = StructRef::from_value(value) {
        let mut map = Map::new();
        for (name, item) in fields.iter() {
            map.insert(name.as_str().to_owned(), convert(item, collector, depth + 1)?);
        }
        Ok(Json::Object(map))
    } else {
        Err(foreign(value))
    }
}

/// Values without parts.
fn scalar(value: Value<'_>) -> Result<Option<Json>, Unfit> {
    if value.is_none() {
        return Ok(Some(Json::Null));
    }
    if let Some(flag) = value.unpack_bool() {
        return Ok(Some(Json::Bool(flag)));
    }
    if let Some(text) = value.unpack_str() {
        return Ok(Some(Json::String(text.to_owned())));
    }
    if let Some(Handle::Secret(name)) = Handle::from_value(value) {
        return Ok(Some(json!({ "secret": name })));
    }
    match value.get_type() {
        "int" => match i64::unpack_value(value).ok().flatten() {
            Some(number) => Ok(Some(Json::Number(number.into()))),
            None => Err(unfit("a whole number of at most 64 bits", describe(value), None)),
        },
        "float" => {
            let number = UnpackFloat::unpack_value(value)
                .ok()
                .flatten()
                .and_then(|f| Number::from_f64(f.0));
            number
                .map(Json::Number)
                .map(Some)
                .ok_or_else(|| unfit("a finite number", describe(value), None))
        }
        _ => Ok(None),
    }
}

fn foreign(value: Value<'_>) -> Unfit {
    if Handle::from_value(value) == Some(&Handle::Broken) {
        return Unfit::Broken;
    }
    let hint = match value.get_type() {
        "range" | "set" => Some("`list(…)` makes a list of it".to_owned()),
        "function" => Some("call it, or leave it out".to_owned()),
        _ => None,
    };
    unfit(
        "a string, number, bool, None, list or dict",
        describe(value),
        hint,
    )
}

fn unfit(expected: impl Into<String>, found: impl Into<String>, hint: Option<String>) -> Unfit {
    Unfit::Other {
        expected: expected.into(),
        found: found.into(),
        hint,
    }
}

/// The value as the end of "found …".
pub(super) fn describe(value: Value<'_>) -> String {
    if let Some(text) = value.unpack_str() {
        return quote(text);
    }
    if let Some(handle) = Handle::from_value(value) {
        return match handle {
            Handle::Worker(name) => format!("the worker `{name}`"),
            Handle::Builder(name) => format!("the builder `{name}`"),
            Handle::Secret(name) => format!("the secret `{name}`"),
            Handle::Step(_) => "a step".to_owned(),
            Handle::Other(function) => format!("the result of {function}"),
            Handle::Broken => "a faulty definition".to_owned(),
        };
    }
    if let Some(function) = Function::from_value(value) {
        return format!("the function `{function}`");
    }
    match value.get_type() {
        "int" | "float" => {
            let digits = value.to_str();
            let shown: String = digits.chars().take(40).collect();
            let more = if shown.len() < digits.len() { "…" } else { "" };
            format!("the number {shown}{more}")
        }
        "bool" | "NoneType" => value.to_str(),
        kind => {
            let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
                "an"
            } else {
                "a"
            };
            format!("{article} {kind}")
        }
    }
}
