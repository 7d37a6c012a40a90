//! Texts in parameters that name something else, as a plugin's schema says by `format`: `scheduler`, `secret`. Called by `schema`.

use capstan_model::Deferred;
use serde_json::Value;

/// A parameter with this format names a secret.
const SECRET: &str = "secret";

/// A way through parameters and their schema at the same time.
struct Walk<'d> {
    document: &'d Value,
    /// Where it is in the parameters.
    path: Vec<String>,
    depth: usize,
}

/// The texts whose schema has this format, each once.
pub(crate) fn named(document: &Value, config: &Value, format: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    Walk::new(document).visit(document, config, &mut |_, schema, value| {
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
    Walk::new(document).visit(document, config, &mut |walk, schema, value| {
        let open = match Deferred::of(value) {
            None | Some(Ok(Deferred::Secret(_))) => false,
            Some(_) => walk.names_secrets(schema, 0),
        };
        if open && !found.contains(&walk.path) {
            found.push(walk.path.clone());
        }
    });
    found
}

/// How many references and alternatives lie within each other at most; a schema that goes deeper is not looked at further.
const MAX_DEPTH: usize = 64;

impl<'d> Walk<'d> {
    fn new(document: &'d Value) -> Self {
        Self {
            document,
            path: Vec::new(),
            depth: 0,
        }
    }

    /// Visits each value with each part of the schema that is for it.
    fn visit(&mut self, schema: &'d Value, value: &Value, told: &mut impl FnMut(&Self, &Value, &Value)) {
        if self.depth >= MAX_DEPTH {
            return;
        }
        self.depth += 1;
        told(self, schema, value);
        for schema in self.others(schema) {
            self.visit(schema, value, told);
        }
        for (place, value) in value.as_array().into_iter().flatten().enumerate() {
            let fixed = schema.get("prefixItems").and_then(|items| items.get(place));
            if let Some(schema) = fixed.or_else(|| schema.get("items")) {
                self.within(place.to_string(), schema, value, told);
            }
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let declared = schema.get("properties").and_then(|known| known.get(name));
            // Which patterns fit does not matter: what may be a secret is one.
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            let patterns = patterns.into_iter().flat_map(|patterns| patterns.values());
            let rest = schema.get("additionalProperties").filter(|_| declared.is_none());
            for schema in declared.into_iter().chain(patterns).chain(rest) {
                self.within(name.clone(), schema, value, told);
            }
        }
        self.depth -= 1;
    }

    fn within(
        &mut self,
        step: String,
        schema: &'d Value,
        value: &Value,
        told: &mut impl FnMut(&Self, &Value, &Value),
    ) {
        self.path.push(step);
        self.visit(schema, value, told);
        self.path.pop();
    }

    /// The other parts of the schema that are for the same value.
    fn others(&self, schema: &'d Value) -> Vec<&'d Value> {
        let choices = ["anyOf", "oneOf", "allOf"].into_iter();
        let choices = choices
            .filter_map(|choice| schema.get(choice)?.as_array())
            .flatten();
        choices.chain(self.referred(schema)).collect()
    }

    /// What `"$ref": "#/$defs/key"` leads to.
    fn referred(&self, schema: &Value) -> Option<&'d Value> {
        self.document
            .pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// Whether what this schema is for can name a secret, itself or within.
    fn names_secrets(&self, schema: &Value, depth: usize) -> bool {
        // What is too deep to be looked at could be anything.
        if depth >= MAX_DEPTH {
            return true;
        }
        match schema {
            Value::Object(map) => {
                map.get("format").is_some_and(|format| format == SECRET)
                    || map.values().any(|part| self.names_secrets(part, depth + 1))
                    || self
                        .referred(schema)
                        .is_some_and(|part| self.names_secrets(part, depth + 1))
            }
            Value::Array(items) => items.iter().any(|part| self.names_secrets(part, depth + 1)),
            _ => false,
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
    fn names_are_found_wherever_they_stand() {
        let config = json!({ "secrets": { "A": "x", "B": "y" }, "keys": ["x"], "command": "z" });
        let mut names = named(&schema(), &config, "secret");
        names.sort();
        assert_eq!(names, ["x", "y"]);
    }
}
