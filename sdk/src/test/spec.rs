//! A command specification while a step builds it.

use serde_json::{Map, Value, json};

use super::call::Call;

/// What was asked for, with the defaults of the interface.
#[derive(Clone, Debug)]
pub(crate) struct Asked(Map<String, Value>);

impl Asked {
    pub(crate) fn argv(argv: &[String]) -> Self {
        Self::new("argv", json!(argv))
    }

    pub(crate) fn shell(line: &str) -> Self {
        Self::new("shell", json!(line))
    }

    fn new(kind: &str, program: Value) -> Self {
        let mut asked = Map::new();
        asked.insert(kind.to_owned(), program);
        for (name, value) in [
            ("workdir", json!("build")),
            ("env", json!({})),
            ("log", json!("stdio")),
            ("idle_timeout_ms", json!(20 * 60 * 1000)),
            ("total_timeout_ms", json!(0)),
            ("term_grace_ms", json!(10_000)),
            ("capture_stdout", json!(0)),
        ] {
            asked.insert(name.to_owned(), value);
        }
        Self(asked)
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn set_env(&mut self, name: &str, value: Value) {
        if let Some(env) = self.0.get_mut("env").and_then(Value::as_object_mut) {
            env.insert(name.to_owned(), value);
        }
    }

    /// How many bytes of standard output to bring back.
    pub(crate) fn capture(&self) -> usize {
        let bytes = self.0["capture_stdout"].as_u64().unwrap_or_default();
        usize::try_from(bytes.min(65_536)).unwrap_or_default()
    }

    /// The program and its arguments, or the line.
    pub(crate) fn words(&self) -> String {
        match (self.0.get("argv").and_then(Value::as_array), self.0.get("shell")) {
            (Some(argv), _) => argv
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            (None, line) => line.and_then(Value::as_str).unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn call(&self, name: &'static str) -> Call {
        Call::new(name, self.words(), Value::Object(self.0.clone()))
    }
}
