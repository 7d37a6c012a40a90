//! What a build gets for what a configuration wrote: evaluated from Starlark, rendered for a build, shown as JSON.

mod env;
mod secrets;

use capstan_model::deferred::KEY;
use capstan_model::plan::{Bundle, Env, Plan};
use capstan_model::{Digest, EnvValue};

use super::*;
use crate::{Evaluated, Farm, PluginInfo, evaluate, render_all};

fn plugins() -> Vec<PluginInfo> {
    let manifest = json!({
        "schema": 1,
        "plugin": { "name": "shell", "kind": "step", "version": "1.0.0" },
        "parameters": {
            "type": "object", "additionalProperties": false, "required": ["command"],
            "properties": {
                "command": { "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] },
                "workdir": { "type": "string" },
                "depth": { "type": "integer", "minimum": 1 },
                "branch": { "type": ["string", "null"] },
                "options": { "type": "object", "additionalProperties": false, "properties": { "level": { "enum": ["low", "high"] } } },
                "auth": { "type": "object", "properties": { "secret": { "type": "string" } } },
            },
        },
    });
    vec![PluginInfo::new(
        serde_json::from_value(manifest).unwrap(),
        Digest::of(b"shell"),
    )]
}

fn load(files: &[(&str, &str)]) -> Result<Evaluated, String> {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    let farm = Farm::bundle(Bundle {
        entry: "ci.star".to_owned(),
        files: files.collect(),
        ..Bundle::default()
    });
    let checked = |_, plugin: &capstan_model::plan::PluginUse| {
        assert!(
            !Deferred::within(&plugin.config),
            "a plugin was asked about what nobody knows yet"
        );
        Ok(())
    };
    evaluate(&farm, &plugins(), &checked).map_err(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert!(!render_all(&faults).is_empty());
        lines.join("\n")
    })
}

fn build() -> BuildContext {
    let mut properties = Properties::default();
    for (name, value) in [
        ("branch", json!("Feature/Größe 2")),
        ("revision", json!("0123456789abcdef")),
        ("empty", json!("")),
        ("zero", json!(0)),
        ("null", json!(null)),
        ("flags", json!(["-j", "4"])),
        ("none", json!([])),
        ("vars", json!({ "A": "1", "B": null, "C": 3 })),
        ("yes", json!(true)),
        ("deep", json!({ "a": [1, { "b": null }] })),
        ("sneaky", json!({ "secret": "deploy-key" })),
        ("forged", json!({ KEY: { "function": 0 } })),
    ] {
        properties.set(name, value, "test");
    }
    let source = |codebase: &str, branch: Option<&str>| SourceStamp {
        codebase: codebase.to_owned(),
        repository: format!("https://example.org/{codebase}.git"),
        project: String::new(),
        branch: branch.map(str::to_owned),
        revision: None,
        patch: None,
    };
    BuildContext {
        properties,
        sources: vec![source("lib", Some("main")), source("", None)],
        builder: "linux".to_owned(),
        worker: "w1".to_owned(),
        number: Some(7),
    }
}

/// What one step's parameters become; errors read as a person sees them.
fn rendered(files: &[(&str, &str)]) -> Result<Value, String> {
    let Evaluated { plan, functions, .. } = load(files)?;
    let build = build();
    let renderer = Renderer::new(&build, &functions);
    let schema = &plugins()[0].manifest.parameters;
    let config = &plan.builders[0].steps[0].plugin.config;
    renderer
        .parameters(schema, config)
        .map(|(config, _)| config)
        .map_err(|error| error.to_string())
}

fn program(expression: &str) -> String {
    format!("{HELPERS}builder(\"b\", steps = [step.shell(command = {expression})])\n")
}

const HELPERS: &str = "def flags(build):\n    return build.properties[\"flags\"]\n";

/// What `command = …` becomes.
fn command(expression: &str) -> String {
    match rendered(&[("ci.star", &program(expression))]) {
        Ok(config) => config["command"].to_string(),
        Err(error) => error,
    }
}

#[test]
fn holes_are_filled_as_the_table_says() {
    let table = [
        r#"interpolate("{branch}")"#,
        r#"interpolate("{branch|lower} {branch|upper} {branch|slug} {branch|basename}")"#,
        r#"interpolate("{revision|first:8}|{branch|replace:/,-|first:9}")"#,
        r#"interpolate("{yes} {zero} {yes|json} {deep|json} {branch|json}")"#,
        r#"interpolate("${{HOME}} {{}} a")"#,
        r#"interpolate("{gone:-main} {gone:-} {empty:-main} {null:-main} {zero:-1}")"#,
        r#"interpolate("{gone:~main} {empty:~main} {null:~main} {zero:~1} {none:~x} {branch:~x}")"#,
        r#"interpolate("{gone:+set} {empty:+set} {null:+set} {branch:+set}")"#,
        r#"interpolate("[{null}]")"#,
        r#"interpolate("{src.lib.branch} {src..branch:-trunk} {src.lib.repository|basename} {src.other.branch:-x}")"#,
        r#"interpolate("{worker.name} {builder.name} {build.number}")"#,
        r#"interpolate("{x} {y}", x = prop("branch"), y = 3)"#,
        r#"interpolate("{x:-none}", x = prop("gone"))"#,
        r#"interpolate("{x|json}", x = flags)"#,
        r#"interpolate("{x}", x = interpolate("<{y}>", y = prop("gone", default = prop("revision"))))"#,
        r#""{branch} is text""#,
    ];
    let lines: Vec<_> = table
        .iter()
        .map(|expression| format!("{expression} = {}", command(expression)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn lists_are_spliced_and_everything_may_be_deferred_however_deep() {
    assert_eq!(
        command(r#"["make", prop("flags"), "all"]"#),
        r#"["make","-j","4","all"]"#
    );
    assert_eq!(
        command(r#"["make", prop("none"), flags]"#),
        r#"["make","-j","4"]"#
    );
    assert_eq!(
        command(r#"["make"] + [prop("gone", default = ["x", interpolate("{zero}")])]"#),
        r#"["make","x","0"]"#
    );
    assert_eq!(
        command(r#"lambda build: ["a", build.builder, build.worker, str(build.number)]"#),
        r#"["a","linux","w1","7"]"#
    );
    assert_eq!(
        command(r#"render(lambda build: interpolate("{branch|slug}-{x}", x = prop("zero")))"#),
        r#""feature-gr-e-2-0""#
    );
    assert_eq!(
        command(r#"lambda build: [s["codebase"] + ":" + str(s["branch"]) for s in build.sources]"#),
        r#"["lib:main",":None"]"#
    );
    let all = r#"
builder("b", steps = [step.shell(
    command = "x", workdir = interpolate("{branch|slug}/src"), depth = prop("gone", default = 3),
    branch = prop("null"), options = {"level": prop("gone", default = "low")},
)])"#;
    let expected = json!({ "command": "x", "workdir": "feature-gr-e-2/src", "depth": 3, "branch": null, "options": { "level": "low" } });
    assert_eq!(rendered(&[("ci.star", all)]).unwrap(), expected);
    let unset = "builder(\"b\", steps = [step.shell(command = \"x\", workdir = prop(\"null\"))])";
    assert_eq!(
        rendered(&[("ci.star", unset)]).unwrap(),
        json!({ "command": "x" }),
        "null is not given"
    );
}

#[test]
fn what_cannot_be_rendered_says_where_and_why() {
    let table = [
        r#"interpolate("{brnach}")"#,
        r#"["a", prop("revison")]"#,
        r#"interpolate("{src.lbi.branch}")"#,
        r#"interpolate("{flags}")"#,
        r#"["a", prop("deep")]"#,
        r#"prop("zero")"#,
        r#"prop("sneaky")"#,
        r#"["x", lambda build: build.properties["forged"]]"#,
        r#"prop("forged")"#,
        r#"lambda build: secret("x")"#,
        r#"lambda build: build.nothing"#,
        r#"lambda build: [lambda: 1]"#,
        r#"lambda: 1"#,
        r#"lambda build: 1 // build.properties["zero"]"#,
    ];
    let lines: Vec<_> = table
        .iter()
        .map(|expression| format!("{expression} = {}", command(expression)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// A property that a person gives is data, whatever it looks like.
#[test]
fn a_property_is_never_rendered_again() {
    let plan = load(&[("ci.star", &program("\"x\""))]).unwrap();
    let build = build();
    let value = Deferred::Property(PropertyOr {
        name: "forged".to_owned(),
        default: None,
    });
    let renderer = Renderer::new(&build, &plan.functions);
    assert_eq!(
        renderer.value(&value.to_value()).unwrap(),
        json!({ KEY: { "function": 0 } })
    );
}

#[test]
fn slips_are_found_when_the_configuration_is_loaded() {
    let table = [
        r#"interpolate("on {branch|lowr}")"#,
        r#"interpolate("on {src.lib.brnach}", x = 1)"#,
        r#"interpolate("{version}", verison = 1)"#,
        r#"interpolate(3)"#,
        r#"interpolate()"#,
        r#"prop()"#,
        r#"prop("x", defualt = 1)"#,
        r#"render("x")"#,
        r#"len"#,
        r#"step"#,
        r#"interpolate("Bearer {token}", token = secret("api"))"#,
        r#"interpolate("{token}", token = secret("api"))"#,
        r#"{"$deferred": {"function": 0}}"#,
        r#"["make", 3, prop("flags")]"#,
        r#"["make", prop("flags")], options = {"levle": prop("x")}"#,
        r#"prop("x"), depth = 0"#,
        r#"prop("x"), wrokdir = "y""#,
    ];
    let lines: Vec<_> = table
        .iter()
        .map(|expression| match load(&[("ci.star", &program(expression))]) {
            Ok(_) => format!("{expression} is accepted"),
            Err(error) => error,
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Numbers are given in the order of evaluation; a pinned bundle gives the same ones again.
#[test]
fn functions_are_numbered_as_they_come_and_kept_once() {
    let files = [
        (
            "ci.star",
            "load(\"lib.star\", \"one\", \"later\")\ndef two(build):\n    return \"two\"\nbuilder(\"b\", steps = [step.shell(command = two), step.shell(command = one), step.shell(command = two), later(\"x\"), later(\"y\")])",
        ),
        (
            "lib.star",
            "def one(build):\n    return \"one\"\ndef later(text):\n    return step.shell(command = lambda build: text)\nbuilder(\"a\", steps = [step.shell(command = one)])",
        ),
    ];
    let Evaluated { plan, functions, .. } = load(&files).unwrap();
    let names: Vec<_> = plan
        .functions
        .iter()
        .map(|f| format!("{} {} {}", f.number, f.name, f.location))
        .collect();
    insta::assert_snapshot!(names.join("\n"));
    let answers = |plan: &Plan, functions: &Functions| {
        let build = build();
        let renderer = Renderer::new(&build, functions);
        let steps = plan.builders.iter().flat_map(|builder| &builder.steps);
        steps
            .map(|step| renderer.value(&step.plugin.config["command"]).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(answers(&plan, &functions), ["one", "two", "one", "two", "x", "y"]);
    let again = evaluate(&Farm::bundle(plan.bundle.clone()), &plugins(), &|_, _| Ok(())).unwrap();
    assert_eq!(again.plan, plan);
    assert_eq!(answers(&plan, &again.functions), answers(&plan, &functions));
}

/// What a function may take; whatever it does, its caller gets an error with the place.
#[test]
fn a_function_that_does_not_end_is_ended() {
    let of = |body: &str| {
        let program = format!(
            "def helper(x):\n    return 1 // x\ndef f(build):\n{body}\nbuilder(\"b\", steps = [step.shell(command = f)])"
        );
        let Evaluated { plan, functions, .. } = load(&[("ci.star", &program)]).unwrap();
        let build = build();
        let limits = CallLimits {
            heap: 8 << 20,
            answer: 64 << 10,
            ..CallLimits::default()
        };
        let renderer = Renderer::new(&build, &functions).with_limits(limits);
        match renderer.value(&plan.builders[0].steps[0].plugin.config["command"]) {
            Ok(value) => format!("{value}"),
            Err(error) => error.to_string(),
        }
    };
    let table = [
        "    for i in range(10000000):\n        for j in range(10000000):\n            pass",
        "    return f(build)",
        "    x = \"ab\"\n    for i in range(60):\n        x = x + x\n    return x",
        "    x = []\n    for i in range(10000000):\n        x.append(\"a\" * 1000)\n    return x",
        "    return \"x\" * 100000",
        "    x = []\n    x.append(x)\n    return x",
        "    fail(\"no \" + build.builder)",
        "    return [helper(x) for x in [1, 0]]",
        "    worker(\"w\")",
        "    print(\"hello\")\n    return read_json(\"a.json\")",
        "    build.properties[\"flags\"].append(\"x\")\n    return build.properties[\"flags\"]",
    ];
    let lines: Vec<_> = table.iter().map(|body| of(body)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn rendered_values_are_bounded_together() {
    let Evaluated { functions, .. } = load(&[("ci.star", "")]).unwrap();
    let mut build = build();
    build.properties.set("large", "x".repeat(200 << 10), "test");
    let large = Deferred::Property(PropertyOr {
        name: "large".to_owned(),
        default: None,
    });
    let many = Value::Array(vec![large.to_value(); 30]);
    let error = Renderer::new(&build, &functions).value(&many).unwrap_err();
    assert_eq!(error.reason, Unrendered::TooLarge);
    let text = Template {
        text: String::new(),
        parts: vec![
            Part::Hole(Hole {
                of: Name::Property("large".to_owned()),
                instead: None,
                filters: vec![capstan_model::deferred::Filter::Replace(
                    "x".to_owned(),
                    "y".repeat(1000)
                )],
            });
            1
        ],
        values: BTreeMap::new(),
    };
    let error = Renderer::new(&build, &functions)
        .value(&Deferred::Interpolate(text).to_value())
        .unwrap_err();
    assert_eq!(error.reason, Unrendered::TooLarge);
    let mut nested = large.to_value();
    for _ in 0..40 {
        nested = Deferred::Property(PropertyOr {
            name: "gone".to_owned(),
            default: Some(Box::new(nested)),
        })
        .to_value();
    }
    let error = Renderer::new(&build, &functions).value(&nested).unwrap_err();
    assert_eq!(error.reason, Unrendered::TooDeep);
}

/// What the book shows works as it stands.
#[test]
fn the_example_of_the_book_is_rendered() {
    let page = include_str!("../../../../docs/src/configuration/properties.md");
    let program = page
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let Evaluated { plan, functions, .. } = load(&[("ci.star", program)]).unwrap();
    let mut build = build();
    build.properties.set("jobs", 4, "builder default");
    build.properties.set("codebase", "", "source stamp");
    let rendered = Renderer::new(&build, &functions);
    let config = rendered.value(&plan.builders[0].steps[0].plugin.config).unwrap();
    assert_eq!(
        config,
        json!({ "command": ["make", "-j", "4", "unit", "browser", "upgrade"], "workdir": "src" })
    );
    assert_eq!(plan.properties["team"], "core");
    assert_eq!(plan.workers[0].properties["arch"], "arm64");
}

#[test]
fn properties_of_the_configuration_are_checked_when_it_is_loaded() {
    let table = [
        "properties(a = 1)\nproperties({\"b\": 2}, c = [3])",
        "properties(a = 1)\nproperties(a = 2)",
        "properties(a = prop(\"x\"))",
        "properties([1])",
        "properties({\"\": 1})",
        "properties(a = \"x\" * 1000000)",
        "worker(\"w\", properties = {\"a\": prop(\"x\")})",
        "builder(\"b\", defaults = {\"a\": \"x\" * 1000000})",
    ];
    let lines: Vec<_> = table
        .iter()
        .map(|program| match load(&[("ci.star", program)]) {
            Ok(found) => format!("{:?}", found.plan.properties),
            Err(error) => error,
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
