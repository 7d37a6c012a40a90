//! Parameters against the schema of the manifest, as a configuration is checked.

use capstan_engine::Problem;
use capstan_model::plugin::Manifest;
use jsonschema::PatternOptions;
use serde_json::Value;

/// How many problems are told.
const MOST: usize = 20;

/// What the schema has to say of parameters. The error is about the schema.
pub(crate) fn problems(manifest: &Manifest, parameters: &Value) -> Result<Vec<Problem>, String> {
    let validator = jsonschema::options()
        // Linear-time patterns: a plugin's schema comes from outside.
        .with_pattern_options(PatternOptions::regex())
        .build(&manifest.parameters)
        .map_err(|error| format!("the plugin's parameters are no JSON Schema: {error}"))?;
    let errors = validator.iter_errors(parameters).take(MOST);
    let problem = |error: jsonschema::ValidationError<'_>| Problem {
        path: path(error.instance_path().as_str()),
        message: error.to_string(),
    };
    Ok(errors.map(problem).collect())
}

/// `env.PATH` for `/env/PATH`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        match (name.parse::<usize>(), path.is_empty()) {
            (Ok(place), false) => path.push_str(&format!("[{place}]")),
            (_, true) => path = name,
            (_, false) => path.push_str(&format!(".{name}")),
        }
    }
    path
}
