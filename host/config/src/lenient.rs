//! A plugin's schema for parameters in which values are deferred: those fit everywhere, and how long a list will be is not known
//! yet. What is wrong beside them is still found when the configuration is loaded.

use capstan_model::deferred::KEY;
use serde_json::{Map, Value, json};

/// Keywords whose value is one schema for a part of the value.
const PARTS: [&str; 4] = [
    "items",
    "additionalProperties",
    "contains",
    "unevaluatedProperties",
];
/// Keywords whose value maps names to schemas for parts of the value.
const NAMED_PARTS: [&str; 2] = ["properties", "patternProperties"];
/// Keywords whose value lists schemas for the value itself.
const ALTERNATIVES: [&str; 3] = ["anyOf", "oneOf", "allOf"];
/// Keywords about a number of things that is known only later.
const COUNTS: [&str; 8] = [
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "contains",
];

/// The lenient form of a whole schema.
pub(crate) fn document(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else {
        return schema.clone();
    };
    let mut lenient = Map::new();
    for (keyword, value) in keywords {
        let word = keyword.as_str();
        let list = |value: &Value, each: fn(&Value) -> Value| match value {
            Value::Array(all) => Value::Array(all.iter().map(each).collect()),
            other => other.clone(),
        };
        let map = |value: &Value, each: fn(&Value) -> Value| match value {
            Value::Object(all) => {
                Value::Object(all.iter().map(|(name, one)| (name.clone(), each(one))).collect())
            }
            other => other.clone(),
        };
        let value = match word {
            _ if COUNTS.contains(&word) => continue,
            _ if PARTS.contains(&word) => part(value),
            _ if NAMED_PARTS.contains(&word) => map(value, part),
            "prefixItems" => list(value, part),
            "$defs" | "definitions" => map(value, document),
            _ if ALTERNATIVES.contains(&word) => list(value, document),
            _ => value.clone(),
        };
        // Two alternatives that differ in one part are both right while that part is deferred.
        let keyword = match word {
            "oneOf" if !keywords.contains_key("anyOf") => "anyOf".to_owned(),
            _ => keyword.clone(),
        };
        lenient.insert(keyword, value);
    }
    Value::Object(lenient)
}

/// The lenient form of a schema for a part, which may be deferred.
fn part(schema: &Value) -> Value {
    if !schema.is_object() {
        return schema.clone();
    }
    let mut lenient = document(schema);
    let about = ["anyOf", "description", "title", "default"];
    let only_alternatives = schema.as_object().is_some_and(|keywords| {
        keywords
            .keys()
            .all(|keyword| about.contains(&keyword.as_str()) || keyword == "oneOf")
    });
    match lenient.get_mut("anyOf") {
        Some(Value::Array(alternatives)) if only_alternatives => {
            alternatives.push(deferred());
            lenient
        }
        _ => json!({ "anyOf": [lenient, deferred()] }),
    }
}

fn deferred() -> Value {
    json!({ "type": "object", "required": [KEY], "maxProperties": 1 })
}

/// Whether a part of a schema is the one for deferred values.
pub(crate) fn is_deferred(schema: &Value) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| matches!(&names[..], [one] if one == KEY))
}
