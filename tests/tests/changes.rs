//! Changes that are sent, several codebases, patches, tags, and who is blamed: as people see them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::farm::Farm;
use capstan_tests::{Project, story};
use serde_json::{Value, json};

fn property<'a>(build: &'a Value, name: &str) -> &'a Value {
    let all = build["properties"].as_array().into_iter().flatten();
    let mut named = all.filter(|property| property["name"] == name);
    named.next().map_or(&Value::Null, |property| &property["value"])
}

/// What the step `show` of a build printed.
fn shown(farm: &Farm, builder: &str, number: u64) -> Result<String> {
    farm.capstan_ok(&["log", &format!("{builder}/{number}"), "show"])
}

#[test]
fn a_change_that_is_sent_is_built_with_its_files_and_properties() {
    story(|farm| {
        farm.write(
            "ci.star",
            r#"
worker("w1")
show = [step.shell(name = "show", command = ["echo", interpolate("at {revision} by {owner}")])]
linux = builder("linux", steps = show)
schedule.any_branch(name = "pushes", builders = [linux], branches = "main", files = "src/**", skip_marked = True)
"#,
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let send = |more: &[&str]| {
            let mut words = vec![
                "change",
                "send",
                "--author",
                "Ann <ann@example.org>",
                "--branch",
                "main",
            ];
            words.extend([
                "--project",
                "p",
                "--repository",
                "https://git.example.org/p.git",
                "--when",
                "1750000000",
            ]);
            words.extend(["--property", "owner=ann", "--category", "mail"]);
            words.extend(more);
            farm.capstan_ok(&words)
        };
        let first = send(&["--revision", "r1", "--comments", "docs", "--file", "docs/a.md"])?;
        ensure!(first.starts_with("change 1"), "{first}");
        send(&[
            "--revision",
            "r2",
            "--comments",
            "typo [skip ci]",
            "--file",
            "src/a.c",
        ])?;
        send(&[
            "--revision",
            "r3",
            "--comments",
            "mend",
            "--file",
            "src/a.c",
            "--key",
            "hook-17",
        ])?;
        let again = send(&[
            "--revision",
            "r3",
            "--comments",
            "mend",
            "--file",
            "src/a.c",
            "--key",
            "hook-17",
        ])?;
        ensure!(again.contains("sent before"), "{again}");
        let build = farm.finished("linux", 1)?;
        assert_eq!(build["sources"][0]["revision"], "r3", "{build:#}");
        assert_eq!(
            build["changes"],
            json!([1, 3]),
            "the unimportant one is part of it, the marked one is not"
        );
        ensure!(shown(farm, "linux", 1)?.contains("at r3 by ann"));
        let change = farm.api()?.get("/changes/3")?;
        assert_eq!(
            (&change["files"], &change["category"], &change["when"]),
            (&json!(["src/a.c"]), &json!("mail"), &json!(1_750_000_000_000_i64))
        );
        let (status, refused) = farm
            .api()?
            .try_post("/changes", &json!({"revision": "", "author": "a\nb"}))?;
        assert_eq!(status, 422, "{refused:#}");
        let fields: Vec<_> = refused["error"]["problems"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| &p["path"])
            .collect();
        assert_eq!(fields, ["revision", "author"]);
        Ok(())
    });
}

#[test]
fn of_two_codebases_the_one_that_did_not_change_has_its_default() {
    story(|farm| {
        let (app, lib) = (
            Project::create(farm.root(), "app")?,
            Project::create(farm.root(), "lib")?,
        );
        let revision = app.push("one", &[("what", "app one\n")])?;
        lib.push("old", &[("what", "lib old\n")])?;
        lib.branch("stable")?;
        let stable = lib.push("stable", &[("what", "lib stable\n")])?;
        farm.write(
            "ci.star",
            format!(
                r#"
worker("w1")
both = builder("both", steps = [
    step.git(name = "app", codebase = "app", workdir = "app"),
    step.git(name = "lib", codebase = "lib", workdir = "lib"),
    step.shell(name = "show", command = "cat app/what lib/what", workdir = "."),
])
source.git_poller(name = "app", repository = "{app}", codebase = "app", interval = "200ms", announce_existing = True)
schedule.any_branch(name = "pushes", builders = [both], codebases = "app", sources = [
    {{"codebase": "lib", "repository": "{lib}", "branch": "stable"}},
])
"#,
                app = app.repository(),
                lib = lib.repository(),
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.finished("both", 1)?;
        assert_eq!(build["outcome"], "success", "{build:#}");
        let sources = build["sources"].as_array().context("expected sources")?;
        let of = |codebase: &str| {
            sources
                .iter()
                .find(|source| source["codebase"] == codebase)
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            (&of("app")["revision"], &of("app")["branch"]),
            (&json!(revision), &json!("main"))
        );
        assert_eq!(of("lib")["branch"], "stable");
        assert_eq!(
            property(&build, "got_revision"),
            &json!({"app": revision, "lib": stable})
        );
        ensure!(
            shown(farm, "both", 1)?.contains("app one\nlib stable"),
            "each step has its own codebase"
        );
        Ok(())
    });
}

/// A person's clone of a project.
fn clone(project: &Project, folder: &Path) -> Result<PathBuf> {
    let here = folder.join("clone");
    git(folder, &["clone", "-q", &project.repository(), "clone"])?;
    git(&here, &["config", "user.name", "Ann"])?;
    git(&here, &["config", "user.email", "ann@example.org"])?;
    Ok(here)
}

fn git(folder: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.args(words).current_dir(folder);
    capstan_tests::project::isolate(&mut command);
    ensure!(command.status()?.success(), "git {words:?}");
    Ok(())
}

/// `capstan try` in that folder.
fn attempt(farm: &Farm, here: &Path, words: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(&farm.programs().capstan);
    command
        .arg("--farm")
        .arg(farm.folder())
        .arg("try")
        .args(words)
        .current_dir(here);
    capstan_tests::project::isolate(&mut command);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), text.into_owned()))
}

#[test]
fn a_try_builds_what_the_working_tree_has_and_a_patch_that_does_not_fit_names_the_file() {
    story(|farm| {
        let project = Project::create(farm.root(), "project")?;
        project.push("one", &[("what", "one\n"), ("kept", "kept\n")])?;
        farm.write(
            "ci.star",
            format!(
                r#"
worker("w1")
steps = [step.git(repository = "{0}"), step.shell(name = "show", command = "cat what; ls")]
linux = builder("linux", steps = steps)
mac = builder("mac", steps = steps)
schedule.try_build(name = "try", builders = [linux, mac], sources = [{{"repository": "{0}", "branch": "main"}}])
"#,
                project.repository()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let here = clone(&project, farm.root())?;
        let (good, said) = attempt(farm, &here, &[])?;
        ensure!(
            !good && said.contains("expected a working tree with changes"),
            "{said}"
        );
        std::fs::write(here.join("what"), "one\ntried\n")?;
        std::fs::write(here.join("added"), "new\n")?;
        git(&here, &["add", "-N", "added"])?;
        let (good, said) = attempt(
            farm,
            &here,
            &["--builder", "linux", "--follow", "--comment", "does it work?"],
        )?;
        ensure!(good, "{said}");
        let build = farm.finished("linux", 1)?;
        let patch = &build["sources"][0]["patch"];
        assert_eq!(
            (&patch["author"], &patch["comment"]),
            (&json!("Ann <ann@example.org>"), &json!("does it work?"))
        );
        let shown_there = shown(farm, "linux", 1)?;
        ensure!(
            shown_there.contains("tried") && shown_there.contains("added"),
            "{shown_there}"
        );
        ensure!(
            build["steps"][0]["summary"]
                .as_str()
                .unwrap_or_default()
                .contains("patched"),
            "{build:#}"
        );
        // The same again is a build of its own, with the patch; a forced one has nothing of it.
        farm.capstan_ok(&["rebuild", "linux/1"])?;
        let again = farm.finished("linux", 2)?;
        assert_eq!(&again["sources"][0]["patch"]["digest"], &patch["digest"]);
        ensure!(shown(farm, "linux", 2)?.contains("tried"));
        farm.capstan_ok(&["force", "linux", "--branch", "main"])?;
        farm.finished("linux", 3)?;
        let without = shown(farm, "linux", 3)?;
        ensure!(
            !without.contains("tried") && !without.contains("added"),
            "{without}"
        );
        // The branch has gone on: the patch is of another text.
        project.push("two", &[("what", "two\n")])?;
        std::fs::write(
            farm.root().join("old.diff"),
            "--- a/what\n+++ b/what\n@@ -1 +1 @@\n-one\n+mine\n",
        )?;
        let file = farm.root().join("old.diff").display().to_string();
        let (good, said) = attempt(
            farm,
            farm.root(),
            &[
                "try",
                "--diff",
                &file,
                "--builder",
                "mac",
                "--branch",
                "main",
                "--owner",
                "ann",
                "--follow",
            ],
        )?;
        ensure!(
            !good && said.contains("the patch does not apply: patch failed: what:1"),
            "{said}"
        );
        let (good, said) = attempt(
            farm,
            farm.root(),
            &["try", "--diff", &file, "--subdirectory", "../x"],
        )?;
        ensure!(!good && said.contains("patch.subdirectory"), "{said}");
        let blame = farm.capstan_ok(&["build", "blame", "mac/1"])?;
        ensure!(blame.contains("ann  the patch"), "{blame}");
        Ok(())
    });
}

#[test]
fn a_red_branch_names_whose_changes_came_since_it_was_green_and_a_tag_is_a_change() {
    story(|farm| {
        let project = Project::create(farm.root(), "project")?;
        project.push("one", &[("ok", "")])?;
        farm.write(
            "ci.star",
            format!(
                r#"
worker("w1")
steps = [step.git(), step.shell(name = "test", command = "test -e ok")]
linux = builder("linux", steps = steps)
release = builder("release", steps = [step.git(), step.shell(name = "show", command = ["echo", interpolate("release {{tag}}")])])
source.git_poller(name = "project", repository = "{}", tags = "v*", interval = "200ms", announce_existing = True)
schedule.any_branch(name = "pushes", builders = [linux], categories = {{"not": "tag"}})
schedule.any_branch(name = "tags", builders = [release], categories = "tag")
"#,
                project.repository()
            ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        assert_eq!(farm.finished("linux", 1)?["outcome"], "success");
        git(&farm.root().join("project"), &["rm", "-q", "ok"])?;
        project.push("break it", &[("x", "1")])?;
        assert_eq!(farm.finished("linux", 2)?["outcome"], "failure");
        project.push("mend something else", &[("x", "2")])?;
        assert_eq!(farm.finished("linux", 3)?["outcome"], "failure");
        let blame = farm.api()?.get("/builds/3/blame")?;
        assert_eq!(blame["since"]["number"], 1, "{blame:#}");
        assert_eq!(
            blame["people"],
            json!([{"author": "Ada <ada@example.org>", "changes": [3, 2]}])
        );
        let said = farm.capstan_ok(&["build", "blame", "linux/3"])?;
        ensure!(said.contains("since linux/1") && said.contains("Ada"), "{said}");
        git(project.bare(), &["tag", "v1.0", "main"])?;
        let build = farm.finished("release", 1)?;
        assert_eq!(build["outcome"], "success", "{build:#}");
        assert_eq!(build["sources"][0]["branch"], "refs/tags/v1.0");
        ensure!(shown(farm, "release", 1)?.contains("release v1.0"));
        let changes = farm.capstan_ok(&["changes"])?;
        ensure!(changes.contains("refs/tags/v1.0"), "{changes}");
        Ok(())
    });
}
