//! The choices of a form that a function of the configuration names: it is asked when somebody opens the form, and again when the
//! form is sent, so that what is no longer offered is refused.
//!
//! A form's fields are the parameter `fields` of a scheduler: a list of objects with `name` and, for such a field, a function as
//! `choices`. The plugin gets a list in its place. Where the function fails that is the list `fallback`, and `choices_fault` says why.

use std::time::{Duration, Instant};

use capstan_config::CallLimits;
use capstan_model::Deferred;
use capstan_model::plan::{Plan, Scheduler};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::farm::Farm;

/// Somebody waits for the form.
const LIMITS: CallLimits = CallLimits {
    ticks: 1_000_000,
    time: Duration::from_secs(2),
    heap: 16 << 20,
    answer: 64 << 10,
};
/// All functions of one form together.
const TOGETHER: Duration = Duration::from_secs(6);
/// More than that nobody reads.
const MOST: usize = 1000;
const LONGEST: usize = 1000;
/// Groups within groups.
const DEEPEST: usize = 16;

/// The scheduler's parameters with what its functions say now. `values` is what was filled in so far, `builders` what was asked for.
pub(super) async fn live(
    farm: &Farm,
    plan: &Plan,
    scheduler: &Scheduler,
    values: &Value,
    builders: &Value,
) -> Result<Value, Error> {
    let mut config = scheduler.plugin.config.clone();
    let mut places = Vec::new();
    find(&config["fields"], "/fields", 0, &mut places);
    let until = Instant::now() + TOGETHER;
    let values = filled(&config["fields"], values);
    for (place, number) in places {
        let Some(Value::Object(field)) = config.pointer_mut(&place) else {
            continue;
        };
        let told = json!({
            "scheduler": scheduler.name,
            "field": field.get("name"),
            "builders": if builders.is_array() { builders.clone() } else { json!(scheduler.builders) },
            "values": values,
        });
        match ask(farm, plan, number, told, until).await? {
            Ok(choices) => drop(field.insert("choices".to_owned(), choices.into())),
            Err(reason) => {
                let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
                tracing::warn!(
                    scheduler = scheduler.name,
                    field = name,
                    reason,
                    "the choices of a form cannot be known"
                );
                let fallback = field.get("fallback").cloned().unwrap_or_else(|| json!([]));
                field.insert("choices".to_owned(), fallback);
                field.insert("choices_fault".to_owned(), reason.into());
            }
        }
    }
    Ok(config)
}

/// The fields whose choices a function names, by their places.
fn find(fields: &Value, path: &str, depth: usize, places: &mut Vec<(String, u32)>) {
    for (at, field) in fields.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}/{at}");
        if let Some(Ok(Deferred::Function(number))) = field.get("choices").and_then(Deferred::of) {
            places.push((path.clone(), number));
        }
        if depth < DEEPEST {
            let inside = format!("{path}/fields");
            find(&field["fields"], &inside, depth + 1, places);
        }
    }
}

/// What was filled in, and the defaults of fields that were not.
fn filled(fields: &Value, given: &Value) -> Value {
    let mut values: Map<String, Value> = given.as_object().cloned().unwrap_or_default();
    for field in fields.as_array().into_iter().flatten() {
        if let (Some(name), Some(default)) = (field["name"].as_str(), field.get("default")) {
            values.entry(name).or_insert_with(|| default.clone());
        }
    }
    Value::Object(values)
}

async fn ask(
    farm: &Farm,
    plan: &Plan,
    number: u32,
    told: Value,
    until: Instant,
) -> Result<Result<Vec<String>, String>, Error> {
    if Instant::now() >= until {
        let reason = format!(
            "expected all functions of the form to take {} seconds, found more",
            TOGETHER.as_secs()
        );
        return Ok(Err(reason));
    }
    match farm.call(plan.digest(), number, vec![told], LIMITS).await {
        Ok(Ok(answer)) => Ok(read(&answer)),
        Ok(Err(error)) => Ok(Err(error.to_string())),
        Err(error @ Error::Store(_)) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn read(answer: &Value) -> Result<Vec<String>, String> {
    let Some(list) = answer.as_array() else {
        return Err(format!("expected a list of texts to choose from, found {answer}"));
    };
    if list.len() > MOST {
        return Err(format!(
            "expected at most {MOST} texts to choose from, found {}",
            list.len()
        ));
    }
    let text = |one: &Value| match one {
        Value::String(text) if text.len() <= LONGEST => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(one.to_string()),
        Value::String(text) => Err(format!(
            "expected texts of at most {LONGEST} bytes, found one of {}",
            text.len()
        )),
        other => Err(format!("expected texts to choose from, found {other}")),
    };
    list.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_functions_are_found_in_groups_too() {
        let function = json!({"$deferred": {"function": 7}});
        let fields = json!([
            {"name": "a", "choices": ["x"]},
            {"name": "g", "type": "group", "fields": [{"name": "b", "choices": function}]},
        ]);
        let mut places = Vec::new();
        find(&fields, "/fields", 0, &mut places);
        assert_eq!(places, [("/fields/1/fields/0".to_owned(), 7)]);
    }

    #[test]
    fn defaults_stand_for_what_was_not_filled_in() {
        let fields = json!([{"name": "a", "default": 1}, {"name": "b", "default": 2}, {"name": "c"}]);
        assert_eq!(filled(&fields, &json!({"b": 3})), json!({"a": 1, "b": 3}));
        assert_eq!(filled(&fields, &Value::Null), json!({"a": 1, "b": 2}));
    }

    #[test]
    fn an_answer_is_a_list_of_texts() {
        assert_eq!(
            read(&json!(["a", 3, true])),
            Ok(vec!["a".into(), "3".into(), "true".into()])
        );
        for (answer, said) in [
            (json!("a"), "expected a list of texts to choose from, found \"a\""),
            (json!([["a"]]), "found [\"a\"]"),
            (
                json!(vec!["a"; 1001]),
                "at most 1000 texts to choose from, found 1001",
            ),
            (json!(["a".repeat(1001)]), "found one of 1001"),
        ] {
            let error = read(&answer).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
