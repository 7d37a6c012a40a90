//! Builds that meet something bad: hostile names, a repository that vanishes, a program that does not exist, bytes that
//! are no text, a full disk. The build ends with the reason; the master lives.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::logs::printed;
use capstan_tests::{BOUND, Farm, Project, sample, small_disk, story, wait_for};
use serde_json::{Value, json};

/// Starts a farm with one builder of these steps.
fn building(farm: &mut Farm, steps: &str) -> Result<()> {
    farm.write("ci.star", sample::hello(steps))?;
    farm.start_master()?;
    farm.add_worker("w1")
}

/// Everything that a build says about its steps, results and logs.
fn said(farm: &Farm, build: &Value) -> Result<String> {
    let logs = printed(&farm.api()?, build, &farm.root().display().to_string())?;
    let logs: String = logs
        .values()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .collect();
    Ok(format!("{build:#}\n{logs}"))
}

#[test]
fn a_branch_name_is_never_an_option_or_a_second_line() {
    story(|farm| {
        let project = Project::create(farm.root(), "roman")?;
        project.push(sample::HISTORY[0].message, &sample::HISTORY[0].files())?;
        building(
            farm,
            &format!("step.git(repository = {:?})", project.repository()),
        )?;
        let trap = farm.root().join("trap");
        let option = format!("--upload-pack=touch {}", trap.display());
        for branch in [
            option.as_str(),
            "--output=trap",
            "-d",
            "main\nother",
            "a..b",
            "x;touch trap",
            "$(touch trap)",
        ] {
            let build = match farm.force("hello", &json!({ "branch": branch })) {
                Err(refused) if refused.to_string().contains("\"field\":\"branch\"") => continue,
                forced => forced?,
            };
            let outcome = build["outcome"].as_str().unwrap_or_default().to_owned();
            ensure!(
                matches!(outcome.as_str(), "failure" | "exception"),
                "{branch:?} gave {outcome}: {build:#}"
            );
        }
        ensure!(!trap.exists(), "a branch name was executed");
        assert_eq!(
            farm.force("hello", &json!({ "branch": "main" }))?["outcome"],
            "success"
        );
        Ok(())
    });
}

#[test]
fn a_repository_that_vanishes_fails_its_builds_and_is_taken_up_when_it_is_back() {
    story(|farm| {
        let project = Project::create(farm.root(), "roman")?;
        let [first, _, last] = sample::HISTORY;
        project.push(first.message, &first.files())?;
        farm.write(
            "ci.star",
            sample::configuration(&project.repository(), &["w1"], sample::STEPS),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.finished("roman", 1)?;
        let away = farm.root().join("away");
        std::fs::rename(project.bare(), &away)?;
        let build = farm.force("roman", &json!({}))?;
        assert_ne!(build["outcome"], "success", "{build:#}");
        let text = said(farm, &build)?;
        assert!(
            text.contains("roman.git"),
            "expected the repository's name in: {text}"
        );
        assert_eq!(farm.api()?.get("/health")?["status"], "ok");
        std::fs::rename(&away, project.bare())?;
        let revision = project.push(last.message, &last.files())?;
        // What was forced is tried again, a bounded number of times, and may succeed before the push is seen.
        let mut number = 3;
        let build = loop {
            let build = farm.finished("roman", number)?;
            if build["sources"][0]["revision"] == revision {
                break build;
            }
            number += 1;
            ensure!(number < 7, "expected a build of {revision}, found {build:#}");
        };
        assert_eq!(build["outcome"], "success", "{build:#}");
        Ok(())
    });
}

#[test]
fn a_program_that_does_not_exist_fails_the_step_by_name() {
    story(|farm| {
        building(
            farm,
            "step.shell(name = \"missing\", command = [\"no-such-program\"])",
        )?;
        let build = farm.force("hello", &json!({}))?;
        ensure!(
            matches!(build["outcome"].as_str(), Some("failure" | "exception")),
            "{build:#}"
        );
        let text = said(farm, &build)?;
        assert!(text.contains("no-such-program"), "{text}");
        Ok(())
    });
}

#[test]
fn bytes_that_are_no_text_are_kept_as_they_came() {
    story(|farm| {
        // café in Latin-1, a carriage return, a NUL byte, and no newline at the end.
        building(
            farm,
            r#"step.shell(name = "latin", command = ["printf", "caf\\351\\r\\000end"])"#,
        )?;
        let build = farm.force("hello", &json!({}))?;
        assert_eq!(build["outcome"], "success", "{build:#}");
        let logs = printed(&farm.api()?, &build, "")?;
        assert_eq!(
            logs.get("latin/stdio/stdout").map(Vec::as_slice),
            Some(b"caf\xe9\r\0end".as_slice())
        );
        let log = &build["steps"][0]["logs"][0]["id"];
        let lines = farm.api()?.get(&format!("/logs/{log}/lines"))?;
        let text = lines["lines"]
            .as_array()
            .context("expected lines")?
            .iter()
            .map(|line| line["text"].to_string());
        assert!(text.collect::<String>().contains("caf\u{fffd}"), "{lines:#}");
        Ok(())
    });
}

#[test]
fn a_long_line_and_a_large_log_arrive_whole() {
    story(|farm| {
        let line = "head -c 3000000 /dev/zero | tr '\\0' x; echo; seq 200000";
        building(farm, &format!("step.shell(name = \"large\", command = {line:?})"))?;
        let build = farm.force("hello", &json!({}))?;
        assert_eq!(build["outcome"], "success", "{build:#}");
        let log = &build["steps"][0]["logs"][0]["id"];
        let bytes = farm.api()?.bytes(&format!("/logs/{log}/raw?channel=stdout"))?;
        let mut expected = vec![b'x'; 3_000_000];
        expected.push(b'\n');
        (1..=200_000).for_each(|number| expected.extend(format!("{number}\n").bytes()));
        ensure!(
            bytes == expected,
            "expected {} bytes, found {} others",
            expected.len(),
            bytes.len()
        );
        let last = farm
            .api()?
            .get(&format!("/logs/{log}/lines?from=200000&count=5"))?;
        assert!(last.to_string().contains("200000"), "{last:#}");
        Ok(())
    });
}

#[test]
fn a_command_that_runs_too_long_is_ended() {
    story(|farm| {
        building(
            farm,
            "step.shell(name = \"slow\", command = \"sleep 600\", max_time = 1)",
        )?;
        let build = farm.force("hello", &json!({}))?;
        ensure!(
            matches!(build["outcome"].as_str(), Some("failure" | "exception")),
            "{build:#}"
        );
        assert!(said(farm, &build)?.contains("time"), "{build:#}");
        Ok(())
    });
}

#[test]
fn a_command_that_prints_without_end_is_stopped_at_the_limit() {
    story(|farm| {
        farm.edit("capstan.toml", "# max_log = \"4GiB\"", "max_log = \"1MiB\"")?;
        building(farm, "step.shell(name = \"endless\", command = \"yes\")")?;
        let build = farm.force("hello", &json!({}))?;
        ensure!(build["outcome"] == "exception", "{build:#}");
        ensure!(build.to_string().contains("max_log"), "{build:#}");
        wait_for("the command to be gone from the worker", BOUND, || {
            let mut left = std::fs::read_dir(farm.worker_folder("w1").join("commands"))?;
            // What is kept is for the next command.
            let spare = |name: std::ffi::OsString| name.to_string_lossy().starts_with("spare-");
            Ok(left
                .all(|found| found.is_ok_and(|found| spare(found.file_name())))
                .then_some(()))
        })
    });
}

#[test]
fn a_full_disk_under_the_logs_fails_the_build_and_not_the_master() {
    if !small_disk::is_allowed() {
        return;
    }
    story(|farm| {
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"large\", command = \"seq 2000000\")"),
        )?;
        let logs = farm.folder().join("data/logs");
        farm.on_small_disk(&logs, "2m")?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("hello", &json!({}))?;
        ensure!(
            matches!(build["outcome"].as_str(), Some("failure" | "exception")),
            "{build:#}"
        );
        let text = build.to_string().to_lowercase();
        ensure!(
            text.contains("space") || text.contains("full") || text.contains("log store"),
            "{build:#}"
        );
        assert_eq!(farm.api()?.get("/health")?["status"], "ok");
        wait_for("the worker to be connected", BOUND, || {
            Ok((farm.api()?.get("/workers/w1")?["connected"] == true).then_some(()))
        })
    });
}

#[test]
fn a_damaged_log_keeps_no_other_from_its_final_form() {
    story(|farm| {
        building(farm, "step.shell(name = \"greet\", command = \"echo hello\")")?;
        let logs = farm.folder().join("data/logs");
        let mut tries = 0;
        loop {
            let build = farm.force("hello", &json!({}))?;
            farm.kill_master()?;
            let live = logs.join(format!("live/{}.log", build["steps"][0]["logs"][0]["id"]));
            tries += 1;
            ensure!(tries < 10, "a log was in its final form at once, each time");
            // Unless this test was slower than the sealing.
            if live.exists() {
                std::fs::write(live, "no log at all")?;
                break;
            }
            farm.start_master()?;
        }
        farm.start_master()?;
        let build = farm.force("hello", &json!({}))?;
        let sealed = logs.join(format!("sealed/0/{}.clog", build["steps"][0]["logs"][0]["id"]));
        wait_for("the next log's final form", BOUND, || {
            Ok(sealed.exists().then_some(()))
        })
    });
}
