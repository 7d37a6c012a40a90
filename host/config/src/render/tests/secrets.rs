//! Secrets whose names somebody else chooses, out of those that the configuration lists.

use super::*;

const AMONG: &str = r#"among = ["staging-key", secret("live-key")]"#;

/// What a step becomes whose `auth` and whose variable `KEY` are that secret.
fn chosen(secret: &str) -> Result<(Value, BTreeMap<String, EnvValue>), String> {
    let program = format!(
        "{HELPERS}builder(\"b\", env = {{\"KEY\": {secret}}}, steps = [step.shell(command = \"x\", auth = {secret})])"
    );
    let Evaluated { plan, functions, .. } = load(&[("ci.star", &program)])?;
    let mut build = build();
    for (name, value) in [
        ("key", json!("live-key")),
        ("reference", json!({ "secret": "staging-key" })),
        ("root", json!("root-key")),
        ("root-reference", json!({ "secret": "root-key" })),
        ("odd", json!({ "secret": "live-key", "more": 1 })),
    ] {
        build.properties.set(name, value, "test");
    }
    let renderer = Renderer::new(&build, &functions);
    let step = &plan.builders[0].steps[0].plugin.config;
    let text = |error: RenderError| error.to_string();
    let (config, _) = renderer
        .parameters(&plugins()[0].manifest.parameters, step)
        .map_err(text)?;
    let env = renderer.env(&[plan.builders[0].env.clone()]).map_err(text)?;
    Ok((config["auth"].clone(), env))
}

#[test]
fn a_property_chooses_among_the_secrets_that_are_listed() {
    for (of, name) in [
        (r#"prop("key")"#, "live-key"),
        (r#"prop("reference")"#, "staging-key"),
        (r#"prop("nobody", default = "staging-key")"#, "staging-key"),
        (r#"prop("nobody", default = prop("reference"))"#, "staging-key"),
        (r#"lambda build: prop("reference")"#, "staging-key"),
        (r#"interpolate("{key}")"#, "live-key"),
        (r#"lambda build: build.properties["reference"]"#, "staging-key"),
    ] {
        let (auth, env) = chosen(&format!("secret({of}, {AMONG})")).unwrap();
        assert_eq!(auth, json!({ "secret": name }), "{of}");
        assert_eq!(env["KEY"], EnvValue::Secret(name.to_owned()), "{of}");
    }
    let (_, env) = chosen(&format!(
        "interpolate(\"{{t}}\", t = secret(prop(\"key\"), {AMONG}))"
    ))
    .unwrap();
    assert_eq!(env["KEY"], EnvValue::Secret("live-key".to_owned()));
}

#[test]
fn one_that_does_not_fit_where_it_stands_is_refused_when_it_is_loaded() {
    for (use_of, expected) in [
        ("steps = [step.shell(command = SECRET)]", "`command`: expected"),
        ("steps = [], env = SECRET", "`env`: expected a dict"),
    ] {
        let secret = format!("secret(prop(\"key\"), {AMONG})");
        let program = format!("{HELPERS}builder(\"b\", {})", use_of.replace("SECRET", &secret));
        let said = load(&[("ci.star", &program)]).map(drop).unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn nothing_leads_to_a_secret_that_is_not_listed() {
    let faults: Vec<_> = [
        "root",
        "root-reference",
        "odd",
        "null",
        "flags",
        "forged",
        "nobody",
    ]
    .map(|name| {
        let fault = chosen(&format!("secret(prop({name:?}), {AMONG})")).unwrap_err();
        format!("{name}: {fault}")
    })
    .into();
    insta::assert_snapshot!(faults.join("\n"), @r#"
    root: `auth`: expected one of the secrets staging-key, live-key, found "root-key"
    root-reference: `auth`: expected one of the secrets staging-key, live-key, found "root-key"
    odd: `auth`: expected one of the secrets staging-key, live-key, found a dict
    null: `auth`: expected one of the secrets staging-key, live-key, found None
    flags: `auth`: expected one of the secrets staging-key, live-key, found a list
    forged: `auth`: expected one of the secrets staging-key, live-key, found a value that is known only when a build runs
    nobody: `auth`: expected a property `nobody`, found none of that name
    "#);
    // What is no `secret(…)` becomes none, whatever it looks like, also as a default or in a text.
    for other in [
        r#"prop("reference")"#.to_owned(),
        format!(r#"prop("nobody", default = secret(prop("key"), {AMONG}))"#),
        "lambda build: build.properties[\"reference\"]".to_owned(),
    ] {
        let fault = chosen(&other).unwrap_err();
        assert!(
            fault.contains("expected a value without secrets"),
            "{other}: {fault}"
        );
    }
}

#[test]
fn slips_are_found_at_load() {
    let faults: Vec<_> = [
        r#"secret(prop("key"))"#,
        r#"secret(prop("key"), among = [])"#,
        r#"secret(prop("key"), among = [3])"#,
        r#"secret(prop("key"), among = prop("keys"))"#,
        r#"secret("live-key", among = ["live-key"])"#,
        r#"interpolate("Bearer {t}", t = secret(prop("key"), among = ["live-key"]))"#,
    ]
    // It is written in two places.
    .map(|secret| chosen(secret).unwrap_err().lines().next().unwrap().to_owned())
    .into();
    insta::assert_snapshot!(faults.join("\n"), @r#"
    ci.star:3:28: secret: expected `among` = a list of the secrets that it can be, found nothing; a value that is known only when a build runs may come from whoever started it
    ci.star:3:48: secret: expected `among` = a list of the secrets that it can be, found an empty list; a value that is known only when a build runs may come from whoever started it
    ci.star:3:48: secret: an element of `among`: expected the name of a secret, found the number 3
    ci.star:3:48: secret: `among`: expected a list, each element the name of a secret, found a value that is known only when a build runs
    ci.star:3:47: secret: expected `among` beside a name that is known only when a build runs, such as prop("key"), found a name that is known now
    ci.star:3:48: interpolate: the secret `t`: expected a secret that stands alone, as the value of a variable in `env`, found a text around it; put the text together in the command: `"Bearer $TOKEN"`
    "#);
}

#[test]
fn a_plan_shows_what_there_is_to_choose() {
    let program = format!(
        "builder(\"b\", steps = [step.shell(command = \"x\", auth = secret(prop(\"key\"), {AMONG}))])"
    );
    let plan = load(&[("ci.star", &program)]).unwrap().plan;
    let shown = crate::render_plan(&plan);
    assert!(
        shown.contains(r#"secret(prop("key"), among = ["staging-key", "live-key"])"#),
        "{shown}"
    );
}

/// The worker joins lists, the plugin sets secrets: neither sees the other.
#[test]
fn a_variable_is_not_both_a_list_and_a_secret() {
    let texts = json!({ "type": "object", "additionalProperties": { "type": ["string", "null"] } });
    let manifest = json!({
        "schema": 1,
        "plugin": { "name": "sign", "kind": "step", "version": "1.0.0" },
        "parameters": {
            "type": "object", "additionalProperties": false,
            "properties": { "env": texts, "secrets": { "type": "object", "additionalProperties": { "type": "string" } } },
        },
    });
    let manifest = serde_json::from_value(manifest).unwrap();
    let plugins = [PluginInfo::new(manifest, Digest::of(b"sign"))];
    let faults = |env: &str| {
        let program = format!(
            "builder(\"b\", steps = [step.sign(env = {{{env}}}, secrets = {{\"KEY\": \"key\", \"PATH\": \"path\"}})])"
        );
        let farm = Farm::bundle(Bundle {
            entry: "ci.star".to_owned(),
            files: [("ci.star".to_owned(), program.into_bytes())].into(),
            ..Bundle::default()
        });
        let Evaluated { plan, functions, .. } = match evaluate(&farm, &plugins, &|_, _| Ok(())) {
            Ok(evaluated) => evaluated,
            Err(faults) => return faults[0].to_string(),
        };
        let (build, schema) = (build(), &plugins[0].manifest.parameters);
        let rendered =
            Renderer::new(&build, &functions).parameters(schema, &plan.builders[0].steps[0].plugin.config);
        rendered.map_or_else(|fault| fault.to_string(), |_| "none".to_owned())
    };
    let table = [
        r#""PATH": ["/opt/bin", "${PATH}"]"#,
        r#""PATH": prop("flags")"#,
        r#""LIBS": ["/opt/lib"], "A": "1""#,
    ];
    insta::assert_snapshot!(table.map(faults).join("\n"), @r#"
    ci.star:1:99: step.sign: `secrets["PATH"]`: expected another name, found a variable that `env` sets, too
    `secrets.PATH`: expected another name, found a variable that `env` sets, too
    none
    "#);
}
