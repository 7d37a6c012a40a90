//! One undisturbed run of a step, in every wait mode: what its calls do, what they are refused, how it ends.

use std::time::Duration;

use capstan_engine::{StepEnd, StepError, StepFailure};
use capstan_model::journal::{Class, Effect, Kind};
use capstan_model::{CommandId, EnvValue, Outcome, StepId};
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::support::{fresh, plugin};

/// Runs a script, and answers the end and what is left.
async fn play(script: Value) -> (StepEnd, Lasting) {
    in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode);
        let end = farm.run(run, no_stop()).await.unwrap().unwrap();
        (end, farm.lasting())
    })
    .await
}

/// The lines that the fixture made of the answers.
fn trace(lasting: &Lasting) -> String {
    let set = lasting.effects.iter().rev().find_map(|(_, effect)| match effect {
        Effect::SetProperty(property) if property.name == "trace" => Some(property.value.clone()),
        _ => None,
    });
    let lines = set.expect("the step came to its end");
    lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

async fn failure(script: Value) -> String {
    let (end, lasting) = play(script).await;
    assert_eq!(end.outcome, Outcome::Exception);
    assert!(
        lasting.journal.iter().all(|row| row.kind != Kind::Finished),
        "the guest did not return"
    );
    end.failure.expect("an exception says why").to_string()
}

#[tokio::test]
async fn a_step_runs_commands_and_learns_how_they_ended() {
    let (end, lasting) = play(json!([
        { "op": "run", "argv": ["make", "all"], "capture": 100 },
        { "op": "run", "argv": ["make", "fail"] },
        { "op": "run", "argv": ["make", "crash"] },
        { "op": "run", "argv": ["make", "missing"] },
        { "op": "run", "argv": ["make", "quiet"] },
        { "op": "run", "argv": ["make", "lost"] },
        { "op": "run", "argv": ["make", "latin"], "capture": 9 },
        { "op": "run", "shell": "x shell" },
    ]))
    .await;
    assert_eq!(
        end,
        StepEnd {
            outcome: Outcome::Warnings,
            summary: None,
            ends_build: None,
            failure: None
        }
    );
    assert_snapshot!(trace(&lasting), @r##"
    run: Exit::Code(0) "all"
    run: Exit::Code(2) "fail"
    run: Exit::Signal(11) "crash"
    run: Exit::NotStarted("no such program") "missing"
    run: Exit::IdleTimeout "quiet"
    run: CommandError::WorkerLost("w1 is gone")
    run: Exit::Code(0) "�\n"
    run: Exit::Code(0) "shell"
    "##);
    let logs: Vec<_> = lasting.rows.values().map(|spec| spec.log.as_str()).collect();
    assert!(
        logs.contains(&"stdio") && logs.contains(&"stdio-8"),
        "each command has a log of its own: {logs:?}"
    );
}

#[tokio::test]
async fn a_command_is_what_the_guest_said_and_what_the_build_adds() {
    let (_, lasting) = play(json!([{
        "op": "run", "argv": ["make", "all"], "workdir": "src", "log": "compile", "secret": "token", "unset": "HOME",
        "lang": "C", "timeouts": 1000, "capture": 999_999,
    }]))
    .await;
    let spec = lasting.rows.values().next().unwrap();
    assert_eq!(spec.env["TOKEN"], EnvValue::Secret("token".to_owned()));
    assert_json_snapshot!(spec, @r##"
    {
      "program": {
        "argv": [
          "make",
          "all"
        ]
      },
      "builder_dir": "hello",
      "workdir": "src",
      "env": {
        "CI": {
          "set": "1"
        },
        "HOME": "unset",
        "LANG": {
          "set": "C"
        },
        "TOKEN": {
          "secret": "token"
        }
      },
      "log": "compile",
      "idle_timeout_ms": 1000,
      "total_timeout_ms": 2000,
      "term_grace_ms": 500,
      "orphan_timeout_ms": 60000,
      "capture_stdout": 65536
    }
    "##);
    let id = CommandId::derive(Uuid::from_u128(7), StepId(9), 1);
    assert!(
        lasting.begun.contains_key(&id),
        "the id comes from installation, step and position"
    );
}

#[tokio::test]
async fn every_effect_has_two_rows_and_the_rest_one() {
    let (_, lasting) = play(json!([
        { "op": "now" },
        { "op": "start", "argv": ["make", "late", "1"] },
        { "op": "wait", "command": 0 },
        { "op": "sleep", "ms": 50 },
    ]))
    .await;
    let rows = lasting.journal.iter().map(|row| {
        format!(
            "{} {} {} {}",
            row.seq,
            row.kind.as_str(),
            row.call,
            row.class.as_str()
        )
    });
    assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r##"
    0 created created local
    1 local clock.now local
    2 start commands.start run-once
    3 end commands.start run-once
    4 start command.wait read-remote
    5 end command.wait read-remote
    6 start timers.sleep-ms timer
    7 end timers.sleep-ms timer
    8 local build.set-property local
    9 finished finished local
    "##);
    let sleep = lasting
        .journal
        .iter()
        .find(|row| row.class == Class::Timer)
        .unwrap();
    let sleep = sleep.request.as_ref().unwrap();
    assert_eq!(
        sleep["do"],
        json!({ "sleep": { "duration_ms": 50, "deadline": 50 } })
    );
}

#[tokio::test]
async fn the_last_word_on_the_end_of_the_build_counts() {
    let (end, lasting) = play(json!([
        { "op": "end-build", "outcome": "failure", "text": "on second thoughts" },
        { "op": "end-build", "outcome": "skipped", "text": "x".repeat(5000) },
    ]))
    .await;
    let (outcome, reason) = end.ends_build.expect("it asked for the end");
    assert_eq!(outcome, Outcome::Skipped);
    assert!(
        reason.len() < 1000,
        "a reason is a few words: {} bytes",
        reason.len()
    );
    let told = lasting.effects.iter().map(|(_, effect)| effect);
    let told: Vec<_> = told
        .filter_map(|effect| match effect {
            Effect::EndBuild { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Outcome::Failure, Outcome::Skipped]);
}

#[tokio::test]
async fn a_step_knows_its_build_and_changes_it() {
    let (end, lasting) = play(json!([
        { "op": "step-name" }, { "op": "sources" }, { "op": "seed" },
        { "op": "get", "name": "branch" }, { "op": "get", "name": "none" },
        { "op": "set", "name": "warnings", "value": "{\"b\": 2, \"a\": 1}" },
        { "op": "get", "name": "warnings" },
        { "op": "set", "name": "bad", "value": "{" },
        { "op": "summary", "text": "3 warnings" },
        { "op": "link", "text": "docs", "url": "https://example.org/" },
        { "op": "link", "text": "bad", "url": "javascript:alert(1)" },
        { "op": "text", "log": "notes", "text": "one\n" },
        { "op": "text", "log": "notes", "text": "zwei ü\n" },
        { "op": "log", "text": "for the operator" },
        { "op": "float", "n": 0 },
    ]))
    .await;
    assert_eq!(end.summary.as_deref(), Some("3 warnings"));
    assert_snapshot!(trace(&lasting), @r##"
    step-name: compile
    sources: [SourceStamp { codebase: "", repository: "https://git.example.org/a", project: "", branch: None, revision: None }]
    seed: 42
    get: Some(Property { name: "branch", value: "\"main\"", source: "scheduler" })
    get: None
    set: Ok(())
    get: Some(Property { name: "warnings", value: "{\"a\":1,\"b\":2}", source: "compile" })
    set: Err("expected JSON: EOF while parsing an object at line 1 column 1")
    summary: 
    link: 
    link: 
    text: 
    text: 
    log: 
    float: 9221120237041090560
    "##);
    assert_eq!(lasting.logs["notes"], "one\nzwei ü\n");
    let effects: Vec<_> = lasting.effects[..3].iter().map(|(_, effect)| effect).collect();
    assert_snapshot!(serde_json::to_string(&effects).unwrap(), @r##"[{"set-property":{"name":"warnings","value":{"a":1,"b":2},"source":"compile"}},{"set-summary":"3 warnings"},{"add-link":{"label":"docs","url":"https://example.org/"}}]"##);
}

#[tokio::test]
async fn commands_side_by_side_are_awaited_in_the_order_of_their_ends() {
    let (_, lasting) = play(json!([
        { "op": "start", "argv": ["make", "late", "9"] },
        { "op": "start", "argv": ["make", "late", "0"] },
        { "op": "start", "argv": ["make", "late", "4"] },
        { "op": "wait-all" },
    ]))
    .await;
    assert!(
        trace(&lasting)
            .ends_with("1 Exit::Code(0) \"late\", 1 Exit::Code(0) \"late\", 0 Exit::Code(0) \"late\""),
        "{}",
        trace(&lasting)
    );
}

#[tokio::test]
async fn a_killed_command_says_so_and_a_forgotten_one_is_ended() {
    let (_, lasting) = play(json!([
        { "op": "start", "argv": ["make", "hang"] },
        { "op": "start", "argv": ["make", "hang"] },
        { "op": "kill", "command": 0, "reason": "enough" },
        { "op": "wait", "command": 0 },
    ]))
    .await;
    assert!(
        trace(&lasting).contains("Exit::Killed(\"enough\")"),
        "{}",
        trace(&lasting)
    );
    let mut reasons: Vec<_> = lasting.killed.values().map(String::as_str).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["enough", "the step has ended"]);
}

#[tokio::test]
async fn what_a_step_may_not_run_is_denied() {
    let (_, lasting) = play(json!([
        { "op": "run", "argv": ["rm", "-rf"] },
        { "op": "run", "argv": ["ungranted"] },
        { "op": "start", "argv": ["make"], "secret": "other" },
        { "op": "run", "argv": [] },
        { "op": "run", "argv": ["make"], "workdir": "../.." },
        { "op": "run", "argv": ["make"], "log": "a/b" },
    ]))
    .await;
    assert_snapshot!(trace(&lasting), @r##"
    run: CommandError::Denied("plugin `fixture-step` may not use commands `rm`: its manifest does not ask for it")
    run: CommandError::Denied("plugin `fixture-step` may not use commands `ungranted`: the manifest asks for it, the operator has not granted it; to grant it, add it to `commands` under [grants.fixture-step] in capstan.toml")
    start: CommandError::Denied("plugin `fixture-step` may not use secrets `other@hello`: its manifest does not ask for it")
    run: CommandError::Invalid("expected a program, found an empty list")
    run: CommandError::Invalid("expected a workdir inside the builder's directory, found \"../..\"")
    run: CommandError::Invalid("expected the name of a log, found \"a/b\"")
    "##);
    assert!(lasting.rows.is_empty() && lasting.begun.is_empty());
}

#[tokio::test]
async fn a_plugin_error_ends_the_step_with_its_kind() {
    let (end, lasting) = play(json!([{ "op": "transient", "text": "mirror is down" }])).await;
    assert_eq!(end.outcome, Outcome::Retry);
    assert_eq!(
        end.failure,
        Some(StepFailure::Transient("mirror is down".to_owned()))
    );
    assert_eq!(lasting.journal.last().unwrap().kind, Kind::Finished);
    let (end, _) = play(json!([{ "op": "permanent", "text": "no such branch" }])).await;
    assert_eq!(
        (end.outcome, end.failure),
        (
            Outcome::Exception,
            Some(StepFailure::Permanent("no such branch".to_owned()))
        )
    );
}

#[tokio::test]
async fn a_hostile_step_ends_as_an_exception_that_says_why() {
    let panic =
        failure(json!([{ "op": "summary", "text": "so far" }, { "op": "panic", "text": "no luck" }])).await;
    assert!(
        panic.contains("it panicked: ") && panic.ends_with("no luck"),
        "{panic}"
    );
    assert_snapshot!(failure(json!([{ "op": "spin" }])).await, @"the plugin was ended: it ran for more than 300 ms without an answer");
    assert_snapshot!(failure(json!([{ "op": "allocate" }])).await, @"the plugin was ended: it needs more than its memory limit of 64 MiB; a higher `limits.memory_mib` in its manifest may help");
    assert_snapshot!(failure(json!([{ "op": "now-forever" }])).await, @"the plugin was ended: it used too much: more than 10000 journal rows; a higher `limits.journal_rows` in its manifest may help");
    assert_snapshot!(failure(json!([{ "op": "wait-none" }])).await, @"the plugin was ended: it waits for 0 commands, expected 1 to 1000");
    assert_snapshot!(failure(json!([{ "op": "text", "log": "a", "text": "x".repeat(2 << 20) }])).await, @"the plugin was ended: it used too much: a piece of a log of 2097153 bytes, at most 1048576 fit");
}

#[tokio::test]
async fn what_a_step_noted_before_it_failed_is_kept() {
    let (end, lasting) = play(json!([
        { "op": "summary", "text": "linking" },
        { "op": "text", "log": "notes", "text": "almost\n" },
        { "op": "start", "argv": ["make", "hang"] },
        { "op": "panic", "text": "no luck" },
    ]))
    .await;
    assert_eq!(
        (end.outcome, end.summary.as_deref()),
        (Outcome::Exception, Some("linking"))
    );
    assert_eq!(lasting.logs["notes"], "almost\n");
    assert_eq!(lasting.killed.len(), 1, "nothing is left running");
}

#[tokio::test]
async fn a_stopped_build_ends_its_commands_and_starts_no_more() {
    in_every_mode(async |mode| {
        let script = json!([
            { "op": "start", "argv": ["make", "hang"] },
            { "op": "run", "argv": ["make", "hang"] },
            { "op": "run", "argv": ["make", "all"] },
            { "op": "sleep", "ms": 10_000_000 },
            { "op": "wait", "command": 0 },
        ]);
        let farm = Farm::new(Lasting::default(), Death::Never);
        let (stop, signal) = watch::channel(None);
        let step = farm.run(
            run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode),
            signal,
        );
        let stopper = async {
            wait_until("both commands are begun", || farm.lasting().begun.len() == 2).await;
            stop.send_replace(Some("Ann pressed stop".to_owned()));
        };
        let (end, ()) = tokio::join!(step, stopper);
        assert_eq!(
            end.unwrap().unwrap().outcome,
            Outcome::Warnings,
            "the guest decides what it makes of it"
        );
        let lasting = farm.lasting();
        let lines = trace(&lasting);
        let lines: Vec<_> = lines.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "run: CommandError::Cancelled(\"Ann pressed stop\")",
                "run: CommandError::Cancelled(\"Ann pressed stop\")",
                "sleep: false",
                "wait: Exit::Killed(\"Ann pressed stop\") \"hang\"",
            ]
        );
        assert_eq!((lasting.begun.len(), lasting.killed.len()), (2, 2));

        // Replayed without the signal, as after a restart, the recorded answers hold.
        let again = Farm::new(
            Lasting {
                journal: lasting.journal[..lasting.journal.len() - 1].to_vec(),
                ..lasting.clone()
            },
            Death::Never,
        );
        let run = run_of(&plugin("fixture-step"), script, again.lasting().journal, mode);
        again.run(run, no_stop()).await.unwrap().unwrap();
        assert_eq!(again.lasting().journal, lasting.journal);
    })
    .await;
}

#[tokio::test]
async fn a_sleeping_step_is_woken_by_a_stop() {
    in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let (stop, signal) = watch::channel(None);
        let script = json!([{ "op": "sleep", "ms": 10_000_000 }]);
        let step = farm.run(run_of(&plugin("fixture-step"), script, Vec::new(), mode), signal);
        let stopper = async {
            wait_until("the sleep is recorded", || farm.lasting().journal.len() == 2).await;
            stop.send_replace(Some("enough".to_owned()));
        };
        tokio::join!(step, stopper).0.unwrap().unwrap();
        assert_eq!(trace(&farm.lasting()), "sleep: false");
    })
    .await;
}

#[tokio::test]
async fn checking_parameters_calls_nothing() {
    let step = fresh("fixture-step");
    step.check(&json!({ "script": [] })).await.unwrap();
    assert_snapshot!(step.check(&json!({})).await.unwrap_err(), @"invalid parameters: script: expected a list");
    assert_snapshot!(step.check(&json!({ "script": [], "in_check": "run" })).await.unwrap_err(), @"the plugin was ended: it called commands.run, which is not allowed here");
}

#[tokio::test]
async fn a_step_is_not_run_with_another_plugin_or_a_broken_journal() {
    let step = plugin("fixture-step");
    let refused = async |edit: &dyn Fn(&mut capstan_engine::StepRun)| {
        in_every_mode(async |mode| {
            let mut run = run_of(&step, json!([]), Vec::new(), mode);
            edit(&mut run);
            let farm = Farm::new(Lasting::default(), Death::Never);
            let error: StepError = farm.run(run, no_stop()).await.unwrap().unwrap_err();
            assert_eq!(farm.operations(), 0, "nothing is written");
            error.to_string()
        })
        .await
    };
    let digest = |text: &[u8]| capstan_model::Digest::of(text);
    let wrong = refused(&|run| run.created.plugin = digest(b"x")).await;
    assert!(
        wrong.starts_with("expected the plugin fixture-step (2d711642b726) that the step began with, found"),
        "{wrong}"
    );
    assert_snapshot!(refused(&|run| run.created.host_abi = 99).await, @"the step was begun by a newer master (host ABI 99, this one knows 1); upgrade Capstan");
    assert_snapshot!(refused(&|run| {
        let mut row = capstan_engine::created_row(&run.created, capstan_model::Timestamp(0));
        row.seq = 1;
        run.journal = vec![row];
    }).await, @"expected a step's journal, found row 1 at position 0");
}

#[tokio::test]
async fn a_master_that_lost_its_journal_leaves_the_step() {
    let script = json!([{ "op": "run", "argv": ["make"] }]);
    let error = in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode);
        let other = capstan_engine::created_row(&run.created, capstan_model::Timestamp(0));
        farm.lasting.lock().unwrap().journal = vec![other.clone(), other];
        let error = farm.run(run, no_stop()).await.unwrap().unwrap_err();
        assert!(farm.lasting().begun.is_empty());
        error.to_string()
    })
    .await;
    assert_snapshot!(error, @"the step was left as its journal has it: another master writes this journal");
}

/// Waits for a condition of the farm, with a bound.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), poll)
        .await
        .unwrap_or_else(|_| panic!("waited for: {what}"));
}

/// The step is told, and goes on; nothing of it reaches the build.
#[tokio::test]
async fn a_property_that_is_too_large_is_refused_with_the_limit() {
    let large = format!("\"{}\"", "x".repeat(300 << 10));
    let (end, lasting) = play(json!([
        { "op": "set", "name": "notes", "value": large },
        { "op": "get", "name": "notes" },
    ]))
    .await;
    assert_eq!(end.failure, None);
    assert_snapshot!(trace(&lasting), @r##"
    set: Err("expected the property `notes` to be at most 262144 bytes long as JSON, found 307202")
    get: None
    "##);
}
