//! Whether steps are what a builder allows its pipeline. The process that evaluates it sees to that, too, and knows the place in the
//! file; but what it answers is data like any other.

use capstan_engine::CallError;
use capstan_model::deferred::KEY;
use capstan_model::plan::Step;
use capstan_model::{Deferred, Pipeline};
use serde_json::Value;

use crate::Error;
use crate::farm::Farm;

/// The inner error says which step is not allowed, and why. Each plugin is asked about parameters that are known now.
pub(super) async fn verified(
    farm: &Farm,
    pipeline: &Pipeline,
    steps: &[Step],
) -> Result<Result<(), String>, Error> {
    for step in steps {
        let at = |fault: String| format!("{}: step `{}`: {fault}", step.plugin.location, step.name);
        if let Err(fault) = allowed(pipeline, step) {
            return Ok(Err(at(fault)));
        }
        if Deferred::within(&step.plugin.config) {
            continue;
        }
        let plugin = farm.pinned(step.plugin.digest).await?;
        match plugin.check(&step.plugin.config).await {
            Ok(()) => {}
            Err(CallError::InvalidConfig(problems)) => {
                let problems = problems.iter().map(|problem| match problem.path.as_str() {
                    "" => problem.message.clone(),
                    path => format!("`{path}`: {}", problem.message),
                });
                return Ok(Err(at(problems.collect::<Vec<_>>().join("; "))));
            }
            Err(other) => return Ok(Err(at(other.to_string()))),
        }
    }
    Ok(Ok(()))
}

fn allowed(pipeline: &Pipeline, step: &Step) -> Result<(), String> {
    let used = &step.plugin;
    let known = |allowed: &&capstan_model::AllowedStep| {
        allowed.plugin == used.plugin && allowed.digest == used.digest
    };
    if pipeline.allow.iter().find(known).is_none() {
        let names: Vec<_> = pipeline
            .allow
            .iter()
            .map(|allowed| allowed.plugin.as_str())
            .collect();
        return Err(format!(
            "expected one of {}, found `{}`",
            names.join(", "),
            used.plugin
        ));
    }
    if !step.locks.is_empty() {
        return Err("expected a step without locks, found some".to_owned());
    }
    let mut whole = step.clone();
    // The operator's own word may be a function.
    if pipeline.workdir.is_some() && whole.plugin.config.get("workdir") == pipeline.workdir.as_ref() {
        whole.plugin.config["workdir"].take();
    }
    let whole = serde_json::to_value(whole).unwrap_or_default();
    harmless(&whole, &pipeline.secrets)
}

/// Whether a value names no function, and no secret but those.
fn harmless(value: &Value, secrets: &[String]) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| harmless(item, secrets)),
        Value::Object(map) => {
            let chosen = map
                .get(KEY)
                .and_then(|deferred| deferred.get("secret")?.get("among"));
            let chosen = chosen.and_then(Value::as_array).into_iter().flatten();
            let named = map.get("secret").filter(|_| map.len() == 1);
            let mut named = named.into_iter().chain(chosen).filter_map(Value::as_str);
            if let Some(name) = named.find(|name| !secrets.iter().any(|known| known == name)) {
                return Err(format!(
                    "expected a secret that the builder allows its pipeline, found `{name}`; the operator lists it in \
                     pipeline(…, allow_secrets = […])"
                ));
            }
            if map
                .get(KEY)
                .is_some_and(|deferred| deferred.get("function").is_some())
            {
                return Err("expected prop(…) or interpolate(…), found a function".to_owned());
            }
            map.values().try_for_each(|item| harmless(item, secrets))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_functions_are_found_however_deep() {
        let secrets = ["mine".to_owned()];
        let good = json!({ "env": { "T": { "secret": "mine" } }, "command": ["a", { "$deferred": { "property": { "name": "secret" } } }] });
        assert_eq!(harmless(&good, &secrets), Ok(()));
        for bad in [
            json!({ "env": { "T": { "secret": "theirs" } } }),
            json!({ "$deferred": { "secret": { "of": { "$deferred": { "property": { "name": "k" } } }, "among": ["mine", "theirs"] } } }),
            json!([[{ "x": { "secret": "theirs" } }]]),
            json!({ "command": [{ "$deferred": { "function": 0 } }] }),
        ] {
            assert!(harmless(&bad, &secrets).is_err(), "{bad}");
        }
    }
}
