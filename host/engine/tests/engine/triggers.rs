//! Builds that a step asks schedulers for: what may be asked, and what is waited for. That every prefix of a journal comes to the same,
//! and that nothing is asked for twice, `resume` shows.

use capstan_engine::WaitMode;
use capstan_model::journal::Effect;
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::support::plugin;

/// What the fixture was answered, and what it left.
async fn answers(script: Value) -> (Vec<String>, Lasting) {
    in_every_mode(async |mode: WaitMode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode);
        farm.run(run, no_stop()).await.unwrap().unwrap();
        let lasting = farm.lasting();
        let trace = lasting.effects.iter().find_map(|(_, effect)| match effect {
            Effect::SetProperty(property) if property.name == "trace" => Some(property.value.clone()),
            _ => None,
        });
        (serde_json::from_value(trace.unwrap()).unwrap(), lasting)
    })
    .await
}

fn trigger(scheduler: &str, call: &Value) -> Value {
    json!({ "op": "trigger", "scheduler": scheduler, "call": call.to_string() })
}

#[tokio::test]
async fn a_call_carries_the_sources_of_its_build_at_the_revisions_that_it_got() {
    let (lines, lasting) = answers(json!([
        { "op": "set", "name": "got_revision", "value": "\"r9\"" },
        trigger("go-on", &json!({ "sources": "own", "properties": { "a": 1 } })),
        { "op": "await" },
        { "op": "await-other" },
    ]))
    .await;
    let (scheduler, call) = lasting.calls.values().next().unwrap();
    assert_eq!(scheduler, "go-on");
    assert_eq!(call["kind"], "trigger");
    assert_eq!(call["properties"], json!({ "a": 1 }));
    assert_eq!(call["sources"][0]["repository"], "https://git.example.org/a");
    assert_eq!(call["sources"][0]["revision"], "r9");
    assert!(
        lines[2].contains("Outcome::Failure") && lines[2].contains("number: 7"),
        "{lines:?}"
    );
    assert!(
        lines[3].contains("Refused")
            && lines[3].contains("buildsets that this step has asked for, found buildset 4711"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn what_may_not_be_asked_reaches_no_scheduler() {
    let (lines, lasting) = answers(json!([
        trigger("elsewhere", &json!({})),
        trigger("ungranted", &json!({})),
        trigger("go-on", &json!({ "sources": "mine" })),
        trigger("go-on", &json!({ "kind": "force" })),
        trigger("go-on", &json!([])),
        trigger("", &json!({})),
    ]))
    .await;
    let expected = [
        ("Denied", "manifest"),
        ("Denied", "operator"),
        ("Refused", "expected \\\"own\\\" or a list"),
        ("Refused", "found `kind`"),
        ("Refused", "expected an object"),
        ("Refused", "expected the name of a scheduler"),
    ];
    for (line, (kind, reason)) in lines.iter().zip(expected) {
        assert!(line.contains(kind) && line.contains(reason), "{line}");
    }
    assert!(lasting.calls.is_empty());
}

#[tokio::test]
async fn a_circle_is_an_answer() {
    let (lines, _) = answers(json!([trigger("go-circle", &json!({})), { "op": "await" }])).await;
    assert!(
        lines[1].contains("Deadlock(\"a/1 waits for itself\")"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_build_that_is_stopped_cancels_what_it_waits_for() {
    let script = json!([trigger("go-on", &json!({})), { "op": "await" }]);
    let mut cancelled = 0;
    for operation in 1..8 {
        let farm = Farm::stopping(Lasting::default(), Death::Never, operation);
        let run = run_of(
            &plugin("fixture-step"),
            script.clone(),
            Vec::new(),
            WaitMode::Warm,
        );
        let signal = farm.signal();
        farm.run(run, signal).await.unwrap().unwrap();
        let lasting = farm.lasting();
        cancelled += usize::from(!lasting.cancelled.is_empty());
        assert!(
            lasting
                .cancelled
                .iter()
                .all(|id| lasting.calls.contains_key(&(id.0 as u32)))
        );
    }
    assert!(cancelled > 0, "the stop came while it waited");
}
