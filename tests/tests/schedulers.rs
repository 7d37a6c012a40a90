//! Schedulers that people and others ask for builds, that follow each other, and that are switched off.

use std::path::Path;

use anyhow::{Context as _, ensure};
use capstan_tests::farm::Farm;
use capstan_tests::{BOUND, story, wait_for};
use serde_json::{Value, json};

const CONFIGURATION: &str = r#"
worker("w1")
run = [step.shell(name = "run", command = ["true"])]
package = builder("package", steps = run)
tests = builder("tests", steps = run)
linux = builder("linux", steps = run)
mac = builder("mac", steps = run)

schedule.force(
    name = "release",
    builders = [package],
    fields = [
        {"name": "version", "required": True, "regex": "v[0-9]+"},
        {"name": "jobs", "type": "int", "max": 8, "default": 2},
    ],
)
schedule.dependent(name = "after", builders = [tests], upstream = "release")

def choose(request):
    if request.properties.get("broken"):
        fail("nothing fits")
    return [request.properties["on"]]

schedule.triggerable(name = "either", builders = choose)
schedule.nightly(name = "night", builders = [linux], at = "03:30")
"#;

fn started(farm: &mut Farm) -> anyhow::Result<()> {
    farm.write("ci.star", CONFIGURATION)?;
    farm.start_master()?;
    farm.add_worker("w1")
}

fn property(build: &Value, name: &str) -> Value {
    let all = build["properties"].as_array().into_iter().flatten();
    let mut named = all.filter(|property| property["name"] == name);
    named
        .next()
        .map(|property| property["value"].clone())
        .unwrap_or_default()
}

#[test]
fn a_form_makes_a_build_and_what_follows_builds_the_same() {
    story(|farm| {
        started(farm)?;
        let form = farm.capstan_ok(&["scheduler", "form", "release"])?;
        ensure!(form.contains("version") && form.contains("required"), "{form}");
        let wrong = ["force", "release", "--set", "version=1", "--set", "jobs=99"];
        let refused = farm.capstan_refused(&wrong)?;
        ensure!(
            refused.contains("values.version") && refused.contains("values.jobs"),
            "{refused}"
        );
        let right = [
            "force",
            "release",
            "--set",
            "version=v1",
            "--revision",
            "r1",
            "--reason",
            "it is time",
        ];
        farm.capstan_ok(&right)?;
        let build = farm.finished("package", 1)?;
        assert_eq!(build["reason"], "it is time", "{build:#}");
        assert_eq!(property(&build, "version"), "v1");
        assert_eq!(property(&build, "jobs"), 2);
        let after = farm.finished("tests", 1)?;
        assert_eq!(after["reason"], "downstream of release", "{after:#}");
        assert_eq!(after["sources"][0]["revision"], "r1", "{after:#}");
        Ok(())
    });
}

#[test]
fn what_is_switched_off_stays_off_and_misses_what_happens() {
    story(|farm| {
        started(farm)?;
        farm.capstan_ok(&["scheduler", "disable", "after"])?;
        farm.kill_master()?;
        farm.start_master()?;
        let listed = farm.api()?.get("/schedulers")?;
        let state = |name: &str| {
            let all = listed["schedulers"].as_array().into_iter().flatten();
            let mut named = all.filter(|scheduler| scheduler["name"] == name);
            named
                .next()
                .map(|scheduler| scheduler["enabled"].clone())
                .unwrap_or_default()
        };
        assert_eq!(
            (state("after"), state("release")),
            (json!(false), json!(true)),
            "{listed:#}"
        );
        let force = |revision: &str| {
            let words = [
                "force",
                "release",
                "--set",
                "version=v1",
                "--revision",
                revision,
                "--follow",
            ];
            farm.capstan_ok(&words)
        };
        force("r1")?;
        let said = farm.capstan_ok(&["scheduler", "enable", "after"])?;
        ensure!(said.contains("after: enabled"), "{said}");
        force("r2")?;
        let build = farm.finished("tests", 1)?;
        assert_eq!(
            build["sources"][0]["revision"], "r2",
            "what happened while it was off is dropped"
        );
        farm.capstan_ok(&["scheduler", "disable", "release"])?;
        let refused = farm.capstan_refused(&["force", "release", "--set", "version=v1"])?;
        ensure!(refused.contains("disabled"), "{refused}");
        Ok(())
    });
}

#[test]
fn a_function_names_the_builders_and_its_fault_is_told() {
    story(|farm| {
        started(farm)?;
        let api = farm.api()?;
        let call = |key: &str, properties: Value| {
            let body = json!({ "kind": "trigger", "key": key, "properties": properties });
            api.try_post("/schedulers/either/call", &body)
        };
        let (status, answer) = call("1", json!({ "on": "mac" }))?;
        assert_eq!(status, 202, "{answer:#}");
        assert_eq!(
            answer["buildsets"][0]["requests"].as_array().map(Vec::len),
            Some(1),
            "{answer:#}"
        );
        farm.finished("mac", 1)?;
        let again = call("1", json!({ "on": "mac" }))?;
        assert_eq!(
            again.1["buildsets"], answer["buildsets"],
            "the same key is the same call"
        );
        for (properties, text) in [
            (json!({ "on": "bsd" }), "there is no builder `bsd`"),
            (json!({ "broken": true }), "nothing fits"),
        ] {
            let (status, answer) = call(text, properties)?;
            assert_eq!(status, 422, "{answer:#}");
            let problem = &answer["error"]["problems"][0];
            assert_eq!(problem["path"], "builders", "{answer:#}");
            let message = problem["message"].as_str().context("expected a message")?;
            ensure!(
                message.contains(text) && message.contains("ci.star:"),
                "{message}"
            );
        }
        let (status, answer) = api.try_post("/schedulers/night/call", &json!({}))?;
        assert_eq!(status, 409, "{answer:#}");
        let (status, _) = api.try_post("/schedulers/nigth/call", &json!({}))?;
        assert_eq!(status, 404);
        Ok(())
    });
}

const JUDGED: &str = r#"
worker("w1")
run = [step.shell(name = "run", command = ["true"])]
builder("linux", steps = run)
builder("all", steps = run)

def wanted(change):
    if change.author == "crash":
        fail("no such author")
    return change.author != "robot"

def important(change):
    return not all([name.endswith(".md") for name in change.files])

def rank(request):
    return 7 if request.sources[0]["branch"] == "release" else "high"

schedule.any_branch(
    name = "judged", builders = ["linux"],
    change_filter = wanted, is_important = important, priority = rank,
)
schedule.any_branch(name = "all", builders = ["all"])
"#;

#[test]
fn functions_judge_changes_and_requests_and_have_a_fallback() {
    story(|farm| {
        farm.write("ci.star", JUDGED)?;
        farm.start_master()?;
        let push = |author: &str, branch: &str, revision: &str, file: &str| {
            let change = json!({
                "author": author, "branch": branch, "revision": revision, "files": [file],
                "repository": "https://git.example.org/r.git", "comments": "c",
            });
            farm.api()?.post("/changes", &change)
        };
        push("robot", "main", "r1", "a.c")?;
        push("ann", "main", "r2", "a.md")?;
        push("ann", "main", "r3", "a.c")?;
        push("ann", "release", "r4", "a.c")?;
        push("crash", "late", "r5", "a.c")?;
        let requests = |builder: &str, count: usize| {
            wait_for(&format!("{count} requests for {builder}"), BOUND, || {
                let found = farm
                    .api()?
                    .get(&format!("/requests?builder={builder}&limit=50"))?;
                let found = found["requests"].as_array().cloned().unwrap_or_default();
                let one = |request: &Value| {
                    let source = &request["sources"][0];
                    (
                        source["revision"].as_str().unwrap_or_default().to_owned(),
                        request["priority"].clone(),
                    )
                };
                let mut found: Vec<_> = found.iter().map(one).collect();
                found.sort_by(|a, b| a.0.cmp(&b.0));
                Ok((found.len() == count).then_some(found))
            })
        };
        requests("all", 5)?;
        let judged = requests("linux", 3)?;
        let expected = [("r3", 0), ("r4", 7), ("r5", 0)]
            .map(|(revision, priority)| (revision.to_owned(), json!(priority)));
        assert_eq!(judged, expected);
        let log = farm.master()?.output()?;
        for fault in [
            "no such author",
            "expected a whole number within 32 bits, found \"high\"",
        ] {
            let lines = log.lines().filter(|line| line.contains(fault));
            assert_eq!(lines.count(), 1, "{fault}: {log}");
        }
        Ok(())
    });
}

#[test]
fn what_could_never_work_is_refused_when_it_is_loaded() {
    story(|farm| {
        for (line, texts) in [
            (
                "schedule.any_branch(name = \"s\", builders = [\"linux\"], branches = \"~(a{1000}){1000}\")",
                &["`branches`", "expected a regular expression"][..],
            ),
            (
                "schedule.any_branch(name = \"s\", builders = [\"linux\"], branches = \"~(?<=a)b\")",
                &["`branches`", "expected a regular expression"],
            ),
            (
                "schedule.nightly(name = \"s\", builders = [\"linux\"], hour = 1, day_of_month = 30, month = 2)",
                &["these times never come"],
            ),
            (
                "schedule.nightly(name = \"s\", builders = [\"linux\"], at = \"03:30\", timezone = \"Mars/Base\")",
                &["`timezone`", "expected a time zone such as", "Mars/Base"],
            ),
            (
                "schedule.dependent(name = \"s\", builders = [\"linux\"], upstream = \"t\")\n\
                 schedule.dependent(name = \"t\", builders = [\"linux\"], upstream = \"s\")",
                &[
                    "schedulers follow each other in a circle",
                    "`s` follows `t` follows `s`",
                ],
            ),
            (
                "x = lock(\"x\", limit = 1)\nbuilder(\"greedy\", steps = [], locks = [x.shared(amount = 2)])",
                &["`locks`", "at most 1"],
            ),
            (
                "builder(\"lazy\", steps = [step.shell(command = lambda: \"true\")])",
                &["`command`", "a function of one argument, found one of none"],
            ),
        ] {
            farm.write(
                "ci.star",
                format!("worker(\"w1\")\nbuilder(\"linux\", steps = [])\n{line}\n"),
            )?;
            let told = farm.capstan_refused(&["check"])?;
            for text in texts {
                ensure!(told.contains(text), "{line}: expected {text:?} in {told}");
            }
            ensure!(
                told.contains("ci.star:3:") || told.contains("ci.star:4:"),
                "{line}: expected its place in {told}"
            );
        }
        Ok(())
    });
}

/// What stands on the page is what people copy.
#[test]
fn every_scheduler_has_an_example_that_passes_the_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/src/schedulers.md")).expect("the page");
    let examples = examples(&page);
    let mut kinds = 0;
    for folder in std::fs::read_dir(root.join("plugins")).expect("the plugins") {
        let manifest = folder.expect("a folder").path().join("plugin.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else {
            continue;
        };
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        if manifest["plugin"]["kind"].as_str() == Some("scheduler") {
            kinds += 1;
            let name = manifest["plugin"]["name"]
                .as_str()
                .expect("a name")
                .replace('-', "_");
            let call = format!("schedule.{name}(");
            assert!(
                examples.iter().any(|example| example.contains(&call)),
                "docs/src/schedulers.md has no example of {call}…)"
            );
        }
    }
    assert!(kinds >= 9, "expected the built-in schedulers, found {kinds}");
    story(|farm| {
        let steps = "steps = [step.shell(command = \"true\")]";
        let builders =
            ["linux", "mac", "package"].map(|name| format!("{name} = builder(\"{name}\", {steps})\n"));
        let text = format!("worker(\"w1\")\n{}{}", builders.concat(), examples.join("\n"));
        farm.write("ci.star", text)?;
        farm.capstan_ok(&["check"])?;
        let queue = std::fs::read_to_string(root.join("docs/src/configuration/queue.md"))?;
        farm.write(
            "ci.star",
            format!("worker(\"w1\")\n{}", self::examples(&queue).join("\n")),
        )?;
        farm.capstan_ok(&["check"])?;
        Ok(())
    });
}

/// The programs on a page.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```python\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}
