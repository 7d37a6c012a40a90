//! What steps do, in every language.

use capstan_engine::{CallError, Plugin, StepEnd, StepFailure, Verdict, WaitMode};
use capstan_model::journal::{Effect, Entry};
use capstan_model::plugin::Kind;
use capstan_model::{Exit, Outcome};
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_with};
use crate::support::{engine, guests};

/// How commands end here.
fn exits() -> Vec<(&'static str, Exit, &'static str)> {
    vec![
        ("make two", Exit::Code(2), "b\n"),
        ("make crash", Exit::Signal(11), ""),
        ("make", Exit::Code(0), " grün \n"),
    ]
}

/// Everything that a step can do and that goes well.
fn everything() -> Value {
    json!([
        { "do": "name" }, { "do": "sources" }, { "do": "seed" }, { "do": "now" },
        { "do": "get", "name": "branch" }, { "do": "get", "name": "none" },
        { "do": "run", "argv": ["make", "all"], "capture": 100, "workdir": "src", "log": "compile",
          "env": { "CC": "clang ${CC}", "HOME": null }, "secrets": { "TOKEN": "token" },
          "timeout": "2min", "max_time": 1.5, "term_grace": "250ms" },
        { "do": "run", "shell": "x fail | tee log" },
        { "do": "run", "argv": ["make", "two"], "capture": 1, "timeout": 0 },
        { "do": "run", "argv": ["make", "crash"] },
        { "do": "run", "argv": ["sh", "missing"] },
        { "do": "run", "argv": ["sh", "quiet"] },
        { "do": "text", "log": "notes", "text": "ein \"Täfelchen\"\n\u{1f600}\tzwei\n" },
        { "do": "start", "argv": ["sh", "late", "5"] },
        { "do": "start", "argv": ["sh", "hang"] },
        { "do": "start", "shell": "x late 1" },
        { "do": "kill", "which": 1, "text": "enough" },
        { "do": "wait-all" },
        { "do": "sleep", "span": "500ms" }, { "do": "now" },
        { "do": "set", "name": "size", "value": 3 }, { "do": "get", "name": "size" },
        { "do": "set", "name": "word", "value": "\"ü\"\\" }, { "do": "get", "name": "word" },
        { "do": "link", "text": "docs", "url": "https://example.org/" },
        { "do": "summary", "text": "half of it" },
        { "do": "text", "log": "notes", "text": "end\n" },
        { "do": "check", "argv": ["sh", "ok"] },
        { "do": "publish", "text": "build/app.whl", "name": "dist/app.whl" },
        { "do": "artefact", "name": "dist/notes", "text": "grün" },
        { "do": "trigger", "name": "go-on",
          "value": { "builders": ["b"], "properties": { "wort": "ü" }, "reason": "for \"all\"", "sources": "own" } },
        { "do": "trigger", "name": "go-later", "value": {} },
        { "do": "await" },
        { "do": "end-build", "outcome": "failure", "text": "later" },
        { "do": "end-build", "outcome": "skipped", "text": "enough is known: ü" },
        { "do": "run", "argv": ["make", "all"] },
    ])
}

/// What it is answered. The order of the commands that run side by side is the farm's, and the same for all.
fn answers() -> Value {
    json!([
        "name: compile",
        "sources: https://git.example.org/a - -",
        "seed: 42",
        "now: 0",
        "get: \"main\"",
        "get: null",
        "run: done [grün]",
        "run: exit code 2 [fail]",
        "run: exit code 2 [b]",
        "run: ended by signal 11 []",
        "run: not started: no such program [missing]",
        "run: timed out: no output [quiet]",
        "text: ",
        "start: ",
        "start: ",
        "start: ",
        "kill: ",
        "wait-all: 1 stopped: enough [hang], 2 done [late], 0 done [late]",
        "sleep: true",
        "now: 500",
        "set: ",
        "get: 3",
        "set: ",
        "get: \"\\\"ü\\\"\\\\\"",
        "link: ",
        "summary: ",
        "text: ",
        "check: done [ok]",
        "publish: dist/app.whl 13 9b94b13c",
        "artefact: dist/notes 5 fe263064",
        "trigger: 1",
        "trigger: 1",
        "await: go-on failure b/7 failure, go-later failure b/7 failure",
        "end-build: ",
        "end-build: ",
        "run: done [grün]",
    ])
}

/// What a master has after a step's whole run, whatever it was written in.
async fn played(plugin: &Plugin, script: &Value, mode: WaitMode) -> (StepEnd, Lasting) {
    let nothing = Lasting {
        exits: exits(),
        ..Lasting::default()
    };
    let farm = Farm::new(nothing, Death::Never);
    let run = run_with(plugin, json!({ "script": script }), Vec::new(), mode);
    let end = farm.run(run, no_stop()).await.unwrap().unwrap();
    (end, farm.lasting())
}

/// The rows without what tells plugins apart: the digest in row 0.
fn rows(journal: &[Entry]) -> Vec<Value> {
    let mut rows: Vec<_> = journal
        .iter()
        .map(|row| serde_json::to_value(row).unwrap())
        .collect();
    rows[0]["request"]["plugin"].take();
    rows[0]["request_hash"].take();
    rows
}

/// The property `trace` and the summary, as the step left them.
fn left(lasting: &Lasting) -> (Value, String) {
    let (mut trace, mut summary) = (Value::Null, String::new());
    for (_, effect) in &lasting.effects {
        match effect {
            Effect::SetProperty(property) if property.name == "trace" => trace = property.value.clone(),
            Effect::SetSummary(text) => summary.clone_from(text),
            _ => {}
        }
    }
    (trace, summary)
}

#[tokio::test]
async fn a_step_asks_and_is_answered_the_same_in_every_language() {
    let mut first: Option<(&str, Vec<Value>, Lasting)> = None;
    for (language, plugin) in guests(Kind::Step) {
        let (end, lasting) = in_every_mode(async |mode| played(&plugin, &everything(), mode).await).await;
        assert_eq!(end.failure, None, "{language}");
        assert_eq!(end.outcome, Outcome::Warnings, "{language}");
        assert_eq!(left(&lasting), (answers(), "half of it".to_owned()), "{language}");
        assert_eq!(
            lasting.logs["notes"], "ein \"Täfelchen\"\n\u{1f600}\tzwei\nend\n",
            "{language}"
        );
        let found = rows(&lasting.journal);
        let Some((other, rows, same)) = &first else {
            first = Some((language.as_str(), found, lasting));
            continue;
        };
        for (place, (a, b)) in rows.iter().zip(&found).enumerate() {
            assert_eq!(a, b, "row {place} of {other} and {language}");
        }
        assert_eq!(rows.len(), found.len(), "{other} and {language}");
        assert_eq!(
            (&lasting.rows, &lasting.killed, &lasting.logs, &lasting.calls),
            (&same.rows, &same.killed, &same.logs, &same.calls)
        );
    }
}

/// What schedulers are asked for, and that nobody waits for them any more when the build is stopped.
#[tokio::test]
async fn a_step_asks_for_builds_and_waits_in_every_language() {
    let script = json!([
        { "do": "set", "name": "got_revision", "value": "r9" },
        { "do": "trigger", "name": "go-on", "value": { "properties": { "wort": "ü" }, "sources": "own" } },
        { "do": "await" },
    ]);
    for (language, plugin) in guests(Kind::Step) {
        let (end, lasting) = in_every_mode(async |mode| played(&plugin, &script, mode).await).await;
        assert_eq!(end.failure, None, "{language}");
        let expected = json!(["set: ", "trigger: 1", "await: go-on failure b/7 failure"]);
        assert_eq!(left(&lasting).0, expected, "{language}");
        let (scheduler, call) = lasting.calls.values().next().unwrap();
        assert_eq!(scheduler, "go-on", "{language}");
        assert_eq!(call["properties"], json!({ "wort": "ü" }), "{language}");
        assert_eq!(call["sources"][0]["revision"], "r9", "{language}");

        let mut cancelled = 0;
        for operation in 1..10 {
            let farm = Farm::stopping(Lasting::default(), Death::Never, operation);
            let config = json!({ "script": script });
            let run = run_with(&plugin, config, Vec::new(), WaitMode::Warm);
            let end = farm.run(run, farm.signal()).await.unwrap().unwrap();
            let lasting = farm.lasting();
            if !lasting.cancelled.is_empty() {
                cancelled += 1;
                assert_eq!(
                    (end.outcome, end.summary.as_deref()),
                    (Outcome::Cancelled, Some("stopped: Ann pressed stop")),
                    "{language}, stopped after {operation}"
                );
            }
        }
        assert!(cancelled > 0, "{language}: the stop came while it waited");
    }
}

/// Wherever its master died, the step goes on as if nothing had happened, and no command runs twice.
#[tokio::test]
async fn a_step_goes_on_from_every_row_of_its_journal() {
    for (language, plugin) in guests(Kind::Step) {
        let (end, whole) = played(&plugin, &everything(), WaitMode::Warm).await;
        for cut in 1..whole.journal.len() {
            let mut left = whole.clone();
            left.cut(cut);
            let journal = left.journal.clone();
            let farm = Farm::new(left, Death::Never);
            let run = run_with(
                &plugin,
                json!({ "script": everything() }),
                journal,
                WaitMode::Warm,
            );
            let again = farm.run(run, no_stop()).await.unwrap().unwrap();
            assert_eq!(again, end, "{language}, {cut} rows");
            let lasting = farm.lasting();
            assert_eq!(
                rows(&lasting.journal),
                rows(&whole.journal),
                "{language}, {cut} rows"
            );
            assert_eq!(
                lasting.order, whole.order,
                "{language}, {cut} rows: no command twice"
            );
        }
    }
}

/// How a step ends that does not go to its end: outcome, summary, words of its failure.
#[tokio::test]
async fn a_step_ends_the_same_in_every_language() {
    let table = [
        (
            json!([{ "do": "check", "argv": ["make", "two"] }]),
            Outcome::Failure,
            "exit code 2",
            "",
        ),
        (
            json!([{ "do": "check", "argv": ["sh", "missing"] }]),
            Outcome::Failure,
            "not started: no such program",
            "",
        ),
        (
            json!([{ "do": "run", "argv": ["sh", "lost"] }]),
            Outcome::Retry,
            "worker lost: w1 is gone",
            "",
        ),
        (
            json!([{ "do": "stop", "outcome": "skipped", "text": "nothing to do: ü" }]),
            Outcome::Skipped,
            "nothing to do: ü",
            "",
        ),
        (
            json!([{ "do": "permanent", "text": "no such target: ü" }]),
            Outcome::Exception,
            "",
            "no such target: ü",
        ),
        (
            json!([{ "do": "transient", "text": "later" }]),
            Outcome::Retry,
            "",
            "later",
        ),
        (
            json!([{ "do": "bug", "text": "no luck" }]),
            Outcome::Exception,
            "",
            "no luck",
        ),
        (
            json!([{ "do": "run", "argv": ["forbidden"] }]),
            Outcome::Exception,
            "",
            "the operator has not granted it",
        ),
        (
            json!([{ "do": "run", "argv": ["rm"] }]),
            Outcome::Exception,
            "",
            "its manifest does not ask for it",
        ),
        (
            json!([{ "do": "run", "argv": ["make"], "secrets": { "K": "deploy" } }]),
            Outcome::Exception,
            "",
            "may not use secrets",
        ),
        (
            json!([{ "do": "run", "argv": [] }]),
            Outcome::Exception,
            "",
            "empty",
        ),
        (
            json!([{ "do": "publish", "text": "none", "name": "dist/a" }]),
            Outcome::Failure,
            "there is no such file",
            "",
        ),
        (
            json!([{ "do": "artefact", "name": "other", "text": "" }]),
            Outcome::Exception,
            "",
            "other",
        ),
        (
            json!([{ "do": "artefact", "name": "dist/full", "text": "x" }]),
            Outcome::Exception,
            "the disk is full",
            "",
        ),
        (
            json!([{ "do": "trigger", "name": "elsewhere", "value": {} }]),
            Outcome::Exception,
            "",
            "its manifest does not ask for it",
        ),
        (
            json!([{ "do": "trigger", "name": "go-no", "value": {} }]),
            Outcome::Exception,
            "",
            "sources: expected something else",
        ),
        (
            json!([{ "do": "build-with", "name": "go-on" }]),
            Outcome::Failure,
            "go-on: failure",
            "",
        ),
        (
            json!([{ "do": "trigger", "name": "go-on", "value": { "kind": "force" } }]),
            Outcome::Exception,
            "",
            "kind: expected one of reason, builders",
        ),
        (
            json!([{ "do": "trigger", "name": "go-circle", "value": {} }, { "do": "await" }]),
            Outcome::Exception,
            "a/1 waits for itself",
            "",
        ),
        (
            json!([{ "do": "set", "name": "", "value": 1 }]),
            Outcome::Exception,
            "",
            "name",
        ),
    ];
    for (language, plugin) in guests(Kind::Step) {
        for (script, outcome, summary, words) in &table {
            let (end, lasting) = played(&plugin, script, WaitMode::Replay).await;
            let failure = end
                .failure
                .as_ref()
                .map(StepFailure::to_string)
                .unwrap_or_default();
            let text = format!("{language} {script}: {end:?}");
            assert_eq!(end.outcome, *outcome, "{text}");
            assert!(failure.contains(words), "{text}");
            assert_eq!(failure.is_empty(), words.is_empty(), "{text}");
            assert_eq!(left(&lasting).1, *summary, "{text}");
            let again = engine()
                .replay(&plugin, lasting.journal.clone())
                .await
                .unwrap()
                .verdict;
            assert!(
                matches!(again, Verdict::Agrees(_) | Verdict::Trapped { last: true, .. }),
                "{text}: {again:?}"
            );
        }
    }
}

/// A build that somebody stops.
#[tokio::test]
async fn a_stopped_step_is_cancelled_in_every_language() {
    for (language, plugin) in guests(Kind::Step) {
        let farm = Farm::stopping(Lasting::default(), Death::Never, 0);
        let config = json!({ "script": [{ "do": "run", "argv": ["make", "all"] }] });
        let run = run_with(&plugin, config, Vec::new(), WaitMode::Warm);
        let end = farm.run(run, farm.signal()).await.unwrap().unwrap();
        assert_eq!(
            (end.outcome, end.failure),
            (Outcome::Cancelled, None),
            "{language}"
        );
    }
}

/// Where the faults in parameters are; what is said of them, where it is the plugin that says it.
#[tokio::test]
async fn a_fault_in_the_parameters_has_the_same_path_in_every_language() {
    let own = "expected a good note, found bad";
    let table = [
        (json!({ "script": [] }), vec![]),
        (json!({ "script": 3 }), vec![("script", "")]),
        (
            json!({ "script": [], "env": { "PATH": 3 } }),
            vec![("env.PATH", "")],
        ),
        (json!({ "script": [], "note": "bad" }), vec![("note", own)]),
        (
            json!({ "script": [], "note": "bad", "env": { "A B": "ü" } }),
            vec![("note", own), ("env.A B", "expected a name without blanks")],
        ),
    ];
    for (language, plugin) in guests(Kind::Step) {
        for (config, expected) in &table {
            let found = match plugin.check(config).await {
                Ok(()) => Vec::new(),
                Err(CallError::InvalidConfig(problems)) => problems,
                Err(other) => panic!("{language} {config}: {other}"),
            };
            let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
            assert_eq!(
                paths,
                expected.iter().map(|(path, _)| *path).collect::<Vec<_>>(),
                "{language} {config}"
            );
            for (problem, (_, message)) in found.iter().zip(expected) {
                let said = if message.is_empty() {
                    !problem.message.is_empty()
                } else {
                    problem.message == *message
                };
                assert!(said, "{language} {config}: {problem:?}");
            }
        }
    }
}
