//! What a person gets for a configuration. Each file is given as text; plugins are small manifests.

mod bounds;
mod builders;
mod faults;
mod following;
mod generators;
mod locks;
mod presets;
mod remarks;
mod triggering;

use capstan_model::Digest;
use capstan_model::plan::Bundle;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Operator, diff, render_plan, starter_star};

fn plugin(kind: &str, name: &str, parameters: Value) -> PluginInfo {
    let manifest = json!({
        "schema": 1,
        "plugin": { "name": name, "kind": kind, "version": "1.0.0" },
        "parameters": parameters,
    });
    PluginInfo::new(
        serde_json::from_value(manifest).unwrap(),
        Digest::of(name.as_bytes()),
    )
}

fn plugins() -> Vec<PluginInfo> {
    let command =
        json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    vec![
        plugin(
            "step",
            "shell",
            object(
                &["command"],
                json!({
                    "command": command,
                    "env": { "type": "object", "additionalProperties": { "type": ["string", "null", "object"] } },
                    "timeout": { "type": "integer", "minimum": 1 },
                }),
            ),
        ),
        plugin(
            "step",
            "git",
            object(
                &["repository"],
                json!({
                    "repository": { "type": "string" },
                    "mode": { "enum": ["full", "incremental"] },
                    "branch": { "type": ["string", "null"] },
                }),
            ),
        ),
        plugin(
            "change-source",
            "git-poller",
            object(
                &["repository"],
                json!({
                    "repository": { "type": "string" }, "interval": { "type": "integer" },
                }),
            ),
        ),
        plugin(
            "scheduler",
            "any-branch",
            object(&[], json!({ "tree_stable_timer": { "type": "number" } })),
        ),
        plugin(
            "reporter",
            "report-file",
            object(&["path"], json!({ "path": { "type": "string" } })),
        ),
    ]
}

fn farm(files: &[(&str, &str)]) -> Farm {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    Farm::bundle(Bundle {
        entry: "ci.star".to_owned(),
        files: files.collect(),
        ..Bundle::default()
    })
}

fn run(files: &[(&str, &str)]) -> Result<Evaluated, Vec<Diagnostic>> {
    evaluate(&farm(files), &plugins(), &|_, _| Ok(()))
}

fn plan(program: &str) -> Plan {
    run(&[("ci.star", program)])
        .unwrap_or_else(|faults| panic!("{}", crate::render_all(&faults)))
        .plan
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The errors of one file, one a line.
fn errors(program: &str) -> String {
    lines(&run(&[("ci.star", program)]).unwrap_err())
}

fn errors_of(files: &[(&str, &str)]) -> String {
    lines(&run(files).unwrap_err())
}

const FARM: &str = r#"
load("//lib/steps.star", "checkout")

w = [worker("w%d" % i, slots = 2, labels = ["linux"]) for i in range(1, 3)]
source.git_poller(name = "repo", repository = "https://example.org/repo.git")
settings = read_json("settings.json")

main = builder(
    "main",
    workers = w,
    env = {"LANG": "C", "DISPLAY": None, "TOKEN": secret("deploy")},
    properties = settings,
    steps = [
        checkout("https://example.org/repo.git"),
        step.shell(command = "make", timeout = None),
        step.shell(command = ["make", "test"], env = {"A": "b"}, halt_on_failure = False),
        step.git(repository = "other", branch = None, always_run = True, env = {"GIT": "1"}),
    ],
)
builder("docs", labels = ["linux"], steps = [step.shell(name = "build", command = "mdbook build")], collapse = False)
schedule.any_branch(name = "push", builders = [main, "docs"], tree_stable_timer = 1.5)
notify.report_file(path = "reports/a.jsonl", builders = [main], on = ["started", "finished"])
"#;

const STEPS: &str = r#"
def checkout(url):
    return step.git(repository = url, mode = "full")
"#;

const SETTINGS: &str = r#"{"cores": 4, "ratio": 0.5, "deep": [1, null, {"x": true}]}"#;

const FILES: [(&str, &str); 3] = [
    ("ci.star", FARM),
    ("lib/steps.star", STEPS),
    ("settings.json", SETTINGS),
];

#[test]
fn a_configuration_becomes_the_plan_that_it_describes() {
    let evaluated = run(&FILES).unwrap_or_else(|faults| panic!("{}", lines(&faults)));
    assert_eq!(lines(&evaluated.remarks), "");
    insta::assert_snapshot!(render_plan(&evaluated.plan), @r#"
    workers (2)
      w1, 2 slots, labels linux
      w2, 2 slots, labels linux
    change sources (1)
      repo: git-poller(repository = "https://example.org/repo.git")
    schedulers (1)
      push: any-branch(tree_stable_timer = 1.5) → main, docs
    builders (2)
      main on w1, w2
          env DISPLAY removed, LANG=C, TOKEN from the secret deploy
        1. git: git(mode = "full", repository = "https://example.org/repo.git")
        2. shell: shell(command = "make")
        3. shell-2: shell(command = ["make", "test"], env = {"A": "b"}) [goes on after failure]
        4. git-2: git(branch = None, repository = "other") [always runs]
      docs on any worker with linux
        1. build: shell(command = "mdbook build")
    reporters (1)
      report-file: report-file(path = "reports/a.jsonl") ← main, started and finished
    "#);
    let main = evaluated.plan.builder("main").unwrap();
    assert_eq!(
        json!(main.properties),
        json!({ "cores": 4, "ratio": 0.5, "deep": [1, null, { "x": true }] })
    );
    assert_eq!(
        main.steps[2].plugin.config,
        json!({ "command": ["make", "test"], "env": { "A": "b" } })
    );
    assert!(main.steps[2].env.is_empty(), "the plugin declares `env` itself");
    assert_eq!(
        main.steps[3].plugin.config,
        json!({ "repository": "other", "branch": null })
    );
    assert_eq!(
        main.steps[3].env.fixed["GIT"],
        capstan_model::EnvValue::Set("1".to_owned())
    );
    assert_eq!(
        main.env.fixed["TOKEN"],
        capstan_model::EnvValue::Secret("deploy".to_owned())
    );
    assert_eq!(main.location.to_string(), "ci.star:8:8");
    assert_eq!(main.steps[0].plugin.location.to_string(), "lib/steps.star:3:12");
}

#[test]
fn a_pinned_bundle_gives_the_same_plan_without_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lib")).unwrap();
    for (path, text) in FILES {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    std::fs::write(folder.path().join("unread.star"), "x").unwrap();
    let from_disk = evaluate(
        &Farm::folder(folder.path(), "ci.star"),
        &plugins(),
        &|_, _| Ok(()),
    )
    .unwrap()
    .plan;
    drop(folder);
    let paths: Vec<_> = from_disk.bundle.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["ci.star", "lib/steps.star", "settings.json"]);
    let names: Vec<_> = from_disk
        .bundle
        .plugins
        .iter()
        .map(|pin| pin.name.as_str())
        .collect();
    assert_eq!(names, ["git-poller", "any-branch", "git", "shell", "report-file"]);
    let stored: Bundle = serde_json::from_str(&serde_json::to_string(&from_disk.bundle).unwrap()).unwrap();

    // A newer version of a plugin is there as well: the pinned one is taken.
    let mut newer = plugins();
    newer.push(PluginInfo {
        digest: Digest::of(b"newer"),
        ..newer[0].clone()
    });
    let again = evaluate(&Farm::bundle(stored.clone()), &newer, &|_, _| Ok(()))
        .unwrap()
        .plan;
    assert_eq!(again, from_disk);
    assert_eq!(again.digest(), from_disk.digest());

    let gone: Vec<_> = plugins()
        .into_iter()
        .filter(|plugin| plugin.name != "git")
        .collect();
    insta::assert_snapshot!(lines(&evaluate(&Farm::bundle(stored), &gone, &|_, _| Ok(())).unwrap_err()), @"ci.star:1:1: pinned plugin: expected the step plugin `git` in version 9a881b9b9f23, found no such file");
}

#[test]
fn what_init_writes_and_the_example_evaluate_as_they_are() {
    let operator = Operator::parse(&Operator::template(), std::path::Path::new("/farm")).unwrap();
    // As it is, nothing reaches into a network; with its example, too, it is right.
    let starter = starter_star();
    let (before, example) = starter.split_once("for a while:\n#\n").unwrap();
    let example = example.replace("\n# ", "\n").replace("\n#\n", "\n\n");
    let whole = format!("{before}\n{}", example.trim_start_matches("# "));
    for (text, sources) in [(&starter, 0), (&whole, 1)] {
        let evaluated = run(&[(operator.master.config.as_str(), text)]);
        let evaluated = evaluated.unwrap_or_else(|faults| panic!("{}", crate::render_all(&faults)));
        assert_eq!(
            lines(&evaluated.remarks),
            "ci.star:9:1: no scheduler asks for the builder `hello`; only `capstan force hello` builds it"
        );
        assert_eq!(
            evaluated.warnings().count(),
            0,
            "a new farm is no reason to worry"
        );
        assert_eq!(evaluated.plan.sources.len(), sources, "{text}");
    }

    let hello = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello");
    let operator = Operator::load(&hello).unwrap();
    let evaluated = evaluate(&operator.farm(), &plugins(), &|_, _| Ok(()));
    let evaluated = evaluated.unwrap_or_else(|faults| panic!("{}", crate::render_all(&faults)));
    assert_eq!(lines(&evaluated.remarks), "");
    assert_eq!(evaluated.plan.builders.len(), 1);
}

#[test]
fn a_thousand_builders_are_a_usual_configuration() {
    let plan = plan(
        r#"
workers = [worker("w%d" % i) for i in range(50)]
def make(n):
    return builder("b%d" % n, workers = workers, steps = [step.shell(name = "s%d" % s, command = ["make", str(s)]) for s in range(7)])
schedule.any_branch(name = "all", builders = [make(n) for n in range(1000)])
"#,
    );
    assert_eq!(plan.builders.len(), 1000);
    assert_eq!(
        plan.builders[999].steps[6].plugin.config,
        json!({ "command": ["make", "6"] })
    );
    assert_eq!(plan.schedulers[0].builders.len(), 1000);
}

#[test]
fn steps_without_a_name_are_numbered() {
    let plan = plan(
        r#"
s = step.shell(command = "x")
builder("b", steps = [s, s, step.shell(name = "shell-2", command = "y"), step.git(repository = "z")])
"#,
    );
    let names: Vec<_> = plan.builders[0]
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["shell", "shell-3", "shell-2", "git"]);
}

#[test]
fn what_is_printed_is_kept_even_when_there_is_no_plan() {
    insta::assert_snapshot!(lines(&run(&[("ci.star", "print('n =', 3, [1])")]).unwrap().remarks), @"ci.star:1:1: n = 3 [1]");
    insta::assert_snapshot!(errors("print('here')\nfail('now')"), @r"
    ci.star:1:1: here
    ci.star:2:1: fail: now
    ");
}

#[test]
fn definitions_that_nothing_uses_are_remarked_on() {
    insta::assert_snapshot!(lines(&run(&[("ci.star", r#"
worker("w1")
worker("w2")
step.shell(command = "x")
builder("a", workers = ["w1"], steps = [])
"#)]).unwrap().remarks), @r"
    ci.star:3:1: no builder uses the worker `w2`
    ci.star:5:1: the builder `a` has no steps
    ci.star:5:1: no scheduler asks for the builder `a`; only `capstan force a` builds it
    ci.star:4:1: no builder uses the step `shell`
    ");
    insta::assert_snapshot!(lines(&run(&[("ci.star", "b = builder('a', steps = [step.shell(command = 'x')])\nschedule.any_branch(name = 'p', builders = [b])")]).unwrap().remarks), @r#"ci.star:1:5: no worker is defined, so nothing can be built; add `worker("w1")`"#);
}

#[test]
fn a_reload_says_what_it_changes() {
    let old = plan(
        "worker('w1')\nbuilder('a', steps = [step.shell(command = 'x'), step.git(repository = 'r')])\nbuilder('b', steps = [])",
    );
    let new = plan(
        "\nworker('w2')\nbuilder('b', steps = [])\nbuilder('a', steps = [step.shell(command = 'y'), step.shell(name = 'n', command = 'z')])",
    );
    insta::assert_snapshot!(diff(&old, &new).join("\n"), @r"
    - worker w1
    + worker w2
    ~ builder a (steps -git +n ~shell)
    ");
    assert!(diff(&old, &old).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn data_reaches_the_plan_as_it_was_written(value in any_json()) {
        let files = [
            ("ci.star", "builder('b', properties = {'x': read_json('x.json')})"),
            ("x.json", &value.to_string()),
        ];
        let plan = run(&files).unwrap().plan;
        prop_assert_eq!(&plan.builders[0].properties["x"], &value);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6f64..1e6).prop_map(|n| Value::from(n + 0.5)),
        "[a-zé\"\\\\\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}
