//! Presets: a step's function with some arguments given.

use super::*;

#[test]
fn a_call_of_a_preset_is_a_call_with_both_their_arguments() {
    let with = r#"
bash = preset(step.shell, halt_on_failure = False, timeout = 60, env = {"LANG": "C", "A": "1"})
long = preset(bash, timeout = 3600, env = {"A": None})
w = worker("w")
builder("b", workers = [w], steps = [
    bash(command = "one"),
    long(command = "two", env = {"B": "2"}),
    long(command = "three", halt_on_failure = True, timeout = None),
])
"#;
    let without = r#"
w = worker("w")
builder("b", workers = [w], steps = [
    step.shell(halt_on_failure = False, timeout = 60, env = {"LANG": "C", "A": "1"}, command = "one"),
    step.shell(halt_on_failure = False, timeout = 3600, env = {"LANG": "C", "A": None, "B": "2"}, command = "two"),
    step.shell(halt_on_failure = True, env = {"LANG": "C", "A": None}, command = "three"),
])
"#;
    let steps = |program: &str| {
        let mut plan = plan(program);
        let steps = std::mem::take(&mut plan.builders[0].steps);
        let told = steps.into_iter().map(|mut step| {
            step.plugin.location = Default::default();
            step
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(steps(with), steps(without));
}

#[test]
fn presets_are_shared_between_files_and_take_whatever_a_step_takes() {
    let library = r#"
def branch(build):
    return "make " + build.properties["branch"]

db = lock("db")
bash = preset(step.shell, command = branch, locks = [db.exclusive()], name = "make")
"#;
    let main = r#"
load("lib.star", "bash")
builder("b", workers = [worker("w")], steps = [bash()])
"#;
    let plan = run(&[("ci.star", main), ("lib.star", library)]).unwrap().plan;
    let step = &plan.builders[0].steps[0];
    assert_eq!(
        (step.name.as_str(), step.locks.fixed().map(<[_]>::len)),
        ("make", Some(1))
    );
    assert_eq!(plan.functions.len(), 1);
}

#[test]
fn what_is_wrong_in_a_preset_is_said_once_and_at_its_own_line() {
    let call = "\nb = [builder(n, workers = [worker(n)], steps = [p(command = \"x\"), p(command = \"y\")]) for n in [\"a\", \"c\"]]\n";
    for preset in [
        "p = preset(step.shell, timout = 3)",
        "p = preset(step.shell, timeout = \"1h\")",
        "p = preset(step.shell, halt_on_failure = 1)",
        "p = preset(step.shell, env = {\"A\": 3})",
        "p = preset(preset(step.shell, timeout = 0), env = {})",
        "p = preset(step.shel, timeout = 1)",
        "p = preset(builder)",
        "p = preset()",
        "p = preset(step.shell, \"make\")",
    ] {
        let found = errors(&format!("{preset}{call}"));
        assert!(
            found.lines().count() == 1 && found.starts_with("ci.star:1:"),
            "{preset}: {found}"
        );
    }
    insta::assert_snapshot!(errors("p = preset(step.shell, timout = 3)"), @"ci.star:1:24: unknown parameter of step.shell: expected `command`, `env`, `timeout`, `name`, `halt_on_failure`, `flunk_on_failure`, `warn_on_failure`, `halt_on_warnings`, `flunk_on_warnings`, `warn_on_warnings`, `always_run`, `run_if` or one of 3 others, found `timout`; did you mean `timeout`?");
    insta::assert_snapshot!(errors("p = preset(builder)"), @"ci.star:1:5: preset: expected a step such as step.shell, or another preset, found the function `builder`");
}

#[test]
fn a_fault_that_shows_only_at_the_call_names_the_preset_too() {
    let program = "bash = preset(step.shell,\n    env = {\"A\": \"1\"})\nw = worker(\"w\")\nbuilder(\"b\", workers = [w], steps = [bash(command = \"x\")])\n";
    let refuse = |_: Kind, _: &PluginUse| {
        Err(vec![Problem {
            path: "env.A".to_owned(),
            message: "expected another".to_owned(),
        }])
    };
    let found = evaluate(&farm(&[("ci.star", program)]), &plugins(), &refuse).unwrap_err();
    insta::assert_snapshot!(crate::render_all(&found), @r#"
    error: ci.star:4:38: step.shell: `env.A`: expected another
      |
    4 | builder("b", workers = [w], steps = [bash(command = "x")])
      |                                      ^^^^^^^^^^^^^^^^^^^
      ci.star:1:8: `env` comes from this preset
    "#);
}

#[test]
fn a_preset_is_no_value_of_a_build() {
    insta::assert_snapshot!(errors("p = preset(step.shell)\nworker(\"w\", properties = {\"p\": p})"), @"ci.star:2:13: worker: `properties`: expected a string, number, bool, None, list or dict, found a preset");
    insta::assert_snapshot!(errors("p = preset(step.shell)\nbuilder(\"b\", workers = [worker(\"w\")], steps = [p])"), @"ci.star:2:39: builder: an element of `steps`: expected a step such as step.shell(…), found a preset");
}
