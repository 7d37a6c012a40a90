//! Schedulers that follow others, and those whose builders a function names.

use capstan_model::plan::{FunctionRef, Judging};
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

#[test]
fn functions_may_judge_changes_and_requests() {
    let text = "def yes(change):\n    return True\ndef first(request):\n    return 5
schedule.any_branch(name = 'x', builders = ['b'], change_filter = yes, is_important = yes, priority = first)
schedule.any_branch(name = 'y', builders = ['b'])";
    let plan = evaluated(text).unwrap().plan;
    let judging = &plan.schedulers[0].judging;
    let name = |function: &Option<FunctionRef>| function.as_ref().map(|found| found.name.clone());
    let found = [&judging.change_filter, &judging.is_important, &judging.priority].map(name);
    assert_eq!(found, ["yes", "yes", "first"].map(|name| Some(name.to_owned())));
    assert_eq!(plan.schedulers[1].judging, Judging::default());
    // What it is made from says which functions it had.
    assert_eq!(plan.bundle.functions, ["yes", "first"]);
}

#[test]
fn what_cannot_be_called_is_refused_where_it_is_given_away() {
    for (line, expected) in [
        (
            "schedule.any_branch(name = 'x', builders = ['b'], change_filter = lambda: True)",
            "ci.star:3:51: schedule.any_branch: `change_filter`: expected a function of one argument, found one of none",
        ),
        (
            "schedule.any_branch(name = 'x', builders = lambda a, b: [])",
            "`builders`: expected a function of one argument, found one of 2 (a, b)",
        ),
        (
            "builder('c', steps = [], may_start = lambda request, worker = 1: True)",
            "`may_start`: expected a function of 3 arguments, found one of 1 to 2 (request, worker)",
        ),
        (
            "builder('c', steps = [], properties = {'p': lambda: 1})",
            "`properties`: expected a function of one argument, found one of none",
        ),
        (
            "def late(build, *, name):\n    return name\nbuilder('c', steps = [], properties = {'p': late})",
            "found one that needs `name` by its name",
        ),
        (
            "schedule.any_branch(name = 'x', builders = ['b'], change_filter = True)",
            "expected a function, found True",
        ),
    ] {
        let found = faults(line);
        assert!(found.contains(expected), "{line}: {found}");
    }
    for line in [
        "builder('c', steps = [], may_start = lambda *all: True)",
        "builder('c', steps = [], may_start = lambda a, b, c, d = 1: True)",
        "builder('c', steps = [], properties = {'p': lambda build, **more: 1, 'q': str})",
    ] {
        evaluated(line).unwrap_or_else(|found| panic!("{line}: {}", lines(&found)));
    }
}
