//! The schema of a type is what people read in the manifest and write in a configuration.

use std::collections::BTreeMap;

use capstan_sdk::prelude::*;
use capstan_sdk::schema;

/// Runs make.
#[parameters]
struct Make {
    /// What to make.
    target: String,
    /// How many jobs at once.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    jobs: u32,
    /// How hard to try.
    #[serde(default)]
    mode: Mode,
    /// How long it may take.
    #[serde(default)]
    timeout: Span,
    /// Where to tell of it.
    page: Option<String>,
    /// Files that matter.
    #[serde(default)]
    files: Patterns,
    /// Words.
    #[serde(default)]
    words: Texts,
    /// Where to put it.
    #[serde(default)]
    place: Place,
    /// Variables.
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
}

fn two() -> u32 {
    2
}

#[parameters]
#[derive(Default)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Once.
    #[default]
    JustOnce,
    /// Until it works.
    Again,
}

#[parameters]
#[derive(Default)]
struct Place {
    /// The folder.
    folder: String,
}

impl Step for Make {
    fn run(self) -> Result<Outcome, Stop> {
        Ok(Outcome::Success)
    }
}

fn make() -> Value {
    schema::of::<Make>().to_value()
}

#[test]
fn a_schema_has_docs_defaults_and_what_is_required() {
    let schema = make();
    assert_eq!(schema["description"], "Runs make.");
    assert_eq!(
        (&schema["type"], &schema["additionalProperties"]),
        (&json!("object"), &json!(false))
    );
    assert_eq!(schema["required"], json!(["target"]));
    assert!(
        schema.get("$schema").is_none() && schema.get("title").is_none() && schema.get("$defs").is_none()
    );
    let of = |name: &str| &schema["properties"][name];
    assert_eq!(
        of("target"),
        &json!({ "type": "string", "description": "What to make." })
    );
    assert_eq!(
        (&of("jobs")["default"], &of("jobs")["minimum"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(of("jobs")["type"], "integer");
}

#[test]
fn enums_options_and_nested_types_are_in_one_piece() {
    let schema = make();
    let of = |name: &str| schema["properties"][name].clone();
    assert_eq!(of("mode")["default"], "just-once");
    assert!(of("mode").to_string().contains("again"), "{}", of("mode"));
    assert_eq!(of("page")["type"], json!(["string", "null"]));
    assert_eq!(of("place")["properties"]["folder"]["description"], "The folder.");
    assert_eq!(of("place")["default"], json!({ "folder": "" }));
    assert_eq!(
        of("env")["additionalProperties"]["type"],
        json!(["string", "null"])
    );
    assert!(!schema.to_string().contains("$ref"), "{schema}");
}

#[test]
fn the_types_of_this_crate_take_the_forms_that_people_write() {
    let schema = make();
    let of = |name: &str| schema["properties"][name].clone();
    assert_eq!(of("timeout")["anyOf"][0]["type"], "number");
    assert_eq!(of("timeout")["anyOf"][1]["pattern"], "^[0-9]+ ?(ms|s|min|h|d)$");
    assert_eq!(of("timeout")["default"], "0s");
    assert_eq!(of("files")["anyOf"][0]["type"], "string");
    assert_eq!(of("words")["default"], json!([]));
}

#[test]
fn defaults_in_a_schema_can_be_read_as_parameters() {
    let schema = make();
    let mut config = json!({ "target": "all" });
    for (name, property) in schema["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            config[name] = default.clone();
        }
    }
    let problems = capstan_sdk::test::Host::new().check_step::<Make>(config);
    assert!(problems.is_empty(), "{problems:?}");
}

/// As the built-in plugins are: their schema stands in `plugin.toml`.
#[derive(serde::Deserialize)]
struct Written {}

impl Step for Written {
    fn run(self) -> Result<Outcome, Stop> {
        Ok(Outcome::Success)
    }
}

mod without {
    capstan_sdk::step!(super::Written);
}

mod with {
    capstan_sdk::step!(super::Make);
}

#[test]
fn only_a_derived_schema_is_printed() {
    use schema::{Derived as _, Written as _};
    let (derived, written) = (
        schema::Kind::<Make>(std::marker::PhantomData),
        schema::Kind::<Written>(std::marker::PhantomData),
    );
    assert!(derived.parameters().is_some());
    assert!((&written).parameters().is_none());
}
