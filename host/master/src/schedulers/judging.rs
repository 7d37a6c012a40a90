//! What functions of the configuration say of a scheduler's changes and requests, whatever its plugin is: whether it is told of a
//! change, whether that is important, the priority of a request. A function that fails has the answer that stands here, which
//! rather builds too much than too little; each fault is logged once.

use capstan_engine::Buildset;
use capstan_model::Change;
use capstan_model::plan::{FunctionRef, Plan, Scheduler};
use serde_json::{Map, Value, json};

use super::choosing;
use crate::Error;
use crate::farm::Farm;
use crate::queue::{LIMITS, shown};

/// The property by which a plugin learns that a function calls a change unimportant, and who sets it: what a change brings along
/// itself says nothing here.
const IMPORTANT: &str = "important";
const JUDGE: &str = "scheduler function";

/// The change as the scheduler is told of it; `None` if it is not to be told.
pub(super) async fn change(
    farm: &Farm,
    plan: &Plan,
    scheduler: &Scheduler,
    mut change: Box<Change>,
) -> Result<Option<Box<Change>>, Error> {
    let judging = &scheduler.judging;
    forget_forged(&mut change);
    let about = || told(&change);
    if let Some(function) = &judging.change_filter
        && !ask(farm, plan, function, about(), yes_or_no)
            .await?
            .unwrap_or(true)
    {
        return Ok(None);
    }
    if let Some(function) = &judging.is_important
        && !ask(farm, plan, function, about(), yes_or_no)
            .await?
            .unwrap_or(true)
    {
        change.facts.properties.set(IMPORTANT, false, JUDGE);
    }
    Ok(Some(change))
}

/// The priority of a request; without a function, and where it fails, as the scheduler has it.
pub(super) async fn priority(
    farm: &Farm,
    plan: &Plan,
    scheduler: &Scheduler,
    set: &mut Buildset,
) -> Result<(), Error> {
    let Some(function) = &scheduler.judging.priority else {
        return Ok(());
    };
    let mut about = choosing::request(scheduler, set);
    if set.builders.is_none() {
        about["builders"] = json!(scheduler.builders);
    }
    if let Some(priority) = ask(farm, plan, function, about, number).await? {
        set.priority = priority;
    }
    Ok(())
}

/// What came under the name of the judge from elsewhere.
fn forget_forged(change: &mut Change) {
    let properties = &mut change.facts.properties;
    if properties.iter().any(|property| property.source == JUDGE) {
        *properties = properties
            .iter()
            .filter(|property| property.source != JUDGE)
            .cloned()
            .collect();
    }
}

/// A change as functions are told of it.
fn told(change: &Change) -> Value {
    let facts = &change.facts;
    let properties: Map<String, Value> = facts
        .properties
        .iter()
        .map(|property| (property.name.clone(), property.value.clone()))
        .collect();
    json!({
        "id": change.id.0,
        "source": change.source,
        "codebase": facts.codebase,
        "repository": facts.repository,
        "project": facts.project,
        "branch": facts.branch,
        "revision": facts.revision,
        "author": facts.author,
        "comments": facts.comments,
        "files": facts.files,
        "category": facts.category,
        "when": facts.when.0 / 1000,
        "properties": properties,
    })
}

/// Asks a function; `None` if it has no answer that can be used, which is logged.
async fn ask<T>(
    farm: &Farm,
    plan: &Plan,
    function: &FunctionRef,
    about: Value,
    read: fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let answer = farm
        .call(plan.digest(), function.number, vec![about], LIMITS)
        .await?;
    let wrong = |fault| {
        format!(
            "the function `{}` ({}): {fault}",
            function.name, function.location
        )
    };
    let read = answer
        .map_err(|error| error.to_string())
        .and_then(|answer| read(&answer).map_err(wrong));
    Ok(read
        .map_err(|fault| farm.queue.complaints.log("a scheduler", &fault))
        .ok())
}

fn yes_or_no(answer: &Value) -> Result<bool, String> {
    let truth = answer.as_bool();
    truth.ok_or_else(|| format!("expected True or False, found {}", shown(answer)))
}

fn number(answer: &Value) -> Result<i32, String> {
    let number = answer.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| format!("expected a whole number within 32 bits, found {}", shown(answer)))
}

#[cfg(test)]
mod tests {
    use capstan_model::{ChangeId, NewChange, Properties, Timestamp};

    use super::*;

    #[test]
    fn a_change_cannot_say_itself_that_it_is_unimportant() {
        let mut properties = Properties::default();
        properties.set(IMPORTANT, false, JUDGE);
        properties.set("label", "slow", "change");
        let mut change = Change {
            id: ChangeId(1),
            source: "s".to_owned(),
            received: Timestamp(0),
            facts: NewChange {
                dedup_key: String::new(),
                codebase: String::new(),
                repository: "r".to_owned(),
                project: String::new(),
                branch: None,
                revision: "1".to_owned(),
                author: String::new(),
                comments: String::new(),
                files: vec!["a".to_owned()],
                category: None,
                when: Timestamp(5000),
                properties,
            },
        };
        forget_forged(&mut change);
        let about = told(&change);
        assert_eq!(about["properties"], json!({ "label": "slow" }));
        assert_eq!((&about["branch"], &about["when"]), (&Value::Null, &json!(5)));
    }

    #[test]
    fn answers_of_another_kind_are_none() {
        assert_eq!(yes_or_no(&json!(false)), Ok(false));
        assert_eq!(number(&json!(-7)), Ok(-7));
        for answer in [json!(null), json!(1), json!("yes")] {
            assert!(
                yes_or_no(&answer)
                    .unwrap_err()
                    .starts_with("expected True or False")
            );
        }
        for answer in [json!(true), json!(1.5), json!(3_000_000_000_u64), json!("7")] {
            assert!(
                number(&answer)
                    .unwrap_err()
                    .starts_with("expected a whole number"),
                "{answer}"
            );
        }
    }
}
