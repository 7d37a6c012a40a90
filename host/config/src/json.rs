//! How JSON values read in a sentence, in the words of Starlark: `True`, `a list`, `a dict`.

use capstan_model::Deferred;
use serde_json::Value;

/// The longest piece of a user's text that an error repeats, in characters.
const QUOTED: usize = 60;

/// The value as the end of "found …".
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => quote(text),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) if Deferred::is(value) => "a value that is known only when a build runs".to_owned(),
        Value::Object(map) => match map
            .get("secret")
            .filter(|_| map.len() == 1)
            .and_then(Value::as_str)
        {
            Some(secret) => format!("the secret `{secret}`"),
            None => "a dict".to_owned(),
        },
    }
}

/// The text in quotes, escaped and cut.
pub(crate) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
