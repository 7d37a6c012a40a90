//! A form as a person meets it: what it asks, what it makes of the answers, what it refuses.

use capstan_sdk::scheduler::Buildset;
use capstan_sdk::test::Host;

use super::*;

fn form() -> Value {
    json!({
        "label": "Release",
        "reason_required": true,
        "sources": [{"codebase": "lib", "repository": "l"}],
        "properties": {"kind": "release"},
        "fields": [
            {"name": "version", "regex": "v[0-9]+|v[0-9]+\\.[0-9]+", "required": true},
            {"name": "jobs", "type": "int", "min": 1, "max": 64, "default": 4},
            {"name": "clean", "type": "bool", "default": false},
            {"name": "flavour", "type": "choice", "choices": ["debug", "release"], "default": "debug"},
            {"name": "targets", "type": "choice", "multiple": true, "choices": ["a", "b", "c"]},
            {"name": "notes", "type": "text", "max_size": 10},
            {"type": "codebase", "source": {"codebase": "app", "repository": "r", "branch": "main", "revision": "r0"},
                "ask": ["branch", "revision"]},
            {"name": "publish", "type": "group", "fields": [
                {"name": "to", "type": "choice", "choices": ["staging", "live"], "default": "staging"},
                {"name": "key", "type": "secret", "choices": ["signing-key"]},
            ]},
            {"type": "group", "fields": [{"name": "beside"}]},
            {"name": "answers", "type": "file"},
            {"name": "fixed", "type": "fixed", "default": [1, 2]},
        ],
    })
}

fn ask(values: Value) -> Result<Buildset, Vec<String>> {
    let mut timeline = Host::new().scheduler::<Force>(form());
    let call = json!({"kind": "force", "owner": "ann", "reason": "the day has come", "values": values});
    match timeline.call(&serde_json::from_value(call).unwrap()) {
        Ok(mut decision) => Ok(decision.submit.remove(0)),
        Err(PluginError::InvalidConfig(faults)) => Err(faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.path, fault.message))
            .collect()),
        Err(other) => panic!("expected faults, found {other:?}"),
    }
}

fn properties(set: &Buildset) -> String {
    let mut all: Vec<_> = set
        .properties
        .iter()
        .map(|p| format!("{}={}", p.name, p.value))
        .collect();
    all.sort();
    all.join(" ")
}

#[test]
fn what_is_filled_in_becomes_typed_properties() {
    let set = ask(json!({
        "version": "v1.2", "jobs": "8", "clean": "yes", "targets": "a, c", "app.branch": "devel",
        "publish.key": "signing-key", "beside": "x", "answers": "y\nz",
    }))
    .unwrap();
    assert_eq!(
        properties(&set),
        r#"answers="y\nz" beside="x" clean=true fixed=[1,2] flavour="debug" jobs=8 kind="release" owner="ann" publish={"key":{"secret":"signing-key"},"to":"staging"} targets=["a","c"] version="v1.2""#
    );
    assert_eq!(set.reason, "the day has come");
    let sources: Vec<_> = set
        .sources
        .iter()
        .map(|s| format!("{}:{}:{:?}:{:?}", s.codebase, s.repository, s.branch, s.revision))
        .collect();
    assert_eq!(sources, [r#"lib:l:None:None"#, r#"app:r:Some("devel"):None"#]);
    // JSON as a page sends it is the same.
    let set = ask(json!({"version": "v1", "jobs": 8, "targets": ["b"], "publish": {"to": "live"}})).unwrap();
    assert!(
        properties(&set).contains(r#"publish={"to":"live"} targets=["b"]"#),
        "{}",
        properties(&set)
    );
    assert_eq!(set.sources[1].revision.as_deref(), Some("r0"), "the default");
}

#[test]
fn every_fault_is_told_by_its_field() {
    let faults = ask(json!({
        "version": "1", "jobs": 65, "clean": "maybe", "flavour": "fast", "targets": ["a", "z"], "notes": "12345678901",
        "app": {"project": "p"}, "publish": {"to": "nowhere", "more": 1}, "fixed": 3, "colour": "red",
    }))
    .unwrap_err();
    let expected = [
        "values.version: expected a text that fits",
        "values.jobs: expected at most 64, found 65",
        "values.clean: expected true or false",
        "values.flavour: expected one of debug, release, found `fast`",
        "values.targets: expected one of a, b, c, found `z`",
        "values.notes: expected at most 10 bytes, found 11",
        "values.app.project: expected one of branch, revision",
        "values.publish.to: expected one of staging, live",
        "values.publish.more: expected one of the fields to, key",
        "values.fixed: expected nothing: this value is fixed",
        "values.colour: expected one of the fields version, jobs",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault} is not {expected}");
    }
    assert_eq!(
        ask(json!({})).unwrap_err(),
        ["values.version: expected something, found nothing"]
    );
    assert!(
        ask(json!({"version": "xv1"})).is_err(),
        "the whole of it has to fit"
    );
}

#[test]
fn a_reason_may_be_required() {
    let mut timeline = Host::new().scheduler::<Force>(form());
    let call = json!({"kind": "force", "reason": " ", "values": {"version": "v1"}});
    let Err(PluginError::InvalidConfig(faults)) = timeline.call(&serde_json::from_value(call).unwrap())
    else {
        panic!("expected a fault")
    };
    assert_eq!(faults[0].path, "reason");
}

#[test]
fn the_form_says_what_to_ask() {
    let timeline = Host::new().scheduler::<Force>(form());
    let form = timeline.describe();
    assert_eq!(form["label"], "Release");
    assert_eq!(
        form["fields"][1],
        json!({"name": "jobs", "type": "int", "label": "jobs", "required": false, "default": 4, "min": 1, "max": 64})
    );
    assert_eq!(form["fields"][6]["name"], "app");
    assert_eq!(form["fields"][7]["fields"][1]["choices"], json!(["signing-key"]));
}

#[test]
fn a_form_that_makes_no_sense_is_refused_at_load() {
    for (fields, path) in [
        (json!([{}]), "fields[0].name"),
        (json!([{"name": "a"}, {"name": "a"}]), "fields[1].name"),
        (
            json!([{"name": "a"}, {"type": "group", "fields": [{"name": "a"}]}]),
            "fields[1].fields[0].name",
        ),
        (json!([{"name": "a.b"}]), "fields[0].name"),
        (json!([{"name": "a", "regex": "("}]), "fields[0].regex"),
        (json!([{"name": "a", "regex": ")("}]), "fields[0].regex"),
        (
            json!([{"name": "a", "regex": "((a{1000}){1000}){1000}"}]),
            "fields[0].regex",
        ),
        (
            json!([{"name": "a", "type": "int", "regex": "a"}]),
            "fields[0].regex",
        ),
        (
            json!([{"name": "a", "type": "int", "min": 3, "max": 2}]),
            "fields[0].max",
        ),
        (
            json!([{"name": "a", "type": "int", "default": "x"}]),
            "fields[0].default",
        ),
        (json!([{"name": "a", "type": "choice"}]), "fields[0].choices"),
        (json!([{"name": "a", "type": "secret"}]), "fields[0].choices"),
        (
            json!([{"name": "a", "type": "choice", "choices": ["x"], "default": "y"}]),
            "fields[0].default",
        ),
        (json!([{"name": "a", "type": "group"}]), "fields[0].fields"),
        (json!([{"name": "a", "type": "fixed"}]), "fields[0].default"),
        (
            json!([{"name": "a", "max_size": 10_000_000}]),
            "fields[0].max_size",
        ),
    ] {
        let problems = Host::new().check_scheduler::<Force>(json!({"fields": fields}));
        assert_eq!(
            problems.first().map(|p| p.path.as_str()),
            Some(path),
            "{fields} {problems:?}"
        );
    }
    let mut deep = json!({"name": "a"});
    for _ in 0..20 {
        deep = json!({"name": "g", "type": "group", "fields": [deep]});
    }
    let problems = Host::new().check_scheduler::<Force>(json!({"fields": [deep]}));
    assert!(problems[0].message.contains("at most 8 deep"), "{problems:?}");
}
