//! Virtual builders: one configured builder whose builds are shown, numbered and judged under names that their properties choose.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

const FARM: &str = r#"
worker("w1")
builder("linux", steps = [step.shell(command = "true")])
builder(
    "spawn",
    defaults = {"app": None, "exit": 0},
    virtual = {
        "name": prop("app", default = ""),
        "description": interpolate("The builds of {app:-none}"),
        "project": "apps",
        "tags": ["app", prop("app", default = "none")],
    },
    steps = [step.shell(
        name = "test",
        command = ["sh", "-c", "test ${#TOKEN} = 13 && exit $0", interpolate("{exit}")],
        secrets = {"TOKEN": "deploy"},
    )],
)
notify.report_file(path = "reports/builds.jsonl", builders = ["spawn"])
"#;

fn start(farm: &mut Farm) -> Result<()> {
    farm.write("ci.star", FARM)?;
    // Rights are those of the builder that is configured, whatever its builds are called.
    farm.edit("capstan.toml", "secrets = []", "secrets = [\"deploy@spawn\"]")?;
    farm.write("secrets/deploy", "correct-horse")?;
    std::fs::set_permissions(
        farm.folder().join("secrets/deploy"),
        std::fs::Permissions::from_mode(0o600),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")
}

fn build_of(farm: &Farm, request: &Value) -> Result<Value> {
    let id = request.as_i64().context("expected a request's id")?;
    wait_for(&format!("the end of request {id}"), BOUND, || {
        let api = farm.api()?;
        let request = api.get(&format!("/requests/{id}"))?;
        if request["state"] != "complete" {
            return Ok(None);
        }
        api.get(&format!("/builds/{}", request["builds"][0])).map(Some)
    })
}

fn spawn(farm: &Farm, properties: Value) -> Result<Value> {
    let body = json!({ "branch": "main", "properties": properties });
    let answer = farm.api()?.post("/builders/spawn/force", &body)?;
    build_of(farm, &answer["requests"][0])
}

fn shown(build: &Value) -> String {
    let text = |name: &str| build[name].as_str().unwrap_or_default().to_owned();
    let (builder, made_by, outcome) = (text("builder"), text("made_by"), text("outcome"));
    format!("{builder}/{} by {made_by}: {outcome}", build["number"])
}

#[test]
fn each_name_has_builds_a_history_and_a_page_of_its_own() {
    story(|farm| {
        start(farm)?;
        let odd = "Größe +1 \"x\" / <b>";
        for (app, exit, expected) in [
            ("alpha", 0, "alpha/1 by spawn: success"),
            ("beta", 1, "beta/1 by spawn: failure"),
            ("alpha", 0, "alpha/2 by spawn: success"),
            ("", 0, "spawn/1 by spawn: success"),
            (odd, 0, "Größe +1 \"x\" / <b>/1 by spawn: success"),
        ] {
            let build = spawn(
                farm,
                json!({ "app": app, "exit": exit, "virtual_builder_name": "another" }),
            )?;
            ensure!(shown(&build) == expected, "{build:#}");
            // Whatever the request says.
            let mut named = build["properties"].as_array().into_iter().flatten();
            let named = named.find(|one| one["name"] == "virtual_builder_name");
            ensure!(
                named.is_some_and(|one| one["value"] == build["builder"]),
                "{build:#}"
            );
        }

        let api = farm.api()?;
        let names = |builds: &Value| -> Vec<String> {
            builds["builds"]
                .as_array()
                .into_iter()
                .flatten()
                .map(shown)
                .collect()
        };
        let listed = names(&api.get("/builds?builder=alpha")?);
        ensure!(
            listed == ["alpha/2 by spawn: success", "alpha/1 by spawn: success"],
            "{listed:?}"
        );
        let about = api.get("/builders/alpha")?;
        ensure!(
            about["virtual_of"] == "spawn" && about["project"] == "apps",
            "{about:#}"
        );
        ensure!(about["description"] == "The builds of alpha", "{about:#}");
        ensure!(about["tags"] == json!(["app", "alpha"]), "{about:#}");
        ensure!(about["steps"] == json!(["test"]), "{about:#}");
        let all = api.get("/builders")?;
        let all: Vec<_> = all["builders"].as_array().into_iter().flatten().collect();
        ensure!(all.len() == 5, "{all:#?}");

        // What a reporter is told: the name that people know, and the result before this one under that name.
        let reports = wait_for("five reports", BOUND, || {
            Ok(farm.reports().ok().filter(|reports| reports.len() == 5))
        })?;
        let told = |at: usize| (&reports[at]["builder"], &reports[at]["previous_outcome"]);
        ensure!(
            told(2) == (&json!("alpha"), &json!("success")),
            "{:#}",
            reports[2]
        );
        ensure!(told(3).1.is_null(), "{:#}", reports[3]);

        let page = |path: &str| -> Result<String> {
            let page = ureq::get(format!("{}{path}", farm.web()?))
                .call()?
                .body_mut()
                .read_to_string()?;
            Ok(page)
        };
        let alpha = page("/builders/alpha")?;
        ensure!(
            alpha.contains("A virtual builder") && alpha.contains("/builders/spawn"),
            "{alpha}"
        );
        ensure!(
            !alpha.contains("/builders/alpha/force"),
            "there is nothing to force: {alpha}"
        );
        let maker = page("/builders/spawn")?;
        ensure!(
            maker.contains("/builders/alpha") && maker.contains("/builders/beta"),
            "{maker}"
        );
        ensure!(!maker.contains("<b>/1"), "a name is text: {maker}");
        Ok(())
    });
}

#[test]
fn a_rebuild_and_a_restart_keep_the_name() {
    story(|farm| {
        start(farm)?;
        let build = spawn(farm, json!({ "app": "alpha" }))?;
        farm.kill_master()?;
        farm.start_master()?;
        let again = farm
            .api()?
            .post(&format!("/builds/{}/rebuild", build["id"]), &json!({}))?;
        let again = build_of(farm, &again["requests"][0])?;
        ensure!(shown(&again) == "alpha/2 by spawn: success", "{again:#}");

        // The builder is gone: its past stays, under the names that it had.
        farm.write(
            "ci.star",
            "worker(\"w1\")\nbuilder(\"linux\", steps = [step.shell(command = \"true\")])\n",
        )?;
        farm.capstan_ok(&["reload"])?;
        let about = farm.api()?.get("/builders/alpha")?;
        ensure!(about["virtual_of"] == "spawn", "{about:#}");
        let refused = farm
            .api()?
            .try_post(&format!("/builds/{}/rebuild", build["id"]), &json!({}))?;
        ensure!(
            refused.0 == 404 && refused.1.to_string().contains("spawn"),
            "{refused:?}"
        );
        Ok(())
    });
}

#[test]
fn a_name_that_cannot_be_ends_the_build_with_the_reason() {
    story(|farm| {
        start(farm)?;
        for (app, reason) in [
            (
                json!("linux"),
                "expected a name that no configured builder has, found `linux`",
            ),
            (
                json!(" spaces "),
                "without spaces at their ends, found \" spaces \"",
            ),
            (
                json!("x".repeat(201)),
                "names, projects and tags of 1 to 200 printable characters",
            ),
            (json!(7), "expected a string"),
        ] {
            let build = spawn(farm, json!({ "app": app }))?;
            ensure!(build["outcome"] == "exception", "{build:#}");
            ensure!(build["builder"] == "spawn", "{build:#}");
            let told = build["steps"][0]["summary"].as_str().unwrap_or_default();
            ensure!(told.contains(reason), "{app}: {told}");
        }
        // Nothing is left of them.
        let all = farm.api()?.get("/builders")?;
        ensure!(all["builders"].as_array().map(Vec::len) == Some(2), "{all:#}");
        Ok(())
    });
}

#[test]
fn a_configuration_that_says_it_wrongly_is_refused_with_the_place() {
    story(|farm| {
        for (said, reason) in [
            ("{\"nmae\": \"x\"}", "did you mean `name`?"),
            ("{\"tags\": [\"x\"]}", "expected `name`"),
            ("{\"name\": 7}", "expected a string"),
            ("{\"name\": prop(\"x\"), \"tags\": \"x\"}", "expected a sequence"),
            (
                "{\"name\": \"w\"}",
                "expected a name that no configured builder has, found `w`",
            ),
            ("[\"x\"]", "a dict"),
        ] {
            let text = format!(
                "worker(\"w1\")\nbuilder(\"b\", virtual = {said}, steps = [step.shell(command = \"true\")])\nbuilder(\"w\")\n"
            );
            farm.write("ci.star", text)?;
            let told = farm.capstan_refused(&["check"])?;
            ensure!(
                told.contains("ci.star:2:") && told.contains(reason),
                "{said}: {told}"
            );
        }
        Ok(())
    });
}
