//! Which parameters a new version adds, drops or changes. A change is harmless only where it can be shown that whatever
//! was accepted still is.

use capstan_config::{Parameter, parameters};
use serde_json::{Map, Value, json};

use super::{Change, Effect};

/// Keywords that only speak to people.
const WORDS: [&str; 6] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$comment",
];

/// How deep references are followed; a type may hold itself.
const MAX_DEPTH: usize = 16;

pub fn compare(old: &Value, new: &Value) -> Vec<Change> {
    let (before, after) = (parameters(old), parameters(new));
    let named = |all: &'_ [Parameter], name: &str| all.iter().position(|p| p.name == name);
    let mut changes = Vec::new();
    for parameter in &before {
        let name = parameter.name.as_str();
        match named(&after, name) {
            None => changes.push(change(name, "removed", Effect::Breaks)),
            Some(index) => {
                changes.extend(between(parameter, &after[index]));
                if !wider(&plain(old, name), &plain(new, name)) {
                    let text = format!("took {}, now takes {}", parameter.accepts, after[index].accepts);
                    let text = if parameter.accepts == after[index].accepts {
                        format!("{} with other conditions", parameter.accepts)
                    } else {
                        text
                    };
                    changes.push(change(name, &text, Effect::Breaks));
                } else if parameter.accepts != after[index].accepts {
                    changes.push(change(
                        name,
                        &format!("also takes {}", after[index].accepts),
                        Effect::None,
                    ));
                }
            }
        }
    }
    for parameter in after.iter().filter(|p| named(&before, &p.name).is_none()) {
        let (text, effect) = match parameter.required {
            true => ("added, required", Effect::Breaks),
            false => ("added", Effect::None),
        };
        changes.push(change(&parameter.name, text, effect));
    }
    let open = |schema: &Value| schema.get("additionalProperties") != Some(&Value::Bool(false));
    if open(old) && !open(new) {
        changes.push(change("*", "others are no longer accepted", Effect::Breaks));
    }
    changes
}

fn change(name: &str, text: &str, effect: Effect) -> Change {
    Change {
        what: "parameter",
        name: name.to_owned(),
        change: text.to_owned(),
        effect,
    }
}

/// Whether it must be given, and what it is if it is not.
fn between(old: &Parameter, new: &Parameter) -> Vec<Change> {
    let mut changes = Vec::new();
    match (old.required, new.required) {
        (false, true) => changes.push(change(&new.name, "now required", Effect::Breaks)),
        (true, false) => changes.push(change(&new.name, "no longer required", Effect::None)),
        _ => {}
    }
    if !old.required && old.default != new.default {
        let shown = |value: &Option<Value>| {
            value
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), Value::to_string)
        };
        let text = format!("by default {}, was {}", shown(&new.default), shown(&old.default));
        changes.push(change(&new.name, &text, Effect::None));
    }
    changes
}

/// A parameter's schema with references replaced by what they refer to, without words for people.
fn plain(root: &Value, name: &str) -> Value {
    expand(root, &root["properties"][name], MAX_DEPTH)
}

fn expand(root: &Value, schema: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    match schema {
        Value::Object(members) => {
            let mut all = Map::new();
            for (key, value) in members {
                let target = value
                    .as_str()
                    .and_then(|v| v.strip_prefix('#'))
                    .filter(|_| key == "$ref");
                match target.and_then(|pointer| root.pointer(pointer)) {
                    Some(target) => {
                        if let Value::Object(inner) = expand(root, target, depth) {
                            all.extend(inner);
                        }
                    }
                    // A parameter may be called as a keyword is.
                    None if key == "properties" => {
                        let inner = value.as_object().into_iter().flatten();
                        let inner = inner.map(|(name, schema)| (name.clone(), expand(root, schema, depth)));
                        all.insert(key.clone(), Value::Object(inner.collect()));
                    }
                    None if WORDS.contains(&key.as_str()) => {}
                    None => {
                        all.insert(key.clone(), expand(root, value, depth));
                    }
                }
            }
            Value::Object(all)
        }
        Value::Array(items) => items.iter().map(|item| expand(root, item, depth)).collect(),
        other => other.clone(),
    }
}

/// Whether `new` plainly accepts whatever `old` accepts: it has all of its alternatives.
fn wider(old: &Value, new: &Value) -> bool {
    let (old, new) = (alternatives(old), alternatives(new));
    let anything = json!({});
    new.contains(&anything) || old.iter().all(|one| new.contains(one))
}

/// The schema as a list of simpler ones, of which one must fit.
fn alternatives(schema: &Value) -> Vec<Value> {
    let Some(members) = schema.as_object() else {
        return vec![schema.clone()];
    };
    let without = |key: &str| {
        let mut rest = members.clone();
        rest.remove(key);
        rest
    };
    for key in ["anyOf", "oneOf"] {
        // Beside other conditions the alternatives do not stand for themselves.
        if let Some(all) = members
            .get(key)
            .and_then(Value::as_array)
            .filter(|_| members.len() == 1)
        {
            return all.iter().flat_map(alternatives).collect();
        }
    }
    let of_type = members.get("type").and_then(Value::as_str);
    if let Some(all) = members.get("enum").and_then(Value::as_array) {
        // The type of a listed value says nothing more.
        let rest = without("enum");
        if rest.is_empty() || (rest.len() == 1 && of_type.is_some()) {
            return all.iter().map(|value| json!({ "const": value })).collect();
        }
    }
    if let Some(only) = members.get("const") {
        return vec![json!({ "const": only })];
    }
    if let Some(all) = members.get("type").and_then(Value::as_array) {
        let rest = without("type");
        let with = |t: &Value| {
            let mut one = if t == "null" { Map::new() } else { rest.clone() };
            one.insert("type".to_owned(), t.clone());
            Value::Object(one)
        };
        return all.iter().map(with).collect();
    }
    vec![schema.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: Value, new: Value) -> Vec<String> {
        let schema = |property: Value| json!({ "type": "object", "properties": property });
        let changes = compare(&schema(old), &schema(new));
        changes
            .iter()
            .map(|c| format!("{:?} {}: {}", c.effect, c.name, c.change))
            .collect()
    }

    #[test]
    fn what_is_accepted_may_grow() {
        for (old, new) in [
            (json!({ "type": "string" }), json!({ "type": ["string", "null"] })),
            (
                json!({ "type": "string" }),
                json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
            ),
            (
                json!({ "enum": ["a"] }),
                json!({ "type": "string", "enum": ["a", "b"] }),
            ),
            (
                json!({ "type": "string", "enum": ["a"] }),
                json!({ "oneOf": [{ "const": "a" }, { "const": "b" }] }),
            ),
            (
                json!({ "type": "string" }),
                json!({ "type": "string", "description": "words" }),
            ),
            (json!({ "minimum": 1, "type": "integer" }), json!({})),
        ] {
            let told = told(json!({ "a": old }), json!({ "a": new }));
            assert!(told.iter().all(|line| line.starts_with("None")), "{told:?}");
        }
    }

    #[test]
    fn what_is_accepted_must_not_shrink() {
        for (old, new) in [
            (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
            (json!({ "type": "string" }), json!({ "type": "integer" })),
            (
                json!({ "type": "string", "enum": ["a", "b"] }),
                json!({ "enum": ["a"] }),
            ),
            (
                json!({ "type": "integer" }),
                json!({ "type": "integer", "minimum": 1 }),
            ),
            (json!({}), json!({ "type": "string" })),
        ] {
            let told = told(json!({ "a": old }), json!({ "a": new }));
            assert!(
                told.iter().any(|line| line.starts_with("Breaks")),
                "{old} to {new}: {told:?}"
            );
        }
    }

    #[test]
    fn a_type_behind_a_reference_is_compared_by_what_it_is() {
        let schema = |times: &str| {
            json!({ "type": "object", "properties": { "retry": { "$ref": "#/$defs/Retry" } },
                    "$defs": { "Retry": { "type": "object", "properties": { "default": { "type": times } } } } })
        };
        assert_eq!(compare(&schema("integer"), &schema("integer")), []);
        let changes = compare(&schema("integer"), &schema("string"));
        assert_eq!(changes[0].effect, Effect::Breaks);
    }

    #[test]
    fn a_new_parameter_breaks_only_where_it_must_be_given() {
        let old = json!({ "type": "object", "properties": { "a": {}, "b": {} }, "required": ["a"] });
        let new = json!({ "type": "object", "properties": { "a": { "default": 1 }, "c": {}, "d": {} },
                          "required": ["d"], "additionalProperties": false });
        let lines: Vec<_> = compare(&old, &new)
            .into_iter()
            .map(|c| (c.name, c.change, c.effect))
            .collect();
        let line = |name: &str, change: &str, effect| (name.to_owned(), change.to_owned(), effect);
        assert_eq!(
            lines,
            [
                line("a", "no longer required", Effect::None),
                line("b", "removed", Effect::Breaks),
                line("d", "added, required", Effect::Breaks),
                line("c", "added", Effect::None),
                line("*", "others are no longer accepted", Effect::Breaks),
            ]
        );
    }
}
