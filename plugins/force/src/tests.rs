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
fn what_is_missing_is_told_with_what_there_is_to_choose() {
    let form = json!({"fields": [
        {"name": "version", "type": "choice", "choices": ["v1", "v2"], "required": true},
        {"name": "key", "type": "secret", "choices": ["k"], "required": true},
    ]});
    let call = json!({"kind": "force", "owner": "ann", "values": {"version": ""}});
    assert_eq!(
        called(form, call).unwrap_err(),
        [
            "values.version: expected one of v1, v2, found nothing",
            "values.key: expected one of k, found nothing",
        ]
    );
}

fn called(form: Value, call: Value) -> Result<Buildset, Vec<String>> {
    let mut timeline = Host::new().scheduler::<Force>(form);
    match timeline.call(&serde_json::from_value(call).unwrap()) {
        Ok(mut decision) => Ok(decision.submit.remove(0)),
        Err(PluginError::InvalidConfig(faults)) => Err(faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.path, fault.message))
            .collect()),
        Err(other) => panic!("expected faults, found {other:?}"),
    }
}

/// A default is read as what is filled in is.
#[test]
fn a_default_becomes_what_it_says() {
    let form = json!({"fields": [
        {"name": "jobs", "type": "int", "default": "4"},
        {"name": "clean", "type": "bool", "default": "yes"},
        {"name": "key", "type": "secret", "choices": ["k"], "default": "k"},
        {"name": "targets", "type": "choice", "multiple": true, "choices": ["a", "b"], "default": "a,b"},
        {"name": "empty", "default": ""},
        {"name": "none", "type": "int", "default": ""},
    ]});
    let set = called(form, json!({"kind": "force"})).unwrap();
    assert_eq!(
        properties(&set),
        r#"clean=true empty="" jobs=4 key={"secret":"k"} targets=["a","b"]"#
    );
}

/// A master takes no property that is larger: what the form takes must be one.
#[test]
fn what_is_too_large_for_a_property_is_told_by_its_field() {
    let form = json!({"fields": [
        {"name": "f", "type": "file", "max_size": 262_144},
        {"name": "g", "type": "group", "fields": [
            {"name": "a", "type": "file", "max_size": 200_000}, {"name": "b", "type": "file", "max_size": 200_000},
        ]},
    ]});
    let ask = |values: Value| called(form.clone(), json!({"kind": "force", "values": values}));
    assert!(ask(json!({"f": "a".repeat(262_142)})).is_ok());
    assert_eq!(
        ask(json!({"f": "\n".repeat(200_000)})).unwrap_err(),
        ["values.f: expected at most 262144 bytes as JSON, found 400002"]
    );
    let half = "a".repeat(150_000);
    let faults = ask(json!({"g": {"a": half, "b": half}})).unwrap_err();
    assert!(faults[0].starts_with("values.g: expected at most"), "{faults:?}");
}

#[test]
fn a_codebase_may_be_required() {
    let form = json!({"fields": [
        {"type": "codebase", "name": "app", "source": {"codebase": "app"}, "required": true},
    ]});
    for values in [json!({}), json!({"app": {}}), json!({"app": {"branch": ""}})] {
        assert_eq!(
            called(form.clone(), json!({"kind": "force", "values": values})).unwrap_err(),
            ["values.app: expected a branch or a revision, found neither"]
        );
    }
}

/// What the form asks for cannot be given beside it, unchecked.
#[test]
fn nothing_gets_round_the_form() {
    let call = json!({
        "kind": "force", "reason": "r", "values": {"version": "v1"},
        "sources": [{"codebase": "app", "repository": "evil"}, {"codebase": "lib", "branch": "b"}],
        "properties": {"version": "rm -rf", "beside": 1, "fixed": 3, "publish": {}, "other": 1},
    });
    assert_eq!(
        called(form(), call).unwrap_err(),
        [
            "properties.version: expected it in `values.version`: the form asks for it",
            "sources: expected it in `values.app`, such as `values.app.branch`: the form asks for it",
            "properties.publish: expected it in `values.publish`: the form asks for it",
            "properties.beside: expected it in `values.beside`: the form asks for it",
            "properties.fixed: expected it in `values.fixed`: the form asks for it",
        ]
    );
    let free = json!({
        "kind": "force", "reason": "r", "values": {"version": "v1"},
        "sources": [{"codebase": "lib", "branch": "b"}], "properties": {"other": 1},
    });
    assert!(called(form(), free).is_ok());
}

/// The master puts what a function says in the place of the function.
#[test]
fn live_choices_are_what_they_are_when_asked() {
    let form = |choices: Value| {
        let field = json!({"name": "b", "type": "choice", "choices": choices, "default": "x"});
        json!({"fields": [field]})
    };
    let function = json!({"$deferred": {"function": 3}});
    let problems = Host::new().check_scheduler::<Force>(form(function.clone()));
    assert!(problems.is_empty(), "{problems:?}");
    let mut timeline = Host::new().scheduler::<Force>(form(function.clone()));
    let told = timeline.handle(Event::Started);
    assert!(told.is_ok(), "events come with the function in its place");
    let ask = |choices: Value, value: &str| {
        let call = json!({"kind": "force", "values": {"b": value}});
        called(form(choices), call)
    };
    assert!(ask(json!(["x", "y"]), "y").is_ok());
    assert_eq!(
        ask(json!(["x", "z"]), "y").unwrap_err(),
        ["values.b: expected one of x, z, found `y`"]
    );
    assert_eq!(
        ask(function, "y").unwrap_err(),
        ["values.b: expected what there is to choose, which is nothing now, found `y`"]
    );
    let many: Vec<_> = std::iter::once("x".to_owned())
        .chain((0..499).map(|n| n.to_string()))
        .collect();
    let faults = ask(json!(many), "y").unwrap_err();
    assert!(
        faults[0].ends_with("47, 48 and 450 more, found `y`"),
        "{faults:?}"
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
        (json!([{"name": "a", "max_size": 262_145}]), "fields[0].max_size"),
        (
            json!([{"name": "a", "type": "file", "max_size": 1, "default": "ab"}]),
            "fields[0].default",
        ),
        (json!([{"name": "a", "choices": ["x"]}]), "fields[0].choices"),
        (
            json!([{"name": "a", "type": "choice", "choices": ["x"], "fallback": ["y"]}]),
            "fields[0].fallback",
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
