//! Generators: what a component answers is checked like what a file says itself.

use std::cell::RefCell;

use super::*;

fn generators() -> Vec<PluginInfo> {
    let parameters = json!({
        "type": "object", "additionalProperties": false, "required": ["names"],
        "properties": { "names": { "type": "array", "items": { "type": "string" } } },
    });
    let mut all = plugins();
    all.push(plugin("generator", "test-builders", parameters));
    all
}

fn generated(program: &str, answer: impl Fn(&Value) -> Value) -> Result<Evaluated, Vec<Diagnostic>> {
    let generate = |wanted: &PluginUse| Ok(answer(&wanted.config));
    evaluate_with(
        &farm(&[("ci.star", program)]),
        &generators(),
        &|_, _| Ok(()),
        &generate,
    )
}

fn faults(answer: Value) -> String {
    let program = "w = worker(\"w\")\nlock(\"db\")\ngenerate.test_builders(names = [])\n";
    lines(&generated(program, |_| answer.clone()).unwrap_err())
}

/// A builder with these steps.
fn with_steps(steps: Value) -> Value {
    json!({ "builders": [{ "name": "a", "workers": ["w"], "steps": [] }, { "name": "b", "workers": ["w"], "steps": steps }] })
}

#[test]
fn a_generators_builders_are_those_that_the_file_could_have_written() {
    let written = r#"
w = worker("w", labels = ["linux"])
db = lock("db", limit = 3)
made = [
    builder(
        "test " + name,
        workers = [w],
        tags = ["t"],
        env = {"LANG": "C", "DISPLAY": None, "TOKEN": secret("deploy")},
        properties = {"branch": prop("branch", default = "main"), "number": 3},
        locks = [db.shared(amount = 2)],
        steps = [step.shell(name = "make", command = interpolate("make {branch:-main}"), halt_on_failure = False)],
    )
    for name in ["a", "b"]
]
schedule.any_branch(name = "all", builders = ["test a"])
schedule.any_branch(name = "push", builders = made)
"#;
    let program = r#"
w = worker("w", labels = ["linux"])
db = lock("db", limit = 3)
made = generate.test_builders(names = ["a", "b"])
schedule.any_branch(name = "push", builders = made)
"#;
    let answer = |parameters: &Value| {
        let builder = |name: &Value| {
            json!({
                "name": format!("test {}", name.as_str().unwrap()),
                "workers": ["w"],
                "tags": ["t"],
                "env": { "LANG": "C", "DISPLAY": null, "TOKEN": { "$secret": "deploy" } },
                "properties": { "branch": { "$prop": "branch", "default": "main" }, "number": 3 },
                "locks": [{ "$lock": "db", "amount": 2 }],
                "steps": [{
                    "use": "shell", "name": "make", "halt_on_failure": false,
                    "parameters": { "command": { "$interpolate": "make {branch:-main}" } },
                }],
            })
        };
        let builders: Vec<_> = parameters["names"]
            .as_array()
            .unwrap()
            .iter()
            .map(builder)
            .collect();
        let schedulers =
            json!([{ "use": "any-branch", "name": "all", "builders": ["test a"], "parameters": {} }]);
        json!({ "builders": builders, "schedulers": schedulers, "remarks": ["2 builders"] })
    };
    let made = generated(program, answer).unwrap_or_else(|faults| panic!("{}", crate::render_all(&faults)));
    insta::assert_snapshot!(lines(&made.remarks), @"
    ci.star:4:8: generate.test_builders: 2 builders
    ci.star:5:1: the schedulers `all` and `push` ask for the builder `test a` with equal parameters; what both are told of is built twice; take one of them away (ci.star:4:8: the other one is here)
    ");
    // Where a thing was written is the only difference.
    fn without_places(plan: &Plan) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(map) => {
                    map.remove("location");
                    map.values_mut().for_each(strip);
                }
                Value::Array(items) => items.iter_mut().for_each(strip),
                _ => {}
            }
        }
        let mut value = serde_json::to_value(plan).unwrap();
        value.as_object_mut().unwrap().remove("bundle");
        strip(&mut value);
        value
    }
    assert_eq!(without_places(&made.plan), without_places(&plan(written)));
    let pinned: Vec<_> = made
        .plan
        .bundle
        .plugins
        .iter()
        .filter(|pin| pin.kind == Kind::Generator)
        .collect();
    assert_eq!(
        pinned.len(),
        1,
        "a build of this plan needs the generator to call its functions"
    );
}

#[test]
fn a_fault_names_the_generator_its_call_and_the_path_in_its_answer() {
    let step = |step: Value| {
        faults(with_steps(
            json!([{ "use": "shell", "parameters": { "command": "make" } }, step]),
        ))
    };
    let all = [
        step(json!({ "use": "shell", "parameters": { "command": 3 } })),
        step(json!({ "use": "shell", "parameters": { "command": "make", "timout": 3 } })),
        step(json!({ "use": "shell", "parameters": {} })),
        step(json!({ "use": "shell", "command": "make" })),
        step(json!({ "use": "shel", "parameters": { "command": "make" } })),
        step(json!({ "use": "shell", "halt_on_failur": true, "parameters": { "command": "make" } })),
        step(json!({ "use": "shell", "halt_on_failure": "yes", "parameters": { "command": "make" } })),
        step(json!({ "parameters": {} })),
        step(json!("make")),
        step(json!({ "use": "shell", "parameters": { "command": { "$prop": "" } } })),
        step(json!({ "use": "shell", "locks": [{ "$lock": "bd" }], "parameters": { "command": "make" } })),
        step(json!({ "use": "shell", "parameters": { "command": { "$deferred": { "function": 0 } } } })),
        faults(json!({ "builders": [{ "steps": [] }] })),
        faults(json!({ "builders": [{ "name": "a", "stesp": [], "workers": ["w"] }] })),
        faults(json!({ "builders": [{ "name": "a", "workers": ["x"] }] })),
        faults(json!({ "builders": [{ "name": "a", "workers": ["w"] }, { "name": "a", "workers": ["w"] }] })),
        faults(json!({ "builders": "a" })),
        faults(json!({ "bilders": [] })),
        faults(json!([])),
        faults(json!({ "builders": [], "remarks": [3] })),
        faults(
            json!({ "schedulers": [{ "use": "any-branch", "name": "s", "builders": ["x"], "parameters": {} }] }),
        ),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].parameters.command`: step.shell: `command`: expected a string or a list of strings, found the number 3
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].parameters.timout`: unknown parameter of step.shell: expected `command`, `env`, `timeout`, `name`, `halt_on_failure`, `flunk_on_failure`, `warn_on_failure`, `halt_on_warnings`, `flunk_on_warnings`, `warn_on_warnings`, `always_run`, `run_if` or one of 3 others, found `timout`; did you mean `timeout`?
    ci.star:3:1: generate.test_builders: `builders[1].steps[1]`: step.shell: expected `command` = a string or a list of strings, found nothing
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].command`: the generator's answer: expected each parameter of the plugin once, within `parameters`, found `command` beside them
    ci.star:3:1: generate.test_builders: `builders[1].steps[1]`: unknown step plugin: expected `git` or `shell`, found `shel`; did you mean `shell`?
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].halt_on_failur`: unknown parameter of step.shell: expected `command`, `env`, `timeout`, `name`, `halt_on_failure`, `flunk_on_failure`, `warn_on_failure`, `halt_on_warnings`, `flunk_on_warnings`, `warn_on_warnings`, `always_run`, `run_if` or one of 3 others, found `halt_on_failur`; did you mean `halt_on_failure`?
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].halt_on_failure`: step.shell: `halt_on_failure`: expected True or False, found "yes"
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].use`: the generator's answer: expected the name of a step plugin, found nothing
    ci.star:3:1: generate.test_builders: `builders[1].steps[1]`: the generator's answer: expected an object, found "make"
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].parameters.command`: prop: expected the name of a property, found nothing
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].locks`: unknown lock: expected `db`, found `bd`; did you mean `db`?
    ci.star:3:1: generate.test_builders: `builders[1].steps[1].parameters.command`: step.shell: `command`: expected a dict without the key `$deferred`, found one; write interpolate(…), prop(…) or a function
    ci.star:3:1: generate.test_builders: `builders[0]`: builder: expected `name` = a string, found nothing
    ci.star:3:1: generate.test_builders: `builders[0].stesp`: unknown parameter of builder: expected `name`, `steps`, `workers`, `description`, `project`, `tags`, `labels`, `directory`, `workdir`, `env`, `properties`, `defaults` or one of 8 others, found `stesp`; did you mean `steps`?
    ci.star:3:1: generate.test_builders: `builders[0].workers`: unknown worker: expected `w`, found `x`; did you mean `w`?
    ci.star:3:1: generate.test_builders: `builders[1].name`: duplicate name of a builder: expected another name, found `a` again (ci.star:3:1: first defined here)
    ci.star:3:1: generate.test_builders: `builders`: the generator's answer: expected a list, found "a"
    ci.star:3:1: generate.test_builders: the generator's answer: expected `builders`, `schedulers` or `remarks`, found `bilders`; did you mean `builders`?
    ci.star:3:1: generate.test_builders: the generator's answer: expected an object, found a list
    ci.star:3:1: generate.test_builders: `remarks[0]`: the generator's answer: expected a string, found 3
    ci.star:3:1: generate.test_builders: `schedulers[0].builders`: unknown builder: expected a builder (none is defined), found `x`
    "#);
}

#[test]
fn what_a_generator_says_of_its_parameters_is_said_at_its_call() {
    let generate = |_: &PluginUse| {
        let problem = |path: &str, message: &str| Problem {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        Err(vec![
            problem("names[1]", "expected a package, found `x`"),
            problem("", "too few"),
        ])
    };
    let program = "worker(\"w\")\nmade = generate.test_builders(\n    names = [\"a\", \"x\"],\n)\nschedule.any_branch(name = \"s\", builders = made)\n";
    let run = |program: &str| {
        let found = evaluate_with(
            &farm(&[("ci.star", program)]),
            &generators(),
            &|_, _| Ok(()),
            &generate,
        );
        lines(&found.unwrap_err())
    };
    insta::assert_snapshot!(run(program), @"
    ci.star:3:5: generate.test_builders: `names[1]`: expected a package, found `x`
    ci.star:2:8: generate.test_builders: too few
    ");
    insta::assert_snapshot!(run("generate.test_builders(names = 3)"), @"ci.star:1:24: generate.test_builders: `names`: expected a list of strings, found the number 3");
    insta::assert_snapshot!(run("generate.test_bilders(names = [])"), @"ci.star:1:1: unknown generator plugin: expected `test_builders`, found `test_bilders`; did you mean `test_builders`?");
    insta::assert_snapshot!(run("generate.test_builders(names = [prop(\"a\")])"), @"ci.star:1:24: generate.test_builders: `names`: expected a value that is known when the configuration is loaded, found one that is known only when a build runs; only steps and builders take those");
}

#[test]
fn whoever_cannot_run_components_says_so() {
    let found = evaluate(
        &farm(&[("ci.star", "generate.test_builders(names = [])")]),
        &generators(),
        &|_, _| Ok(()),
    );
    insta::assert_snapshot!(lines(&found.unwrap_err()), @"ci.star:1:1: generate.test_builders: no component can be run here");
}

/// An evaluation that ends while nobody has asked, or after a fault, must not wait for whoever answers.
#[test]
fn evaluation_ends_whatever_comes_after_the_generator() {
    for rest in ["fail(\"now\")", "x = 1 // 0", "builder("] {
        let program = format!("generate.test_builders(names = [\"a\"])\n{rest}");
        let asked = RefCell::new(0);
        let found = generated(&program, |_| {
            *asked.borrow_mut() += 1;
            json!({ "builders": [] })
        });
        assert!(found.is_err(), "{rest}");
        assert_eq!(*asked.borrow(), i32::from(rest != "builder("), "{rest}");
    }
}

#[test]
fn a_thousand_generated_builders_are_evaluated_in_time() {
    let program =
        "worker(\"w\")\nschedule.any_branch(name = \"s\", builders = generate.test_builders(names = []))\n";
    let step = |n: usize| json!({ "use": "shell", "name": format!("s{n}"), "parameters": { "command": ["make", "check"], "timeout": 3600 } });
    let builder = |n: usize| json!({ "name": format!("b{n}"), "workers": ["w"], "tags": ["t"], "steps": (0..7).map(step).collect::<Vec<_>>() });
    let answer = json!({ "builders": (0..1000).map(builder).collect::<Vec<_>>() });
    let began = std::time::Instant::now();
    let plan = generated(program, |_| answer.clone()).unwrap().plan;
    assert_eq!(plan.builders.len(), 1000);
    // Far more than it takes, for busy machines; what grows with the square of them takes minutes.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
