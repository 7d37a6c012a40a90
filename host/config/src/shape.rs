//! What a plugin's parameters accept, in the words of Starlark: for error texts, and for people who look at a plugin.

use serde_json::Value;

use crate::json::describe;
use crate::lenient;

/// How deep references are followed; a type may hold itself.
const MAX_DEPTH: usize = 16;

/// One parameter of a plugin, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in a call.
    pub name: String,
    /// What it takes: `a string or None`.
    pub accepts: String,
    /// Whether a call must give it.
    pub required: bool,
    /// What it is when a call does not give it, where the schema says so.
    pub default: Option<Value>,
    /// What it is for.
    pub description: String,
}

/// The parameters in the schema of a manifest: the required ones first.
pub fn parameters(schema: &Value) -> Vec<Parameter> {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let properties = schema["properties"].as_object();
    let mut parameters: Vec<_> = properties
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let target = resolve(schema, property);
            let about = |key| property.get(key).or_else(|| target.get(key));
            Parameter {
                name: name.clone(),
                accepts: shape(schema, property),
                required: required.iter().any(|r| r == name),
                default: about("default").cloned(),
                description: about("description")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            }
        })
        .collect();
    parameters.sort_by_key(|parameter| !parameter.required);
    parameters
}

/// The schema that this one refers to, or itself.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..MAX_DEPTH {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|r| r.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// What a part of the schema `root` accepts, in a few words: `a list of strings`.
pub(crate) fn shape(root: &Value, schema: &Value) -> String {
    let mut words = Vec::new();
    collect(root, schema, MAX_DEPTH, &mut words);
    if words.is_empty() {
        return "a value".to_owned();
    }
    words.join(" or ")
}

/// Each alternative once, in the order of the schema.
fn collect(root: &Value, schema: &Value, depth: usize, words: &mut Vec<String>) {
    let schema = resolve(root, schema);
    // Where a value may be deferred is no news: it may be everywhere.
    if lenient::is_deferred(schema) {
        return;
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    let mut add = |text: String| {
        if !words.contains(&text) {
            words.push(text);
        }
    };
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        options.iter().map(describe).for_each(add);
        return;
    }
    if let Some(only) = schema.get("const") {
        return add(describe(only));
    }
    let parts = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(all) = parts("anyOf").or_else(|| parts("oneOf")) {
        return all.iter().for_each(|part| collect(root, part, depth, words));
    }
    match schema.get("type") {
        Some(Value::Array(several)) => {
            several
                .iter()
                .filter_map(Value::as_str)
                .map(|t| word(root, t, schema))
                .for_each(add);
        }
        Some(Value::String(one)) => add(word(root, one, schema)),
        _ => parts("allOf")
            .into_iter()
            .flatten()
            .for_each(|part| collect(root, part, depth, words)),
    }
}

/// Whether `None` is among what a part of the schema accepts.
pub(crate) fn takes_null(root: &Value, schema: &Value) -> bool {
    let mut words = Vec::new();
    collect(root, schema, MAX_DEPTH, &mut words);
    words.iter().any(|word| word == "None")
}

/// The texts that a part of the schema lists as its choices.
pub(crate) fn texts<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a str> {
    let parts = |schema: &'a Value| {
        let parts = ["anyOf", "oneOf"]
            .into_iter()
            .find_map(|key| schema.get(key)?.as_array());
        parts.map_or_else(
            || vec![schema],
            |parts| parts.iter().map(|part| resolve(root, part)).collect(),
        )
    };
    // Choices within choices once: an option of an enumeration.
    let all = parts(resolve(root, schema)).into_iter().flat_map(parts);
    all.flat_map(|part| {
        part["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(part.get("const"))
    })
    .filter_map(Value::as_str)
    .collect()
}

fn word(root: &Value, json_type: &str, schema: &Value) -> String {
    match json_type {
        "string" => "a string".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "True or False".to_owned(),
        "null" => "None".to_owned(),
        "object" => "a dict".to_owned(),
        "array" => match resolve(root, &schema["items"])["type"].as_str() {
            Some("string") => "a list of strings".to_owned(),
            Some("integer" | "number") => "a list of numbers".to_owned(),
            Some("object") => "a list of dicts".to_owned(),
            _ => "a list".to_owned(),
        },
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_described_through_references() {
        let schema = json!({
            "type": "object",
            "required": ["target"],
            "properties": {
                "depth": { "type": ["integer", "null"], "default": null },
                "mode": { "$ref": "#/$defs/Mode", "default": "full" },
                "retry": { "anyOf": [{ "$ref": "#/$defs/Retry" }, { "type": "null" }] },
                "target": { "type": "array", "items": { "$ref": "#/$defs/Target" }, "description": "What to make." },
            },
            "$defs": {
                "Mode": { "description": "How.", "oneOf": [{ "const": "full" }, { "const": "quick" }] },
                "Retry": { "type": "object" },
                "Target": { "type": "string" },
            },
        });
        let lines: Vec<_> = parameters(&schema)
            .into_iter()
            .map(|p| {
                let default = p
                    .default
                    .map_or_else(|| "-".to_owned(), |value| value.to_string());
                format!(
                    "{} {} {default}: {}: {}",
                    p.name, p.required, p.accepts, p.description
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        target true -: a list of strings: What to make.
        depth false null: a whole number or None: 
        mode false "full": "full" or "quick": How.
        retry false -: a dict or None: 
        "#);
    }

    #[test]
    fn a_type_that_holds_itself_has_an_end() {
        let schema = json!({ "$defs": { "A": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "string" }] },
                                        "B": { "$ref": "#/$defs/B" } } });
        assert_eq!(shape(&schema, &schema["$defs"]["A"]), "a string");
        assert_eq!(shape(&schema, &schema["$defs"]["B"]), "a value");
    }
}
