//! `capstan why`: each thing that keeps a request from starting is told in words that a person can act on.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

/// `w1` runs one build at a time, `w2` three; nobody joins as `gone`.
const CONFIGURATION: &str = r#"
worker("w1", slots = 1)
worker("w2", slots = 3)
worker("gone")
held = lock("held")

def quiet(request, worker, clock):
    return "only at night" if request.properties.get("late") else True

def sick(request, worker, clock):
    return {"reason": "the disk is full", "quarantine": 600}

wait = [step.shell(name = "wait", command = "touch ROOT/$NAME; until [ -e ROOT/go ]; do sleep 0.02; done")]
quick = [step.shell(name = "quick", command = "true")]

builder("long", workers = ["w1"], env = {"NAME": "long"}, steps = wait)
builder("full", workers = ["w1"], steps = quick)
builder("behind", workers = ["w1"], steps = quick)
builder("graphics", labels = ["gpu"], steps = quick)
builder("absent", workers = ["gone"], steps = quick)
builder("holder", workers = ["w2"], env = {"NAME": "holder"}, locks = [held.exclusive()], steps = wait)
builder("locked", workers = ["w2"], locks = [held.exclusive()], steps = quick)
builder("ruled", workers = ["w2"], may_start = quiet, steps = quick)
builder("plain", workers = ["w2"], steps = quick)
builder("sick", workers = ["w2"], may_start = sick, steps = quick)
"#;

/// Asks for a build; answers the request.
fn ask(farm: &Farm, builder: &str, body: &Value) -> Result<i64> {
    let answer = farm.api()?.post(&format!("/builders/{builder}/force"), body)?;
    answer["requests"][0].as_i64().context("expected a request")
}

/// Asks for a build that goes on until the test lets it end.
fn begin(farm: &Farm, builder: &str) -> Result<i64> {
    let request = ask(farm, builder, &json!({}))?;
    wait_for(&format!("{builder} to begin"), BOUND, || {
        Ok(farm.root().join(builder).exists().then_some(()))
    })?;
    Ok(request)
}

/// Waits until all of this is said of a request: functions are asked when the dispatcher comes to it.
fn says(farm: &Farm, request: i64, texts: &[&str]) -> Result<()> {
    wait_for(&format!("why {request}"), BOUND, || {
        let why = farm.capstan_ok(&["why", &request.to_string()])?;
        for text in texts {
            ensure!(why.contains(text), "expected {text:?} in {why}");
        }
        Ok(Some(()))
    })
}

#[test]
fn each_reason_is_told() {
    story(|farm| {
        let root = farm.root().display().to_string();
        farm.write("ci.star", CONFIGURATION.replace("ROOT", &root))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.add_worker("w2")?;
        let none = json!({});

        let long = begin(farm, "long")?;
        let full = ask(farm, "full", &none)?;
        says(
            farm,
            full,
            &["pending", "busy with long/1 on w1", "long/1", "on w1"],
        )?;
        let behind = ask(farm, "behind", &none)?;
        says(
            farm,
            behind,
            &[
                "place 2 in the queue",
                "busy with long/1 on w1; 1 request comes before it",
            ],
        )?;
        let same = ask(farm, "full", &none)?;
        says(
            farm,
            same,
            &[&format!("it becomes one build with request {full}")],
        )?;
        let graphics = ask(farm, "graphics", &none)?;
        says(
            farm,
            graphics,
            &["w1", "lacks the label gpu", "gone has never joined"],
        )?;
        let absent = ask(farm, "absent", &none)?;
        says(farm, absent, &["no worker can take it: gone has never joined"])?;

        begin(farm, "holder")?;
        let locked = ask(farm, "locked", &none)?;
        says(farm, locked, &["it waits for the lock held, held by holder/1"])?;
        let ruled = ask(farm, "ruled", &json!({ "properties": { "late": true } }))?;
        says(farm, ruled, &["quiet: only at night"])?;

        farm.capstan_ok(&["worker", "pause", "w2", "--reason", "a new disk"])?;
        let plain = ask(farm, "plain", &none)?;
        says(farm, plain, &["no worker can take it: w2 is paused (a new disk)"])?;
        farm.capstan_ok(&["worker", "unpause", "w2"])?;
        farm.finished("plain", 1)?;
        says(farm, plain, &["plain/1"])?;
        let sick = ask(farm, "sick", &none)?;
        says(farm, sick, &["w2 is in quarantine (sick: the disk is full)"])?;

        let before = farm.read("ci.star")?;
        let gone: Vec<_> = before
            .lines()
            .filter(|line| !line.contains("\"behind\""))
            .collect();
        farm.write("ci.star", gone.join("\n"))?;
        farm.capstan_ok(&["reload"])?;
        says(farm, behind, &["the configuration has no builder of this name"])?;
        let json = farm.capstan_ok(&["why", &behind.to_string(), "--json"])?;
        let json: Value = serde_json::from_str(&json)?;
        ensure!(json["reason"] == "unknown-builder", "{json:#}");

        std::fs::write(farm.root().join("go"), "")?;
        farm.finished("long", 1)?;
        says(farm, long, &["success", "long/1"])?;
        let refused = farm.capstan_refused(&["why", "99999"])?;
        ensure!(refused.contains("there is no request 99999"), "{refused}");
        Ok(())
    });
}

#[test]
fn a_quarantine_outlasts_a_restart_and_a_person_ends_it() {
    story(|farm| {
        let configuration = r#"
worker("w1")

def sick(request, worker, clock):
    return {"reason": "the disk is full", "quarantine": 600} if request.properties.get("heavy") else True

quick = [step.shell(name = "quick", command = "true")]
builder("checked", may_start = sick, steps = quick)
builder("plain", steps = quick)
"#;
        farm.write("ci.star", configuration)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        let heavy = ask(farm, "checked", &json!({ "properties": { "heavy": true } }))?;
        let quarantine = "w1 is in quarantine (sick: the disk is full)";
        says(farm, heavy, &[quarantine])?;
        farm.kill_master()?;
        // Nobody is left to say it again.
        farm.write("ci.star", configuration.replace("\"heavy\"", "\"another\""))?;
        farm.start_master()?;
        let plain = ask(farm, "plain", &json!({}))?;
        says(farm, plain, &[quarantine])?;
        farm.capstan_ok(&["worker", "unpause", "w1"])?;
        farm.finished("plain", 1)?;
        farm.finished("checked", 1)?;
        // And it stays ended.
        farm.stop_master()?;
        farm.start_master()?;
        ask(farm, "plain", &json!({}))?;
        farm.finished("plain", 2)?;
        Ok(())
    });
}
