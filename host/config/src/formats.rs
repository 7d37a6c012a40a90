//! Texts in parameters that name something else, as a plugin's schema says by `format`: `scheduler`, `secret`. Called by `schema`.

use std::collections::HashSet;

use capstan_model::Deferred;
use serde_json::Value;

/// A parameter with this format names a secret.
const SECRET: &str = "secret";

/// The texts whose schema has this format, each once.
pub(crate) fn named(document: &Value, config: &Value, format: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(document, config, &mut Vec::new(), &mut |schema, value, _| {
        if let (Some(text), Some(known)) = (value.as_str(), schema.get("format"))
            && known == format
        {
            found.push(text.to_owned());
        }
    });
    let mut seen = HashSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

/// Where a value that is known only when a build runs would name a secret, though nothing lists the secrets that it could be:
/// whoever starts the build might choose it.
pub(crate) fn open_secrets(document: &Value, config: &Value) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    walk(document, config, &mut Vec::new(), &mut |schema, value, path| {
        let open = match Deferred::of(value) {
            None | Some(Ok(Deferred::Secret(_))) => false,
            Some(_) => names_secrets(schema),
        };
        if open && found.last().is_none_or(|last| last != path) {
            found.push(path.to_vec());
        }
    });
    found
}

/// Whether what this schema is for can name a secret, itself or within.
fn names_secrets(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.get("format").is_some_and(|format| format == SECRET) || map.values().any(names_secrets)
        }
        Value::Array(items) => items.iter().any(names_secrets),
        _ => false,
    }
}

/// Visits each value with each part of the schema that is for it. References within a schema are not followed.
fn walk(
    schema: &Value,
    value: &Value,
    path: &mut Vec<String>,
    visit: &mut impl FnMut(&Value, &Value, &[String]),
) {
    visit(schema, value, path);
    for choice in ["anyOf", "oneOf", "allOf"] {
        for schema in schema.get(choice).and_then(Value::as_array).into_iter().flatten() {
            walk(schema, value, path, visit);
        }
    }
    if let Some(items) = schema.get("items") {
        for (place, value) in value.as_array().into_iter().flatten().enumerate() {
            path.push(place.to_string());
            walk(items, value, path, visit);
            path.pop();
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let declared = schema.get("properties").and_then(|known| known.get(name));
        if let Some(schema) = declared.or_else(|| schema.get("additionalProperties")) {
            path.push(name.clone());
            walk(schema, value, path, visit);
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "secrets": { "additionalProperties": { "anyOf": [
                { "type": "string", "format": "secret" },
                { "properties": { "secret": { "type": "string" } } },
            ] } },
            "keys": { "items": { "type": "string", "format": "secret" } },
            "command": { "type": "string" },
        } })
    }

    #[test]
    fn who_starts_a_build_chooses_no_secret_that_is_not_listed() {
        let later = json!({ "$deferred": { "property": { "name": "key" } } });
        let listed = json!({ "$deferred": { "secret": { "of": later, "among": ["a"] } } });
        let open = |config: Value| open_secrets(&schema(), &config);
        assert_eq!(open(json!({ "secrets": { "A": later } })), [["secrets", "A"]]);
        assert_eq!(open(json!({ "secrets": later })), [["secrets"]]);
        assert_eq!(open(json!({ "keys": ["fixed", later] })), [["keys", "1"]]);
        let good =
            json!({ "secrets": { "A": listed, "B": "fixed", "C": { "secret": "c" } }, "command": later });
        assert!(open(good).is_empty());
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let config = json!({ "secrets": { "A": "x", "B": "y" }, "keys": ["x"], "command": "z" });
        let mut names = named(&schema(), &config, "secret");
        names.sort();
        assert_eq!(names, ["x", "y"]);
    }
}
