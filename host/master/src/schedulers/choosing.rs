//! The builders of a request, where a function of the configuration names them.

use capstan_config::CallLimits;
use capstan_engine::{Buildset, Decision};
use capstan_model::plan::{FunctionRef, Plan, Scheduler};
use serde_json::{Value, json};

use crate::Error;
use crate::farm::Farm;

/// Fills in the builders of each request; the inner error says why they cannot be known. A request that is for no builder is none.
/// The plan is the one that the scheduler is of: the function has a number there.
pub(super) async fn choose(
    farm: &Farm,
    plan: &Plan,
    scheduler: &Scheduler,
    mut decision: Decision,
) -> Result<Result<Decision, String>, Error> {
    let Some(function) = &scheduler.builders_by else {
        return Ok(own(scheduler, &decision).map(|()| decision));
    };
    for set in &mut decision.submit {
        match named(farm, plan, scheduler, function, set).await? {
            Ok(names) => set.builders = Some(names),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    decision
        .submit
        .retain(|set| set.builders.as_ref().is_none_or(|names| !names.is_empty()));
    Ok(Ok(decision))
}

/// A scheduler may ask for its own builders only.
fn own(scheduler: &Scheduler, decision: &Decision) -> Result<(), String> {
    let asked = decision
        .submit
        .iter()
        .flat_map(|set| set.builders.iter().flatten());
    foreign(&scheduler.builders, asked).map_or(Ok(()), Err)
}

/// What is wrong with a name that is not among those that it has to be of.
fn foreign<'a>(own: &[String], mut asked: impl Iterator<Item = &'a String>) -> Option<String> {
    let name = asked.find(|name| !own.contains(name))?;
    let own = own.join(", ");
    Some(format!(
        "expected one of the scheduler's builders ({own}), found `{name}`"
    ))
}

async fn named(
    farm: &Farm,
    plan: &Plan,
    scheduler: &Scheduler,
    function: &FunctionRef,
    set: &Buildset,
) -> Result<Result<Vec<String>, String>, Error> {
    let request = request(scheduler, set);
    let answer = farm
        .call(
            plan.digest(),
            function.number,
            vec![request],
            CallLimits::default(),
        )
        .await?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(read(plan, function, set, &answer))
}

/// What the function is told.
pub(super) fn request(scheduler: &Scheduler, set: &Buildset) -> Value {
    let properties = set.properties.iter();
    let properties: serde_json::Map<String, Value> = properties
        .map(|property| (property.name.clone(), property.value.clone()))
        .collect();
    json!({
        "scheduler": scheduler.name,
        "reason": set.reason,
        "sources": set.sources,
        "properties": properties,
        "changes": set.changes.iter().map(|id| id.0).collect::<Vec<_>>(),
        "priority": set.priority,
        "builders": set.builders,
    })
}

/// Reads the function's answer: a list of builders of the plan.
fn read(plan: &Plan, function: &FunctionRef, set: &Buildset, answer: &Value) -> Result<Vec<String>, String> {
    let wrong = |found: &Value| {
        let (name, location) = (&function.name, &function.location);
        format!("`{name}` ({location}): expected a list of builders' names, found {found}")
    };
    let list = answer.as_array().ok_or_else(|| wrong(answer))?;
    let mut names: Vec<String> = Vec::with_capacity(list.len());
    for name in list {
        let name = name.as_str().ok_or_else(|| wrong(name))?;
        if plan.builder(name).is_none() {
            let (function, location) = (&function.name, &function.location);
            return Err(format!("`{function}` ({location}): there is no builder `{name}`"));
        }
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    match &set.builders {
        None => Ok(names),
        Some(asked) => foreign(&names, asked.iter()).map_or_else(|| Ok(asked.clone()), Err),
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::Properties;

    use super::*;

    fn set(builders: Option<&[&str]>) -> Buildset {
        Buildset {
            builders: builders.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            sources: Vec::new(),
            priority: 0,
            reason: String::new(),
            properties: Properties::default(),
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_function_names_builders_that_there_are() {
        let builder = |name: &str| {
            json!({
                "name": name, "description": "", "tags": [], "workers": [], "labels": [], "env": {}, "properties": {},
                "collapse": true, "steps": [], "location": capstan_model::plan::Location::default(),
            })
        };
        let plan: Plan = serde_json::from_value(json!({
            "bundle": capstan_model::plan::Bundle::default(), "workers": [], "sources": [], "schedulers": [],
            "reporters": [], "builders": [builder("linux"), builder("mac")],
        }))
        .unwrap();
        let function = FunctionRef {
            number: 0,
            name: "choose".to_owned(),
            location: capstan_model::plan::Location::default(),
        };
        let read = |answer: Value, asked: Option<&[&str]>| read(&plan, &function, &set(asked), &answer);
        assert_eq!(
            read(json!(["mac", "linux", "mac"]), None),
            Ok(vec!["mac".into(), "linux".into()])
        );
        assert_eq!(read(json!([]), None), Ok(vec![]));
        assert_eq!(
            read(json!(["mac", "linux"]), Some(&["linux"])),
            Ok(vec!["linux".into()])
        );
        assert!(
            read(json!(["mac"]), Some(&["linux"]))
                .unwrap_err()
                .contains("(mac), found `linux`")
        );
        assert!(
            read(json!("mac"), None)
                .unwrap_err()
                .contains("expected a list of builders' names")
        );
        assert!(read(json!([3]), None).unwrap_err().contains("found 3"));
        assert!(
            read(json!(["bsd"]), None)
                .unwrap_err()
                .contains("there is no builder `bsd`")
        );
    }
}
