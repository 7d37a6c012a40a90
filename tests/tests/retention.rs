//! What happened is removed by rule and nothing else: old builds with their files, not the ones that somebody keeps; and whoever
//! follows an old link is told. A reload that is refused changes nothing.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, sample, story, wait_for};
use serde_json::{Value, json};

const STEPS: &str = "step.shell(name = \"make\", command = \"echo made; mkdir -p dist; head -c 3000 /dev/urandom > dist/app\"),
step.upload(name = \"store\", path = \"build/dist/app\"),";

/// The message of an answer that has to be `410 Gone`.
fn gone(farm: &Farm, path: &str) -> Result<String> {
    let (status, body) = farm.api()?.try_get(path)?;
    ensure!(
        status == 410,
        "expected {path} to be gone, found {status}: {body}"
    );
    let message = body["error"]["message"].as_str();
    Ok(message.context("expected a message")?.to_owned())
}

fn content(farm: &Farm, build: &Value) -> Result<std::path::PathBuf> {
    let listed = farm.api()?.get(&format!("/builds/{}/artefacts", build["id"]))?;
    let sha256 = listed["artefacts"][0]["sha256"]
        .as_str()
        .context("expected an artefact")?;
    Ok(farm
        .folder()
        .join("data/artefacts")
        .join(&sha256[..2])
        .join(sha256))
}

#[test]
fn old_builds_go_with_their_files_and_leave_word() {
    story(|farm| {
        farm.write("ci.star", sample::hello(STEPS))?;
        let rules = "\n[retention]\nautomatic = false\nspare = \"0s\"\n\n[[retention.rules]]\nbuilders = [\"he*\"]\n\
                     newest_builds = 2\n";
        let operator = farm.read("capstan.toml")?;
        farm.write("capstan.toml", format!("{operator}{rules}"))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let builds = (0..4)
            .map(|_| farm.force("hello", &json!({})))
            .collect::<Result<Vec<_>>>()?;
        ensure!(
            builds.iter().all(|build| build["outcome"] == "success"),
            "expected good builds: {builds:?}"
        );
        let (kept, old) = (content(farm, &builds[0])?, content(farm, &builds[1])?);
        farm.capstan_ok(&["build", "keep", "hello/1", "--reason", "the first release"])?;

        // Looking changes nothing.
        let shown = farm.capstan_ok(&["retention"])?;
        let line = |name: &str| {
            shown
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
        };
        ensure!(
            line("builds").trim_end().ends_with("   1"),
            "expected one build to go:\n{shown}"
        );
        ensure!(
            line("artefacts").ends_with("1 (3.0 kB)"),
            "expected its artefact to go:\n{shown}"
        );
        ensure!(
            shown.contains("1 rule, carried out only by `capstan retention run`"),
            "{shown}"
        );
        farm.finished("hello", 2)?;

        let removed = farm.capstan_ok(&["retention", "run"])?;
        ensure!(removed.contains("1 artefacts (3.0 kB), 1 builds"), "{removed}");
        let words = gone(farm, "/builders/hello/builds/2")?;
        ensure!(
            words.starts_with("build `hello/2` was removed by retention, ")
                && words.ends_with("after its build had ended"),
            "{words}"
        );
        gone(farm, &format!("/builds/{}", builds[1]["id"]))?;
        let (status, _) = farm
            .api()?
            .try_get(&format!("/logs/{}", builds[1]["steps"][0]["logs"][0]["id"]))?;
        assert_eq!(status, 404);
        for number in [1, 3, 4] {
            farm.finished("hello", number)?;
        }
        // Content that was stored just now may be wanted by a row that is on its way: it goes when that cannot be any more.
        farm.stop_master()?;
        farm.start_master()?;
        wait_for("the file of the artefact to go", BOUND, || {
            Ok((!old.exists()).then_some(()))
        })?;
        ensure!(kept.exists(), "expected the artefact of the build that is kept");

        // Left to the rules again, it goes, too; a reload puts new rules in force.
        farm.capstan_ok(&["build", "unkeep", "hello/1"])?;
        farm.edit(
            "capstan.toml",
            "newest_builds = 2\n",
            "newest_builds = 2\nnewest_logs = 1\n",
        )?;
        let told = farm.capstan_ok(&["reload"])?;
        ensure!(told.contains("~ retention"), "{told}");
        farm.capstan_ok(&["retention", "run"])?;
        gone(farm, "/builders/hello/builds/1")?;
        let words = gone(
            farm,
            &format!("/logs/{}/raw", builds[2]["steps"][0]["logs"][0]["id"]),
        )?;
        ensure!(
            words.starts_with("the log `stdio` was removed by retention"),
            "{words}"
        );
        let newest = builds[3]["steps"][0]["logs"][0]["id"].clone();
        assert_eq!(farm.api()?.bytes(&format!("/logs/{newest}/raw"))?, b"made\n");
        // Numbers go on.
        assert_eq!(farm.force("hello", &json!({}))?["number"], 5);
        Ok(())
    });
}

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    story(|farm| {
        let good = format!(
            "load(\"more.star\", \"more\")\n{}more()\n",
            sample::hello("step.shell(command = \"true\")")
        );
        let more = "def more():\n    builder(\"second\", steps = [step.shell(command = \"true\")])\n";
        farm.write("ci.star", &good)?;
        farm.write("more.star", more)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        for (file, from, to) in [
            // The second file has a fault, after the first one has defined something new.
            ("more.star", "steps =", "stpes ="),
            ("more.star", "def more()", "def more("),
            // A plugin's schema and its own check find fault with a parameter.
            ("ci.star", "command = \"true\"", "command = 7"),
            (
                "ci.star",
                "step.shell(command = \"true\")",
                "step.git(repository = \"-x\")",
            ),
            // One name in two files.
            ("more.star", "\"second\"", "\"hello\""),
            // The operator's file.
            ("capstan.toml", "[web]", "[wep]"),
        ] {
            let whole = farm.read(file)?;
            farm.edit(file, from, to)?;
            farm.write(
                "ci.star",
                format!("builder(\"new\", steps = [])\n{}", farm.read("ci.star")?),
            )?;
            farm.capstan_refused(&["reload"])
                .with_context(|| format!("{file}: {to}"))?;
            // What is in force is what the files said before, and so differs in nothing from what they say again.
            farm.write("ci.star", &good)?;
            farm.write(file, whole)?;
            let told = farm.capstan_ok(&["plan", "--diff"])?;
            ensure!(told.contains("would change nothing"), "{file}: {to}: {told}");
        }
        assert_eq!(farm.force("second", &json!({}))?["outcome"], "success");
        Ok(())
    });
}
