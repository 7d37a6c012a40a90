//! From what was filled in to properties and sources; what is wrong is told field by field.

use capstan_sdk::problem;
use capstan_sdk::scheduler::{Call, Problem, SourceStamp, Stamp};
use serde_json::{Map, Value};

use crate::field::{Field, Kind, MOST, Part};
use crate::form::DEEPEST;

/// So many of the choices an error names.
const MOST_NAMED: usize = 50;

/// What a form gives.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    pub properties: Map<String, Value>,
    pub sources: Vec<SourceStamp>,
}

impl Filled {
    /// Takes what was filled in: values by field, those of a group as an object, or `group.field` as a command line has it.
    pub(crate) fn take(&mut self, fields: &[Field], values: &Map<String, Value>, faults: &mut Vec<Problem>) {
        let values = nested(values);
        self.properties = self.group(fields, &values, "values", faults);
        for (name, value) in &self.properties {
            let found = value.to_string().len();
            if found > MOST {
                let text = format!("expected at most {MOST} bytes as JSON, found {found}");
                faults.push(problem(format!("values.{name}"), text));
            }
        }
        self.unknown(fields, &values, "values", faults);
    }

    fn group(
        &mut self,
        fields: &[Field],
        values: &Map<String, Value>,
        path: &str,
        faults: &mut Vec<Problem>,
    ) -> Map<String, Value> {
        let mut properties = Map::new();
        for field in fields {
            let key = field.key();
            let path = if key.is_empty() {
                path.to_owned()
            } else {
                format!("{path}.{key}")
            };
            let value = values.get(key).filter(|value| !value.is_null());
            match field.kind {
                Kind::Group if key.is_empty() => {
                    properties.extend(self.group(&field.fields, values, &path, faults));
                }
                Kind::Group => {
                    let empty = Map::new();
                    let inside = value.and_then(Value::as_object);
                    if value.is_some() && inside.is_none() {
                        faults.push(problem(&path, "expected an object with the group's fields"));
                    }
                    let inside = inside.unwrap_or(&empty);
                    let group = self.group(&field.fields, inside, &path, faults);
                    self.unknown(&field.fields, inside, &path, faults);
                    properties.insert(key.to_owned(), Value::Object(group));
                }
                Kind::Codebase => self.sources.extend(stamp(field, value, &path, faults)),
                Kind::Fixed => {
                    if value.is_some_and(|value| Some(value) != field.default.as_ref()) {
                        faults.push(problem(&path, "expected nothing: this value is fixed"));
                    }
                    properties.insert(key.to_owned(), field.default.clone().unwrap_or_default());
                }
                _ => match one(field, value) {
                    Ok(Some(value)) => drop(properties.insert(key.to_owned(), value)),
                    Ok(None) => {}
                    Err(text) => faults.push(problem(&path, text)),
                },
            }
        }
        properties
    }

    fn unknown(&self, fields: &[Field], values: &Map<String, Value>, path: &str, faults: &mut Vec<Problem>) {
        for name in values.keys().filter(|name| !knows(fields, name)).take(20) {
            let known: Vec<_> = keys(fields);
            let text = format!("expected one of the fields {}, found `{name}`", known.join(", "));
            faults.push(problem(format!("{path}.{name}"), text));
        }
    }
}

/// What is given beside the form would get round it: a property of a field's name, a source of a field's codebase.
pub(crate) fn beside(fields: &[Field], call: &Call) -> Vec<Problem> {
    let mut faults = Vec::new();
    for field in flat(fields) {
        let key = field.key();
        if field.kind != Kind::Codebase && call.properties.contains_key(key) {
            let text = format!("expected it in `values.{key}`: the form asks for it");
            faults.push(problem(format!("properties.{key}"), text));
        }
        let same = |source: &Stamp| source.codebase == field.source.codebase;
        if field.kind == Kind::Codebase && call.sources.iter().any(same) {
            let text =
                format!("expected it in `values.{key}`, such as `values.{key}.branch`: the form asks for it");
            faults.push(problem("sources", text));
        }
    }
    faults
}

/// The fields, those of groups without a name among them.
fn flat(fields: &[Field]) -> Vec<&Field> {
    let mut all = Vec::new();
    for field in fields {
        match field.kind {
            Kind::Group if field.name.is_empty() => all.extend(flat(&field.fields)),
            _ => all.push(field),
        }
    }
    all
}

fn keys(fields: &[Field]) -> Vec<&str> {
    flat(fields).into_iter().map(Field::key).collect()
}

fn knows(fields: &[Field], name: &str) -> bool {
    keys(fields).contains(&name)
}

/// `{"a.b": 1}` is `{"a": {"b": 1}}`.
fn nested(values: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in values {
        put(&mut all, name, value, 0);
    }
    all
}

fn put(place: &mut Map<String, Value>, name: &str, value: &Value, depth: usize) {
    let Some((first, rest)) = name.split_once('.').filter(|_| depth < DEEPEST) else {
        place.insert(name.to_owned(), value.clone());
        return;
    };
    let inside = place.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !inside.is_object() {
        *inside = Value::Object(Map::new());
    }
    if let Value::Object(inside) = inside {
        put(inside, rest, value, depth + 1);
    }
}

/// The value of a field that is one property; none if nothing was filled in.
fn one(field: &Field, value: Option<&Value>) -> Result<Option<Value>, String> {
    let is_empty = |value: &&Value| **value == Value::String(String::new());
    let given = value.filter(|value| !is_empty(value));
    match given {
        Some(value) => read(field, value).map(Some),
        None if field.required && value.is_some() => Err(missing(field)),
        None => match &field.default {
            Some(default) if !is_empty(&default) && value.is_none() => read(field, default).map(Some),
            Some(default) if !field.required && value.is_none() && takes_empty(field) => {
                Ok(Some(default.clone()))
            }
            _ if field.required => Err(missing(field)),
            _ => Ok(value
                .cloned()
                .filter(|_| matches!(field.kind, Kind::String | Kind::Text))),
        },
    }
}

fn missing(field: &Field) -> String {
    let expected = match field.kind {
        Kind::Choice | Kind::Secret => choices(field),
        _ => "something".to_owned(),
    };
    format!("expected {expected}, found nothing")
}

/// Whether an empty text is a value, as a default.
fn takes_empty(field: &Field) -> bool {
    matches!(field.kind, Kind::String | Kind::Text | Kind::Choice) && !field.multiple
}

/// Reads what was filled in. A page and a command line give texts.
pub(crate) fn read(field: &Field, value: &Value) -> Result<Value, String> {
    match field.kind {
        Kind::Int => int(field, value),
        Kind::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
                _ => Err(format!("expected true or false, found {text:?}")),
            },
            other => Err(format!("expected true or false, found {other}")),
        },
        Kind::Choice if field.multiple => several(field, value),
        Kind::Choice => chosen(field, value),
        Kind::Secret => Ok(serde_json::json!({ "secret": chosen(field, value)? })),
        Kind::File | Kind::String | Kind::Text => text(field, value),
        Kind::Codebase | Kind::Group | Kind::Fixed => Ok(value.clone()),
    }
}

fn int(field: &Field, value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("expected a whole number, found {value}"))?;
    match (field.min, field.max) {
        (Some(min), _) if number < min => Err(format!("expected at least {min}, found {number}")),
        (_, Some(max)) if number > max => Err(format!("expected at most {max}, found {number}")),
        _ => Ok(number.into()),
    }
}

fn text(field: &Field, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        // A command line reads `3` as a number.
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => return Err(format!("expected a text, found {other}")),
    };
    if text.len() > field.most_bytes() {
        let (most, found) = (field.most_bytes(), text.len());
        return Err(format!("expected at most {most} bytes, found {found}"));
    }
    if field.kind == Kind::String && text.contains('\n') {
        return Err("expected one line, found several".to_owned());
    }
    match field.expression() {
        Some(Err(fault)) => Err(fault),
        Some(Ok(expression)) => {
            if expression.is_match(&text) {
                Ok(Value::String(text))
            } else {
                let expected = field.regex.as_deref().unwrap_or_default();
                Err(format!("expected a text that fits `{expected}`, found {text:?}"))
            }
        }
        None => Ok(Value::String(text)),
    }
}

/// What there is to choose, as errors tell it.
fn choices(field: &Field) -> String {
    match field.choices.list() {
        [] => "what there is to choose, which is nothing now".to_owned(),
        all if all.len() > MOST_NAMED => {
            let more = all.len() - MOST_NAMED;
            format!("one of {} and {more} more", all[..MOST_NAMED].join(", "))
        }
        all => format!("one of {}", all.join(", ")),
    }
}

fn chosen(field: &Field, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => return Err(format!("expected {}, found {other}", choices(field))),
    };
    let free = field.other && field.kind == Kind::Choice && text.len() <= field.most_bytes();
    if field.choices.list().contains(&text) || free {
        Ok(Value::String(text))
    } else {
        Err(format!("expected {}, found `{text}`", choices(field)))
    }
}

fn several(field: &Field, value: &Value) -> Result<Value, String> {
    let values = match value {
        Value::Array(values) => values.clone(),
        Value::String(text) => text.split(',').map(|part| Value::from(part.trim())).collect(),
        other => vec![other.clone()],
    };
    let chosen = values.iter().map(|value| chosen(field, value));
    Ok(Value::Array(chosen.collect::<Result<_, _>>()?))
}

fn stamp(field: &Field, value: Option<&Value>, path: &str, faults: &mut Vec<Problem>) -> Option<SourceStamp> {
    let mut stamp = SourceStamp::from(field.source.clone());
    let nothing = Map::new();
    let parts = match value {
        None => &nothing,
        Some(Value::Object(parts)) => parts,
        Some(_) => {
            faults.push(problem(path, "expected an object such as {\"branch\": \"main\"}"));
            return None;
        }
    };
    for (name, value) in parts {
        let path = format!("{path}.{name}");
        let Some(part) = field.ask.iter().find(|part| part.word() == name) else {
            let asked: Vec<_> = field.ask.iter().map(|part| part.word()).collect();
            let text = format!("expected one of {}, found `{name}`", asked.join(", "));
            faults.push(problem(path, text));
            continue;
        };
        let text = match value {
            Value::String(text) if text.len() <= 1000 => text.clone(),
            Value::Number(_) => value.to_string(),
            _ => {
                faults.push(problem(path, "expected a text of at most 1000 bytes"));
                continue;
            }
        };
        match part {
            _ if text.is_empty() => {}
            Part::Branch => {
                // The revision of the default belongs to the default's branch.
                if stamp.branch.as_ref() != Some(&text) && !parts.contains_key("revision") {
                    stamp.revision = None;
                }
                stamp.branch = Some(text);
            }
            Part::Revision => stamp.revision = Some(text),
            Part::Repository => stamp.repository = text,
            Part::Project => stamp.project = text,
        }
    }
    let missing = field.required && stamp.branch.is_none() && stamp.revision.is_none();
    if missing {
        faults.push(problem(path, "expected a branch or a revision, found neither"));
    }
    Some(stamp)
}
