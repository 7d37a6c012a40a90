//! How values read in a text, and what filters make of them.

use capstan_model::deferred::{Filter, Name};
use serde_json::Value;

use super::Unrendered;
use crate::json::describe;

/// What a filter makes of a value, in at most about `left` bytes; all but `json` make texts of texts.
pub(super) fn apply(filter: &Filter, value: Value, of: &Name, left: usize) -> Result<Value, Unrendered> {
    if *filter == Filter::Json {
        return Ok(Value::String(value.to_string()));
    }
    let text = text(value, of)?;
    Ok(Value::String(match filter {
        Filter::Lower => text.to_lowercase(),
        Filter::Upper => text.to_uppercase(),
        Filter::Slug => slug(&text),
        Filter::Basename => basename(&text).to_owned(),
        Filter::First(count) => text.chars().take(*count as usize).collect(),
        Filter::Replace(from, to) => {
            // Before it is made: short texts for single letters make much of little.
            let longer = text.matches(from.as_str()).count().saturating_mul(to.len());
            if longer.saturating_add(text.len()) > left {
                return Err(Unrendered::TooLarge);
            }
            text.replace(from, to)
        }
        Filter::Json => text,
    }))
}

/// The value in a text; null is nothing.
pub(super) fn text(value: Value, of: &Name) -> Result<String, Unrendered> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text),
        other => Err(Unrendered::NotText {
            name: spelled(of),
            found: describe(&other),
        }),
    }
}

/// Whether Python would call the value false: null, nothing, 0.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// The name as a template spells it.
fn spelled(name: &Name) -> String {
    match name {
        Name::Property(name) | Name::Value(name) => name.clone(),
        Name::Source { codebase, .. } => format!("src.{codebase}"),
        Name::Worker => "worker.name".to_owned(),
        Name::Builder => "builder.name".to_owned(),
        Name::BuildNumber => "build.number".to_owned(),
    }
}

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

fn basename(text: &str) -> &str {
    let text = text.trim_end_matches('/');
    text.rsplit('/').next().unwrap_or(text)
}
