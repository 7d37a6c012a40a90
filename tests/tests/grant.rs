//! `capstan plugin grant`: what a plugin asks for is shown, what the operator accepts is written, and holds at once; what a
//! plugin was refused before is in the audit, with the line that grants it.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, sample, story, versions, wait_for};
use serde_json::{Value, json};

/// What the fixture was refused, by right and value.
fn audit(farm: &Farm) -> Result<Vec<Value>> {
    let page = farm.api()?.get("/plugins/step/fixture-step/audit")?;
    Ok(page["refusals"].as_array().context("expected refusals")?.clone())
}

fn refused(farm: &Farm, times: u64) -> Result<Value> {
    wait_for("the refusal in the audit", BOUND, || {
        let rows = audit(farm)?;
        Ok(rows.into_iter().find(|row| row["times"] == times))
    })
}

#[test]
fn what_is_granted_is_written_and_holds_at_once() {
    story(|farm| {
        farm.write("plugins/fixture-step.wasm", versions::guest("fixture-step")?)?;
        let step = "step.fixture_step(name = \"play\", script = [{\"op\": \"run\", \"argv\": [\"sh\", \"-c\", \"true\"]}])";
        farm.write("ci.star", sample::hello(step))?;
        let before = farm.read("capstan.toml")?;
        let shown = farm.capstan_refused(&["plugin", "grant", "fixture-step"])?;
        for word in [
            "step fixture-step",
            "commands",
            "sh",
            "missing",
            "use the secret token",
            "--all",
            "--only",
        ] {
            ensure!(shown.contains(word), "expected `{word}` in: {shown}");
        }
        ensure!(farm.read("capstan.toml")? == before, "looking changes nothing");
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.force("hello", &json!({}))?;
        let row = refused(farm, 1)?;
        let facts = ["right", "value", "side", "owner", "builder", "number"].map(|key| row[key].clone());
        let expected = [
            json!("commands"),
            json!("sh"),
            json!("operator"),
            json!("play"),
            json!("hello"),
            json!(1),
        ];
        assert_eq!(facts, expected, "{row:#}");
        assert_eq!(row["remedy"], "[grants.fixture-step]\ncommands = [\"sh\"]");

        let said = farm.capstan_ok(&["plugin", "grant", "fixture-step", "--only", "commands=sh"])?;
        ensure!(said.contains("granted: commands `sh`"), "{said}");
        let after = farm.read("capstan.toml")?;
        ensure!(
            after.starts_with(before.trim_end()),
            "what stood there stays: {after}"
        );
        ensure!(
            after.contains("[grants.fixture-step]\ncommands = [\"sh\"]"),
            "{after}"
        );
        ensure!(
            farm.read("capstan.lock")?.contains("name = \"fixture-step\""),
            "expected it in the lock"
        );
        // The running master has heard of it: what was refused is done.
        farm.force("hello", &json!({}))?;
        farm.edit("ci.star", "\"sh\", \"-c\"", "\"make\", \"-c\"")?;
        farm.capstan_ok(&["reload"])?;
        farm.force("hello", &json!({}))?;
        wait_for("the second refusal in the audit", BOUND, || {
            Ok(audit(farm)?
                .iter()
                .any(|row| row["value"] == "make")
                .then_some(()))
        })?;
        let sh: Vec<_> = audit(farm)?
            .into_iter()
            .filter(|row| row["value"] == "sh")
            .collect();
        assert_eq!(
            (sh.len(), &sh[0]["times"]),
            (1, &json!(1)),
            "it was refused once, before it was granted"
        );

        // By hand it is as good.
        farm.edit(
            "capstan.toml",
            "commands = [\"sh\"]",
            "commands = [\"sh\", \"make\"]",
        )?;
        let said = farm.capstan_ok(&["reload"])?;
        ensure!(said.contains("grants of fixture-step changed"), "{said}");
        let said = farm.capstan_ok(&["reload"])?;
        ensure!(said.contains("nothing changed"), "{said}");

        farm.capstan_ok(&["plugin", "grant", "fixture-step", "--all", "--json"])?;
        let shown = farm.capstan_ok(&["plugin", "grant", "fixture-step"])?;
        ensure!(!shown.contains("missing"), "{shown}");
        Ok(())
    });
}

#[test]
fn what_cannot_be_granted_is_said_and_nothing_is_written() {
    story(|farm| {
        farm.write("plugins/fixture-step.wasm", versions::guest("fixture-step")?)?;
        let before = farm.read("capstan.toml")?;
        for (arguments, says) in [
            (&["nobody"][..], "expected a plugin `nobody`"),
            (
                &["fixture-step", "--kind", "reporter"],
                "expected a plugin `fixture-step`",
            ),
            (
                &["fixture-step", "--only", "commands=rm"],
                "within what the plugin asks for",
            ),
            (
                &["fixture-step", "--only", "command=sh"],
                "expected one of commands, http",
            ),
            (&["fixture-step", "--only", "commands=s*"], "a program such as"),
            (&["fixture-step", "--only", "sh"], "RIGHT=PATTERN"),
        ] {
            let words = [&["plugin", "grant"][..], arguments].concat();
            let said = farm.capstan_refused(&words)?;
            ensure!(said.contains(says), "expected `{says}` in: {said}");
        }
        ensure!(farm.read("capstan.toml")? == before, "nothing is written");
        // Without a master, and for a plugin that is built in.
        farm.capstan_ok(&[
            "plugin",
            "grant",
            "http-push",
            "--only",
            "http=POST https://chat.example.org/hooks/*",
        ])?;
        let after = farm.read("capstan.toml")?;
        ensure!(
            after.contains("http = [\"POST https://chat.example.org/hooks/*\"]"),
            "{after}"
        );
        farm.capstan_ok(&["check"])?;
        Ok(())
    });
}

#[test]
fn a_host_of_its_own_network_is_named_although_any_address_is_granted() {
    story(|farm| {
        let grant =
            |option: &[&str]| farm.capstan_ok(&[&["plugin", "grant", "http-push"][..], option].concat());
        let said = grant(&["--all"])?;
        ensure!(
            said.contains("does not reach this machine or private addresses"),
            "{said}"
        );
        let local = "http=POST http://127.0.0.1:18120/*";
        let said = grant(&["--only", local])?;
        ensure!(
            said.contains("granted: http `POST http://127.0.0.1:18120/*`")
                && !said.contains("does not reach"),
            "{said}"
        );
        let toml = farm.read("capstan.toml")?;
        ensure!(
            toml.contains("\"*\", \"POST http://127.0.0.1:18120/*\""),
            "{toml}"
        );
        ensure!(grant(&["--only", local])?.contains("Nothing had to be added"));
        let shown = grant(&[])?;
        let row = shown.lines().find(|line| line.contains("127.0.0.1:18120"));
        ensure!(row.is_some_and(|row| row.ends_with("granted")), "{shown}");
        Ok(())
    });
}

#[test]
fn a_plugin_that_was_granted_nothing_is_remarked_on_and_a_file_names_what_is_missing() {
    story(|farm| {
        let file = farm.root().join("fixture-step.wasm");
        std::fs::write(&file, versions::guest("fixture-step")?)?;
        let file = file.display().to_string();
        let install = |farm: &Farm| farm.capstan_ok(&["plugin", "install", &file]);
        let missing = "`capstan plugin grant fixture-step` grants that";
        let said = install(farm)?;
        ensure!(
            said.contains("asks for commands sh, which is not granted yet") && said.contains(missing),
            "{said}"
        );
        farm.write(
            "ci.star",
            sample::hello("step.fixture_step(name = \"play\", script = [])"),
        )?;
        farm.start_master()?;
        let warning = ": the step `fixture-step` is used and asks for";
        let said = farm.capstan_ok(&["reload"])?;
        ensure!(
            said.contains(warning) && said.contains("`capstan plugin grant fixture-step`"),
            "{said}"
        );
        farm.capstan_ok(&["plugin", "grant", "fixture-step", "--only", "commands=sh"])?;
        let said = farm.capstan_ok(&["reload"])?;
        ensure!(!said.contains(warning), "{said}");
        let said = install(farm)?;
        ensure!(
            !said.contains("commands sh") && said.contains("commands make") && said.contains(missing),
            "{said}"
        );
        farm.capstan_ok(&["plugin", "grant", "fixture-step", "--all"])?;
        let said = install(farm)?;
        ensure!(!said.contains("plugin grant"), "{said}");
        Ok(())
    });
}

#[test]
fn the_log_of_a_step_that_was_skipped_is_answered_with_that() {
    story(|farm| {
        let steps = "step.shell(name = \"bad\", command = \"exit 1\", halt_on_failure = True),\n\
                     step.shell(name = \"never\", command = \"true\"),";
        farm.write("ci.star", sample::hello(steps))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.force("hello", &json!({}))?;
        farm.finished("hello", 1)?;
        let said = farm.capstan_refused(&["log", "hello/1", "never"])?;
        ensure!(said.contains("the step was skipped: it has no logs"), "{said}");
        let said = farm.capstan_refused(&["log", "hello/1", "bad", "stdout"])?;
        ensure!(said.contains("the step has no such log (it has: "), "{said}");
        Ok(())
    });
}
