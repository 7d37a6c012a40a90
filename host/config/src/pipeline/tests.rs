use std::collections::BTreeMap;

use capstan_model::Digest;
use serde_json::json;

use super::*;

fn step(name: &str) -> PluginInfo {
    let manifest = json!({
        "schema": 1,
        "plugin": { "name": name, "kind": "step", "version": "1.0.0" },
        "parameters": { "type": "object" },
    });
    PluginInfo::new(
        serde_json::from_value(manifest).unwrap(),
        Digest::of(name.as_bytes()),
    )
}

fn request(file: &str) -> Request {
    Request {
        file: file.to_owned(),
        builder: "linux".to_owned(),
        allowed: vec![step("git"), step("shell")],
        secrets: Some(vec!["token".to_owned()]),
        workdir: Some(json!("src")),
    }
}

/// Evaluates `ci/capstan.star` among these files.
fn evaluated(files: &[(&str, &str)]) -> Answer {
    let files: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect();
    let ask = move |path: &str| {
        readable("ci/capstan.star", path)?;
        let found = files.get(path).cloned();
        found.ok_or_else(|| format!("expected the file `{path}`, found none"))
    };
    let request = request("ci/capstan.star");
    evaluate(Farm::asked("ci/capstan.star", Box::new(ask)), &request)
}

fn fault(text: &str) -> String {
    let answer = evaluated(&[("ci/capstan.star", text), ("lib.star", "x = 1")]);
    assert!(answer.steps.is_empty(), "{answer:?}");
    answer.fault.unwrap()
}

#[test]
fn a_pipeline_gives_steps_with_deferred_values_and_what_it_loads() {
    let answer = evaluated(&[
        (
            "ci/capstan.star",
            "load(\"lib/jobs.star\", \"test\")\nprint(\"hello\")\nsteps([\n  step.git(),\n  step.shell(name = \"make\", \
             command = interpolate(\"make {branch}\"), env = {\"T\": secret(\"token\")}),\n] + [test(n) for n in [1, 2]])",
        ),
        (
            "ci/lib/jobs.star",
            "def test(n):\n    return step.shell(command = \"test %s\" % n, always_run = True)\n",
        ),
    ]);
    assert_eq!(answer.fault, None, "{}", answer.told);
    let names: Vec<_> = answer.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["git", "make", "shell", "shell-2"]);
    assert_eq!(answer.steps[3].plugin.config["command"], "test 2");
    assert!(answer.steps[3].always_run);
    assert_eq!(
        answer.steps[3].plugin.location.to_string(),
        "ci/lib/jobs.star:2:12"
    );
    assert!(answer.told.contains("hello"), "{}", answer.told);
    let again: Answer = serde_json::from_value(serde_json::to_value(&answer).unwrap()).unwrap();
    assert_eq!(again.steps, answer.steps);
}

#[test]
fn what_is_not_allowed_is_refused_at_its_place() {
    insta::assert_snapshot!(fault("steps([step.deploy()])"), @"ci/capstan.star:1:8: unknown step plugin: expected `git` or `shell`, found `deploy`; the operator lists what a pipeline may use in pipeline(…, allow = […])");
    insta::assert_snapshot!(fault("steps([step.shell(command = secret(\"root\"))])"), @"ci/capstan.star:1:29: secret: expected `token`, which the builder `linux` allows its pipeline, found `root`; the operator lists it in pipeline(…, allow_secrets = […])");
    insta::assert_snapshot!(fault("worker(\"w1\")"), @"ci/capstan.star:1:1: expected what a pipeline may call, found `worker`, which is for the operator's configuration; a pipeline has step.…(…), steps(…), secret(…), prop(…) and interpolate(…)");
    insta::assert_snapshot!(fault("schedule.nightly(name = \"n\")"), @"ci/capstan.star:1:1: expected what a pipeline may call, found `schedule.nightly`, which is for the operator's configuration; a pipeline has step.…(…), steps(…), secret(…), prop(…) and interpolate(…)");
    insta::assert_snapshot!(fault("l = lock(\"l\")"), @"ci/capstan.star:1:5: expected what a pipeline may call, found `lock`, which is for the operator's configuration; a pipeline has step.…(…), steps(…), secret(…), prop(…) and interpolate(…)");
    insta::assert_snapshot!(fault("pipeline(\"other.star\")"), @"ci/capstan.star:1:1: expected what a pipeline may call, found `pipeline`, which is for the operator's configuration; a pipeline has step.…(…), steps(…), secret(…), prop(…) and interpolate(…)");
    insta::assert_snapshot!(fault("steps([step.shell(command = lambda build: \"x\")])"), @"ci/capstan.star:1:19: step.shell: `command`: expected a value without functions, found a function; a pipeline takes prop(…) and interpolate(…) instead");
    insta::assert_snapshot!(fault("steps([step.shell(run_if = lambda build: True)])"), @"ci/capstan.star:1:19: step.shell: `run_if`: expected a value without functions, found a function; a pipeline takes prop(…) and interpolate(…) instead");
    insta::assert_snapshot!(fault("steps([step.shell(locks = lambda build: [])])"), @"ci/capstan.star:1:19: step.shell: `locks`: expected a value without functions, found a function");
    insta::assert_snapshot!(fault("load(\"../lib.star\", \"x\")"), @"ci/capstan.star:1:1: expected a file below the pipeline's own folder `ci`, found `lib.star`");
    insta::assert_snapshot!(fault("load(\"//../../etc/passwd\", \"x\")"), @"ci/capstan.star:1:1: load: expected a path inside the farm's folder, found `//../../etc/passwd`, which leads out of it");
}

#[test]
fn slips_are_told_with_what_to_do() {
    insta::assert_snapshot!(fault(""), @"ci/capstan.star:1:1: expected a call of steps([…]) with at least one step, found none");
    insta::assert_snapshot!(fault("steps([])"), @"ci/capstan.star:1:1: expected a call of steps([…]) with at least one step, found none");
    insta::assert_snapshot!(fault("steps()"), @"ci/capstan.star:1:1: steps: expected a list of steps, found nothing");
    insta::assert_snapshot!(fault("steps([step.shell()])\nsteps([step.git()])"), @"ci/capstan.star:2:1: steps: expected one call of `steps`, found another");
    insta::assert_snapshot!(fault("steps([step.shell()], workers = [\"w1\"])"), @"ci/capstan.star:1:23: unknown parameter of steps: expected `steps`, found `workers`");
    insta::assert_snapshot!(fault("steps([step.shell(name = \"a\"), step.git(name = \"a\")])"), @"ci/capstan.star:1:41: duplicate name of a step in the builder `linux`: expected another name, found `a` again");
    insta::assert_snapshot!(fault("steps(step.shell())"), @"ci/capstan.star:1:1: steps: `steps`: expected a list, each element a step such as step.shell(…), found a step");
    insta::assert_snapshot!(fault("def f(n):\n    return 1 // n\nf(0)"), @"ci/capstan.star:2:12: floor division by zero: 1 // 0");
    insta::assert_snapshot!(fault("steps([step.shell() for n in range(501)])"), @"ci/capstan.star:1:1: expected at most 500 steps, found 501");
    assert!(fault("x = 1\nsteps([step.shell(command = }])").starts_with("ci/capstan.star:2:"));
}

#[test]
fn work_and_values_without_end_are_ended_by_the_interpreter_already() {
    insta::assert_snapshot!(fault("def f():\n    for a in range(10000000):\n        for b in range(10000000):\n            pass\nf()"), @"ci/capstan.star:3:9: expected at most 1000000 calls and rounds of loops, found more; does a loop run without end?");
    insta::assert_snapshot!(fault("x = \"x\" * 1000000\nfor n in range(60):\n    x = x + x"), @"ci/capstan.star:3:5: expected values of at most 64 MiB, found more; does a value grow without end?");
    insta::assert_snapshot!(fault("def f(n):\n    return f(n + 1)\nf(0)"), @"ci/capstan.star:2:12: expected calls at most 200 deep, found more; does a function call itself without end?");
}

#[test]
fn a_process_asks_for_its_files_and_answers() {
    use std::io::{Cursor, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let reply: Reply = Ok(b"steps([step.shell()])".to_vec());
    let input = format!(
        "{}\n{}\n",
        serde_json::to_string(&request("a.star")).unwrap(),
        serde_json::to_string(&reply).unwrap()
    );
    let said = Said::default();
    serve(Cursor::new(input), said.clone()).unwrap();
    let said = said.0.lock().unwrap().clone();
    let lines: Vec<super::Said> = said
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let [super::Said::Read(path), super::Said::Done(answer)] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!((path.as_str(), answer.steps.len()), ("a.star", 1));
    // The master went away.
    let request = format!("{}\n", serde_json::to_string(&request("a.star")).unwrap());
    serve(Cursor::new(request), std::io::sink()).unwrap();
    assert!(serve(Cursor::new("{"), std::io::sink()).is_err());
}

#[test]
fn only_files_below_the_pipelines_folder_are_readable() {
    for good in [("capstan.star", "a/b.star"), ("ci/x.star", "ci/y/z.json")] {
        assert_eq!(readable(good.0, good.1), Ok(()));
    }
    for bad in [
        "lib.star",
        "circus/x.star",
        "ci/../lib.star",
        "/etc/passwd",
        "ci//x",
        "ci/a\nb",
        "",
        "ci",
    ] {
        assert!(readable("ci/x.star", bad).is_err(), "{bad}");
    }
}
