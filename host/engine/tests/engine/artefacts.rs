//! Artefacts of a step: what may be stored under which name, and that what is stored is told once, whenever the master dies. That
//! every prefix of a journal comes to the same, `resume` shows.

use capstan_engine::WaitMode;
use capstan_model::journal::{Effect, Kind};
use capstan_model::{Digest, Program};
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_of};
use crate::support::plugin;

/// What the fixture was answered, and what it left.
async fn answers(script: Value) -> (Vec<String>, Lasting) {
    in_every_mode(async |mode| {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let run = run_of(&plugin("fixture-step"), script.clone(), Vec::new(), mode);
        farm.run(run, no_stop()).await.unwrap().unwrap();
        let lasting = farm.lasting();
        let trace = lasting.effects.iter().find_map(|(_, effect)| match effect {
            Effect::SetProperty(property) if property.name == "trace" => Some(property.value.clone()),
            _ => None,
        });
        let lines: Vec<String> = serde_json::from_value(trace.unwrap()).unwrap();
        (lines, lasting)
    })
    .await
}

fn names(lasting: &Lasting) -> Vec<&str> {
    let stored = lasting.effects.iter().filter_map(|(_, effect)| match effect {
        Effect::AddArtefact(stored) => Some(stored.name.as_str()),
        _ => None,
    });
    stored.collect()
}

#[tokio::test]
async fn what_is_published_is_stored_with_the_row_that_says_so() {
    let (lines, lasting) = answers(json!([
        { "op": "publish", "path": "build/app", "name": "dist/app" },
        { "op": "write", "name": "dist/notes", "text": "made here" },
    ]))
    .await;
    let sum = Digest::of(b"build/app").to_string();
    assert!(
        lines[0].contains(&sum) && lines[0].contains("size: 9"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(&Digest::of(b"made here").to_string()),
        "{lines:?}"
    );
    assert_eq!(names(&lasting), ["dist/app", "dist/notes"]);
    let kinds: Vec<_> = lasting
        .journal
        .iter()
        .filter(|row| row.call.starts_with("artefacts."))
        .collect();
    let kinds: Vec<_> = kinds.iter().map(|row| (row.call.as_str(), row.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("artefacts.publish", Kind::Start),
            ("artefacts.publish", Kind::End),
            ("artefacts.write", Kind::Local)
        ]
    );
    // Row 0 has the script.
    let journal = serde_json::to_string(&lasting.journal[1..]).unwrap();
    assert!(
        !journal.contains("made here"),
        "the bytes are no part of the journal"
    );
    let spec = lasting.rows.values().next().unwrap();
    assert!(matches!(&spec.program, Program::File { path, .. } if path == "build/app"));
    assert!(spec.env.is_empty() && spec.builder_dir == "hello", "{spec:?}");
}

#[tokio::test]
async fn what_may_not_be_stored_asks_nothing_of_a_worker() {
    let long = "x".repeat(201);
    let cases = [
        (
            json!({ "op": "publish", "path": "app", "name": "elsewhere/app" }),
            "ArtefactError::Denied",
            "manifest",
        ),
        (
            json!({ "op": "write", "name": "elsewhere", "text": "" }),
            "ArtefactError::Denied",
            "manifest",
        ),
        (
            json!({ "op": "publish", "path": "app", "name": "ungranted/app" }),
            "ArtefactError::Denied",
            "operator",
        ),
        (
            json!({ "op": "write", "name": "ungranted/app", "text": "" }),
            "ArtefactError::Denied",
            "operator",
        ),
        (
            json!({ "op": "publish", "path": "../app", "name": "dist/app" }),
            "ArtefactError::Invalid",
            "path",
        ),
        (
            json!({ "op": "publish", "path": "/etc/passwd", "name": "dist/app" }),
            "ArtefactError::Invalid",
            "path",
        ),
        (
            json!({ "op": "publish", "path": "a\u{0}b", "name": "dist/app" }),
            "ArtefactError::Invalid",
            "path",
        ),
        (
            json!({ "op": "publish", "path": "", "name": "dist/app" }),
            "ArtefactError::Invalid",
            "path",
        ),
        (
            json!({ "op": "publish", "path": "app", "name": "dist/../../app" }),
            "ArtefactError::Invalid",
            "words",
        ),
        (
            json!({ "op": "publish", "path": "app", "name": "/dist/app" }),
            "ArtefactError::Invalid",
            "begins with",
        ),
        (
            json!({ "op": "write", "name": "dist/\n", "text": "" }),
            "ArtefactError::Invalid",
            "control",
        ),
        (
            json!({ "op": "write", "name": long, "text": "" }),
            "ArtefactError::Invalid",
            "longer",
        ),
        (
            json!({ "op": "write", "name": "dist/large", "text": "0123456789abcdef", "times": 65_537 }),
            "ArtefactError::TooLarge",
            "1048576",
        ),
        (
            json!({ "op": "write", "name": "dist/full", "text": "x" }),
            "ArtefactError::Unavailable",
            "disk is full",
        ),
    ];
    let script = Value::Array(cases.iter().map(|(op, ..)| op.clone()).collect());
    let (lines, lasting) = answers(script).await;
    for (line, (op, kind, words)) in lines.iter().zip(&cases) {
        assert!(line.contains(kind) && line.contains(words), "{op}: {line}");
    }
    assert!(lasting.rows.is_empty() && lasting.contents.is_empty());
    assert_eq!(names(&lasting), [""; 0]);
}

#[tokio::test]
async fn a_name_is_stored_once() {
    let (lines, lasting) = answers(json!([
        { "op": "write", "name": "dist/app", "text": "one" },
        { "op": "write", "name": "dist/app", "text": "one" },
        { "op": "publish", "path": "app", "name": "dist/app" },
        { "op": "publish", "path": "none", "name": "dist/late" },
        { "op": "publish", "path": "app", "name": "dist/late" },
    ]))
    .await;
    assert!(lines[0].contains("Ok(") && lines[4].contains("Ok("), "{lines:?}");
    for line in &lines[1..3] {
        assert!(
            line.contains("ArtefactError::Invalid") && line.contains("has an artefact"),
            "{line}"
        );
    }
    assert!(lines[3].contains("ArtefactError::Missing"), "{lines:?}");
    assert_eq!(names(&lasting), ["dist/app", "dist/late"]);
}

/// Between the `Start` and its `End`: the file is on its way, here, or stored, and no row says so.
#[tokio::test]
async fn a_master_that_dies_while_a_file_arrives_stores_it_once() {
    let script = json!([{ "op": "publish", "path": "late 2", "name": "dist/app" }]);
    let mut deaths = 0;
    for number in 1.. {
        let farm = Farm::new(Lasting::default(), Death::After(number));
        let run = run_of(
            &plugin("fixture-step"),
            script.clone(),
            Vec::new(),
            WaitMode::Warm,
        );
        if farm.run(run, no_stop()).await.is_some() {
            break;
        }
        deaths += 1;
        let left = farm.lasting();
        let told = left.journal.iter().any(|row| row.kind == Kind::End);
        assert_eq!(
            names(&left).len(),
            usize::from(told),
            "the row and the artefact are one"
        );
        let next = Farm::new(left.clone(), Death::Never);
        let run = run_of(
            &plugin("fixture-step"),
            script.clone(),
            left.journal,
            WaitMode::Warm,
        );
        next.run(run, no_stop()).await.unwrap().unwrap();
        let lasting = next.lasting();
        assert_eq!(
            (names(&lasting), lasting.order.len()),
            (vec!["dist/app"], 1),
            "after operation {number}"
        );
    }
    assert!(deaths > 5, "{deaths}");
}
