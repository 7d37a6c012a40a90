//! Environments of steps: layers over each other, values that are known late.

use super::*;

fn environment(env: &str, step: &str) -> Result<BTreeMap<String, EnvValue>, String> {
    let program =
        format!("{HELPERS}builder(\"b\", env = {env}, steps = [step.shell(command = \"x\", env = {step})])");
    let Evaluated { plan, functions, .. } = load(&[("ci.star", &program)])?;
    let build = build();
    let layers = [
        plan.builders[0].env.clone(),
        plan.builders[0].steps[0].env.clone(),
    ];
    Renderer::new(&build, &functions)
        .env(&layers)
        .map_err(|error| error.to_string())
}

#[test]
fn the_step_goes_over_the_builder_and_null_removes() {
    let set = |text: &str| EnvValue::Set(text.to_owned());
    let env = environment(
        r#"{"A": interpolate("{zero}"), "KEEP": "1", "FLAG": prop("yes"), "GONE": prop("null"), "T": interpolate("{t}", t = secret("api"))}"#,
        r#"prop("vars")"#,
    )
    .unwrap();
    let expected = [
        ("A", set("1")),
        ("B", EnvValue::Unset),
        ("C", set("3")),
        ("FLAG", set("true")),
        ("GONE", EnvValue::Unset),
        ("KEEP", set("1")),
        ("T", EnvValue::Secret("api".to_owned())),
    ];
    assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let over = environment(r#"lambda build: {"A": "builder", "B": "b"}"#, r#"{"A": "step"}"#).unwrap();
    assert_eq!(over["A"], set("step"));
    assert_eq!(over["B"], set("b"));
    assert_eq!(Env::default(), Env { ..Env::default() });
}

/// Farm, worker, builder, step, as the master lays them over each other.
#[test]
fn environments_go_over_each_other() {
    let program = format!(
        r#"{HELPERS}
environment({{"FARM": "1", "A": "farm", "B": "farm", "C": "farm", "D": "farm", "P": ["/farm"]}})
worker("w", env = {{"A": "worker", "B": "worker", "C": None, "P": "text"}})
builder("b", env = {{"A": "builder", "C": "builder", "D": None, "P": ["/b", prop("flags"), "${{PATH}}"]}}, steps = [
    step.shell(command = "x", env = {{"A": prop("yes"), "E": None}}),
])"#
    );
    let Evaluated { plan, functions, .. } = load(&[("ci.star", &program)]).unwrap();
    let (builder, build) = (&plan.builders[0], build());
    let layers = [
        &plan.env,
        &plan.workers[0].env,
        &builder.env,
        &builder.steps[0].env,
    ];
    let merged = Renderer::new(&build, &functions)
        .env(&layers.map(Clone::clone))
        .unwrap();
    let set = |text: &str| EnvValue::Set(text.to_owned());
    let flags = build
        .properties
        .get("flags")
        .unwrap()
        .value
        .as_array()
        .unwrap()
        .clone();
    let flags = flags.iter().map(|flag| flag.as_str().unwrap().to_owned());
    let path = ["/b".to_owned()]
        .into_iter()
        .chain(flags)
        .chain(["${PATH}".to_owned()]);
    let expected = [
        ("A", set("true")),
        ("B", set("worker")),
        ("C", set("builder")),
        ("D", EnvValue::Unset),
        ("E", EnvValue::Unset),
        ("FARM", set("1")),
        ("P", EnvValue::Path(path.collect())),
    ];
    assert_eq!(
        merged,
        expected.map(|(name, value)| (name.to_owned(), value)).into()
    );
}

#[test]
fn an_environment_that_is_none_is_refused() {
    let of = |env: &str| environment(env, "{}").map_or_else(|error| error, |env| format!("{env:?}"));
    let table = [
        "prop(\"flags\")",
        "{\"A\": flags}",
        "lambda b: {\"A=B\": \"1\"}",
        "{\"A\": prop(\"sneaky\")}",
        "{\"A\": prop(\"gon\")}",
        "{\"A\": 3}",
    ];
    let lines: Vec<_> = table.iter().map(|env| format!("{env} = {}", of(env))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
