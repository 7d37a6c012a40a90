//! Files in the plugin folder that are no usable plugins: each is listed with its reason, everything else works.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use capstan_tests::{BOUND, sample, story, versions, wait_for};
use serde_json::json;

/// An empty core module: WebAssembly, but no component.
const MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

#[test]
fn a_bad_file_is_listed_with_its_reason_and_costs_nothing_else() {
    story(|farm| {
        farm.write("ci.star", sample::hello("step.shell(command = \"true\")"))?;
        farm.write("plugins/garbage.wasm", "not WebAssembly at all")?;
        farm.write("plugins/module.wasm", MODULE)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let plugins = farm.api()?.get("/plugins")?;
        let plugins = plugins["plugins"].as_array().context("expected plugins")?;
        for file in ["garbage.wasm", "module.wasm"] {
            let listed = plugins.iter().find(|plugin| plugin.to_string().contains(file));
            let listed = listed.with_context(|| format!("expected {file} to be listed in {plugins:#?}"))?;
            let reason = listed["error"].as_str().unwrap_or_default();
            assert!(
                reason.contains("component"),
                "expected a reason that speaks of components, found {listed:#}"
            );
        }
        let shell = plugins
            .iter()
            .find(|plugin| plugin["name"] == "shell")
            .context("expected the shell step")?;
        assert!(shell["error"].is_null(), "{shell:#}");
        assert!(farm.capstan_ok(&["plugins"])?.contains("garbage.wasm"));
        assert_eq!(farm.force("hello", &json!({}))?["outcome"], "success");
        Ok(())
    });
}

#[test]
fn a_scheduler_that_wants_to_be_woken_at_a_moment_that_is_over_keeps_nobody_busy() {
    story(|farm| {
        farm.write(
            "plugins/fixture-scheduler.wasm",
            versions::guest("fixture-scheduler")?,
        )?;
        let hello = sample::hello("step.shell(command = \"true\")");
        let hurry =
            "schedule.fixture_scheduler(name = \"haste\", builders = [hello], **{\"do\": \"hurry\"})\n";
        farm.write("ci.star", format!("{hello}{hurry}"))?;
        let began = Instant::now();
        farm.start_master()?;
        let woken = wait_for("it to be woken six times", BOUND, || {
            let said = farm.master()?.output()?;
            Ok((said.matches("in a hurry").count() >= 6).then_some(said))
        })?;
        // The first two at once: the event, and the timer that it set. Then a pause before each.
        assert!(began.elapsed() >= Duration::from_millis(4 * 200), "{woken}");
        assert!(woken.contains("owner=\"haste\""), "{woken}");
        let told = "asks to be woken again at once";
        assert_eq!(woken.matches(told).count(), 1, "{woken}");
        Ok(())
    });
}

#[test]
fn a_right_that_was_not_granted_is_refused_by_name() {
    story(|farm| {
        farm.edit("capstan.toml", "commands = [\"*\"]", "commands = [\"make\"]")?;
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"greet\", command = [\"echo\", \"hello\"])"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let build = farm.force("hello", &json!({}))?;
        assert_ne!(build["outcome"], "success", "{build:#}");
        let step = &build["steps"][0];
        let text = step.to_string();
        for word in ["shell", "commands", "echo", "capstan.toml"] {
            assert!(text.contains(word), "expected `{word}` in {step:#}");
        }
        Ok(())
    });
}
