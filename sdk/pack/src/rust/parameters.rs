//! The schema of a plugin's parameters, from the Rust type that takes them. The SDK's macros make a test of it, which
//! prints the schema; it runs natively, so that nothing of it is in the plugin.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

use super::cargo::{cargo, output};
use super::compiler::Compiler;

/// The test that the SDK's macros make.
const TEST: &str = "capstan_parameters";
const BEGIN: &str = "capstan-parameters-begin";
const END: &str = "capstan-parameters-end";

/// Keywords that say more of which members an object has than `properties` does.
const COMPOSED: [&str; 7] = [
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "$ref",
];

/// Runs the package's test that prints the schema.
pub(super) fn derive(compiler: &Compiler, folder: &Path, target: &Path) -> anyhow::Result<Value> {
    let mut cargo = cargo(compiler);
    cargo.current_dir(folder);
    cargo.args(["test", "--lib", "--target-dir"]).arg(target);
    cargo.args([TEST, "--", "--nocapture"]);
    let printed = output(cargo, compiler)?;
    parse(&String::from_utf8_lossy(&printed))
}

/// The schema among what the tests print.
fn parse(printed: &str) -> anyhow::Result<Value> {
    let mut parts = printed.split(BEGIN);
    let (_, found) = (parts.next(), parts.next());
    let found = found.and_then(|rest| rest.split_once(END)).with_context(|| {
        format!(
            "expected the test `{TEST}` to print the parameters' schema, found none: put `#[capstan_sdk::parameters]` before \
             the type and `capstan_sdk::step!(…)` or the like at the top of the crate, or write [parameters] into plugin.toml"
        )
    })?;
    ensure!(
        parts.next().is_none(),
        "expected one plugin in the crate, found several"
    );
    let schema: Value = serde_json::from_str(found.0).context("read the parameters' schema")?;
    normal(schema)
}

/// Leaves out what says nothing to a configuration, and closes the object: serde would ignore a misspelt parameter.
fn normal(schema: Value) -> anyhow::Result<Value> {
    let mut schema: Map<String, Value> = match schema {
        Value::Object(schema) => schema,
        other => anyhow::bail!("parameters: expected a JSON Schema, found {other}"),
    };
    schema.remove("$schema");
    schema.remove("title");
    ensure!(
        schema.get("type").and_then(Value::as_str) == Some("object"),
        "parameters: expected a type with named fields (a struct), found the schema {}",
        Value::Object(schema)
    );
    if !COMPOSED.iter().any(|keyword| schema.contains_key(*keyword)) {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Ok(Value::Object(schema))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As libtest prints it: its own words come before, on the same line.
    fn printed(schema: &Value) -> String {
        format!("\nrunning 1 test\ntest {TEST} ... {BEGIN}\n{schema:#}\n{END}\nok\n")
    }

    #[test]
    fn a_schema_is_found_and_closed() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Make",
            "type": "object",
            "properties": { "target": { "$ref": "#/$defs/Target" } },
            "$defs": { "Target": { "type": "string" } },
        });
        let expected = json!({
            "type": "object",
            "properties": { "target": { "$ref": "#/$defs/Target" } },
            "$defs": { "Target": { "type": "string" } },
            "additionalProperties": false,
        });
        assert_eq!(parse(&printed(&schema)).unwrap(), expected);
        let flattened = json!({ "type": "object", "allOf": [{}] });
        assert_eq!(parse(&printed(&flattened)).unwrap(), flattened);
    }

    #[test]
    fn what_is_no_schema_of_parameters_says_so() {
        let error = |printed: &str| format!("{:#}", parse(printed).unwrap_err());
        assert!(error("running 0 tests").contains("capstan_sdk::parameters"));
        let choice = printed(&json!({ "oneOf": [] }));
        assert!(error(&choice).contains("a struct"), "{}", error(&choice));
        let two = printed(&json!({ "type": "object" })).repeat(2);
        assert!(error(&two).contains("found several"), "{}", error(&two));
    }
}
