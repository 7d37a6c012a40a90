//! Steps from a file of the repository: each branch has its own, the operator says what they may be, and whatever such a file does, the
//! master lives and the build says what is wrong.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, Project, story, wait_for};
use serde_json::{Value, json};

/// What `capstan.star` does on the branch `main`.
const MAIN: &str = r#"
load("lib/jobs.star", "check")

steps([
    step.shell(name = "where", command = interpolate("echo on {branch} at {revision}")),
    check("unit"),
    step.shell(name = "token", command = "test ${#TOKEN} = 13", secrets = {"TOKEN": "deploy"}),
])
"#;

const JOBS: &str = r#"
def check(name):
    return step.shell(name = name, command = ["echo", "checks", name])
"#;

/// A farm with the builder `app`, whose steps are those of `ci/capstan.star`, and one of the operator's own behind them.
fn start(farm: &mut Farm, more: &str) -> Result<Project> {
    let project = Project::create(farm.root(), "app")?;
    let repository = project.repository();
    farm.edit("capstan.toml", "secrets = []", "secrets = [\"*\"]")?;
    farm.write("secrets/deploy", "correct-horse")?;
    farm.write("secrets/root", "battery-staple")?;
    for secret in ["secrets/deploy", "secrets/root"] {
        let path = farm.folder().join(secret);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    farm.write(
        "ci.star",
        format!(
            "builder(\n    \"app\",\n    workers = [worker(\"w1\")],\n    steps = [\n        pipeline(\"ci/capstan.star\", repository = {repository:?}, \
             allow = [\"shell\"], allow_secrets = [\"deploy\"]),\n        step.shell(name = \"clean\", command = \"true\", always_run = True),\n    \
             ],\n    {more}\n)\n"
        ),
    )?;
    Ok(project)
}

fn run(farm: &mut Farm) -> Result<()> {
    farm.start_master()?;
    farm.add_worker("w1")
}

fn names(build: &Value) -> Vec<&str> {
    let steps = build["steps"].as_array().into_iter().flatten();
    steps.filter_map(|step| step["name"].as_str()).collect()
}

fn step<'a>(build: &'a Value, name: &str) -> Result<&'a Value> {
    let mut steps = build["steps"].as_array().into_iter().flatten();
    let found = steps.find(|step| step["name"] == name);
    found.with_context(|| format!("expected the step {name}, found {:?}", names(build)))
}

fn printed(farm: &Farm, build: &Value, name: &str) -> Result<String> {
    let all = capstan_tests::logs::printed(&farm.api()?, build, "/nowhere")?;
    let bytes = all.get(name);
    let bytes = bytes.with_context(|| format!("expected {name}, found {:?}", all.keys()))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn each_branch_has_its_own_steps_and_a_rebuild_the_same_again() {
    story(|farm| {
        let project = start(farm, "")?;
        let first = project.push("main", &[("ci/capstan.star", MAIN), ("ci/lib/jobs.star", JOBS)])?;
        project.branch("other")?;
        let other = "steps([step.shell(name = \"only\", command = \"echo other\")])";
        project.push("other", &[("ci/capstan.star", other)])?;
        run(farm)?;

        let build = farm.force("app", &json!({ "branch": "main" }))?;
        ensure!(build["outcome"] == "success", "{build:#}");
        ensure!(
            names(&build) == ["pipeline", "where", "unit", "token", "clean"],
            "{:?}",
            names(&build)
        );
        // The branch was resolved once, and the build is pinned to that.
        ensure!(build["sources"][0]["revision"] == first.as_str(), "{build:#}");
        let said = printed(farm, &build, "where/stdio/stdout")?;
        ensure!(said == format!("on main at {first}\n"), "{said}");
        let read = printed(farm, &build, "pipeline/pipeline/stdout")?;
        ensure!(
            read.contains(&first) && read.contains("ci/lib/jobs.star:3:12: unit (shell)"),
            "{read}"
        );

        let build = farm.force("app", &json!({ "branch": "other" }))?;
        ensure!(
            names(&build) == ["pipeline", "only", "clean"],
            "{:?}",
            names(&build)
        );

        // The branch goes on; what was built stays what it was.
        project.branch("main")?;
        let newer = "steps([step.shell(name = \"newer\", command = \"true\")])";
        project.push("newer", &[("ci/capstan.star", newer)])?;
        let first_build = farm.api()?.get("/builders/app/builds/1")?;
        farm.api()?
            .post(&format!("/builds/{}/rebuild", first_build["id"]), &json!({}))?;
        let again = farm.finished("app", 3)?;
        ensure!(names(&again) == names(&first_build), "{:?}", names(&again));
        Ok(())
    });
}

#[test]
fn what_the_operator_does_not_allow_is_refused_and_the_build_says_where() {
    story(|farm| {
        let project = start(farm, "")?;
        project.push("nothing", &[("README", "no pipeline here")])?;
        run(farm)?;
        let fault = |text: &str| -> Result<String> {
            project.push("another", &[("ci/capstan.star", text), ("lib.star", "x = 1")])?;
            let build = farm.force("app", &json!({ "branch": "main" }))?;
            ensure!(build["outcome"] == "exception", "{text}: {build:#}");
            ensure!(
                names(&build) == ["pipeline", "clean"],
                "{text}: {:?}",
                names(&build)
            );
            let summary = step(&build, "pipeline")?["summary"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let told = printed(farm, &build, "pipeline/pipeline/stdout")?;
            ensure!(told.contains(&summary), "{told}\nlacks {summary}");
            Ok(summary)
        };
        let missing = farm.force("app", &json!({ "branch": "main" }))?;
        let summary = step(&missing, "pipeline")?["summary"].to_string();
        ensure!(
            summary.contains("expected the file `ci/capstan.star` at"),
            "{summary}"
        );

        for (text, expected) in [
            (
                "steps([step.git(repository = \"/x\")])",
                "ci/capstan.star:1:8: unknown step plugin: expected `shell`",
            ),
            (
                "steps([step.shell(command = \"x\",\n env = {\"T\": secret(\"root\")})])",
                "ci/capstan.star:2:14: secret: expected `deploy`",
            ),
            (
                "worker(\"w1\")",
                "ci/capstan.star:1:1: expected what a pipeline may call, found `worker`",
            ),
            (
                "load(\"//lib.star\", \"x\")",
                "expected a file below the pipeline's own folder `ci`, found `lib.star`",
            ),
            (
                "def f(n):\n    return 1 // n\nf(0)",
                "ci/capstan.star:2:12: floor division by zero",
            ),
            ("steps([step.shell(command = 7)])", "ci/capstan.star:1:"),
            (
                "def f():\n    for a in range(9999999):\n        for b in range(9999999):\n            pass\nf()",
                "does a loop run without end?",
            ),
            // One call of the interpreter's own: only the process has a limit for that.
            (
                "x = \",\".join([\"y\" * 9999999] * 200)",
                "its evaluation ended with signal",
            ),
        ] {
            let summary = fault(text)?;
            ensure!(summary.contains(expected), "{text}: {summary}\nlacks {expected}");
        }
        // The master is the same one, and a good file is built.
        project.push("good", &[("ci/capstan.star", MAIN), ("ci/lib/jobs.star", JOBS)])?;
        let build = farm.force("app", &json!({ "branch": "main" }))?;
        ensure!(build["outcome"] == "success", "{build:#}");
        // A branch that is not there.
        let build = farm.force("app", &json!({ "branch": "gone" }))?;
        let summary = step(&build, "pipeline")?["summary"].to_string();
        ensure!(
            summary.contains("found no branch or tag of that name"),
            "{summary}"
        );
        Ok(())
    });
}

#[test]
fn links_and_large_files_are_not_read() {
    story(|farm| {
        let project = start(farm, "")?;
        project.push("main", &[("ci/real.star", MAIN)])?;
        let tree = farm.root().join("app");
        symlink("real.star", tree.join("ci/capstan.star"))?;
        project.push("a link", &[])?;
        run(farm)?;
        let fault = || -> Result<String> {
            let build = farm.force("app", &json!({ "branch": "main" }))?;
            ensure!(build["outcome"] == "exception", "{build:#}");
            Ok(step(&build, "pipeline")?["summary"].to_string())
        };
        let summary = fault()?;
        ensure!(
            summary.contains("to be a plain file, found a symbolic link"),
            "{summary}"
        );
        std::fs::remove_file(tree.join("ci/capstan.star"))?;
        let large = format!("# {}\n", "x".repeat(300_000));
        project.push("large", &[("ci/capstan.star", &large)])?;
        let summary = fault()?;
        ensure!(summary.contains("to be at most 262144 bytes long"), "{summary}");
        Ok(())
    });
}

#[test]
fn a_secret_of_the_builders_environment_stays_from_the_pipeline() {
    story(|farm| {
        let project = start(farm, "env = {\"ROOT\": secret(\"root\")},")?;
        let shows = "steps([step.shell(name = \"show\", command = \"echo ${#ROOT}\")])";
        project.push("main", &[("ci/capstan.star", shows)])?;
        run(farm)?;
        let build = farm.force("app", &json!({ "branch": "main" }))?;
        let told = format!("{build:#}");
        ensure!(build["outcome"] != "success", "{told}");
        ensure!(
            told.contains("expected secrets that the builder allows its pipeline, found `root`"),
            "{told}"
        );
        Ok(())
    });
}

#[test]
fn a_secret_that_a_step_of_the_file_names_is_refused_when_it_wants_it() {
    story(|farm| {
        let project = start(farm, "")?;
        let steals = "steps([step.shell(name = \"steal\", command = \"true\", secrets = {\"T\": \"root\"})])";
        project.push("main", &[("ci/capstan.star", steals)])?;
        run(farm)?;
        let build = farm.force("app", &json!({ "branch": "main" }))?;
        let told = step(&build, "steal")?.to_string();
        ensure!(build["outcome"] != "success", "{build:#}");
        ensure!(told.contains("root@app"), "{told}");
        Ok(())
    });
}

/// Killed before, while and after the pipeline is read: there is one set of steps in the end, and each of them ran once.
#[test]
fn a_master_that_is_killed_around_the_evaluation_unfolds_it_once() {
    story(|farm| {
        let project = start(farm, "")?;
        let marks = farm.root().join("marks");
        let text = format!(
            "def slow():\n    for a in range(300000):\n        pass\nslow()\nsteps([step.shell(name = \"mark\", command = \"echo x >> {}\"), \
             step.shell(name = \"end\", command = \"true\")])",
            marks.display()
        );
        project.push("main", &[("ci/capstan.star", &text)])?;
        run(farm)?;
        farm.api()?
            .post("/builders/app/force", &json!({ "branch": "main" }))?;
        wait_for("the pipeline to begin", BOUND, || {
            let (status, build) = farm.api()?.try_get("/builders/app/builds/1")?;
            Ok((status == 200 && build["steps"][0]["state"] != "pending").then_some(()))
        })?;
        farm.kill_master()?;
        farm.start_master()?;
        wait_for("the pipeline's steps", BOUND, || {
            let build = farm.api()?.get("/builders/app/builds/1")?;
            Ok((build["steps"].as_array().map_or(0, Vec::len) > 2).then_some(()))
        })?;
        farm.kill_master()?;
        farm.start_master()?;
        let build = farm.finished("app", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        ensure!(
            names(&build) == ["pipeline", "mark", "end", "clean"],
            "{:?}",
            names(&build)
        );
        let marks = std::fs::read_to_string(&marks)?;
        ensure!(marks == "x\n", "expected that it ran once, found {marks:?}");
        Ok(())
    });
}

/// The process that evaluates a pipeline, alone.
#[test]
fn the_process_shuts_itself_in() {
    story(|farm| {
        let request =
            json!({ "file": "a.star", "builder": "b", "allowed": [], "secrets": [], "workdir": null });
        let evaluated = |text: &str| -> Result<(bool, String)> {
            let mut command = Command::new(&farm.programs().capstan);
            command.args(["pipeline", "evaluate"]).env_clear();
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let mut input = child.stdin.take().context("expected an input")?;
            let reply = json!({ "Ok": text.as_bytes() });
            // A process that has ended does not read on.
            let _ = input.write_all(format!("{request}\n{reply}\n").as_bytes());
            drop(input);
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok((output.status.success(), said))
        };
        let (good, said) = evaluated("print(1)")?;
        ensure!(good && said.contains("expected a call of steps"), "{said}");
        let (good, said) = evaluated("x = \",\".join([\"y\" * 9999999] * 200)")?;
        ensure!(!good && !said.contains("done"), "{said}");
        Ok(())
    });
}

#[test]
fn the_linter_tells_authors_what_the_master_would() {
    story(|farm| {
        let project = start(farm, "")?;
        project.push("main", &[("ci/capstan.star", MAIN), ("ci/lib/jobs.star", JOBS)])?;
        let file = farm.root().join("app/ci/capstan.star");
        let file = file.display().to_string();
        let said = farm.capstan_ok(&["pipeline", "check", &file])?;
        ensure!(
            said.contains("It has 3 steps") && said.contains("unit (shell, ci/lib/jobs.star:3:12)"),
            "{said}"
        );
        let said = farm.capstan_ok(&["pipeline", "check", &file, "--builder", "app"])?;
        ensure!(said.contains("It has 3 steps"), "{said}");
        std::fs::write(&file, "steps([step.git(repository = \"/x\")])")?;
        farm.capstan_ok(&["pipeline", "check", &file])?;
        let output = farm.capstan(&["pipeline", "check", &file, "--builder", "app"])?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && errors.contains("ci/capstan.star:1:8: unknown step plugin"),
            "{errors}"
        );
        Ok(())
    });
}

#[test]
fn slips_of_the_operator_are_told_when_the_configuration_is_checked() {
    story(|farm| {
        for (call, expected) in [
            ("pipeline()", "`file` = a string"),
            ("pipeline(\"a.star\")", "`repository` = a string"),
            (
                "pipeline(\"../a.star\", repository = \"/r\", allow = [\"shell\"])",
                "without `..`",
            ),
            (
                "pipeline(\"a.star\", repository = \"/r\")",
                "`allow` = a list of steps",
            ),
            (
                "pipeline(\"a.star\", repository = \"/r\", allow = [\"shel\"])",
                "did you mean `shell`?",
            ),
            (
                "pipeline(\"a.star\", repository = \"/r\", allow = [\"shell\"], secrets = [])",
                "unknown parameter of pipeline",
            ),
        ] {
            farm.write(
                "ci.star",
                format!("builder(\"b\", workers = [worker(\"w1\")], steps = [{call}])\n"),
            )?;
            let output = farm.capstan(&["check"])?;
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(
                !output.status.success() && errors.contains(expected),
                "{call}: {errors}"
            );
            ensure!(errors.contains("ci.star:1:"), "{errors}");
        }
        Ok(())
    });
}
