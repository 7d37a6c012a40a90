//! What builders say of workers, folders and environments, and what is wrong with that.

use capstan_model::EnvValue;
use serde_json::json;

use super::super::*;
use super::{errors, farm, lines, plan, plugin, plugins, run};

fn remarks(text: &str) -> String {
    let evaluated = run(&[("ci.star", text)]).unwrap_or_else(|faults| panic!("{}", lines(&faults)));
    let ours = evaluated
        .remarks
        .into_iter()
        .filter(|remark| remark.code == "unserved-builder");
    lines(&ours.collect::<Vec<_>>())
}

#[test]
fn labels_are_expressions_or_one_text() {
    let plan = plan(
        r#"
w = worker("w", labels = ["gpu"])
builder("a", labels = ["os=linux", "!slow", "arch=x86_64|aarch64"], steps = [])
builder("b", labels = "gpu and not slow", steps = [])
"#,
    );
    assert_eq!(
        plan.builders[0].labels,
        ["os=linux", "!slow", "arch=x86_64|aarch64"]
    );
    assert_eq!(plan.builders[1].labels, ["gpu and not slow"]);
    insta::assert_snapshot!(errors(
        r#"
builder("a", labels = ["gpu", "os=linux and"], steps = [])
builder("b", labels = "two words", steps = [])
builder("c", labels = 3, steps = [])
"#
    ));
}

#[test]
fn a_builder_that_nobody_can_serve_is_remarked() {
    let with = |workers: &str, labels: &str| {
        remarks(&format!("{workers}\nbuilder('b', labels = {labels}, steps = [])"))
    };
    let one = "worker('w1', labels = ['gpu', 'disk=ssd'])\nworker('w2', labels = ['slow'])";
    insta::assert_snapshot!(with(one, "['gup']"));
    for fine in [
        "['gpu']",
        "'gpu|nowhere'",
        "['os=linux', 'slow']",
        "['!gpu']",
        "['disk=hdd']",
        "'not nowhere'",
    ] {
        assert_eq!(with(one, fine), "", "{fine}");
    }
    assert!(
        with(one, "['gpu', 'slow']").contains("no worker of the configuration can serve the builder `b`")
    );
    // Only a guess, where workers bring all of their labels: no reason to worry.
    let quiet = run(&[(
        "ci.star",
        "worker('w1')\nbuilder('b', labels = ['gpu'], steps = [])",
    )])
    .unwrap();
    let about = quiet
        .remarks
        .iter()
        .find(|remark| remark.code == "unserved-builder");
    assert_eq!(about.map(|remark| remark.severity), Some(Severity::Note));
}

#[test]
fn environments_take_lists_and_stand_on_four_levels() {
    let path = |entries: &[&str]| EnvValue::Path(entries.iter().map(|&entry| entry.to_owned()).collect());
    let plan = plan(
        r#"
environment({"LANG": "C", "PATH": ["/opt/bin", "${PATH}"]})
worker("w", env = {"JOBS": "4", "HOME": None})
builder("b", env = {"PATH": ("/b",)}, steps = [
    step.shell(command = "x", env = {"A": "1", "PATH": ["/s", "${PATH}"], "N": None}),
    step.git(repository = "r", env = {"LIB": ["/l", prop("lib")]}),
])
"#,
    );
    assert_eq!(plan.env.fixed["PATH"], path(&["/opt/bin", "${PATH}"]));
    assert_eq!(plan.workers[0].env.fixed["HOME"], EnvValue::Unset);
    let builder = &plan.builders[0];
    assert_eq!(builder.env.fixed["PATH"], path(&["/b"]));
    // The plugin has an `env` of its own, which knows texts alone.
    assert_eq!(builder.steps[0].env.fixed["PATH"], path(&["/s", "${PATH}"]));
    assert_eq!(
        builder.steps[0].plugin.config["env"],
        json!({ "A": "1", "N": null })
    );
    assert!(builder.steps[1].env.deferred["LIB"].is_array());
    insta::assert_snapshot!(errors(
        r#"
environment({"A": 3, "B=": "x"})
environment({})
worker("w", env = {"C": ["x", 3]})
builder("b", env = {"D": [["x"]], "E": ["a\0b"]}, steps = [])
"#
    ));
}

fn with_workdir(text: &str) -> Result<Evaluated, Vec<Diagnostic>> {
    let parameters = json!({ "type": "object", "properties": { "workdir": { "type": "string" } } });
    let mut all = plugins();
    all.push(plugin("step", "make", parameters));
    let check = |_: Kind, used: &PluginUse| match used.config["workdir"].as_str() {
        Some("bad") => Err(vec![Problem {
            path: "workdir".to_owned(),
            message: "expected a good one".to_owned(),
        }]),
        _ => Ok(()),
    };
    evaluate(&farm(&[("ci.star", text)]), &all, &check)
}

#[test]
fn the_workdir_of_a_builder_is_that_of_its_steps() {
    let plan = with_workdir(
        r#"
worker("w")
shared = step.make()
builder("a", workdir = "src", steps = [shared, step.make(workdir = "own"), step.shell(command = "x")])
builder("b", workdir = prop("where"), steps = [shared])
builder("c", steps = [shared])
"#,
    )
    .unwrap()
    .plan;
    let config = |builder: usize, step: usize| &plan.builders[builder].steps[step].plugin.config;
    assert_eq!(config(0, 0), &json!({ "workdir": "src" }));
    assert_eq!(config(0, 1), &json!({ "workdir": "own" }));
    assert_eq!(
        config(0, 2),
        &json!({ "command": "x" }),
        "it has no such parameter"
    );
    assert!(capstan_model::Deferred::within(config(1, 0)));
    assert_eq!(config(2, 0), &json!({}));
    let faults = with_workdir(
        r#"
builder("a", workdir = "../up", steps = [])
builder("b", workdir = 3, steps = [])
builder("c", workdir = "bad", steps = [step.make()])
"#,
    );
    insta::assert_snapshot!(lines(&faults.unwrap_err()));
}

#[test]
fn folders_and_names_have_their_bounds() {
    let long = "ü".repeat(200);
    let plan = plan(&format!(
        "worker('w')\nbuilder('{long}', directory = 'the group', steps = [])\nbuilder('b', directory = 'the group', project = 'p', steps = [])"
    ));
    assert_eq!(plan.builders[0].directory(), plan.builders[1].directory());
    assert_eq!(plan.builders[1].project, "p");
    insta::assert_snapshot!(errors(&format!(
        "builder('{long}x', steps = [])\nbuilder('b', directory = ' ', steps = [])\nworker('{}')",
        "w".repeat(65)
    )));
}
