//! Whether a step runs, and whether pages leave it out, where that depends on the build.

use std::sync::Arc;

use capstan_model::{Condition, Outcome};
use capstan_store::{Build, Step};
use serde_json::{Map, Value, json};

use super::Course;
use crate::farm::Farm;
use crate::{Error, rendering};

/// Whether a condition holds for a build that has come so far. The inner error says what is wrong with the condition.
pub(super) async fn holds(
    farm: &Arc<Farm>,
    build: &Build,
    course: &Course,
    condition: &Condition,
    result: Option<Outcome>,
) -> Result<Result<bool, String>, Error> {
    let value = match condition {
        Condition::Known(known) => return Ok(Ok(*known)),
        Condition::Deferred(value) => value,
    };
    let rendered = rendering::value(farm, build, facts(course, result), value.clone()).await?;
    Ok(rendered.and_then(|value| Condition::truth(&value)))
}

/// Whether pages leave out a step that ended so. A condition that cannot be worked out shows it.
pub(crate) async fn hides(
    farm: &Arc<Farm>,
    build: Option<&Build>,
    course: &Course,
    condition: &Condition,
    (step, outcome): (&Step, Outcome),
) -> Result<bool, Error> {
    if let Condition::Known(known) = condition {
        return Ok(*known);
    }
    let found;
    let build = match build {
        Some(build) => build,
        None => {
            let row = farm.store.build(step.build).await?;
            found = row.ok_or_else(|| Error::failed("find a build", step.build))?;
            &found
        }
    };
    match holds(farm, build, course, condition, Some(outcome)).await? {
        Ok(hidden) => Ok(hidden),
        Err(reason) => {
            tracing::warn!(build = %build.id, step = step.name, reason, "a step is shown: its hide_if has no answer");
            Ok(false)
        }
    }
}

/// What a function is told of the build beside what any function is: `build.results["test"]`, `build.previous`, `build.outcome`,
/// `build.failed`, and in `hide_if` the step's own `build.result`.
fn facts(course: &Course, result: Option<Outcome>) -> Map<String, Value> {
    let results: Map<String, Value> = course
        .results
        .iter()
        .map(|(name, outcome)| (name.clone(), json!(outcome)))
        .collect();
    let standing = course.standing.outcome;
    let facts = [
        ("results", Value::Object(results)),
        (
            "previous",
            json!(course.results.last().map(|(_, outcome)| outcome)),
        ),
        ("outcome", json!(standing)),
        ("failed", json!(!standing.is_good())),
        ("result", json!(result)),
    ];
    facts
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}
