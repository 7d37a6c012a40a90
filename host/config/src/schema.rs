//! A plugin's parameters: which there are, and whether given values fit. Used where a configuration calls a plugin.

use std::cell::OnceCell;
use std::fmt::Write as _;

use capstan_model::Deferred;
use capstan_model::plugin::Kind;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::formats;
use crate::json::{describe, quote};
use crate::lenient;
use crate::nearest::{choices, did_you_mean};
use crate::shape::{shape, takes_null, texts};
use crate::weight;

/// How many faults of one call are reported.
const MAX_FAULTS: usize = 10;

/// The JSON Schema of a manifest, compiled.
#[derive(Debug)]
pub(crate) struct Schema {
    parameters: Vec<String>,
    open: bool,
    validator: Validator,
    document: Value,
    /// The same for parameters with deferred values; nothing if there is no such schema.
    lenient: OnceCell<Option<Box<Self>>>,
}

/// One thing that is wrong with the parameters of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The parameter, if one is there to be pointed at.
    pub(crate) parameter: Option<String>,
    /// Where in the parameters: `env.PATH`, `command[2]`.
    pub(crate) path: String,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) hint: Option<String>,
    /// Whether something is not there at all.
    pub(crate) missing: bool,
}

/// The arguments that every call of this kind has beside the plugin's parameters. `env` of a step is missing on
/// purpose: a plugin that declares it takes it over.
pub(crate) fn reserved(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Step => &[
            "name",
            "halt_on_failure",
            "flunk_on_failure",
            "warn_on_failure",
            "always_run",
        ],
        Kind::ChangeSource => &["name"],
        Kind::Scheduler => &["name", "builders"],
        Kind::Reporter => &["name", "builders", "on"],
        Kind::Generator => &[],
    }
}

impl Schema {
    /// Compiles the schema of a manifest; the error says what is wrong with it.
    pub(crate) fn new(kind: Kind, document: &Value) -> Result<Self, String> {
        let properties = document.get("properties").and_then(Value::as_object);
        let parameters: Vec<String> = properties.into_iter().flat_map(|p| p.keys().cloned()).collect();
        if let Some(clash) = parameters
            .iter()
            .find(|name| reserved(kind).contains(&name.as_str()))
        {
            return Err(format!(
                "it declares a parameter `{clash}`, which every {kind} has already"
            ));
        }
        weight::check(document)?;
        Self::compiled(document)
    }

    fn compiled(document: &Value) -> Result<Self, String> {
        let properties = document.get("properties").and_then(Value::as_object);
        let parameters: Vec<String> = properties.into_iter().flat_map(|p| p.keys().cloned()).collect();
        // Linear-time patterns: a plugin's schema comes from outside.
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(document)
            .map_err(|error| format!("its parameters are no JSON Schema: {error}"))?;
        let open = document.get("additionalProperties") != Some(&Value::Bool(false));
        Ok(Self {
            parameters,
            open,
            validator,
            document: document.clone(),
            lenient: OnceCell::new(),
        })
    }

    /// The names of the parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(String::as_str)
    }

    /// Whether the plugin takes a parameter of this name itself.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.parameters.iter().any(|p| p == name)
    }

    /// Whether parameters that the schema does not name are allowed.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether `None` is a value of this parameter; if not, it means "not given".
    pub(crate) fn takes_null(&self, name: &str) -> bool {
        let property = self.document["properties"].get(name);
        property.is_some_and(|schema| takes_null(&self.document, schema))
    }

    /// What is wrong with these parameters; names that the schema does not know are the caller's to report. A deferred value fits
    /// everywhere, but for one that becomes a secret.
    pub(crate) fn check(&self, config: &Value) -> Vec<Fault> {
        if Deferred::within(config) {
            // Which secret it is does not matter here.
            let config = &with_any_secret(config);
            let lenient = self.lenient.get_or_init(|| {
                Self::compiled(&lenient::document(&self.document))
                    .ok()
                    .map(Box::new)
            });
            return lenient
                .as_ref()
                .map_or_else(Vec::new, |schema| schema.faults(config));
        }
        self.faults(config)
    }

    /// The texts of the parameters whose schema has this format: names of other definitions.
    pub(crate) fn named(&self, format: &str, config: &Value) -> Vec<String> {
        formats::named(&self.document, config, format)
    }

    /// The parameters that would name a secret which nobody knows before a build runs, by path.
    pub(crate) fn open_secrets(&self, config: &Value) -> Vec<String> {
        if !Deferred::within(config) {
            return Vec::new();
        }
        formats::open_secrets(&self.document, config)
            .iter()
            .map(|steps| readable(steps))
            .collect()
    }

    /// What is wrong with parameters in which nothing is deferred, whatever it looks like.
    pub(crate) fn faults(&self, config: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(config) {
            self.explain(&error, &mut faults);
            if faults.len() >= MAX_FAULTS {
                break;
            }
        }
        faults
    }

    fn explain(&self, error: &ValidationError<'_>, faults: &mut Vec<Fault>) {
        let steps: Vec<String> = error
            .instance_path()
            .as_str()
            .split('/')
            .skip(1)
            .map(|s| s.replace("~1", "/").replace("~0", "~"))
            .collect();
        let rule = self.rule(error.schema_path().as_str());
        let fault = |expected: String, found: String, hint| Fault {
            parameter: steps.first().cloned(),
            path: readable(&steps),
            expected,
            missing: matches!(error.kind(), ValidationErrorKind::Required { .. }),
            found,
            hint,
        };
        let found = describe(error.instance());
        match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let schema = rule.and_then(|r| r["properties"].get(name));
                let shape = schema.map(|schema| shape(&self.document, schema));
                let expected = shape.map_or(format!("`{name}`"), |shape| format!("`{name}` = {shape}"));
                faults.push(fault(expected, "nothing".to_owned(), None));
            }
            // At the top the caller has said it already, with the place of each argument.
            ValidationErrorKind::AdditionalProperties { .. } if steps.is_empty() => {}
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known: Vec<&str> = rule
                    .and_then(|r| r["properties"].as_object())
                    .map(|p| p.keys().map(String::as_str).collect())
                    .unwrap_or_default();
                for name in unexpected {
                    let hint = did_you_mean(name, known.iter().copied());
                    faults.push(fault(choices(known.iter().copied()), format!("`{name}`"), hint));
                }
            }
            ValidationErrorKind::Enum { options } => {
                let texts = options.as_array().into_iter().flatten().filter_map(Value::as_str);
                let hint = error
                    .instance()
                    .as_str()
                    .and_then(|wrong| did_you_mean(wrong, texts));
                faults.push(fault(any_of(options), found, hint));
            }
            ValidationErrorKind::Minimum { limit } => {
                faults.push(fault(format!("a number of at least {limit}"), found, None));
            }
            ValidationErrorKind::Maximum { limit } => {
                faults.push(fault(format!("a number of at most {limit}"), found, None));
            }
            ValidationErrorKind::MinItems { limit: 1 } | ValidationErrorKind::MinLength { limit: 1 } => {
                faults.push(fault("something that is not empty".to_owned(), found, None));
            }
            ValidationErrorKind::Pattern { pattern } => {
                faults.push(fault(format!("text of the form {}", quote(pattern)), found, None));
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
                if let Some(inner) = intended(error, context, rule) =>
            {
                let before = faults.len();
                inner.iter().for_each(|error| self.explain(error, faults));
                // A pattern alone is hard to read.
                let meaning = rule.and_then(|rule| rule["description"].as_str());
                for fault in faults
                    .iter_mut()
                    .skip(before)
                    .filter(|fault| fault.hint.is_none())
                {
                    fault.hint = meaning.map(|text| format!("`{}`: {text}", fault.path));
                }
            }
            ValidationErrorKind::Type { .. }
            | ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. } => {
                let expected =
                    rule.map_or_else(|| "another type".to_owned(), |rule| shape(&self.document, rule));
                let known = rule.map_or_else(Vec::new, |rule| texts(&self.document, rule));
                let hint = error
                    .instance()
                    .as_str()
                    .and_then(|wrong| did_you_mean(wrong, known));
                faults.push(fault(expected, found, hint));
            }
            other => {
                let hint = Some(error.to_string()).filter(|text| text.len() < 200);
                faults.push(fault(
                    format!("a value that satisfies `{}`", other.keyword()),
                    found,
                    hint,
                ));
            }
        }
    }

    /// The part of the schema that holds the failed keyword.
    fn rule(&self, schema_path: &str) -> Option<&Value> {
        self.document.pointer(schema_path.rsplit_once('/')?.0)
    }
}

/// The alternative of the right type: its faults are further inside than the value as a whole.
fn intended<'e>(
    error: &ValidationError<'_>,
    alternatives: &'e [Vec<ValidationError<'static>>],
    rule: Option<&Value>,
) -> Option<&'e Vec<ValidationError<'static>>> {
    let listed = rule.and_then(|rule| rule["anyOf"].as_array());
    if let ([only, _], Some([_, other])) = (alternatives, listed.map(Vec::as_slice))
        && lenient::is_deferred(other)
    {
        return Some(only);
    }
    let depth = error.instance_path().as_str().len();
    let inside = |fault: &ValidationError<'_>| fault.instance_path().as_str().len() > depth;
    let of = |fits: &dyn Fn(&ValidationError<'_>) -> bool| {
        let mut all = alternatives.iter();
        all.find(|faults| !faults.is_empty() && faults.iter().all(fits))
    };
    of(&inside).or_else(|| of(&|fault| inside(fault) || is_form(fault)))
}

/// A value of the right type that has the wrong form.
fn is_form(fault: &ValidationError<'_>) -> bool {
    matches!(
        fault.kind(),
        ValidationErrorKind::Pattern { .. }
            | ValidationErrorKind::Minimum { .. }
            | ValidationErrorKind::Maximum { .. }
    )
}

/// The parameters with what each secret that is chosen later would look like.
fn with_any_secret(config: &Value) -> Value {
    match (Deferred::of(config), config) {
        (Some(Ok(Deferred::Secret(secret))), _) => serde_json::json!({ "secret": secret.among.first() }),
        (Some(_), deferred) => deferred.clone(),
        (None, Value::Array(items)) => items.iter().map(with_any_secret).collect(),
        (None, Value::Object(map)) => {
            let values = map
                .iter()
                .map(|(name, value)| (name.clone(), with_any_secret(value)));
            Value::Object(values.collect())
        }
        (None, scalar) => scalar.clone(),
    }
}

/// `command[0]`, `env.PATH`; empty for the parameters as a whole.
fn readable(steps: &[String]) -> String {
    let mut text = String::new();
    for (i, step) in steps.iter().enumerate() {
        match step.parse::<usize>() {
            Ok(index) if i > 0 => {
                let _ = write!(text, "[{index}]");
            }
            _ => {
                text.push_str(if i == 0 { "" } else { "." });
                text.push_str(step);
            }
        }
    }
    text
}

fn any_of(options: &Value) -> String {
    let options = options.as_array().map_or(&[][..], Vec::as_slice);
    options.iter().map(describe).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(parameters: Value, config: Value) -> String {
        let schema = Schema::new(Kind::Step, &parameters).unwrap();
        let lines: Vec<_> = schema
            .check(&config)
            .into_iter()
            .map(|f| {
                let hint = f.hint.map_or(String::new(), |hint| format!("; {hint}"));
                format!("{}: expected {}, found {}{hint}", f.path, f.expected, f.found)
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn each_fault_has_its_path_and_says_what_would_fit() {
        let parameters = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["command"],
            "properties": {
                "command": { "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                ]},
                "mode": { "enum": ["full", "incremental"] },
                "depth": { "type": "integer", "minimum": 1 },
                "env": { "type": "object", "additionalProperties": { "type": ["string", "null"] } },
                "options": { "type": "object", "additionalProperties": false,
                             "properties": { "verbose": { "type": "boolean" } } },
                "names": { "type": "array", "items": { "type": "string", "pattern": "^[a-z]+$" } },
            },
        });
        insta::assert_snapshot!(faults(parameters, json!({
            "mode": "incremetal",
            "depth": 0,
            "env": { "PATH": 3 },
            "options": { "verbos": true },
            "names": ["ok", "Not"],
            "command": ["make", 3],
        })), @r#"
        command[1]: expected a string, found the number 3
        depth: expected a number of at least 1, found the number 0
        env.PATH: expected a string or None, found the number 3
        mode: expected "full" or "incremental", found "incremetal"; did you mean `incremental`?
        names[1]: expected text of the form "^[a-z]+$", found "Not"
        options: expected `verbose`, found `verbos`; did you mean `verbose`?
        "#);
    }

    #[test]
    fn a_schema_that_takes_a_reserved_name_is_refused() {
        let clash = json!({ "type": "object", "properties": { "always_run": {} } });
        insta::assert_snapshot!(Schema::new(Kind::Step, &clash).unwrap_err(), @"it declares a parameter `always_run`, which every step has already");
        assert!(Schema::new(Kind::ChangeSource, &clash).is_ok());
        let env = json!({ "type": "object", "properties": { "env": {} } });
        assert!(Schema::new(Kind::Step, &env).unwrap().declares("env"));
        let broken = json!({ "type": "nonsense" });
        assert!(
            Schema::new(Kind::Step, &broken)
                .unwrap_err()
                .contains("no JSON Schema")
        );
    }

    /// As schemars writes the schema of a Rust type.
    #[test]
    fn references_and_choices_are_explained_like_plain_schemas() {
        let parameters = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["retry", "targets"],
            "properties": {
                "depth": { "type": ["integer", "null"], "format": "uint32", "minimum": 0, "default": null },
                "mode": { "$ref": "#/$defs/Mode", "default": "full" },
                "other": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }] },
                "retry": { "$ref": "#/$defs/Retry" },
                "targets": { "type": "array", "items": { "$ref": "#/$defs/Target" } },
            },
            "$defs": {
                "Mode": { "oneOf": [{ "type": "string", "const": "full" }, { "type": "string", "const": "quick" }] },
                "Retry": { "type": "object", "additionalProperties": false, "required": ["times"],
                           "properties": { "times": { "type": "integer" } } },
                "Target": { "type": "string" },
            },
        });
        insta::assert_snapshot!(faults(parameters.clone(), json!({
            "depth": -1,
            "mode": "ful",
            "other": "quik",
            "retry": { "time": 3 },
            "targets": ["all", 3],
        })), @r#"
        depth: expected a number of at least 0, found the number -1
        mode: expected "full" or "quick", found "ful"; did you mean `full`?
        other: expected "full" or "quick" or None, found "quik"; did you mean `quick`?
        retry: expected `times`, found `time`; did you mean `times`?
        retry: expected `times` = a whole number, found nothing
        targets[1]: expected a string, found the number 3
        "#);
        insta::assert_snapshot!(faults(parameters.clone(), json!({})), @"
        : expected `retry` = a dict, found nothing
        : expected `targets` = a list of strings, found nothing
        ");
        let schema = Schema::new(Kind::Step, &parameters).unwrap();
        let takers: Vec<_> = schema
            .parameters()
            .filter(|name| schema.takes_null(name))
            .collect();
        assert_eq!(takers, ["depth", "other"]);
    }
}
