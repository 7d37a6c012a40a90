//! Plugins of older releases do on this master what they did on theirs: every component in `tests/compat`, beside the
//! current plugin of the same name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use capstan_engine::{Plugin, Verdict, WaitMode};
use capstan_model::Timestamp;
use capstan_model::journal::Created;
use capstan_model::plugin::{Kind, PACKAGE_VERSION, Rights};
use serde_json::json;

use crate::calls::{caller, change, everything, report};
use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop};
use crate::resume::{Subject, assert_same, lived, undisturbed};
use crate::support::{engine, plugin, root};

/// The names that a release's components have: each is here with the current plugin of the same name.
const MEMBERS: [&str; 4] = [
    "fixture-reporter",
    "fixture-scheduler",
    "fixture-source",
    "fixture-step",
];

/// The components of every release, by its version of the package.
fn corpus() -> BTreeMap<String, Vec<PathBuf>> {
    let folder = root().join("tests/compat");
    let entries = |folder: &PathBuf| {
        let mut all: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.sort();
        all
    };
    let releases = entries(&folder).into_iter().filter(|path| path.is_dir());
    let corpus: BTreeMap<_, _> = releases
        .map(|path| {
            let version = path.file_name().unwrap().to_str().unwrap().to_owned();
            (version, entries(&path))
        })
        .collect();
    assert!(corpus.contains_key("0.1.0"), "the first release is a member");
    corpus
}

/// One component with the current plugin that it is compared with.
fn members(kind: Kind) -> Vec<(String, Plugin, Plugin)> {
    let mut found = Vec::new();
    for (version, files) in corpus() {
        for file in files {
            let old = engine()
                .load(&fs::read(&file).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let name = MEMBERS.iter().find(|&&name| name == old.name());
            let name = name.unwrap_or_else(|| panic!("{} is compared with nothing", file.display()));
            if old.kind() == kind {
                found.push((format!("{} of {version}", old.name()), old, plugin(name)));
            }
        }
    }
    assert!(!found.is_empty(), "expected a {kind}, found none");
    found
}

/// A folder that no test looks at would keep nothing.
#[test]
fn every_release_has_a_component_of_every_kind_that_names_its_version() {
    for (version, files) in corpus() {
        let mut kinds = Vec::new();
        for file in files {
            let outside = capstan_engine::inspect(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(outside.needs, version, "{}", file.display());
            assert!(
                MEMBERS.contains(&outside.manifest.plugin.name.as_str()),
                "{}",
                file.display()
            );
            kinds.push(outside.manifest.plugin.kind);
        }
        kinds.sort_unstable();
        // Generators came with 0.1.1.
        let known = |kind: &Kind| *kind != Kind::Generator || version != "0.1.0";
        let expected: Vec<_> = Kind::ALL.into_iter().filter(known).collect();
        assert_eq!(kinds, expected, "the components of {version}");
        let parts = |text: &str| {
            text.split('.')
                .map(|n| n.parse::<u32>().unwrap())
                .collect::<Vec<_>>()
        };
        assert!(
            parts(&version) <= parts(PACKAGE_VERSION),
            "{version} is not released"
        );
    }
}

#[tokio::test]
async fn an_older_step_does_what_the_current_one_does() {
    for (name, old, _) in members(Kind::Step) {
        in_every_mode(async |mode| {
            let (end, mut expected, _) = undisturbed(&Subject::of_the_first_version(), mode).await;
            let mut subject = Subject::of_the_first_version();
            subject.plugin = old.clone();
            let (found, lasting, _) = undisturbed(&subject, mode).await;
            assert_eq!(found, end, "{name}");
            // Row 0 says which of them it is.
            expected.journal[0] = lasting.journal[0].clone();
            assert_same(&lasting, &expected, &name);
            lasting.journal.len()
        })
        .await;
    }
}

/// A build that an older master left, with the version of that time in row 0 of its journals.
#[tokio::test]
async fn a_step_that_an_older_master_began_is_finished() {
    for (name, old, _) in members(Kind::Step) {
        let mut subject = Subject::of_the_first_version();
        subject.plugin = old;
        let (end, whole, _) = undisturbed(&subject, WaitMode::Replay).await;
        let row0 = whole.journal[0].request.clone().unwrap();
        let mut created: Created = serde_json::from_value(row0).unwrap();
        created.world = "capstan:plugin/step-plugin@0.1.0".to_owned();
        let mut old_row = whole.journal[0].clone();
        old_row.request = Some(serde_json::to_value(&created).unwrap());

        let mut replayed = whole.journal.clone();
        replayed[0] = old_row.clone();
        let replay = engine().replay(&subject.plugin, replayed).await.unwrap();
        assert_eq!(replay.verdict, Verdict::Agrees(end.clone()), "{name}");

        let (_, left) = lived(
            Farm::new(subject.nothing(), Death::Before(20)),
            subject.run(&Lasting::default(), WaitMode::Replay),
            no_stop(),
        )
        .await;
        let mut left = left;
        assert!(left.journal.len() > 5, "{name}: it died on the way");
        left.journal[0] = old_row.clone();
        let run = subject.run(&left, WaitMode::Replay);
        let (again, after) = lived(Farm::new(left, Death::Never), run, no_stop()).await;
        assert_eq!(again, Some(end), "{name}");
        let mut expected = whole;
        expected.journal[0] = old_row;
        assert_same(&after, &expected, &name);
    }
}

#[tokio::test]
async fn an_older_scheduler_does_what_the_current_one_does() {
    use capstan_engine::SchedulerEvent::{Started, Timer};
    let (caller, _) = caller(Rights::default());
    for (name, old, current) in members(Kind::Scheduler) {
        for event in [Started, change(), Timer("tick".to_owned())] {
            for what in ["", "transient", "invalid", "too-many", "panic"] {
                let config = json!({ "do": what });
                let answer = async |plugin: &Plugin| {
                    let decision = plugin
                        .handle(&caller, &config, &[7], Timestamp(5), event.clone())
                        .await;
                    // A panic names a line of the source, which moves.
                    decision.map_err(|error| without_place(&error.to_string()))
                };
                let expected = answer(&current).await;
                assert_eq!(expected.is_ok(), what.is_empty(), "{what}: {expected:?}");
                assert_eq!(answer(&old).await, expected, "{name}: {what}");
            }
        }
        let config = json!({ "do": "invalid" });
        assert_eq!(old.check(&config).await, current.check(&config).await, "{name}");
        assert_eq!(
            old.migrate(&caller, &json!({}), "0", &[1]).await,
            Ok(None),
            "{name}"
        );
    }
}

fn without_place(text: &str) -> String {
    text.split_whitespace()
        .filter(|word| !word.contains(".rs:"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn an_older_change_source_does_what_the_current_one_does() {
    let repository = "https://git.example.org/a";
    for (name, old, current) in members(Kind::ChangeSource) {
        for config in [
            json!({ "repository": repository, "url": "https://index.example.org/p", "since": "a0" }),
            json!({ "repository": "https://git.example.org/gone" }),
            json!({ "repository": "ext::sh -c id" }),
            json!({ "repository": "https://elsewhere.example.org/a" }),
            json!({}),
        ] {
            let poll = async |plugin: &Plugin| {
                let (caller, world) = caller(everything());
                let found = plugin.poll(&caller, &config, &[4]).await;
                (found, world.asked())
            };
            assert_eq!(poll(&old).await, poll(&current).await, "{name}: {config}");
        }
    }
}

#[tokio::test]
async fn an_older_reporter_does_what_the_current_one_does() {
    let hook = "https://hook.example.org/ci";
    for (name, old, current) in members(Kind::Reporter) {
        for config in [
            json!({ "file": "reports/a", "url": hook, "secret": "token" }),
            json!({ "url": hook, "secret": "root-password" }),
            json!({ "url": "https://hook.example.org/busy" }),
            json!({ "file": "../x" }),
            json!({ "file": "secrets/x" }),
        ] {
            let deliver = async |plugin: &Plugin| {
                let (caller, world) = caller(everything());
                let delivered = plugin.deliver(&caller, &config, &report()).await;
                (delivered, world.asked())
            };
            assert_eq!(deliver(&old).await, deliver(&current).await, "{name}: {config}");
        }
    }
}
