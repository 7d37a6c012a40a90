//! Steps that ask schedulers for builds.

use serde_json::json;

use super::super::*;
use super::{farm, lines, plugin, plugins};

fn evaluated(text: &str) -> Result<Evaluated, Vec<Diagnostic>> {
    let name = json!({ "type": "string", "format": "scheduler" });
    let names = json!({ "anyOf": [name, { "type": "array", "items": name }] });
    let parameters = json!({ "schedulers": names, "wait": { "type": "boolean" } });
    let trigger = json!({ "type": "object", "additionalProperties": false, "properties": parameters });
    let mut all = plugins();
    all.push(plugin("step", "trigger", trigger));
    let text = format!(
        "worker('w')\n
def waits(name, asks, **more):
    builder(name, steps = [step.trigger(schedulers = asks, wait = True, **more)])
    schedule.any_branch(name = 'to-' + name, builders = [name])
{text}"
    );
    evaluate(&farm(&[("ci.star", &text)]), &all, &|_, _| Ok(()))
}

fn faults(text: &str) -> String {
    lines(&evaluated(text).unwrap_err())
}

#[test]
fn a_scheduler_that_does_not_exist_is_named() {
    let found = faults("waits('a', ['to-a1'])");
    assert!(
        found.contains("unknown scheduler: expected `to-a`, found `to-a1`; did you mean `to-a`?"),
        "{found}"
    );
}

#[test]
fn builds_that_wait_for_each_other_without_end_are_refused() {
    let found = faults("waits('a', 'to-b')\nwaits('b', ['to-c'])\nwaits('c', 'to-a')\nwaits('x', 'to-a')");
    let circle = "found `a` waits for `to-b`, which builds `b` waits for `to-c`, which builds `c` waits for `to-a`, which builds `a`";
    assert_eq!(found.matches(circle).count(), 1, "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    let found = faults("waits('self', 'to-self')");
    assert!(
        found.contains("found `self` waits for `to-self`, which builds `self`"),
        "{found}"
    );
}

#[test]
fn what_may_end_is_no_circle() {
    // A condition, a name that is known later, a step that does not wait, two ways to the same.
    evaluated("waits('a', 'to-b')\nwaits('b', 'to-a', run_if = 'False')").unwrap_err();
    for text in [
        "waits('a', 'to-b', run_if = lambda build: build.properties.get('deep') != None)\nwaits('b', 'to-a')",
        "waits('a', prop('target'))\nwaits('b', 'to-a')",
        "builder('a', steps = [step.trigger(schedulers = 'to-b')])\nschedule.any_branch(name = 'to-a', builders = ['a'])
waits('b', 'to-a')",
        "builder('end', steps = [])\nschedule.any_branch(name = 'to-end', builders = ['end'])
waits('l', 'to-end')\nwaits('r', 'to-end')\nwaits('top', ['to-l', 'to-r'])",
    ] {
        evaluated(text).unwrap_or_else(|faults| panic!("{text}: {}", lines(&faults)));
    }
}
