//! Mistakes, and the texts that answer them.

use serde_json::json;

use super::super::*;
use super::{errors, farm, lines, plan, plugin, plugins, run};

#[test]
fn wrong_parameters_of_plugins_are_answered_at_their_place() {
    insta::assert_snapshot!(errors(r#"step.shell(comand = "make")"#), @"ci.star:1:12: unknown parameter of step.shell: expected `command`, `env`, `timeout`, `name`, `halt_on_failure`, `flunk_on_failure`, `warn_on_failure`, `halt_on_warnings`, `flunk_on_warnings`, `warn_on_warnings`, `always_run`, `run_if` or one of 3 others, found `comand`; did you mean `command`?");
    insta::assert_snapshot!(errors(r#"step.shell(command = 3)"#), @"ci.star:1:12: step.shell: `command`: expected a string or a list of strings, found the number 3");
    insta::assert_snapshot!(errors(r#"step.shell(command = ["make", 3])"#), @"ci.star:1:12: step.shell: `command[1]`: expected a string, found the number 3");
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", timeout = 0)"#), @"ci.star:1:27: step.shell: `timeout`: expected a number of at least 1, found the number 0");
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", env = {"A": 1})"#), @"ci.star:1:27: step.shell: `env.A`: expected a string or None or a dict, found the number 1");
    insta::assert_snapshot!(errors(r#"step.git(repository = "x", mode = "incremetal")"#), @r#"ci.star:1:28: step.git: `mode`: expected "full" or "incremental", found "incremetal"; did you mean `incremental`?"#);
    insta::assert_snapshot!(errors(r#"step.shell("make")"#), @r#"ci.star:1:1: step.shell: expected named arguments: `name = value`, found "make""#);
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", halt_on_failure = "no")"#), @r#"ci.star:1:27: step.shell: `halt_on_failure`: expected True or False, found "no""#);
    insta::assert_snapshot!(errors(r#"step.shell(command = range(3))"#), @"ci.star:1:12: step.shell: `command`: expected a string, number, bool, None, list or dict, found a range; `list(…)` makes a list of it");
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", timeout = 9223372036854775808)"#), @"ci.star:1:27: step.shell: `timeout`: expected a whole number of at most 64 bits, found the number 9223372036854775808");
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", env = {True: "a"})"#), @"ci.star:1:27: step.shell: `env`: expected a dict with strings or whole numbers as keys, found True");
    insta::assert_snapshot!(errors(r#"step.shell(command = "x", env = {1: "a", "1": "b"})"#), @r#"ci.star:1:27: step.shell: `env`: expected each key once, found "1" as a string and as a number"#);
    insta::assert_snapshot!(errors(r#"step.git(repository = "x", env = {"A": 1, "B=C": "d"})"#), @r#"
    ci.star:1:35: step.git: `env["A"]`: expected a string, a list of them, None or secret(…), found the number 1
    ci.star:1:43: step.git: `env`: expected names of variables, without `=`, found "B=C"
    "#);
    insta::assert_snapshot!(errors(r#"notify.report_file(path = "x", on = ["finish"])"#), @r#"ci.star:1:32: notify.report_file: an element of `on`: expected "started" or "finished", found "finish""#);
    insta::assert_snapshot!(errors(r#"schedule.any_branch(name = "x")"#), @"ci.star:1:1: schedule.any_branch: expected `builders` = a list with at least one builder, or a function of the request, found nothing");
    insta::assert_snapshot!(errors(r#"source.git_poller(repository = "x")"#), @"ci.star:1:1: source.git_poller: expected `name` = a string, found nothing");
}

#[test]
fn unknown_plugins_are_answered_with_the_nearest() {
    insta::assert_snapshot!(errors(r#"step.shel(command = "make")"#), @"ci.star:1:1: unknown step plugin: expected `git` or `shell`, found `shel`; did you mean `shell`?");
    insta::assert_snapshot!(errors("source.git_pollr(name = 'x')\nnotify.carrier_pigeon()"), @r"
    ci.star:1:1: unknown change-source plugin: expected `git_poller`, found `git_pollr`; did you mean `git_poller`?
    ci.star:2:1: unknown reporter plugin: expected `report_file`, found `carrier_pigeon`; a plugin's file goes into the plugin folder
    ");
    let none = evaluate(&farm(&[("ci.star", "step.shell()")]), &[], &|_, _| Ok(()));
    insta::assert_snapshot!(lines(&none.unwrap_err()), @"ci.star:1:1: unknown step plugin: expected a step plugin (none is installed), found `shell`; a plugin's file goes into the plugin folder");
}

#[test]
fn unknown_names_are_answered_when_all_are_defined() {
    insta::assert_snapshot!(errors(r#"
worker("linux-1")
b = builder("docs", workers = ["linux-2"], steps = [])
schedule.any_branch(name = "push", builders = [b, "dogs"])
notify.report_file(path = "x", builders = ["zebra"])
"#), @r"
    ci.star:3:32: unknown worker: expected `linux-1`, found `linux-2`; did you mean `linux-1`?
    ci.star:4:51: unknown builder: expected `docs`, found `dogs`; did you mean `docs`?
    ci.star:5:44: unknown builder: expected `docs`, found `zebra`
    ");
    insta::assert_snapshot!(errors(r#"builder("a", workers = ["w1"])"#), @"ci.star:1:25: unknown worker: expected a worker (none is defined), found `w1`");
    // A later definition is as good as an earlier one.
    plan("schedule.any_branch(name = 'p', builders = ['late'])\nbuilder('late', steps = [])");
}

#[test]
fn duplicate_names_are_answered_with_both_places() {
    insta::assert_snapshot!(errors(r#"
worker("w1")
worker("w1")
for i in range(2):
    builder("b", steps = [])
source.git_poller(name = "s", repository = "x")
source.git_poller(name = "s", repository = "y")
builder("steps", steps = [step.shell(name = "a", command = "x"), step.shell(name = "a", command = "y")])
notify.report_file(path = "x")
notify.report_file(path = "y")
"#), @r"
    ci.star:3:1: duplicate name of a worker: expected another name, found `w1` again (ci.star:2:1: first defined here)
    ci.star:5:5: duplicate name of a builder: expected another name, found `b` again (ci.star:5:5: first defined here)
    ci.star:7:19: duplicate name of a change source: expected another name, found `s` again (ci.star:6:1: first defined here)
    ci.star:10:1: duplicate name of a reporter: expected another name, found `report-file` again (ci.star:9:1: first defined here)
    ci.star:8:77: duplicate name of a step in the builder `steps`: expected another name, found `a` again (ci.star:8:27: first used here)
    ");
}

#[test]
fn wrong_arguments_of_our_own_functions_are_answered_too() {
    insta::assert_snapshot!(errors("worker()\nworker('')\nworker('a b')\nworker('w', slots = 0)\nworker('x', lables = [])"), @r#"
    ci.star:1:1: worker: expected `name` = a string, found nothing
    ci.star:2:1: worker: `name`: expected a name of 1 to 200 printable characters, without spaces at its ends, found ""
    ci.star:3:1: worker: expected a name of at most 64 letters, digits, `.`, `_` and `-`, found `a b`
    ci.star:4:13: worker: `slots`: expected a whole number of at least 1, found the number 0
    ci.star:5:13: unknown parameter of worker: expected `name`, `slots`, `labels`, `properties`, `defaults` or `env`, found `lables`; did you mean `labels`?
    "#);
    insta::assert_snapshot!(errors(r#"
w = worker("w1")
builder("a", workers = "w1")
builder("b", steps = [w, None])
builder("c", workers = [3], steps = "x", tags = [""])
builder("d", env = ["A=b"], properties = {"f": len}, collapse = 1)
"#), @r#"
    ci.star:3:14: builder: `workers`: expected a list, each element a worker or its name, found "w1"; write `workers = ["w1"]`
    ci.star:4:14: builder: an element of `steps`: expected a step such as step.shell(…), found the worker `w1`
    ci.star:4:14: builder: an element of `steps`: expected a step such as step.shell(…), found None
    ci.star:5:29: builder: `steps`: expected a list, each element a step such as step.shell(…), found "x"
    ci.star:5:14: builder: an element of `workers`: expected a worker or its name, found the number 3
    ci.star:5:42: builder: an element of `tags`: expected a string that is not empty, found ""
    ci.star:6:14: builder: `env`: expected a dict, found a list
    ci.star:6:54: builder: `collapse`: expected True or False, found the number 1
    "#);
}

#[test]
fn a_faulty_definition_is_reported_once() {
    insta::assert_snapshot!(errors(r#"
b = builder("b", colapse = True, steps = [step.shell(comand = "x")])
schedule.any_branch(name = "p", builders = [b, "b"])
"#), @r"
    ci.star:2:54: unknown parameter of step.shell: expected `command`, `env`, `timeout`, `name`, `halt_on_failure`, `flunk_on_failure`, `warn_on_failure`, `halt_on_warnings`, `flunk_on_warnings`, `warn_on_warnings`, `always_run`, `run_if` or one of 3 others, found `comand`; did you mean `command`?
    ci.star:2:18: unknown parameter of builder: expected `name`, `steps`, `workers`, `description`, `project`, `tags`, `labels`, `directory`, `workdir`, `env`, `properties`, `defaults` or one of 8 others, found `colapse`; did you mean `collapse`?
    ");
}

#[test]
fn faults_in_functions_name_the_caller() {
    insta::assert_snapshot!(errors("def f(n):\n    return builder('b', n = n)\n\nx = 1\nf(x)"), @"ci.star:2:25: unknown parameter of builder: expected `name`, `steps`, `workers`, `description`, `project`, `tags`, `labels`, `directory`, `workdir`, `env`, `properties`, `defaults` or one of 8 others, found `n` (ci.star:5:1: called from here)");
}

#[test]
fn faults_in_functions_name_the_chain_of_calls() {
    let program = "def inner(n):\n    return builder(n, stps = [])\n\ndef outer(n):\n    for name in [n]:\n        inner(name)\n\nouter('b')";
    let told = errors(program);
    let chain = &told[told.find(" (").unwrap()..];
    assert_eq!(
        chain,
        " (ci.star:6:9: called from here) (ci.star:8:1: called from here)"
    );
    let program = "def inner(n):\n    return [][n]\n\ndef outer(n):\n    return inner(n)\n\nouter(3)";
    let told = errors(program);
    let chain = &told[told.find(" (").unwrap()..];
    assert_eq!(
        chain,
        " (ci.star:5:12: called from here) (ci.star:7:1: called from here)"
    );
}

#[test]
fn mistakes_in_the_language_are_answered_at_their_line() {
    insta::assert_snapshot!(errors("x = 1\nbuidler('a')"), @"ci.star:2:1: expected a name that is defined, found `buidler`; did you mean `builder`?");
    insta::assert_snapshot!(errors("x = (1,\ny = 2"), @"ci.star:2:3: unexpected symbol '=', expected symbol ')'");
    insta::assert_snapshot!(errors("x = 'a' + 1"), @"ci.star:1:5: operation `+` not supported for types `string` and `int`");
    insta::assert_snapshot!(errors("x = {}['a']"), @r#"ci.star:1:5: key `"a"` was not found"#);
    insta::assert_snapshot!(errors("x = 'a' * 'b'"), @"ci.star:1:5: operation `*` not supported for types `string` and `string`");
    insta::assert_snapshot!(errors("def f():\n    fail('no', 3)\n\nf()"), @"ci.star:2:5: fail: no 3 (ci.star:4:1: called from here)");
    insta::assert_snapshot!(errors("def f(a): return a\nf(b = 1)"), @"ci.star:2:1: missing parameter `a` for call to `ci.star.f`");
    insta::assert_snapshot!(errors("x = 'a'.uper()"), @"ci.star:1:5: object of type `string` has no attribute `uper`, did you mean `upper`?");
    insta::assert_snapshot!(errors("while True:\n    pass"), @"ci.star:1:1: cannot use reserved keyword `while`");
    insta::assert_snapshot!(errors("import os"), @"ci.star:1:1: cannot use reserved keyword `import`");
}

#[test]
fn plugins_have_the_last_word_on_their_parameters() {
    let program =
        "s = [step.shell(command = 'rm -rf /', timeout = 5) for i in range(3)]\nbuilder('b', steps = s)";
    let asked = std::cell::Cell::new(0);
    let refuse = |kind: Kind, used: &PluginUse| {
        asked.set(asked.get() + 1);
        assert_eq!((kind, used.plugin.as_str()), (Kind::Step, "shell"));
        let problem = |path: &str, message: &str| Problem {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        Err(vec![
            problem("command", "expected something harmless"),
            problem("", "not like this"),
        ])
    };
    let faults = evaluate(&farm(&[("ci.star", program)]), &plugins(), &refuse).unwrap_err();
    insta::assert_snapshot!(lines(&faults), @r"
    ci.star:1:17: step.shell: `command`: expected something harmless
    ci.star:1:6: step.shell: not like this
    ");
    assert_eq!(asked.get(), 1, "equal uses are asked about once");
}

#[test]
fn a_plugin_with_a_bad_schema_is_an_error_where_it_is_used() {
    let bad = [
        plugin(
            "step",
            "clash",
            json!({ "type": "object", "properties": { "name": {} } }),
        ),
        plugin("step", "broken", json!({ "type": 3 })),
    ];
    assert!(evaluate(&farm(&[("ci.star", "")]), &bad, &|_, _| Ok(())).is_ok());
    let faults = evaluate(
        &farm(&[("ci.star", "step.clash()\nstep.broken()")]),
        &bad,
        &|_, _| Ok(()),
    )
    .unwrap_err();
    insta::assert_snapshot!(lines(&faults[..1]), @"ci.star:1:1: the step plugin `clash` cannot be used: it declares a parameter `name`, which every step has already; replace the plugin's file");
    assert!(
        faults[1]
            .message
            .contains("`broken` cannot be used: its parameters are no JSON Schema"),
        "{}",
        faults[1]
    );
}

#[test]
fn a_flood_of_errors_is_cut() {
    let faults = run(&[("ci.star", "for i in range(1000):\n    worker('')")]).unwrap_err();
    assert_eq!(faults.len(), 50);
}

#[test]
fn a_terminal_shows_the_argument_that_is_wrong() {
    let faults = run(&[(
        "ci.star",
        "builder(\n    \"a\",\n    steps = [step.shell(command = \"x\", timeout = \"5\")],\n)",
    )])
    .unwrap_err();
    insta::assert_snapshot!(crate::render_all(&faults), @r#"
    error: ci.star:3:40: step.shell: `timeout`: expected a whole number, found "5"
      |
    3 |     steps = [step.shell(command = "x", timeout = "5")],
      |                                        ^^^^^^^^^^^^^
    "#);
}
