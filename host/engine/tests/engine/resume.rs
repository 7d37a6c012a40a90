//! A master that is killed at any instant: whatever it had done, the step ends as if nothing had happened, and no command
//! runs twice. For a script of the fixture that uses every call, and for the built-in steps.

use std::collections::BTreeSet;

use capstan_engine::{Plugin, StepEnd, StepRun, StopSignal, WaitMode};
use capstan_model::journal::{Entry, Kind};
use capstan_model::{Exit, Outcome};
use serde_json::{Value, json};

use crate::farm::{Death, Farm, Lasting, in_every_mode, no_stop, run_with};
use crate::support::{builtin, plugin};

/// A step that is disturbed, and how its commands end.
pub struct Subject {
    pub name: &'static str,
    pub plugin: Plugin,
    config: Value,
    exits: Vec<(&'static str, Exit, &'static str)>,
}

impl Subject {
    /// The fixture with every import that there is.
    pub fn everything() -> Self {
        let script = json!([
            { "op": "now" }, { "op": "seed" }, { "op": "hash-map" }, { "op": "step-name" }, { "op": "sources" },
            { "op": "text", "log": "notes", "text": "begin ü\n" },
            { "op": "run", "argv": ["make", "all"], "capture": 10 },
            { "op": "set", "name": "n", "value": "1" },
            { "op": "log", "text": "half" },
            { "op": "run", "argv": ["rm"] },
            { "op": "start", "argv": ["make", "late", "5"], "workdir": "src", "log": "late", "secret": "token",
              "unset": "HOME", "lang": "C", "timeouts": 1000 },
            { "op": "text", "log": "notes", "text": "middle\n" },
            { "op": "start", "argv": ["make", "late", "1"] },
            { "op": "start", "argv": ["make", "lost"] },
            { "op": "wait-all" },
            { "op": "sleep", "ms": 500 }, { "op": "now" },
            { "op": "start", "argv": ["make", "hang"] },
            { "op": "kill", "command": 0, "reason": "enough" },
            { "op": "wait", "command": 0 },
            { "op": "get", "name": "n" },
            { "op": "start", "argv": ["make", "hang"] },
            { "op": "summary", "text": "done" },
            { "op": "link", "text": "docs", "url": "https://example.org/" },
            { "op": "end-build", "outcome": "failure", "text": "on second thoughts" },
            { "op": "end-build", "outcome": "skipped", "text": "nothing to do" },
            { "op": "publish", "path": "app", "name": "dist/app" },
            { "op": "write", "name": "dist/notes", "text": "made here" },
            { "op": "publish", "path": "late 3", "name": "dist/late" },
            { "op": "publish", "path": "none", "name": "dist/none" },
            { "op": "publish", "path": "lost", "name": "dist/lost" },
            { "op": "run", "shell": "x late 3" },
            { "op": "trigger", "scheduler": "go-on", "call": "{\"sources\":\"own\"}" },
            { "op": "trigger", "scheduler": "go-no", "call": "{}" },
            { "op": "await" },
            { "op": "text", "log": "notes", "text": "end\n" },
        ]);
        Self {
            name: "fixture-step",
            plugin: plugin("fixture-step"),
            config: json!({ "script": script, "outcome": "warnings" }),
            exits: Vec::new(),
        }
    }

    /// The same as far as the first version of the package had it, for components of that time. Without the keys of a hash
    /// map: their order comes from where a component's data lies, and so is each build's own.
    pub fn of_the_first_version() -> Self {
        let mut subject = Self::everything();
        let later = |op: &Value| {
            matches!(
                op["op"].as_str(),
                Some("publish" | "write" | "end-build" | "trigger" | "await" | "hash-map")
            )
        };
        if let Some(script) = subject.config["script"].as_array_mut() {
            script.retain(|op| !later(op));
        }
        subject
    }

    fn shell(exit: Exit) -> Self {
        Self {
            name: "shell",
            plugin: builtin("shell"),
            config: json!({
                "command": ["make", "test"], "env": { "LANG": null }, "secrets": { "KEY": "deploy" },
                "decode_rc": { "3": "warnings" },
            }),
            exits: vec![("make test", exit, "")],
        }
    }

    /// A checkout that clobbers, and whose first fetch fails.
    fn git() -> Self {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        Self {
            name: "git",
            plugin: builtin("git"),
            config: json!({ "branch": "main", "mode": "full", "method": "clobber", "submodules": true }),
            exits: vec![
                ("fetch", Exit::Code(128), ""),
                ("fetch", Exit::Code(0), ""),
                ("rev-parse", Exit::Code(0), hash),
            ],
        }
    }

    /// One that reads clocks and random numbers through WASI, which no row of its journal has.
    pub fn wasi() -> Self {
        let script = json!([
            { "op": "wall" }, { "op": "random", "n": 40 }, { "op": "now" }, { "op": "wall" },
            { "op": "timer", "n": 1500 }, { "op": "wall" }, { "op": "monotonic" }, { "op": "random", "n": 3 },
            { "op": "run" }, { "op": "sleep", "n": 60_000 }, { "op": "wall" }, { "op": "timer", "n": 1500 },
            { "op": "poll" }, { "op": "monotonic" },
        ]);
        Self {
            name: "fixture-wasi",
            plugin: plugin("fixture-wasi"),
            config: json!({ "script": script }),
            exits: Vec::new(),
        }
    }

    pub fn all() -> Vec<Self> {
        vec![
            Self::everything(),
            Self::wasi(),
            Self::shell(Exit::Code(0)),
            Self::shell(Exit::Code(3)),
            Self::shell(Exit::Lost("w1 is gone".to_owned())),
            Self::git(),
        ]
    }

    /// What a master begins with.
    pub fn nothing(&self) -> Lasting {
        Lasting {
            exits: self.exits.clone(),
            ..Lasting::default()
        }
    }

    /// A run over what is left.
    pub fn run(&self, lasting: &Lasting, mode: WaitMode) -> StepRun {
        run_with(&self.plugin, self.config.clone(), stored(&lasting.journal), mode)
    }
}

/// Its end, what is left, and the number of operations.
pub async fn undisturbed(subject: &Subject, mode: WaitMode) -> (StepEnd, Lasting, usize) {
    let farm = Farm::new(subject.nothing(), Death::Never);
    let run = subject.run(&farm.lasting(), mode);
    let end = farm.run(run, no_stop()).await.unwrap().unwrap();
    (end, farm.lasting(), farm.operations())
}

/// Rows as they come back from a database: through text.
fn stored(rows: &[Entry]) -> Vec<Entry> {
    serde_json::from_str(&serde_json::to_string(rows).unwrap()).unwrap()
}

/// One life of a master over what the one before it left; no end if it died.
async fn life(
    subject: &Subject,
    lasting: Lasting,
    death: Death,
    mode: WaitMode,
) -> (Option<StepEnd>, Lasting) {
    let run = subject.run(&lasting, mode);
    lived(Farm::new(lasting, death), run, no_stop()).await
}

/// The end that a farm comes to, and what it leaves.
pub async fn lived(farm: std::sync::Arc<Farm>, run: StepRun, stop: StopSignal) -> (Option<StepEnd>, Lasting) {
    let end = farm.run(run, stop).await;
    (end.map(|end| end.expect("the step has an end")), farm.lasting())
}

/// Compares part by part: the whole does not fit on a screen.
pub fn assert_same(found: &Lasting, expected: &Lasting, when: &str) {
    for (found, expected) in found.journal.iter().zip(&expected.journal) {
        assert_eq!(found, expected, "{when}");
    }
    assert_eq!(found.journal.len(), expected.journal.len(), "{when}");
    assert_eq!(found.order, expected.order, "{when}: commands that ran");
    assert_eq!(found.killed, expected.killed, "{when}");
    assert_eq!(found.logs, expected.logs, "{when}");
    assert_eq!(
        found.effects, expected.effects,
        "{when}: properties, summary, links"
    );
    assert!(found == expected, "{when}: specifications or the clock differ");
}

/// The `Start` at the end of a journal whose effect has happened: the master died between the two rows.
fn done_without_its_end(left: &Lasting, expected: &Lasting) -> Option<u32> {
    let open = left.journal.last().filter(|row| row.kind == Kind::Start)?;
    let deed = &open.request.as_ref()?["do"];
    let text = deed.to_string();
    let of = |id: &&capstan_model::CommandId| text.contains(&id.to_string());
    let happened = match open.call.as_str() {
        "commands.start" | "commands.run" | "artefacts.publish" => left.begun.keys().any(|id| of(&id)),
        "command.kill" => left.killed.keys().any(|id| of(&id)),
        "timers.sleep-ms" => left.now == expected.journal[open.seq as usize + 1].at,
        // Nothing is changed by waiting.
        "command.wait" | "commands.wait-any" | "triggers.wait" => true,
        "triggers.call" => left.calls.contains_key(&open.seq),
        other => panic!("{other} has two rows"),
    };
    happened.then_some(open.seq)
}

#[tokio::test]
async fn killed_at_every_operation_a_step_ends_the_same() {
    for subject in Subject::all() {
        in_every_mode(async |mode| {
            let (end, expected, operations) = undisturbed(&subject, mode).await;
            let mut between = BTreeSet::new();
            for place in 1..=operations {
                for death in [Death::Before(place), Death::After(place)] {
                    let when = format!("{}, {mode:?}, {death:?}", subject.name);
                    let (none, left) = life(&subject, subject.nothing(), death, mode).await;
                    assert_eq!(none, None, "{when}");
                    between.extend(done_without_its_end(&left, &expected));
                    let (again, after) = life(&subject, left, Death::Never, mode).await;
                    assert_eq!(again.as_ref(), Some(&end), "{when}");
                    assert_same(&after, &expected, &when);
                }
            }
            let starts = expected.journal.iter().filter(|row| row.kind == Kind::Start);
            assert_eq!(
                between,
                starts.map(|row| row.seq).collect(),
                "{}: after each effect it died before the answer's row",
                subject.name
            );
        })
        .await;
    }
}

/// A row that is durable is all that a new master knows; what had left the process has happened all the same.
#[tokio::test]
async fn cut_at_every_position_of_its_journal_a_step_ends_the_same() {
    for subject in Subject::all() {
        in_every_mode(async |mode| {
            let (end, expected, _) = undisturbed(&subject, mode).await;
            for rows in 0..=expected.journal.len() {
                let when = format!("{}, {mode:?}, {rows} rows", subject.name);
                let mut left = expected.clone();
                left.cut(rows);
                let (again, after) = life(&subject, left, Death::Never, mode).await;
                assert_eq!(again.as_ref(), Some(&end), "{when}");
                assert_same(&after, &expected, &when);
            }
        })
        .await;
    }
}

/// The one who takes it up dies as well, soon after.
#[tokio::test]
async fn killed_again_while_it_is_taken_up_a_step_ends_the_same() {
    for subject in Subject::all() {
        in_every_mode(async |mode| {
            let (end, expected, operations) = undisturbed(&subject, mode).await;
            for place in 1..=operations {
                let (_, left) = life(&subject, subject.nothing(), Death::After(place), mode).await;
                // Before an operation leaves the same as after the one before it.
                for again in [1, 2, 3].map(Death::After) {
                    let when = format!("{}, {mode:?}, after {place}, then {again:?}", subject.name);
                    let (_, left) = life(&subject, left.clone(), again, mode).await;
                    let (ended, after) = life(&subject, left, Death::Never, mode).await;
                    assert_eq!(ended.as_ref(), Some(&end), "{when}");
                    assert_same(&after, &expected, &when);
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_master_that_dies_again_and_again_comes_to_the_end() {
    let subject = Subject::everything();
    in_every_mode(async |mode| {
        let (end, expected, _) = undisturbed(&subject, mode).await;
        for stride in [7, 8, 11] {
            let mut lasting = subject.nothing();
            let mut ended = None;
            for _ in 0..200 {
                (ended, lasting) = life(&subject, lasting, Death::After(stride), mode).await;
                if ended.is_some() {
                    break;
                }
            }
            assert_eq!(ended.as_ref(), Some(&end));
            assert_same(
                &lasting,
                &expected,
                &format!("with a death every {stride} operations"),
            );
        }
    })
    .await;
}

/// A master that was configured otherwise takes up what another left.
#[tokio::test]
async fn the_way_to_wait_may_change_between_lives() {
    let subject = Subject::everything();
    let (end, expected, operations) = undisturbed(&subject, WaitMode::Warm).await;
    let all = [WaitMode::Warm, WaitMode::Replay];
    for place in 1..=operations {
        for [first, then] in [all, [all[1], all[0]]] {
            let (_, left) = life(&subject, subject.nothing(), Death::After(place), first).await;
            let (again, after) = life(&subject, left, Death::Never, then).await;
            assert_eq!(again.as_ref(), Some(&end));
            assert_same(
                &after,
                &expected,
                &format!("{first:?} until {place}, then {then:?}"),
            );
        }
    }
}

/// What the other tests say of the built-in steps means something only if these do what they are made for.
#[tokio::test]
async fn the_subjects_do_what_they_are_made_for() {
    let mut ends = Vec::new();
    for subject in Subject::all() {
        let (end, lasting, operations) = undisturbed(&subject, WaitMode::Replay).await;
        assert!(operations >= 5, "{}: {operations}", subject.name);
        ends.push((subject.name, end.outcome, lasting.order.len()));
    }
    assert_eq!(
        ends,
        [
            ("fixture-step", Outcome::Warnings, 11),
            ("fixture-wasi", Outcome::Success, 1),
            ("shell", Outcome::Success, 1),
            ("shell", Outcome::Warnings, 1),
            ("shell", Outcome::Retry, 1),
            ("git", Outcome::Success, 12),
        ]
    );
}
