//! The stub set of WASI: who gets it, that nothing behind it is real, and that none of it costs the master anything. That a
//! step which uses it comes to the same however often it is run again is `resume`'s and `replay`'s to show.

use std::time::Duration;

use capstan_engine::{StepEnd, WaitMode};
use capstan_model::{Outcome, Timestamp};
use insta::{assert_debug_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::diagnostics::messages;
use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::resume::{Subject, undisturbed};
use crate::support::{engine, fixture, patch, plugin, with_manifest};

/// Runs a script in a farm where the time is `now`.
async fn play(script: Value, now: i64, mode: WaitMode) -> (StepEnd, Lasting) {
    let lasting = Lasting {
        now: Timestamp(now),
        ..Lasting::default()
    };
    let farm = Farm::new(lasting, Death::Never);
    let run = run_of(&plugin("fixture-wasi"), script, Vec::new(), mode);
    let bounded = tokio::time::timeout(Duration::from_secs(60), farm.run(run, no_stop()));
    (bounded.await.unwrap().unwrap().unwrap(), farm.lasting())
}

/// What the script saw.
fn trace(lasting: &Lasting) -> Vec<String> {
    let last = lasting.effects.last().expect("the trace is a property");
    let value = serde_json::to_value(&last.1).unwrap();
    let found = find(&value, "value").expect("a property has a value");
    serde_json::from_value(found).unwrap()
}

fn find(value: &Value, key: &str) -> Option<Value> {
    let Value::Object(members) = value else {
        return None;
    };
    members
        .get(key)
        .cloned()
        .or_else(|| members.values().find_map(|inner| find(inner, key)))
}

async fn seen(script: Value) -> Vec<String> {
    let (end, lasting) = play(script, 0, WaitMode::Warm).await;
    assert_eq!(end.failure, None);
    trace(&lasting)
}

/// How a step ended that the host had to end.
async fn ended(op: &str) -> String {
    let (end, _) = play(json!([{ "op": op }]), 0, WaitMode::Warm).await;
    assert_eq!(end.outcome, Outcome::Exception);
    end.failure.expect("it was ended").to_string()
}

#[tokio::test]
async fn nothing_of_the_machine_can_be_reached() {
    let script = json!([
        { "op": "environment" }, { "op": "files" }, { "op": "in" }, { "op": "socket" },
        { "op": "lookup", "text": "localhost" }, { "op": "zeroes", "n": 1 << 30 },
    ]);
    assert_debug_snapshot!(seen(script).await, @r#"
    [
        "environment: [] [] None",
        "files: 0",
        "in: Err(StreamError::Closed)",
        "socket: Some(ErrorCode { code: 1, name: \"access-denied\", message: \"\" })",
        "lookup: Some(ErrorCode { code: 1, name: \"access-denied\", message: \"\" })",
        "zeroes: Err(StreamError::Closed)",
    ]
    "#);
}

/// Between the rows of the journal the clock moves by the guest's own calls; with a row it is as late as the row.
#[tokio::test]
async fn a_steps_clock_is_that_of_its_journal() {
    let script = json!([
        { "op": "wall" }, { "op": "wall" }, { "op": "timer", "n": 1500 }, { "op": "wall" }, { "op": "monotonic" },
        { "op": "sleep", "n": 3_600_000 }, { "op": "wall" }, { "op": "poll" }, { "op": "wait-by-reading" },
    ]);
    let seen = in_every_mode(async |mode| trace(&play(script.clone(), 500_000, mode).await.1)).await;
    assert_debug_snapshot!(seen, @r#"
    [
        "wall: 500.000001000",
        "wall: 500.000002000",
        "timer: true",
        "wall: 501.500000000",
        "monotonic: 1500001000",
        "sleep: 3600000 ms",
        "wall: 4101.500005000",
        "poll: [1] false true [1]",
        "wait-by-reading: true",
    ]
    "#);
}

#[tokio::test]
async fn random_numbers_are_the_steps_own() {
    let script = json!([{ "op": "random", "n": 5 }, { "op": "random", "n": 40 }]);
    let (first, again) = (seen(script.clone()).await, seen(script.clone()).await);
    assert_eq!(first, again, "the seed is that of row 0");
    let mut run = run_of(&plugin("fixture-wasi"), script, Vec::new(), WaitMode::Warm);
    run.created.seed = 43;
    let farm = Farm::new(Lasting::default(), Death::Never);
    farm.run(run, no_stop()).await.unwrap().unwrap();
    assert_ne!(trace(&farm.lasting()), first, "another step has others");
}

#[tokio::test]
async fn a_guest_that_waits_or_takes_without_end_is_ended() {
    assert_snapshot!(ended("exit").await, @"the plugin was ended: it called exit (failure); a plugin returns its answer");
    assert_snapshot!(ended("sleep-forever").await, @"the plugin was ended: it ran for more than 300 ms without an answer");
    assert_snapshot!(ended("hold").await, @"the plugin was ended: it used too much: more than 1000 WASI handles at once");
    assert_snapshot!(ended("bytes").await, @"the plugin was ended: it used too much: 18446744073709551615 random bytes at once, at most 1048576 fit");
    assert_snapshot!(ended("poll-none").await, @"the plugin was ended: it polls an empty list, which WASI forbids");
}

#[test]
fn output_becomes_diagnostics_by_the_line_and_once() {
    let out = |text: &str| json!({ "op": "out", "text": text });
    let make = json!({ "op": "run" });
    let long = "x".repeat(10_000);
    let script = json!([out("one\ntw"), make, out("o\n\n"), { "op": "err", "text": "bad\n" }, out(&long), make, out("end")]);
    let told = messages(async {
        play(script, 0, WaitMode::Replay).await;
    });
    let shapes: Vec<_> = told
        .iter()
        .map(|line| format!("{:.5} {}", line, line.len()))
        .collect();
    assert_debug_snapshot!(shapes, @r#"
    [
        "one 3",
        "two 3",
        "bad 3",
        "xxxxx 4096",
        "xxxxx 4096",
        "xxxxx 1811",
    ]
    "#);
}

#[test]
fn a_program_that_gives_up_says_why() {
    let script = json!([{ "op": "err", "text": "Traceback:\nValueError: no" }, { "op": "exit" }]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (end, _) = runtime.block_on(play(script, 0, WaitMode::Warm));
    assert_snapshot!(end.failure.unwrap(), @"the plugin was ended: it called exit (failure: Traceback: ValueError: no); a plugin returns its answer");
}

#[test]
fn wasi_is_for_those_that_ask_for_it() {
    let bytes = fixture("fixture-wasi");
    let manifest =
        |wasi: &str| format!(r#"{{"schema":1,"plugin":{{"name":"odd","kind":"step","version":"1"{wasi}}}}}"#);
    let refusal = |bytes: &[u8]| engine().load(bytes).expect_err("it must be refused").to_string();
    assert_snapshot!(refusal(&with_manifest(&bytes, Some(&manifest("")))), @r#"odd imports `wasi:cli/environment@0.2.6`, which a plugin does not get by default; add `wasi = "stub"` under [plugin] in plugin.toml for stand-ins that reach nothing, or build it without WASI"#);
    assert_snapshot!(refusal(&with_manifest(&bytes, Some(&manifest(r#","wasi":"real""#)))), @"read the manifest: unknown variant `real`, expected `stub` at line 1 column 76");
    assert_snapshot!(refusal(&patch(&bytes, "wasi:sockets/tcp@", "wasi:sockets/raw@")), @"fixture-wasi imports `wasi:sockets/raw@0.2.6`, which the stub set of WASI does not have: it has cli, clocks, filesystem, io, random and sockets of version 0.2; build it without that interface");
    assert_snapshot!(refusal(&patch(&bytes, "wasi:random/random@0.2.6", "wasi:random/random@0.3.0")), @"fixture-wasi imports `wasi:random/random@0.3.0`, which the stub set of WASI does not have: it has cli, clocks, filesystem, io, random and sockets of version 0.2; build it without that interface");
    // Another 0.2 is the same, as far as its functions have the same types.
    engine().load(&patch(&bytes, "@0.2.6", "@0.2.0")).unwrap();
    let write = patch(
        &bytes,
        "[method]output-stream.write",
        "[method]output-stream.flush",
    );
    assert_snapshot!(refusal(&write), @"fixture-wasi cannot be used: component imports instance `wasi:io/streams@0.2.6`, but a matching implementation was not found in the linker: instance export `[method]output-stream.flush` has the wrong type: type mismatch with parameters: expected 1-tuple, found 2-tuple");
}

/// A later 0.2 may have functions that the set does not know.
#[tokio::test]
async fn an_unknown_function_ends_who_calls_it() {
    let newer = patch(&fixture("fixture-wasi"), "get-random-u64", "get-random-n64");
    let plugin = engine().load(&newer).unwrap();
    let end = async |op: &str| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin, json!([{ "op": op }]), Vec::new(), WaitMode::Warm);
        farm.run(run, no_stop()).await.unwrap().unwrap()
    };
    assert_eq!(end("files").await.failure, None);
    assert_snapshot!(end("random").await.failure.unwrap(), @"the plugin was ended: it called wasi:random/random get-random-n64, which is not allowed here");
}

/// The journal holds no clock and no randomness of WASI; a replay comes to them by itself.
#[tokio::test]
async fn no_row_is_spent_on_wasi() {
    let (_, lasting, _) = undisturbed(&Subject::wasi(), WaitMode::Warm).await;
    let calls: Vec<_> = lasting.journal.iter().map(|row| row.call.as_str()).collect();
    assert_debug_snapshot!(calls, @r#"
    [
        "created",
        "clock.now",
        "timers.sleep-ms",
        "timers.sleep-ms",
        "commands.run",
        "commands.run",
        "timers.sleep-ms",
        "timers.sleep-ms",
        "build.set-property",
        "finished",
    ]
    "#);
}
