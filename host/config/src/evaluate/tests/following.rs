//! Schedulers that follow others, and those whose builders a function names.

use serde_json::json;

use super::super::*;
use super::{farm, lines, plugin, plugins};

fn installed() -> Vec<PluginInfo> {
    let name = json!({ "type": "string", "format": "scheduler" });
    let upstream = json!({ "anyOf": [name, { "type": "array", "items": name }] });
    let parameters = json!({ "upstream": upstream, "note": { "type": "string" } });
    let dependent = json!({ "type": "object", "additionalProperties": false, "properties": parameters });
    let mut all = plugins();
    all.push(plugin("scheduler", "dependent", dependent));
    all
}

fn evaluated(text: &str) -> Result<Evaluated, Vec<Diagnostic>> {
    let text = format!("worker('w')\nbuilder('b', steps = [])\n{text}");
    evaluate(&farm(&[("ci.star", &text)]), &installed(), &|_, _| Ok(()))
}

fn faults(text: &str) -> String {
    lines(&evaluated(text).unwrap_err())
}

#[test]
fn who_follows_whom_is_in_the_plan() {
    let text =
        "schedule.dependent(name = 'late', builders = ['b'], upstream = ['ci', 'docs', 'ci'], note = 'x')
schedule.any_branch(name = 'ci', builders = ['b'])
schedule.any_branch(name = 'docs', builders = ['b'])";
    let plan = evaluated(text).unwrap().plan;
    assert_eq!(plan.schedulers[0].follows, ["ci", "docs"]);
    assert!(plan.schedulers[1].follows.is_empty());
}

#[test]
fn a_scheduler_that_does_not_exist_is_named() {
    insta::assert_snapshot!(faults("schedule.any_branch(name = 'docs', builders = ['b'])
schedule.dependent(name = 'late', builders = ['b'], upstream = 'dosc')"), @"ci.star:4:64: unknown scheduler: expected `docs`, found `dosc`; did you mean `docs`?");
}

#[test]
fn a_circle_is_shown_once() {
    insta::assert_snapshot!(faults("schedule.dependent(name = 'a', builders = ['b'], upstream = 'c')
schedule.dependent(name = 'x', builders = ['b'], upstream = 'a')
schedule.dependent(name = 'b', builders = ['b'], upstream = ['a'])
schedule.dependent(name = 'c', builders = ['b'], upstream = 'b')
schedule.dependent(name = 'self', builders = ['b'], upstream = 'self')"), @r"
    ci.star:5:62: schedulers follow each other in a circle: expected an end: one that follows nobody, found `a` follows `c` follows `b` follows `a`
    ci.star:7:64: schedulers follow each other in a circle: expected an end: one that follows nobody, found `self` follows `self`
    ");
    // Two ways to the same one are no circle.
    evaluated(
        "schedule.any_branch(name = 'top', builders = ['b'])
schedule.dependent(name = 'l', builders = ['b'], upstream = 'top')
schedule.dependent(name = 'r', builders = ['b'], upstream = 'top')
schedule.dependent(name = 'end', builders = ['b'], upstream = ['l', 'r'])",
    )
    .unwrap();
}

#[test]
fn a_function_may_name_the_builders_of_a_request() {
    let text = "def choose(request):\n    return ['b']\nschedule.any_branch(name = 'x', builders = choose)";
    let plan = evaluated(text).unwrap().plan;
    assert!(plan.schedulers[0].builders.is_empty());
    assert_eq!(plan.schedulers[0].builders_by.as_ref().unwrap().name, "choose");
}
