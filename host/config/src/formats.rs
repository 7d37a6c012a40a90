//! Texts in parameters that name something else, as a plugin's schema says by `format`: `scheduler`, `secret`. Called by `schema`.

use std::collections::HashSet;

use capstan_model::Deferred;
use serde_json::Value;

/// A parameter with this format names a secret.
const SECRET: &str = "secret";

/// The texts whose schema has this format, each once.
pub(crate) fn named(document: &Value, config: &Value, format: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    Walk::new(document).visit(vec![document], config, &mut |_, schema, value| {
        if let (Some(text), Some(known)) = (value.as_str(), schema.get("format"))
            && known == format
            && !found.iter().any(|name| name == text)
        {
            found.push(text.to_owned());
        }
    });
    found
}

/// Where a value that is known only when a build runs would name a secret, though nothing lists the secrets that it could be:
/// whoever starts the build might choose it.
pub(crate) fn open_secrets(document: &Value, config: &Value) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    Walk::new(document).visit(vec![document], config, &mut |walk, schema, value| {
        let open = match Deferred::of(value) {
            None | Some(Ok(Deferred::Secret(_))) => false,
            Some(_) => walk.names_secrets(schema),
        };
        if open && !found.contains(&walk.path) {
            found.push(walk.path.clone());
        }
    });
    found
}

/// A way through parameters and their schema at the same time. A schema may refer to itself: each of its parts is looked at once for a value.
struct Walk<'d> {
    document: &'d Value,
    /// Where it is in the parameters.
    path: Vec<String>,
}

impl<'d> Walk<'d> {
    fn new(document: &'d Value) -> Self {
        let path = Vec::new();
        Self { document, path }
    }

    /// Visits each value with all parts of the schema that are for it.
    fn visit(&mut self, parts: Vec<&'d Value>, value: &Value, told: &mut impl FnMut(&Self, &Value, &Value)) {
        let parts = self.closure(parts);
        for part in &parts {
            told(self, part, value);
        }
        for (place, value) in value.as_array().into_iter().flatten().enumerate() {
            let of = |part: &&'d Value| {
                let fixed = part.get("prefixItems").and_then(|items| items.get(place));
                fixed.or_else(|| part.get("items"))
            };
            let inner = parts.iter().filter_map(of).collect();
            self.within(place.to_string(), inner, value, told);
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let inner = parts.iter().flat_map(|part| members(part, name)).collect();
            self.within(name.clone(), inner, value, told);
        }
    }

    fn within(
        &mut self,
        step: String,
        parts: Vec<&'d Value>,
        value: &Value,
        told: &mut impl FnMut(&Self, &Value, &Value),
    ) {
        self.path.push(step);
        self.visit(parts, value, told);
        self.path.pop();
    }

    /// These parts and all that they name for the same value, each once.
    fn closure(&self, mut open: Vec<&'d Value>) -> Vec<&'d Value> {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        while let Some(part) = open.pop() {
            if !seen.insert(std::ptr::from_ref(part)) {
                continue;
            }
            all.push(part);
            let choices = ["anyOf", "oneOf", "allOf"].into_iter();
            let choices = choices.filter_map(|choice| part.get(choice)?.as_array());
            open.extend(choices.flatten().chain(self.referred(part)));
        }
        all
    }

    /// What `"$ref": "#/$defs/key"` leads to.
    fn referred(&self, part: &Value) -> Option<&'d Value> {
        self.document
            .pointer(part.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// Whether what this part is for can name a secret, itself or within.
    fn names_secrets(&self, part: &Value) -> bool {
        let (mut open, mut followed) = (vec![part], HashSet::new());
        while let Some(part) = open.pop() {
            match part {
                Value::Object(map) => {
                    if map.get("format").is_some_and(|format| format == SECRET) {
                        return true;
                    }
                    open.extend(map.values());
                    let referred = self.referred(part);
                    open.extend(referred.filter(|part| followed.insert(std::ptr::from_ref(*part))));
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        false
    }
}

/// The parts for the member of that name. Which patterns fit does not matter: what may be a secret is one.
fn members<'d>(part: &'d Value, name: &str) -> Vec<&'d Value> {
    let declared = part.get("properties").and_then(|known| known.get(name));
    let patterns = part.get("patternProperties").and_then(Value::as_object);
    let rest = part.get("additionalProperties").filter(|_| declared.is_none());
    let patterns = patterns.into_iter().flat_map(|patterns| patterns.values());
    declared.into_iter().chain(patterns).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "properties": {
            "secrets": { "additionalProperties": { "anyOf": [
                { "type": "string", "format": "secret" },
                { "properties": { "secret": { "type": "string", "format": "secret" } } },
            ] } },
            "auth": { "$ref": "#/$defs/auth" },
            "keys": { "items": { "type": "string", "format": "secret" } },
            "command": { "type": "string" },
        }, "$defs": {
            "auth": { "properties": { "name": { "$ref": "#/$defs/key" }, "same": { "$ref": "#/$defs/auth" } } },
            "key": { "type": "string", "format": "secret" },
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
        let within = json!({ "secrets": { "A": { "secret": later } } });
        assert_eq!(open(within), [["secrets", "A", "secret"]]);
        assert_eq!(open(json!({ "auth": later })), [["auth"]]);
        let deep = json!({ "auth": { "same": { "same": { "name": later } } } });
        assert_eq!(open(deep), [["auth", "same", "same", "name"]]);
        let good =
            json!({ "secrets": { "A": listed, "B": "fixed", "C": { "secret": "c" } }, "command": later });
        assert!(open(good).is_empty());
    }

    #[test]
    fn a_schema_that_refers_to_itself_has_an_end_and_refuses_nothing_by_that() {
        let itself = json!({ "$ref": "#" });
        let tree = json!({
            "anyOf": [itself, itself],
            "properties": { "left": itself, "middle": itself, "right": itself, "text": { "type": "string" } },
        });
        let later = json!({ "$deferred": { "property": { "name": "key" } } });
        let config = json!({ "left": { "right": later, "text": later }, "text": later });
        assert!(open_secrets(&tree, &config).is_empty());
        assert!(named(&tree, &config, "secret").is_empty());
    }

    #[test]
    fn names_are_found_wherever_they_stand() {
        let config = json!({ "secrets": { "A": "x", "B": "y" }, "keys": ["x"], "command": "z" });
        let mut names = named(&schema(), &config, "secret");
        names.sort();
        assert_eq!(names, ["x", "y"]);
    }
}
