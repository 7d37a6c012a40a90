//! What the results of steps make of a build, and what becomes of builds that are wanted again or not any more, with the real
//! programs.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, Project, sample, story, wait_for};
use serde_json::{Value, json};

/// Steps whose results, conditions and ends are all of another kind.
const STEPS: &str = r#"
    step.shell(name = "lint", command = "exit 3", decode_rc = {3: "warnings"}, warn_on_warnings = True),
    step.shell(name = "release", command = "true", run_if = on_main),
    step.shell(name = "quiet", command = "true", hide_if = went_well),
    step.shell(name = "off", command = "false", run_if = False, hide_if = True),
    step.shell(name = "doubtful", command = "true", run_if = lambda build: build.results["lint"] != "success"),
    step.finish(name = "enough", outcome = "skipped", reason = "only documents", run_if = prop("documents", default = False)),
    step.shell(name = "last", command = "true"),
    step.shell(name = "cleanup", command = "true", always_run = True, hide_if = lambda build: build.outcome == "warnings"),
"#;

const FUNCTIONS: &str = r#"
def on_main(build):
    return build.properties.get("branch") == "main"

def went_well(build):
    return build.result == "success"

def broken(build):
    return build.properties["nothing"]["at all"]

"#;

/// Each step's result, with a mark on the hidden ones.
fn results(build: &Value) -> Result<Vec<String>> {
    let steps = build["steps"].as_array().context("expected steps")?;
    let text = |step: &Value| {
        let hidden = if step["hidden"] == true { " hidden" } else { "" };
        let word = |name: &str| step[name].as_str().unwrap_or("none").to_owned();
        format!("{} {}{hidden}", word("name"), word("outcome"))
    };
    Ok(steps.iter().map(text).collect())
}

#[test]
fn conditions_and_chosen_ends_make_the_result() {
    story(|farm| {
        let others = "builder(\"raises\", workers = [\"w1\"], steps = [\n\
             step.shell(name = \"guarded\", command = \"true\", run_if = broken),\n\
             step.shell(name = \"after\", command = \"true\"),\n\
             step.shell(name = \"shown\", command = \"true\", always_run = True, hide_if = broken),\n])\n\
             builder(\"gives-up\", workers = [\"w1\"], steps = [\n\
             step.shell(name = \"probe\", command = \"exit 1\", end_build_on = {\"failure\": \"skipped\"}),\n\
             step.shell(name = \"after\", command = \"true\"),\n])\n";
        farm.write("ci.star", format!("{FUNCTIONS}{}{others}", sample::hello(STEPS)))?;
        farm.start_master()?;
        farm.add_worker("w1")?;

        let build = farm.force("hello", &json!({ "branch": "main" }))?;
        let expected = [
            "lint warnings",
            "release success",
            "quiet success hidden",
            "off skipped hidden",
            "doubtful success",
            "enough skipped",
            "last success",
            "cleanup success hidden",
        ];
        assert_eq!(results(&build)?, expected);
        assert_eq!(build["outcome"], "warnings", "{build:#}");

        let documents = json!({ "branch": "topic", "properties": { "documents": true } });
        let build = farm.force("hello", &documents)?;
        assert_eq!(
            results(&build)?[1..],
            [
                "release skipped",
                "quiet success hidden",
                "off skipped hidden",
                "doubtful success",
                "enough success",
                "last skipped",
                "cleanup success",
            ]
        );
        assert_eq!(
            (&build["outcome"], &build["summary"]),
            (&json!("skipped"), &json!("skipped: only documents"))
        );

        let build = farm.force("gives-up", &json!({}))?;
        assert_eq!(results(&build)?, ["probe failure", "after skipped"]);
        assert_eq!(build["outcome"], "skipped", "{build:#}");

        let build = farm.force("raises", &json!({}))?;
        assert_eq!(
            results(&build)?,
            ["guarded exception", "after skipped", "shown success"]
        );
        assert_eq!(build["outcome"], "exception");
        let said = build["steps"][0]["summary"].as_str().unwrap_or_default();
        ensure!(
            said.contains("run_if") && said.contains("ci.star:9"),
            "expected the place in: {said}"
        );
        assert_eq!(farm.api()?.get("/health")?["status"], "ok");
        Ok(())
    });
}

#[test]
fn an_end_that_a_step_chose_outlives_the_master() {
    story(|farm| {
        let go = farm.root().join("go");
        let wait = format!(
            "touch {}.asked; until [ -e {} ]; do sleep 0.02; done",
            go.display(),
            go.display()
        );
        let steps = format!(
            "step.shell(name = \"fails\", command = \"exit 1\", halt_on_failure = False),\n\
             step.finish(outcome = \"warnings\", reason = \"good enough\"),\n\
             step.shell(name = \"left\", command = \"true\"),\n\
             step.shell(name = \"cleanup\", command = {wait:?}, always_run = True),"
        );
        farm.write("ci.star", sample::hello(&steps))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/hello/force", &json!({}))?;
        let asked = farm.root().join("go.asked");
        wait_for("the last step", BOUND, || Ok(asked.exists().then_some(())))?;
        farm.kill_master()?;
        farm.start_master()?;
        std::fs::write(go, "")?;
        let build = farm.finished("hello", 1)?;
        assert_eq!(
            results(&build)?,
            [
                "fails failure",
                "finish success",
                "left skipped",
                "cleanup success"
            ]
        );
        assert_eq!(
            (&build["outcome"], &build["summary"]),
            (&json!("warnings"), &json!("warnings: good enough"))
        );
        Ok(())
    });
}

/// A push that three builders are to build, one of which fails as long as `mended` is not there, and one waits for `go`.
fn three(farm: &mut Farm, project: &Project, options: &str) -> Result<()> {
    let root = farm.root().display();
    let bad =
        format!("until [ -e {root}/fail -o -e {root}/mended ]; do sleep 0.02; done; test -e {root}/mended");
    let slow = format!("echo x >> {root}/slow; until [ -e {root}/go ]; do sleep 0.02; done");
    let repository = project.repository();
    farm.write(
        "ci.star",
        format!(
            "worker(\"w1\", slots = 2)\nworker(\"w2\", slots = 1)\n\
             source.git_poller(name = \"p\", repository = {repository:?}, interval = 1, announce_existing = True)\n\
             def make(name, line, on = \"w1\"):\n    return builder(name, workers = [on], \
             steps = [step.git(repository = {repository:?}), step.shell(name = \"run\", command = line)])\n\
             all = [make(\"bad\", {bad:?}), make(\"slow\", {slow:?}), make(\"waits\", \"true\", on = \"w2\")]\n\
             schedule.any_branch(name = \"push\", builders = all, tree_stable_timer = 0.2{options})\n"
        ),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")
}

fn wait_for_set(farm: &Farm, id: i64) -> Result<Value> {
    wait_for(&format!("the end of buildset {id}"), BOUND, || {
        let set = farm.api()?.get(&format!("/buildsets/{id}"))?;
        Ok((!set["outcome"].is_null()).then_some(set))
    })
}

fn outcomes(set: &Value) -> Vec<String> {
    let requests = set["requests"].as_array().into_iter().flatten();
    requests
        .map(|request| format!("{} {}", request["builder"], request["outcome"]).replace('"', ""))
        .collect()
}

fn runs(farm: &Farm, builder: &str, number: u64) -> Result<()> {
    wait_for(&format!("the step of {builder}/{number}"), BOUND, || {
        let build = farm.api()?.get(&format!("/builders/{builder}/builds/{number}"))?;
        Ok((build["steps"][1]["state"] == "running").then_some(()))
    })
}

#[test]
fn the_first_failure_ends_the_rest_and_what_failed_is_built_again() {
    story(|farm| {
        let project = Project::create(farm.root(), "roman")?;
        let revision = project.push(sample::HISTORY[0].message, &sample::HISTORY[0].files())?;
        three(farm, &project, ", fail_fast = True")?;
        for builder in ["bad", "slow"] {
            runs(farm, builder, 1)?;
        }
        // The failure comes to a master that has just taken the builds up.
        farm.kill_master()?;
        std::fs::write(farm.root().join("fail"), "")?;
        farm.start_master()?;
        let set = wait_for_set(farm, 1)?;
        assert_eq!(
            outcomes(&set),
            ["bad failure", "slow cancelled", "waits cancelled"],
            "{set:#}"
        );
        let slow = farm.finished("slow", 1)?;
        ensure!(
            slow["summary"]
                .as_str()
                .is_some_and(|text| text.contains("`bad` ended as failure")),
            "{slow:#}"
        );

        // The branch has moved on; what failed is built at the revision that failed.
        project.branch("other")?;
        std::fs::remove_file(farm.root().join("fail"))?;
        for file in ["mended", "go"] {
            std::fs::write(farm.root().join(file), "")?;
        }
        farm.add_worker("w2")?;
        let said = farm.capstan_ok(&["buildset", "rebuild", "1", "--failed", "--reason", "mended"])?;
        let id: i64 = said
            .split_whitespace()
            .nth(1)
            .context("expected the buildset")?
            .parse()?;
        let set = wait_for_set(farm, id)?;
        assert_eq!(outcomes(&set), ["bad success", "slow success", "waits success"]);
        assert_eq!(set["reason"], "rebuild of what failed in buildset 1: mended");
        assert_eq!(set["sources"][0]["revision"], json!(revision));
        let refused = farm.capstan_refused(&["buildset", "rebuild", &id.to_string(), "--failed"])?;
        ensure!(refused.contains("nothing has failed"), "{refused}");
        let shown = farm.capstan_ok(&["buildset", "show", "1"])?;
        ensure!(shown.contains("slow") && shown.contains("cancelled"), "{shown}");
        Ok(())
    });
}

#[test]
fn a_newer_push_replaces_the_build_of_the_older_one() {
    story(|farm| {
        let project = Project::create(farm.root(), "roman")?;
        let [first, second, _] = sample::HISTORY;
        project.push(first.message, &first.files())?;
        three(farm, &project, ", cancel_older = True")?;
        runs(farm, "slow", 1)?;
        let revision = project.push(second.message, &second.files())?;
        let build = farm.finished("slow", 1)?;
        assert_eq!(build["outcome"], "cancelled");
        ensure!(
            build["summary"]
                .as_str()
                .is_some_and(|text| text.contains("superseded by request")),
            "{build:#}"
        );
        assert_eq!(
            outcomes(&wait_for_set(farm, 1)?),
            ["bad cancelled", "slow cancelled", "waits cancelled"]
        );
        for file in ["mended", "go"] {
            std::fs::write(farm.root().join(file), "")?;
        }
        let build = farm.finished("slow", 2)?;
        assert_eq!(
            (&build["outcome"], &build["sources"][0]["revision"]),
            (&json!("success"), &json!(revision))
        );

        // The same revision again, though the branch may have gone on, with the same properties.
        let again = farm.capstan_ok(&["rebuild", "slow/2"])?;
        ensure!(again.starts_with("buildset "), "{again}");
        let build = farm.finished("slow", 3)?;
        assert_eq!(build["sources"][0]["revision"], json!(revision));
        assert_eq!(build["reason"], "rebuild of slow #2");
        let refused = farm.capstan_refused(&["rebuild", "slow/99"])?;
        ensure!(refused.contains("slow/99"), "{refused}");
        let refused = farm.capstan_refused(&["buildset", "cancel", "1"])?;
        ensure!(refused.contains("has ended already"), "{refused}");
        Ok(())
    });
}
