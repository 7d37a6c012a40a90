//! Starlark values as JSON, exactly or not at all. Used for parameters of plugins and for properties.

use capstan_model::Deferred;
use capstan_model::deferred::KEY;
use capstan_model::plan::{FunctionRef, Location};
use serde_json::{Map, Number, Value as Json, json};
use starlark::environment::Module;
use starlark::values::dict::DictRef;
use starlark::values::float::UnpackFloat;
use starlark::values::function::FUNCTION_TYPE;
use starlark::values::list::ListRef;
use starlark::values::structs::StructRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value};

use super::collector::Collector;
use super::functions::MAX_FUNCTIONS;
use super::limits::NESTING;
use super::locks;
use super::parameters;
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

/// Who takes values over, and where functions among them are kept.
pub(super) struct Keeper<'v, 'k> {
    pub(super) collector: &'k Collector,
    /// The file that is being run; without it functions are refused.
    pub(super) module: Option<&'k Module<'v>>,
    /// Whether functions are looked at and not kept, for values that are taken over elsewhere.
    pub(super) only_looks: bool,
    /// Where the value is given.
    pub(super) location: Location,
}

/// The JSON form of a value. Secrets become `{"secret": name}`, what is known only when a build runs becomes a
/// [`Deferred`], and so do functions.
pub(super) fn to_json<'v>(value: Value<'v>, keeper: &Keeper<'v, '_>) -> Result<Json, Unfit> {
    convert(value, keeper, 0)
}

fn convert<'v>(value: Value<'v>, keeper: &Keeper<'v, '_>, depth: usize) -> Result<Json, Unfit> {
    let collector = keeper.collector;
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
        let expected = match collector.is_call() {
            true => "a smaller value",
            false => "a smaller configuration",
        };
        unfit(
            expected,
            "values that are too large together when written out",
            None,
        )
    })?);
    let all = |values: &[Value<'v>]| {
        values
            .iter()
            .map(|&item| convert(item, keeper, depth + 1))
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
            let name = name(key)?;
            if map.contains_key(&name) {
                return Err(unfit(
                    "each key once",
                    format!("{name:?} as a string and as a number"),
                    None,
                ));
            }
            map.insert(name, convert(item, keeper, depth + 1)?);
        }
        plain(map)
    } else if let Some(fields) = StructRef::from_value(value) {
        let mut map = Map::new();
        for (name, item) in fields.iter() {
            map.insert(name.as_str().to_owned(), convert(item, keeper, depth + 1)?);
        }
        plain(map)
    } else if keeper.module.is_none()
        && let Some(access) = Handle::from_value(value).and_then(locks::wanted)
    {
        // Only functions that are asked for locks answer some.
        Ok(serde_json::to_value(access).unwrap_or_default())
    } else if is_function(value) {
        function(value, 1, keeper).map(|kept| Deferred::Function(kept.number).to_value())
    } else {
        Err(foreign(value))
    }
}

/// Whether a value is a function that a configuration may keep.
pub(super) fn is_function(value: Value<'_>) -> bool {
    value.get_type() == FUNCTION_TYPE && Function::from_value(value).is_none()
}

/// Whether a value is known only when a build runs.
pub(super) fn is_deferred(value: Value<'_>) -> bool {
    matches!(Handle::from_value(value), Some(Handle::Deferred(_))) || is_function(value)
}

/// Keeps a function that will be called with so many arguments.
pub(super) fn function<'v>(
    value: Value<'v>,
    arguments: usize,
    keeper: &Keeper<'v, '_>,
) -> Result<FunctionRef, Unfit> {
    let Some(module) = keeper.module else {
        let hint = match keeper.collector.policy {
            Some(_) => "a pipeline takes prop(…) and interpolate(…) instead",
            None => "functions are kept while the configuration is loaded",
        };
        let hint = hint.to_owned();
        return Err(unfit("a value without functions", describe(value), Some(hint)));
    };
    if let Some(found) = parameters::unlike(value, arguments) {
        return Err(unfit(parameters::of(arguments), found, None));
    }
    if keeper.only_looks {
        return Ok(FunctionRef {
            number: 0,
            name: String::new(),
            location: keeper.location.clone(),
        });
    }
    let mut functions = keeper.collector.functions.borrow_mut();
    functions
        .keep(module, value, keeper.location.clone())
        .ok_or_else(|| unfit(format!("at most {MAX_FUNCTIONS} functions"), "more", None))
}

/// An object, if it does not look like a deferred value: those are made by functions of ours alone.
fn plain(map: Map<String, Json>) -> Result<Json, Unfit> {
    if map.len() == 1 && map.contains_key(KEY) {
        let hint = "write interpolate(…), prop(…) or a function".to_owned();
        return Err(unfit(
            format!("a dict without the key `{KEY}`"),
            "one",
            Some(hint),
        ));
    }
    Ok(Json::Object(map))
}

/// A key of a dict: a string, or a whole number as its digits, for exit codes.
fn name(key: Value<'_>) -> Result<String, Unfit> {
    match (key.unpack_str(), key.unpack_bool(), i64::unpack_value(key)) {
        (Some(text), ..) => Ok(text.to_owned()),
        (None, None, Ok(Some(number))) => Ok(number.to_string()),
        _ => Err(unfit(
            "a dict with strings or whole numbers as keys",
            describe(key),
            None,
        )),
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
    if let Some(Handle::Deferred(text)) = Handle::from_value(value) {
        return Ok(Some(serde_json::from_str(text).unwrap_or_default()));
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
            Handle::Deferred(_) => "a value that is known only when a build runs".to_owned(),
            Handle::Other(function) => format!("the result of {function}"),
            Handle::Lock { name, .. } => format!("the lock `{name}`"),
            Handle::Access { .. } => handle.to_string(),
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
