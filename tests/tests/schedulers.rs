//! Schedulers that people and others ask for builds, that follow each other, and that are switched off.

use anyhow::{Context as _, ensure};
use capstan_tests::farm::Farm;
use capstan_tests::story;
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
