//! How much work a plugin's schema is: a schema may refer to parts of itself, and forty parts that each name the next one
//! twice are a million million to go through. Asked once, before a schema is compiled.

use std::collections::HashMap;

use serde_json::Value;

/// The parts of a schema, those that are referred to counted each time. What people write has some hundreds.
const MOST: u64 = 20_000;

/// Keywords that name a part in ways that are not followed here. Nothing that makes schemas of parameters writes them.
const UNFOLLOWED: [&str; 5] = ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef"];

/// Whether a schema can be applied in reasonable time; the error says why not.
pub(crate) fn check(document: &Value) -> Result<(), String> {
    let mut scale = Scale {
        document,
        known: HashMap::new(),
    };
    match scale.weigh(document)? {
        found if found > MOST => Err(format!(
            "its parameters are too much to check: expected at most {MOST} parts, found more by its references"
        )),
        _ => Ok(()),
    }
}

struct Scale<'a> {
    document: &'a Value,
    /// What each reference weighs; one that is being weighed is nothing, so that a circle has an end.
    known: HashMap<&'a str, u64>,
}

impl<'a> Scale<'a> {
    fn weigh(&mut self, part: &'a Value) -> Result<u64, String> {
        let mut sum = 1_u64;
        match part {
            Value::Array(parts) => {
                for part in parts {
                    sum = sum.saturating_add(self.weigh(part)?);
                }
            }
            Value::Object(members) => {
                for (key, part) in members {
                    let weight = match (key.as_str(), part) {
                        ("$ref", Value::String(reference)) => self.follow(reference)?,
                        (key, Value::String(_)) if UNFOLLOWED.contains(&key) => {
                            return Err(format!(
                                "its parameters use `{key}`; name parts by `$ref` = \"#/$defs/…\""
                            ));
                        }
                        _ => self.weigh(part)?,
                    };
                    sum = sum.saturating_add(weight);
                }
            }
            _ => {}
        }
        Ok(sum)
    }

    fn follow(&mut self, reference: &'a str) -> Result<u64, String> {
        if let Some(&weight) = self.known.get(reference) {
            return Ok(weight);
        }
        let pointer = reference
            .strip_prefix('#')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(part) = pointer.and_then(|pointer| self.document.pointer(pointer)) else {
            let shown: String = reference.chars().take(100).collect();
            return Err(format!(
                "its parameters refer to {shown:?}, which is no part of them"
            ));
        };
        self.known.insert(reference, 0);
        let weight = self.weigh(part)?;
        self.known.insert(reference, weight);
        Ok(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_that_name_the_next_one_twice_are_too_much() {
        let parts = |count: usize| {
            let part = |n: usize| json!({ "allOf": [{ "$ref": format!("#/$defs/{}", n + 1) }, { "$ref": format!("#/$defs/{}", n + 1) }] });
            let mut defs: serde_json::Map<_, _> = (0..count).map(|n| (n.to_string(), part(n))).collect();
            defs.insert(count.to_string(), json!({ "type": "string" }));
            json!({ "properties": { "a": { "$ref": "#/$defs/0" } }, "$defs": defs })
        };
        assert_eq!(check(&parts(8)), Ok(()));
        assert!(check(&parts(40)).unwrap_err().contains("too much"));
    }

    #[test]
    fn circles_have_an_end_and_strangers_are_named() {
        for circle in [
            json!({ "$ref": "#" }),
            json!({ "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        ] {
            assert_eq!(check(&circle), Ok(()), "{circle}");
        }
        for stranger in [
            "http://127.0.0.1/a.json",
            "file:///etc/passwd",
            "#a",
            "#/$defs/none",
        ] {
            assert!(
                check(&json!({ "$ref": stranger }))
                    .unwrap_err()
                    .contains("no part"),
                "{stranger}"
            );
        }
    }
}
