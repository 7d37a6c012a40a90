//! The whole chain: a push becomes a change, a build, a log that can be followed, and a report.

use std::ops::ControlFlow;

use anyhow::{Context as _, ensure};
use capstan_tests::farm::Farm;
use capstan_tests::logs::printed;
use capstan_tests::{BOUND, Project, Told, sample, story, wait_for};
use serde_json::json;

/// A farm that watches the sample project, with two workers.
fn watching(farm: &mut Farm) -> anyhow::Result<Project> {
    let project = Project::create(farm.root(), "roman")?;
    farm.write(
        "ci.star",
        sample::configuration(&project.repository(), &["w1", "w2"], sample::STEPS),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    farm.add_worker("w2")?;
    Ok(project)
}

fn reported(farm: &Farm, count: usize) -> anyhow::Result<Vec<serde_json::Value>> {
    wait_for(&format!("{count} reports"), BOUND, || {
        let reports = farm.reports()?;
        Ok((reports.len() >= count).then_some(reports))
    })
}

#[test]
fn a_push_becomes_a_build_and_a_report() {
    story(|farm| {
        let project = watching(farm)?;
        for (number, commit) in (1..).zip(sample::HISTORY) {
            let revision = project.push(commit.message, &commit.files())?;
            let build = farm.finished("roman", number)?;
            assert_eq!(build["outcome"], commit.outcome, "{build:#}");
            assert_eq!(build["sources"][0]["revision"], revision, "{build:#}");
            assert_eq!(build["changes"].as_array().map(Vec::len), Some(1), "{build:#}");
        }
        let broken = farm.finished("roman", 2)?;
        let text = printed(&farm.api()?, &broken, &farm.root().display().to_string())?;
        let errors = text
            .get("test/stdio/stderr")
            .context("expected the log of the tests")?;
        let errors = String::from_utf8_lossy(errors);
        assert!(errors.contains("not ok  4 is IIII, expected IV"), "{errors}");
        let reports = reported(farm, 3)?;
        let outcomes: Vec<_> = reports.iter().map(|report| report["outcome"].as_str()).collect();
        assert_eq!(
            outcomes,
            [Some("success"), Some("failure"), Some("success")],
            "{reports:#?}"
        );
        Ok(())
    });
}

#[test]
fn quick_pushes_become_one_build_of_the_newest() {
    story(|farm| {
        let project = watching(farm)?;
        farm.edit("ci.star", "tree_stable_timer = 0.5", "tree_stable_timer = 3")?;
        farm.capstan_ok(&["reload"])?;
        let [first, _, last] = sample::HISTORY;
        project.push(first.message, &first.files())?;
        let newest = project.push(last.message, &last.files())?;
        let build = farm.finished("roman", 1)?;
        assert_eq!(build["sources"][0]["revision"], newest, "{build:#}");
        assert_eq!(
            farm.api()?.get("/builds?builder=roman")?["builds"]
                .as_array()
                .map(Vec::len),
            Some(1)
        );
        Ok(())
    });
}

#[test]
fn a_log_is_seen_while_the_command_runs() {
    story(|farm| {
        // The command ends only when the test has seen its first line.
        let seen = farm.root().join("seen");
        let line = format!(
            "echo first; until [ -e {} ]; do sleep 0.02; done; echo last",
            seen.display()
        );
        farm.write(
            "ci.star",
            sample::hello(&format!("step.shell(name = \"talk\", command = {line:?})")),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let api = farm.api()?;
        api.post("/builders/hello/force", &json!({}))?;
        let opened = api.events("/events?after=0", |event| {
            let log = event.data["payload"]["log"].as_i64();
            Ok(if event.kind == "log.opened" {
                ControlFlow::Break(log)
            } else {
                ControlFlow::Continue(())
            })
        })?;
        let mut lines = Vec::new();
        api.events(
            &format!(
                "/logs/{}/follow",
                opened.context("expected the log's id in its event")?
            ),
            |event| {
                for line in event.data["lines"].as_array().into_iter().flatten() {
                    if line["channel"] == "stdout" {
                        lines.push(line["text"].as_str().unwrap_or_default().to_owned());
                        std::fs::write(&seen, "")?;
                    }
                }
                Ok(if event.kind == "complete" {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )?;
        assert_eq!(lines, ["first", "last"]);
        Ok(())
    });
}

#[test]
fn the_command_line_forces_a_build_and_shows_it() {
    story(|farm| {
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"greet\", command = \"echo it works\")"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let shown = farm.capstan_ok(&["force", "hello", "--follow"])?;
        assert!(shown.contains("it works"), "{shown}");
        assert_eq!(
            farm.capstan_ok(&["log", "hello/1", "greet", "--raw"])?,
            "it works\n"
        );
        let build: serde_json::Value =
            serde_json::from_str(&farm.capstan_ok(&["--json", "build", "show", "hello/1"])?)?;
        assert_eq!(build["outcome"], "success");
        let listed = farm.capstan_ok(&["builds"])?;
        ensure!(
            listed.contains("hello/1") && listed.contains("success"),
            "{listed}"
        );
        Ok(())
    });
}

#[test]
fn a_failing_build_fails_the_command_that_forced_it() {
    story(|farm| -> Told {
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"fail\", command = \"exit 3\")"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let shown = farm.capstan_refused(&["force", "hello", "--follow"])?;
        assert!(shown.contains("failure"), "{shown}");
        Ok(())
    });
}

#[test]
fn a_stopped_build_ends_its_processes() {
    story(|farm| {
        let alive = farm.root().join("alive");
        let line = format!("echo $$ > {}; sleep 600 & wait", alive.display());
        farm.write(
            "ci.star",
            sample::hello(&format!("step.shell(name = \"hang\", command = {line:?})")),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/hello/force", &json!({}))?;
        let id = wait_for("the command to start", BOUND, || {
            let text = std::fs::read_to_string(&alive)?;
            Ok(text.strip_suffix('\n').map(str::to_owned))
        })?;
        farm.capstan_ok(&["stop", "hello/1", "--reason", "no longer wanted"])?;
        let build = farm.finished("hello", 1)?;
        assert_eq!(build["outcome"], "cancelled", "{build:#}");
        ensure!(
            !std::path::Path::new(&format!("/proc/{id}")).exists(),
            "the process {id} is still there"
        );
        Ok(())
    });
}

#[test]
fn a_checkout_can_start_from_nothing_with_what_init_granted() {
    story(|farm| {
        let project = Project::create(farm.root(), "roman")?;
        let revision = project.push(sample::HISTORY[0].message, &sample::HISTORY[0].files())?;
        let repository = project.repository();
        let steps = format!("step.git(repository = {repository:?}, mode = \"full\", method = \"clobber\")");
        farm.write("ci.star", sample::hello(&steps))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        for _ in 0..2 {
            let build = farm.force("hello", &json!({}))?;
            assert_eq!(build["outcome"], "success", "{build:#}");
            assert!(build["properties"].to_string().contains(&revision), "{build:#}");
        }
        Ok(())
    });
}
