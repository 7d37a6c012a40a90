//! The environment of a step's commands: what the builder sets, and over it what the step sets.

use std::collections::BTreeMap;

use capstan_model::EnvValue;
use capstan_model::plan::Env;
use serde_json::{Map, Value};

use super::{RenderError, Renderer, Unrendered};
use crate::json::describe;

impl Renderer<'_> {
    /// The environments one over the other. A deferred value that is null removes its variable.
    pub fn env(&self, layers: &[Env]) -> Result<BTreeMap<String, EnvValue>, RenderError> {
        let mut all = BTreeMap::new();
        for layer in layers {
            if let Some(map) = &layer.map {
                all.extend(self.map(map)?);
            }
            all.extend(layer.fixed.clone());
            for (name, value) in &layer.deferred {
                let path = format!("env.{name}");
                let rendered = self.at(value, &path, 0)?;
                all.insert(name.clone(), variable(&path, &rendered)?);
            }
        }
        Ok(all)
    }

    fn map(&self, map: &Value) -> Result<BTreeMap<String, EnvValue>, RenderError> {
        let rendered = self.at(map, "env", 0)?;
        match rendered {
            Value::Null => Ok(BTreeMap::new()),
            Value::Object(variables) => {
                let variables = variables.into_iter().map(|(name, value)| {
                    let path = format!("env.{name}");
                    if name.is_empty() || name.contains(['=', '\0']) {
                        let found = format!("{name:?}");
                        return Err(unfit("env", "names of variables, without `=`", found));
                    }
                    Ok((name, variable(&path, &value)?))
                });
                variables.collect()
            }
            other => Err(unfit("env", "a dict of variables", describe(&other))),
        }
    }
}

/// Takes the lists out of a plugin's own environment: it knows texts, the worker joins lists.
pub(super) fn paths(variables: &mut Map<String, Value>) -> Result<BTreeMap<String, EnvValue>, RenderError> {
    let lists: Vec<_> = variables
        .iter()
        .filter(|(name, value)| value.is_array() && !name.is_empty() && !name.contains(['=', '\0']))
        .map(|(name, _)| name.clone())
        .collect();
    let taken = lists.into_iter().filter_map(|name| variables.remove_entry(&name));
    let paths = taken.map(|(name, value)| {
        let value = variable(&format!("env.{name}"), &value)?;
        Ok((name, value))
    });
    paths.collect()
}

/// A number or truth value as the text that a variable has.
pub(super) fn as_text(value: &mut Value) {
    if value.is_number() || value.is_boolean() {
        *value = Value::String(value.to_string());
    }
}

fn variable(path: &str, value: &Value) -> Result<EnvValue, RenderError> {
    match value {
        Value::Null => Ok(EnvValue::Unset),
        Value::Bool(flag) => Ok(EnvValue::Set(flag.to_string())),
        Value::Number(number) => Ok(EnvValue::Set(number.to_string())),
        Value::String(text) if !text.contains('\0') => Ok(EnvValue::Set(text.clone())),
        Value::String(_) => Err(unfit(path, "a text without NUL", "one with it".to_owned())),
        Value::Array(items) => {
            let entries = items.iter().map(|item| match item {
                Value::String(text) if !text.contains('\0') => Ok(text.clone()),
                other => Err(unfit(
                    path,
                    "a list of texts",
                    format!("{} in it", describe(other)),
                )),
            });
            Ok(EnvValue::Path(entries.collect::<Result<_, _>>()?))
        }
        // Only `secret(…)` becomes such an object: others that look so are refused where they are rendered.
        Value::Object(map) if map.len() == 1 && map.get("secret").is_some_and(Value::is_string) => {
            let name = map.get("secret").and_then(Value::as_str).unwrap_or_default();
            Ok(EnvValue::Secret(name.to_owned()))
        }
        other => Err(unfit(
            path,
            "a text, a number, a list of texts or None",
            describe(other),
        )),
    }
}

fn unfit(path: &str, expected: &str, found: String) -> RenderError {
    RenderError {
        path: path.to_owned(),
        reason: Unrendered::Unfit {
            expected: expected.to_owned(),
            found,
        },
    }
}
