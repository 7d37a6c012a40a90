//! From the JSON of a configuration to a plugin's parameters. Called by the entry points of each kind.

use serde::de::DeserializeOwned;

use crate::{PluginError, Problem};

/// A fault at `path` in the parameters: `command`, `env.PATH`.
pub fn problem(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        path: path.into(),
        message: message.into(),
    }
}

pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, PluginError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            top if top == "." => String::new(),
            path => path,
        };
        PluginError::InvalidConfig(vec![problem(path, without_place(&error.inner().to_string()))])
    })
}

/// Whether parameters can be used: they can be read, and the plugin's own check has nothing to say.
pub(crate) fn check<T: DeserializeOwned>(
    json: &str,
    own: impl FnOnce(&T) -> Result<(), Vec<Problem>>,
) -> Result<(), PluginError> {
    own(&parse(json)?).map_err(PluginError::InvalidConfig)
}

/// `line 1 column 20` means nothing to somebody who wrote Starlark.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Params {
        env: BTreeMap<String, Option<String>>,
    }

    fn fault(json: &str) -> (String, String) {
        match parse::<Params>(json) {
            Err(PluginError::InvalidConfig(problems)) => {
                (problems[0].path.clone(), problems[0].message.clone())
            }
            other => panic!("expected a fault, found {other:?}"),
        }
    }

    #[test]
    fn a_fault_is_addressed_by_its_path() {
        let (path, message) = fault(r#"{"env": {"PATH": 3}}"#);
        assert_eq!(
            (path.as_str(), message.as_str()),
            ("env.PATH", "invalid type: integer `3`, expected a string")
        );
        let (path, message) = fault("{}");
        assert_eq!((path.as_str(), message.as_str()), ("", "missing field `env`"));
        let (path, _) = fault(r#"{"env": {}, "evn": {}}"#);
        assert_eq!(path, "evn");
    }
}
