//! The built-in plugins in the real engine: what their own native tests cannot see is whether they work as components,
//! with the rights that they ask for and no more.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test ends it")]

mod master;

use std::time::Duration;

use capstan_engine::{
    CallError, Caller, Completed, CompletedBuild, Phase, Plugin, Report, SchedulerEvent, WaitMode,
};
use capstan_model::plugin::Rights;
use capstan_model::{
    BuildsetId, Change, ChangeId, Exit, NewChange, Outcome, Program, Properties, SourceStamp, Timestamp,
};
use serde_json::{Value, json};

use master::{Master, plugin};

fn ms(text: i64) -> Timestamp {
    Timestamp(text)
}

async fn handle(
    plugin: &Plugin,
    config: &Value,
    state: &[u8],
    now: i64,
    event: SchedulerEvent,
) -> capstan_engine::Decision {
    plugin
        .handle(&Master::default().caller(), config, state, ms(now), event)
        .await
        .unwrap()
}

fn change(id: i64) -> SchedulerEvent {
    let facts = NewChange {
        dedup_key: format!("main@{id}"),
        codebase: String::new(),
        repository: "https://git.example/p.git".into(),
        project: "p".into(),
        branch: Some("main".into()),
        revision: format!("r{id}"),
        author: "Ada".into(),
        comments: "mend it".into(),
        files: vec!["src/a.rs".into()],
        category: None,
        when: ms(0),
        properties: Properties::default(),
    };
    SchedulerEvent::Change(Box::new(Change {
        id: ChangeId(id),
        source: "poller".into(),
        received: ms(0),
        facts,
    }))
}

#[tokio::test]
async fn parameters_are_checked_when_the_configuration_is_loaded() {
    for (name, good, bad, path) in [
        (
            "shell",
            json!({"command": "make"}),
            json!({"command": []}),
            "command",
        ),
        ("git", json!({}), json!({"branch": "--x"}), "branch"),
        (
            "git-poller",
            json!({"repository": "r"}),
            json!({"repository": "r", "interval": "soon"}),
            "interval",
        ),
        (
            "any-branch",
            json!({"tree_stable_timer": "2min"}),
            json!({"branches": "a["}),
            "branches",
        ),
        (
            "nightly",
            json!({"at": "03:30", "timezone": "Asia/Tokyo"}),
            json!({"at": "3"}),
            "at",
        ),
        (
            "branch",
            json!({"branch": "main"}),
            json!({"authors": "~("}),
            "authors",
        ),
        (
            "periodic",
            json!({"every": "6h"}),
            json!({"every": "10ms"}),
            "every",
        ),
        (
            "dependent",
            json!({"upstream": "ci"}),
            json!({"upstream": []}),
            "upstream",
        ),
        (
            "triggerable",
            json!({"sources": [{"branch": "main"}]}),
            json!({"sources": [{}, {}]}),
            "sources",
        ),
        (
            "nightly-triggerable",
            json!({"hour": 3}),
            json!({"hour": 3, "month": 2, "day_of_month": 30}),
            "day_of_month",
        ),
        (
            "force",
            json!({"fields": [{"name": "a", "regex": "a+"}]}),
            json!({"fields": [{"name": "a", "regex": "((a{1000}){1000}){1000}"}]}),
            "fields[0].regex",
        ),
        ("try-build", json!({}), json!({"max_patch": 0}), "max_patch"),
        (
            "http-push",
            json!({"url": "https://x"}),
            json!({"url": "x"}),
            "url",
        ),
        (
            "report-file",
            json!({"path": "r.jsonl"}),
            json!({"path": "/r"}),
            "path",
        ),
    ] {
        let plugin = plugin(name);
        assert_eq!(plugin.check(&good).await, Ok(()), "{name}");
        let Err(CallError::InvalidConfig(problems)) = plugin.check(&bad).await else {
            panic!("{name} takes {bad}")
        };
        assert_eq!(problems[0].path, path, "{name}: {problems:?}");
    }
}

#[tokio::test]
async fn a_night_in_madrid_is_an_hour_earlier_in_summer() {
    let nightly = plugin("nightly");
    let config = json!({"at": "03:30", "timezone": "Europe/Madrid"});
    // 2026-01-10 and 2026-07-10, noon UTC.
    for (now, due) in [
        (1_768_046_400_000, 1_768_098_600_000),
        (1_783_684_800_000, 1_783_733_400_000),
    ] {
        let decision = handle(&nightly, &config, &[], now, SchedulerEvent::Started).await;
        assert_eq!(decision.set_timers[0].at, ms(due));
        let name = decision.set_timers[0].name.clone();
        let decision = handle(
            &nightly,
            &config,
            &decision.state,
            due,
            SchedulerEvent::Timer(name),
        )
        .await;
        assert_eq!(decision.submit.len(), 1);
        assert!(
            decision.submit[0].reason.contains("03:30 Europe/Madrid"),
            "{}",
            decision.submit[0].reason
        );
    }
}

#[tokio::test]
async fn changes_of_a_branch_become_one_build() {
    let any_branch = plugin("any-branch");
    let config = json!({"tree_stable_timer": 10, "files": "**/*.rs"});
    let first = handle(&any_branch, &config, &[], 0, change(1)).await;
    assert!(first.submit.is_empty());
    let second = handle(&any_branch, &config, &first.state, 5000, change(2)).await;
    let timer = &second.set_timers[0];
    assert_eq!(timer.at, ms(15_000));
    let rung = SchedulerEvent::Timer(timer.name.clone());
    let third = handle(&any_branch, &config, &second.state, 15_000, rung).await;
    assert_eq!(third.submit[0].changes, [ChangeId(1), ChangeId(2)]);
    assert_eq!(third.submit[0].sources[0].revision.as_deref(), Some("r2"));
}

#[tokio::test]
async fn only_some_schedulers_can_be_asked_or_follow_others() {
    for (name, calls, follows) in [
        ("any-branch", false, false),
        ("branch", false, false),
        ("dependent", false, true),
        ("force", true, false),
        ("nightly", false, false),
        ("nightly-triggerable", true, false),
        ("periodic", false, false),
        ("triggerable", true, false),
        ("try-build", true, false),
    ] {
        let plugin = plugin(name);
        assert_eq!(
            (plugin.takes_calls(), plugin.follows()),
            (calls, follows),
            "{name}"
        );
    }
    let caller = Master::default().caller();
    let config = json!({});
    assert_eq!(plugin("any-branch").describe(&caller, &config).await, Ok(None));
    let call = plugin("any-branch")
        .call(&caller, &config, &[], ms(0), &json!({"kind": "force"}))
        .await;
    assert!(
        matches!(&call, Err(CallError::Permanent(text)) if text.contains("does not export `calls`")),
        "{call:?}"
    );
}

/// The plugin hands on what it was given: nothing is wrong with the plugin.
#[tokio::test]
async fn what_a_caller_gave_wrongly_is_a_refusal_of_the_call() {
    let (triggerable, caller) = (plugin("triggerable"), Master::default().caller());
    let many: serde_json::Map<_, _> = (0..1001).map(|n| (n.to_string(), json!(n))).collect();
    for (call, text) in [
        (
            json!({"kind": "trigger", "reason": "x".repeat(20_000)}),
            "reason: expected at most",
        ),
        (
            json!({"kind": "trigger", "properties": many}),
            "properties: expected at most 1000",
        ),
        (
            json!({"kind": "trigger", "properties": {"a\nb": 1}}),
            "without control characters",
        ),
        (
            json!({"kind": "trigger", "properties": {"large": "x".repeat(300_000)}}),
            "`large` to be at most",
        ),
    ] {
        let answer = triggerable.call(&caller, &json!({}), &[], ms(0), &call).await;
        let Err(CallError::InvalidConfig(problems)) = answer else {
            panic!("expected a refusal with {text:?}, found {answer:?}")
        };
        assert!(problems[0].message.contains(text), "{problems:?}");
    }
}

#[tokio::test]
async fn a_form_is_described_filled_in_and_refused_field_by_field() {
    let (force, caller) = (plugin("force"), Master::default().caller());
    let config = json!({"fields": [{"name": "jobs", "type": "int", "max": 8}], "priority": 2});
    let form = force.describe(&caller, &config).await.unwrap().unwrap();
    assert_eq!(
        (&form["kind"], &form["fields"][0]["max"]),
        (&json!("force"), &json!(8))
    );
    let ask = async |jobs: Value| {
        let call = json!({"kind": "force", "values": {"jobs": jobs}, "builders": ["linux"]});
        force.call(&caller, &config, &[], ms(0), &call).await
    };
    let decision = ask(json!("4")).await.unwrap();
    let set = &decision.submit[0];
    assert_eq!(set.properties.get("jobs").unwrap().value, json!(4));
    assert_eq!(
        (set.priority, set.builders.as_deref()),
        (2, Some(&["linux".to_owned()][..]))
    );
    let Err(CallError::InvalidConfig(problems)) = ask(json!(9)).await else {
        panic!("nine jobs are too many")
    };
    assert_eq!(problems[0].path, "values.jobs");
}

#[tokio::test]
async fn a_follower_asks_for_what_was_really_built() {
    let stamp = |revision: Option<&str>| SourceStamp {
        branch: Some("main".into()),
        revision: revision.map(str::to_owned),
        ..SourceStamp::default()
    };
    let build = CompletedBuild {
        builder: "linux".into(),
        number: 3,
        outcome: Outcome::Success,
        sources: vec![stamp(Some("r7"))],
    };
    let set = Completed {
        id: BuildsetId(4),
        scheduler: "ci".into(),
        outcome: Outcome::Success,
        reason: "1 change".into(),
        sources: vec![stamp(None)],
        properties: Properties::default(),
        changes: vec![ChangeId(2)],
        builds: vec![build],
    };
    let caller = Master::default().caller();
    let config = json!({"upstream": "ci"});
    let decision = plugin("dependent")
        .completed(&caller, &config, &[], ms(0), set)
        .await
        .unwrap();
    assert_eq!(decision.submit[0].sources, [stamp(Some("r7"))]);
    assert_eq!(decision.submit[0].changes, [ChangeId(2)]);
}

#[tokio::test]
async fn the_poller_remembers_heads_and_reports_what_comes_on_top() {
    let poller = plugin("git-poller");
    let config = json!({"repository": "/srv/p.git", "interval": "30s", "worker_repository": "ssh://git.example/p.git"});
    let mut master = Master {
        head: "a".into(),
        ..Master::default()
    };
    let first = poller.poll(&master.caller(), &config, &[]).await.unwrap();
    assert_eq!((first.changes.len(), first.poll_again_ms), (0, 30_000));
    master.head = "b".into();
    let second = poller
        .poll(&master.caller(), &config, &first.cursor)
        .await
        .unwrap();
    assert_eq!(second.changes[0].dedup_key, "main@b");
    assert_eq!(second.changes[0].repository, "ssh://git.example/p.git");
    let nobody = Caller {
        grants: Rights::default().into(),
        ..master.caller()
    };
    let refused = poller.poll(&nobody, &config, &[]).await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Permanent(text) if text.contains("may not use git")),
        "{refused}"
    );
}

fn report() -> Report {
    Report {
        delivery_id: "d-1".into(),
        phase: Phase::Finished,
        builder: "hello".into(),
        made_by: "hello".into(),
        number: 3,
        url: "http://x/builds/3".into(),
        worker: "w1".into(),
        reason: "1 change".into(),
        outcome: Some(Outcome::Failure),
        previous_outcome: None,
        summary: "two\nlines".into(),
        sources: Vec::new(),
        properties: Properties::default(),
        steps: Vec::new(),
        started: ms(1),
        finished: Some(ms(2)),
    }
}

#[tokio::test]
async fn a_report_is_pushed_with_its_delivery_id() {
    let push = plugin("http-push");
    let config = json!({"url": "https://hooks.example/x", "secret_headers": {"Authorization": "hook"}});
    for (status, expected) in [(202, "ok"), (503, "transient"), (410, "permanent")] {
        let master = Master {
            status,
            ..Master::default()
        };
        let found = match push.deliver(&master.caller(), &config, &report()).await {
            Ok(()) => "ok",
            Err(CallError::Transient(_)) => "transient",
            Err(CallError::Permanent(_)) => "permanent",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected);
        let sent = master.sent.lock().unwrap().remove(0);
        assert!(
            sent.headers.contains(&("Capstan-Delivery".into(), "d-1".into())),
            "{sent:?}"
        );
        assert_eq!(
            sent.secret_headers,
            [("Authorization".to_owned(), "hook".to_owned())]
        );
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(
            (&body["builder"], &body["outcome"]),
            (&json!("hello"), &json!("failure"))
        );
    }
}

#[tokio::test]
async fn a_report_becomes_a_line_of_a_file() {
    let master = Master::default();
    plugin("report-file")
        .deliver(&master.caller(), &json!({"path": "out/r.jsonl"}), &report())
        .await
        .unwrap();
    let (path, line) = master.lines.lock().unwrap().remove(0);
    assert_eq!(path, "out/r.jsonl");
    let report: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&report["delivery_id"], &report["summary"]),
        (&json!("d-1"), &json!("two\nlines"))
    );
}

/// With the instance, without one, and without one unless the answer is there at once.
const MODES: [WaitMode; 3] = [
    WaitMode::Warm,
    WaitMode::Replay,
    WaitMode::WarmFor(Duration::ZERO),
];

#[tokio::test]
async fn a_shell_step_is_as_good_as_its_exit_code() {
    let config = json!({"command": ["make", "test"], "env": {"LANG": null}, "secrets": {"KEY": "deploy"}, "decode_rc": {"3": "warnings"}});
    for mode in MODES {
        for (exit, outcome, summary) in [
            (Exit::Code(0), Outcome::Success, None),
            (Exit::Code(3), Outcome::Warnings, Some("exit code 3")),
            (Exit::Code(2), Outcome::Failure, Some("exit code 2")),
            (
                Exit::NotStarted("no such program".into()),
                Outcome::Failure,
                Some("not started: no such program"),
            ),
        ] {
            let master = Master {
                exits: vec![("make test", exit, "")],
                ..Master::default()
            };
            let (end, ran) = master.step("shell", &config, SourceStamp::default(), mode).await;
            assert_eq!(
                (end.outcome, end.summary.as_deref()),
                (outcome, summary),
                "{:?}",
                end.failure
            );
            assert_eq!(
                ran.commands[0].program,
                Program::Argv(vec!["make".into(), "test".into()])
            );
            assert_eq!(ran.commands[0].workdir, "build");
        }
        let lost = Master {
            exits: vec![("make test", Exit::Lost("w1 is gone".into()), "")],
            ..Master::default()
        };
        let (end, _) = lost.step("shell", &config, SourceStamp::default(), mode).await;
        assert_eq!(
            (end.outcome, end.summary.as_deref()),
            (Outcome::Retry, Some("worker lost: w1 is gone"))
        );
    }
}

#[tokio::test]
async fn a_git_step_sets_what_it_checked_out() {
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let stamp = SourceStamp {
        repository: "https://git.example/p.git".into(),
        branch: Some("main".into()),
        revision: Some(hash.into()),
        ..SourceStamp::default()
    };
    for mode in MODES {
        let exits = vec![
            ("fetch", Exit::Code(128), ""),
            ("fetch", Exit::Code(0), ""),
            ("rev-parse", Exit::Code(0), hash),
        ];
        let master = Master {
            exits,
            ..Master::default()
        };
        let (end, ran) = master
            .step(
                "git",
                &json!({"mode": "full", "method": "clobber"}),
                stamp.clone(),
                mode,
            )
            .await;
        assert_eq!(
            (end.outcome, end.summary.as_deref()),
            (Outcome::Success, Some("main at 0123456789ab")),
            "{:?}",
            end.failure
        );
        let verbs: Vec<_> = ran.commands.iter().map(master::verb).collect();
        assert_eq!(
            verbs.join(" "),
            "rm init config fetch fetch rev-parse checkout clean rev-parse"
        );
        assert_eq!(ran.properties, [("got_revision".to_owned(), json!(hash))]);
    }
    let hostile = SourceStamp {
        branch: Some("--upload-pack=x".into()),
        ..stamp
    };
    let (end, ran) = Master::default()
        .step("git", &json!({}), hostile, WaitMode::Warm)
        .await;
    assert_eq!((end.outcome, ran.commands.len()), (Outcome::Failure, 0));
}
