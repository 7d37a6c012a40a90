//! A step of yesterday's build, run again on a laptop: against the recorded journal, with nothing behind it.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{Farm, sample, story};
use serde_json::{Value, json};

const STEPS: &str = r#"
    step.shell(name = "greet", command = ["sh", "-c", "echo hello; exit 3"], decode_rc = {"3": "warnings"}),
    step.shell(name = "nap", command = ["sh", "-c", "echo begun; exec sleep 600"]),
"#;

/// A plugin of another kind of behaviour: the checkout in place of the shell command.
fn other_plugin(farm: &Farm) -> Result<String> {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests/builtin/git.wasm");
    let file = farm.root().join("other.wasm");
    std::fs::copy(built, &file).context("failed to copy a plugin: run `cargo xtask plugins`")?;
    Ok(file.display().to_string())
}

#[test]
fn a_recorded_step_is_replayed_on_a_laptop() {
    story(|farm| {
        farm.write("ci.star", sample::hello(STEPS))?;
        // Each wait drops its instance: what is replayed then is what is replayed here.
        farm.edit(
            "capstan.toml",
            "# keep_instances = \"30s\"",
            "keep_instances = \"0s\"",
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "hello"])?;
        let build = capstan_tests::wait_for("the second step to wait", capstan_tests::BOUND, || {
            let build = farm.api()?.get("/builders/hello/builds/1").ok();
            Ok(build.filter(|build| build["steps"][1]["logs"][0]["length"].as_u64() > Some(0)))
        })?;

        let agreed = farm.capstan_ok(&["replay", "hello/1", "greet"])?;
        ensure!(
            agreed.contains("agrees: it ends with warnings: exit code 3"),
            "{agreed}"
        );
        let running = farm.capstan_ok(&["replay", "hello/1", "nap"])?;
        for text in [
            "agrees as far as the journal goes",
            "it waits for commands.run",
            "sleep 600",
        ] {
            ensure!(running.contains(text), "expected `{text}` in {running}");
        }

        let other = other_plugin(farm)?;
        let refused = farm.capstan_refused(&["replay", "hello/1", "greet", "--plugin", &other])?;
        for text in ["differs at row 1", "recorded: commands.run", "echo hello"] {
            ensure!(refused.contains(text), "expected `{text}` in {refused}");
        }

        // Whoever may only read the pages gets neither journal nor component.
        let id = &build["steps"][0]["id"];
        for path in [format!("/steps/{id}/rows"), format!("/steps/{id}/component")] {
            let (status, body) = farm.api()?.with_token(None).try_get(&path)?;
            ensure!(
                status == 401,
                "expected a refusal of {path}, found {status}: {body}"
            );
        }

        farm.capstan_ok(&["stop", "hello/1"])?;
        farm.finished("hello", 1)?;
        let file = farm.root().join("step.json").display().to_string();
        farm.capstan_ok(&["replay", "hello/1", "nap", "--save", &file])?;
        farm.stop_master()?;
        let json = farm.capstan_ok(&["replay", "--from", &file, "--json"])?;
        let json: Value = serde_json::from_str(&json)?;
        ensure!(
            json["agrees"] == true && json["verdict"]["agrees"]["outcome"] == "cancelled",
            "{json:#}"
        );
        ensure!(json["messages"] == json!([]), "{json:#}");
        let refused = farm.capstan_refused(&["replay", "--from", &file, "--plugin", &other])?;
        ensure!(refused.contains("differs at row 1"), "{refused}");
        Ok(())
    });
}

/// A plugin that panicked is what its author wants to see again most.
#[test]
fn a_plugin_that_was_ended_is_ended_again() {
    story(|farm| {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../target/guests/fixtures/fixture-step.wasm"
        );
        let fixture = std::fs::read(fixture).context("failed to read a plugin: run `cargo xtask plugins`")?;
        farm.write("plugins/fixture-step.wasm", fixture)?;
        let configuration = farm.read("capstan.toml")?;
        farm.write(
            "capstan.toml",
            format!("{configuration}\n[grants.fixture-step]\ncommands = [\"*\"]\n"),
        )?;
        let script = json!([
            { "op": "log", "text": "before" }, { "op": "run", "argv": ["sh", "-c", "true"] },
            { "op": "log", "text": "after" }, { "op": "panic", "text": "no luck" },
        ]);
        let step = format!("step.fixture_step(name = \"odd\", script = {script})");
        farm.write("ci.star", sample::hello(&step))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        ensure!(farm.force("hello", &json!({}))?["outcome"] == "exception");
        let replayed = farm.capstan_ok(&["replay", "hello/1", "odd"])?;
        for text in [
            "row 1     info  before",
            "row 3     info  after",
            "agrees: the plugin was ended before row 3: it panicked: ",
            "no luck",
        ] {
            ensure!(replayed.contains(text), "expected `{text}` in {replayed}");
        }
        Ok(())
    });
}
