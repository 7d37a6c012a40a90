//! What is allowed but looks wrong, and what a reload would change field by field.

use super::*;
use crate::{Happened, changes, grouped};

fn codes(text: &str) -> Vec<&'static str> {
    let remarks = run(&[("ci.star", text)]).unwrap().remarks;
    remarks.iter().map(|remark| remark.code).collect()
}

const STEPS: &str =
    "worker('w1')\ns = [step.shell(command = 'x')]\nbuilder('a', steps = s)\nbuilder('b', steps = s)\n";

#[test]
fn a_loop_of_builders_makes_one_remark_and_hints_are_safe_to_paste() {
    let remarks = run(&[(
        "ci.star",
        "worker('w1')\ns = [step.shell(command = 'x')]\ndef all():\n    for n in range(131):\n        builder(\"it's %d\" % n, steps = s)\nall()",
    )])
    .unwrap()
    .remarks;
    assert_eq!(remarks.len(), 131);
    insta::assert_snapshot!(lines(&grouped(&remarks)), @r"ci.star:5:9: no scheduler asks for the builder `it's 0` (and 130 more like it); only `capstan force 'it'\''s 0'` builds it (ci.star:6:1: called from here)");
}

#[test]
fn schedulers_that_ask_for_the_same_alike_are_remarked_on() {
    let text = format!(
        "{STEPS}schedule.any_branch(name = 'one', builders = ['a', 'b'])\nschedule.any_branch(name = 'two', builders = ['b'])"
    );
    insta::assert_snapshot!(lines(&run(&[("ci.star", &text)]).unwrap().remarks), @"ci.star:6:1: the schedulers `one` and `two` ask for the builder `b` with equal parameters; what both are told of is built twice; take one of them away (ci.star:5:1: the other one is here)");
    let apart = "schedule.any_branch(name = 'one', builders = ['a'])\nschedule.any_branch(name = 'two', builders = ['b'])";
    assert!(codes(&format!("{STEPS}{apart}")).is_empty());
}

#[test]
fn two_files_that_define_one_builder_are_both_named() {
    let files = [
        ("ci.star", "load('a.star', 'x')\nload('b.star', 'y')"),
        ("a.star", "x = builder('same', steps = [])"),
        ("b.star", "y = 1\nbuilder('same', steps = [])"),
    ];
    let faults = run(&files).unwrap_err();
    let fault = faults
        .iter()
        .find(|fault| fault.code == "duplicate-name")
        .unwrap();
    let text = fault.to_string();
    assert!(
        text.starts_with("b.star:2:") && text.contains("a.star:1:5: first defined here"),
        "{text}"
    );
}

#[test]
fn keys_of_a_data_file_that_nothing_uses_are_remarked_on() {
    let remarks = |used: &str| {
        let read = format!("{STEPS}targets = read_toml('t.toml'{used})");
        let data = "[linux]\ntimeout = 3\n[mac]\ntimout = 5\n";
        let remarks = run(&[("ci.star", &read), ("t.toml", data)]).unwrap().remarks;
        let unused = remarks.into_iter().filter(|remark| remark.code == "unused-key");
        lines(&unused.collect::<Vec<_>>())
    };
    assert_eq!(remarks(""), "");
    assert_eq!(remarks(", used = ['*.timeout', '*.timout']"), "");
    assert_eq!(
        remarks(", used = ['*.timeout']"),
        "ci.star:5:11: t.toml has keys that nothing uses: `mac.timout`; take them away, or name them in `used`"
    );
    let wrong = |call: &str| lines(&run(&[("ci.star", call), ("x.json", "{}")]).unwrap_err());
    assert!(wrong("read_json('x.json', used = 'a')").contains("expected a list of keys"));
    assert!(wrong("read_json('x.json', uses = ['a'])").contains("expected a path and `used`, found `uses`"));
}

#[test]
fn each_remark_has_a_word_for_programs() {
    assert_eq!(
        codes("builder('a', steps = [])"),
        ["no-worker", "no-steps", "unasked-builder"]
    );
    assert_eq!(codes("print('x')"), ["printed"]);
    let unknown = run(&[("ci.star", "schedule.any_branch(name = 'p', builders = ['gone'])")]).unwrap_err();
    assert_eq!(unknown[0].code, "unknown-name");
}

#[test]
fn a_reload_is_told_by_field() {
    let old = plan(&format!(
        "{STEPS}builder('c', tags = ['x'], steps = [step.shell(name = 's', command = 'x')])"
    ));
    let new = plan(&format!(
        "\n\n{STEPS}builder('c', tags = ['y'], steps = [step.shell(name = 's', command = 'y', timeout = 5)])\nbuilder('d', steps = s)"
    ));
    let found = changes(&old, &new);
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    ~ builder c
        steps.s.command: "x" → "y"
        steps.s.timeout: nothing → 5
        tags: ["x"] → ["y"]
    + builder d
    "#);
    assert_eq!(found[1].change, Happened::Added);
    let value = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(
        value["fields"][1],
        json!({ "field": "steps.s.timeout", "after": 5 })
    );
}

#[test]
fn where_something_is_written_and_how_functions_are_numbered_does_not_count() {
    let text = "def f(context):\n    return True\nbuilder('a', steps = [step.shell(command = f)])";
    let old = plan(text);
    let moved = plan(&format!("\n\n{text}"));
    let kinds: Vec<_> = changes(&old, &moved).iter().map(|change| change.line()).collect();
    // What the function does may have changed with its file.
    assert_eq!(kinds, ["~ file, whose functions may do otherwise: ci.star"]);
    let plain = plan("worker('w')");
    assert!(changes(&plain, &plan("\n# said\nworker('w')")).is_empty());
}
