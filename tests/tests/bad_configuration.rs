//! Wrong configurations: `capstan check` names the place, what it expected and what it found, and a running master keeps
//! the configuration that it has.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use capstan_tests::{sample, story};
use serde_json::json;

const GOOD: &str = "step.shell(command = \"true\")";

/// Checks that `capstan check` refuses this `ci.star` with all these words.
#[track_caller]
fn refused(configuration: &str, words: &[&str]) {
    story(|farm| {
        farm.write("ci.star", configuration)?;
        let text = farm.capstan_refused(&["check"])?;
        contains(&text, words)
    });
}

fn contains(text: &str, words: &[&str]) -> Result<()> {
    let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
    ensure!(missing.is_empty(), "expected {missing:?} in:\n{text}");
    Ok(())
}

#[test]
fn a_good_configuration_is_shown_as_a_plan() {
    story(|farm| {
        farm.write("ci.star", sample::hello(GOOD))?;
        let plan = farm.capstan_ok(&["plan"])?;
        contains(&plan, &["hello", "w1", "shell"])?;
        contains(&farm.capstan_ok(&["check"])?, &["1 builder", "1 worker"])?;
        contains(
            &farm.capstan_ok(&["check", "--builders"])?,
            &["hello on w1, 1 step"],
        )
    });
}

#[test]
fn what_a_reload_would_change_is_shown_before_it_does() {
    story(|farm| {
        farm.write("ci.star", sample::hello(GOOD))?;
        farm.start_master()?;
        contains(&farm.capstan_ok(&["plan", "--diff"])?, &["would change nothing"])?;
        let more = format!("{}\nbuilder(\"a b\", steps = [])\n", sample::hello(GOOD));
        farm.write("ci.star", more)?;
        let told = farm.capstan(&["plan", "--diff"])?;
        assert_eq!(told.status.code(), Some(2));
        contains(&String::from_utf8_lossy(&told.stdout), &["+ builder a b"])?;
        let told = farm.capstan(&["plan", "--diff", "--json"])?;
        let told: serde_json::Value = serde_json::from_slice(&told.stdout)?;
        assert_eq!(told["changes"][0]["change"], "added");
        // It was only looked at.
        contains(&farm.capstan_ok(&["reload"])?, &["+ builder a b"])?;
        contains(&farm.capstan_ok(&["plan", "--diff"])?, &["would change nothing"])
    });
}

#[test]
fn a_program_is_told_faults_with_their_places() {
    story(|farm| {
        farm.write(
            "ci.star",
            "worker(\"w1\")\nbuilder(\"a b\", workers = [\"w2\"], steps = [])\n",
        )?;
        let refused = farm.capstan(&["check", "--json"])?;
        assert_eq!(refused.status.code(), Some(1));
        let told: serde_json::Value = serde_json::from_slice(&refused.stdout)?;
        let fault = &told["diagnostics"][0];
        assert_eq!(told["plan"], serde_json::Value::Null);
        assert_eq!(
            (&fault["severity"], &fault["code"]),
            (&"error".into(), &"unknown-name".into())
        );
        assert_eq!((&fault["file"], &fault["line"]), (&"ci.star".into(), &2.into()));
        farm.write("ci.star", "worker(\"w1\")\nbuilder(\"a b\", steps = [])\n")?;
        let told: serde_json::Value = serde_json::from_str(&farm.capstan_ok(&["check", "--json"])?)?;
        assert_eq!(
            (&told["counts"]["builders"], &told["plan"]["builders"][0]["name"]),
            (&1.into(), &"a b".into())
        );
        let codes = told["diagnostics"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["code"].clone());
        assert!(
            codes.collect::<Vec<_>>().contains(&"unasked-builder".into()),
            "{told}"
        );
        Ok(())
    });
}

#[test]
fn an_unknown_key_of_the_operators_file() {
    story(|farm| {
        farm.write("ci.star", sample::hello(GOOD))?;
        farm.edit("capstan.toml", "[web]\n", "[web]\nlissten = \"127.0.0.1:1\"\n")?;
        let text = farm.capstan_refused(&["check"])?;
        contains(&text, &["capstan.toml:", "lissten", "listen"])?;
        contains(&farm.capstan_refused(&["run"])?, &["capstan.toml:", "lissten"])
    });
}

#[test]
fn a_wrong_type_in_the_operators_file() {
    story(|farm| {
        farm.write("ci.star", sample::hello(GOOD))?;
        farm.edit("capstan.toml", "[web]\nlisten = ", "[web]\nlisten = 8010 #")
            .or_else(|_| farm.edit("capstan.toml", "[database]\nurl = ", "[database]\nurl = 7 #"))?;
        contains(
            &farm.capstan_refused(&["check"])?,
            &["capstan.toml:", "expected", "found"],
        )
    });
}

#[test]
fn a_folder_that_is_no_farm() {
    story(|farm| {
        std::fs::remove_file(farm.folder().join("capstan.toml"))?;
        contains(
            &farm.capstan_refused(&["run"])?,
            &["capstan.toml", "capstan init"],
        )
    });
}

#[test]
fn an_unknown_parameter() {
    refused(
        &sample::hello("step.shell(comand = \"true\")"),
        &["ci.star:2:", "comand", "command"],
    );
}

#[test]
fn a_parameter_of_the_wrong_type() {
    refused(
        &sample::hello("step.shell(command = 7)"),
        &["ci.star:2:", "command", "7"],
    );
}

#[test]
fn a_missing_parameter() {
    refused(
        &sample::hello("step.shell(name = \"nothing\")"),
        &["ci.star:2:", "command"],
    );
}

#[test]
fn an_unknown_plugin() {
    refused(
        &sample::hello("step.shel(command = \"true\")"),
        &["ci.star:2:", "shel", "shell"],
    );
}

#[test]
fn an_unknown_worker() {
    let text = "worker(\"linux\")\nbuilder(\"b\", workers = [\"linus\"], steps = [step.shell(command = \"true\")])\n";
    refused(text, &["ci.star:2:", "linus", "linux"]);
}

#[test]
fn a_name_that_is_used_twice() {
    let text = format!("{}{}", sample::hello(GOOD), sample::hello(GOOD));
    refused(&text, &["ci.star:4:", "hello", "ci.star:1"]);
}

#[test]
fn a_configuration_that_never_ends() {
    story(|farm| {
        farm.write(
            "ci.star",
            "def spin():\n    for i in range(2000000000):\n        pass\nspin()\n",
        )?;
        let start = Instant::now();
        contains(&farm.capstan_refused(&["check"])?, &["ci.star:"])?;
        ensure!(
            start.elapsed() < Duration::from_secs(20),
            "the check took {:?}",
            start.elapsed()
        );
        Ok(())
    });
}

#[test]
fn a_bad_configuration_leaves_a_running_master_as_it_is() {
    story(|farm| {
        farm.write("ci.star", sample::hello(GOOD))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.write(
            "ci.star",
            "builder(\"hello\", steps = [step.shell(comand = \"true\")])\n",
        )?;
        contains(&farm.capstan_refused(&["reload"])?, &["ci.star:1:", "comand"])?;
        assert_eq!(farm.force("hello", &json!({}))?["outcome"], "success");
        farm.write("ci.star", sample::hello("step.shell(command = \"false\")"))?;
        farm.capstan_ok(&["reload"])?;
        assert_eq!(farm.force("hello", &json!({}))?["outcome"], "failure");
        Ok(())
    });
}
