//! Calls into schedulers, change sources and reporters: answers, refusals, and what a hostile plugin costs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capstan_engine::{
    CallError, Caller, Commit, Decision, Engine, FileFault, FilesPort, GitFault, GitPort, HttpFault,
    HttpPort, HttpRequest, HttpResponse, Mail, MailFault, MailPort, Options, Phase, Ports, Reference, Report,
    SchedulerEvent, StateFault, StatePort, StepResult, Timer, Trap,
};
use capstan_model::plugin::{Right, Rights, Side};
use capstan_model::{Change, ChangeId, NewChange, Outcome, Properties, SourceStamp, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{fixture, fresh, options, plugin};

/// The world as plugins reach it here: it remembers what it was asked.
#[derive(Default)]
pub struct World {
    asked: Mutex<Vec<String>>,
    kept: Mutex<HashMap<(String, String), Vec<u8>>>,
}

impl World {
    fn note(&self, text: String) {
        self.asked.lock().unwrap().push(text);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl GitPort for World {
    fn fetch(&self, repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
        self.note(format!("fetch {repository}"));
        let answer = match repository.ends_with("gone") {
            true => Err(GitFault::Unavailable("no such repository".to_owned())),
            false => Ok(vec![Reference {
                name: "refs/heads/main".to_owned(),
                revision: "b2".to_owned(),
            }]),
        };
        async { answer }.boxed()
    }

    fn commits(
        &self,
        repository: String,
        since: Vec<String>,
        until: String,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
        self.note(format!("commits {repository} {since:?} {until} {limit}"));
        let commit = |revision: &str| Commit {
            revision: revision.to_owned(),
            parents: Vec::new(),
            author: "A".to_owned(),
            when_ms: 1,
            comments: String::new(),
            files: Vec::new(),
        };
        async move { Ok(vec![commit("a1"), commit("b2")]) }.boxed()
    }
}

impl HttpPort for World {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        let secrets = &request.secret_headers;
        self.note(format!(
            "{} {} {secrets:?} {}",
            request.method,
            request.url,
            request.body.len() > 2
        ));
        let answer = match request.url.as_str() {
            url if url.ends_with("/busy") => Ok(HttpResponse {
                status: 503,
                headers: Vec::new(),
                body: Vec::new(),
            }),
            url if url.ends_with("/large") => Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: vec![0; 2 << 20],
            }),
            _ => Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: b"v1".to_vec(),
            }),
        };
        async { answer }.boxed()
    }
}

impl FilesPort for World {
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        self.note(format!("{path}: {line}"));
        async { Ok(()) }.boxed()
    }
}

impl StatePort for World {
    fn get(&self, owner: String, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>> {
        self.note(format!("get {owner}: {key}"));
        let kept = self.kept.lock().unwrap().get(&(owner, key)).cloned();
        async { Ok(kept) }.boxed()
    }

    fn set(
        &self,
        owner: String,
        key: String,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StateFault>> {
        self.note(format!("set {owner}: {key} {value:?}"));
        let mut kept = self.kept.lock().unwrap();
        match value {
            Some(value) => kept.insert((owner, key), value),
            None => kept.remove(&(owner, key)),
        };
        async { Ok(()) }.boxed()
    }
}

impl MailPort for World {
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), MailFault>> {
        self.note(format!("{mail:?}"));
        async { Ok(()) }.boxed()
    }
}

pub fn everything() -> Rights {
    let all = || vec!["*".to_owned()];
    Rights {
        commands: all(),
        http: all(),
        git: all(),
        secrets: all(),
        files: all(),
        state: all(),
        mail: all(),
        artefacts: all(),
        triggers: all(),
    }
}

pub fn caller(grants: Rights) -> (Caller, Arc<World>) {
    let world = Arc::new(World::default());
    let ports = Ports {
        git: world.clone(),
        http: world.clone(),
        files: world.clone(),
        state: world.clone(),
        mail: world.clone(),
    };
    (
        Caller {
            owner: "tell".to_owned(),
            grants: Arc::new(grants),
            ports,
        },
        world,
    )
}

async fn handle(config: Value, event: SchedulerEvent) -> Result<Decision, CallError> {
    plugin("fixture-scheduler")
        .handle(&caller(Rights::default()).0, &config, &[7], Timestamp(5), event)
        .await
}

pub fn change() -> SchedulerEvent {
    let facts = NewChange {
        dedup_key: "k".to_owned(),
        codebase: "lib".to_owned(),
        repository: "https://git.example.org/lib".to_owned(),
        project: "p".to_owned(),
        branch: Some("main".to_owned()),
        revision: "b2".to_owned(),
        author: "Ann".to_owned(),
        comments: "fix\nit".to_owned(),
        files: vec!["a.c".to_owned()],
        category: None,
        when: Timestamp(1),
        properties: Properties::default(),
    };
    SchedulerEvent::Change(Box::new(Change {
        id: ChangeId(3),
        source: "s".to_owned(),
        received: Timestamp(2),
        facts,
    }))
}

#[tokio::test]
async fn a_scheduler_turns_events_into_requests_and_timers() {
    let started = handle(json!({}), SchedulerEvent::Started).await.unwrap();
    assert_eq!(started.state, [8]);
    assert_eq!(
        started.set_timers,
        [Timer {
            name: "tick".to_owned(),
            at: Timestamp(1005)
        }]
    );
    let decision = handle(json!({}), change()).await.unwrap();
    let set = &decision.submit[0];
    assert_eq!(
        (set.priority, set.reason.as_str(), set.changes[0]),
        (5, "a change by Ann", ChangeId(3))
    );
    assert_eq!(set.sources[0].revision.as_deref(), Some("b2"));
    assert_eq!(set.properties.get("files").unwrap().value, json!(["a.c"]));
    let due = handle(json!({}), SchedulerEvent::Timer("tick".to_owned()))
        .await
        .unwrap();
    assert_eq!(due.clear_timers, ["tick"]);
}

#[tokio::test]
async fn a_plugin_reports_its_errors_by_kind() {
    let error = |what| handle(json!({ "do": what }), SchedulerEvent::Started);
    assert_eq!(
        error("transient").await.unwrap_err(),
        CallError::Transient("not now".to_owned())
    );
    assert_eq!(
        error("permanent").await.unwrap_err(),
        CallError::Permanent("never".to_owned())
    );
    let invalid = plugin("fixture-scheduler")
        .check(&json!({ "do": "invalid" }))
        .await
        .unwrap_err();
    assert_snapshot!(invalid, @"invalid parameters: do: expected less; bad");
    let (source, (caller, _)) = (plugin("fixture-source"), caller(Rights::default()));
    let wrong = source
        .handle(&caller, &json!({}), &[], Timestamp(0), change())
        .await;
    assert_snapshot!(wrong.unwrap_err(), @"expected a plugin of kind scheduler, found fixture-source of kind change-source");
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_refused() {
    let malformed = async |what| {
        handle(json!({ "do": what }), change())
            .await
            .unwrap_err()
            .to_string()
    };
    assert_snapshot!(malformed("bad-json").await, @"the plugin's answer is malformed: property files: expected JSON: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(malformed("big-state").await, @"the plugin's answer is malformed: state: expected at most 1048576, found 2097152");
    assert_snapshot!(malformed("too-many").await, @"the plugin's answer is malformed: clear-timers: expected at most 1000, found 2000");
}

#[tokio::test]
async fn a_hostile_plugin_costs_one_call() {
    let ended = async |what| {
        handle(json!({ "do": what }), SchedulerEvent::Started)
            .await
            .unwrap_err()
    };
    assert_eq!(ended("spin").await, CallError::Trap(Trap::Deadline { ms: 300 }));
    assert_eq!(ended("print").await, CallError::Trap(Trap::Deadline { ms: 300 }));
    assert_eq!(ended("recurse").await, CallError::Trap(Trap::StackOverflow));
    assert_snapshot!(ended("allocate").await, @"the plugin was ended: it needs more than its memory limit of 64 MiB; a higher `limits.memory_mib` in its manifest may help");
    let panic = ended("panic").await.to_string();
    assert!(
        panic.contains("it panicked: ") && panic.ends_with("told to"),
        "{panic}"
    );
    handle(json!({}), SchedulerEvent::Started)
        .await
        .expect("the next call works");
}

/// Where address space is short, plugins cost more, and run.
#[tokio::test]
async fn without_room_for_a_pool_plugins_run_as_well() {
    let options = Options {
        step_instances: 1 << 20,
        call_instances: 1 << 20,
        ..options()
    };
    let scheduler = Engine::new(options)
        .unwrap()
        .load(&fixture("fixture-scheduler"))
        .unwrap();
    let (caller, _) = caller(Rights::default());
    scheduler
        .handle(&caller, &json!({}), &[], Timestamp(0), SchedulerEvent::Started)
        .await
        .unwrap();
}

#[tokio::test]
async fn traps_are_counted() {
    let plugin = fresh("fixture-scheduler");
    let (caller, _) = caller(Rights::default());
    for what in ["spin", "panic", ""] {
        let _ = plugin
            .handle(
                &caller,
                &json!({ "do": what }),
                &[],
                Timestamp(0),
                SchedulerEvent::Started,
            )
            .await;
    }
    let stats = plugin.stats();
    assert_eq!(
        (stats.calls, stats.ended, stats.failures, stats.traps),
        (3, 3, 2, 2)
    );
    // The one that spun was ended at its limit, a third of the time at least is the average's.
    assert!(stats.longest >= Duration::from_millis(200), "{stats:?}");
    assert!(
        stats.mean() * 3 >= stats.longest && stats.mean() < stats.longest,
        "{stats:?}"
    );
}

/// A server that takes its time is no reason to look for a slow plugin.
#[tokio::test]
async fn what_a_plugin_waits_for_is_not_its_time() {
    const WAIT: Duration = Duration::from_millis(400);
    struct Slow;
    impl GitPort for Slow {
        fn fetch(&self, _repository: String) -> BoxFuture<'_, Result<Vec<Reference>, GitFault>> {
            tokio::time::sleep(WAIT)
                .map(|()| Err(GitFault::Unavailable("slow".to_owned())))
                .boxed()
        }

        fn commits(
            &self,
            _repository: String,
            _since: Vec<String>,
            _until: String,
            _limit: u32,
        ) -> BoxFuture<'_, Result<Vec<Commit>, GitFault>> {
            async { Ok(Vec::new()) }.boxed()
        }
    }
    let plugin = fresh("fixture-source");
    let (mut caller, _) = caller(everything());
    caller.ports.git = Arc::new(Slow);
    let config = json!({ "repository": "https://git.example.org/a" });
    let began = std::time::Instant::now();
    plugin.poll(&caller, &config, &[]).await.unwrap_err();
    let took = began.elapsed();
    let stats = plugin.stats();
    assert_eq!((stats.failures, stats.traps), (1, 0));
    assert!(stats.time <= took - WAIT, "{stats:?} of {took:?}");
}

/// On one thread: a guest that spins must give way to others.
#[tokio::test(flavor = "current_thread")]
async fn a_spinning_plugin_does_not_stall_another_call() {
    let spin = handle(json!({ "do": "spin" }), SchedulerEvent::Started);
    let others = async {
        for _ in 0..10 {
            handle(json!({}), SchedulerEvent::Started).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        _ = spin => panic!("ten quick calls took longer than the time limit of a spinning one"),
        () = others => {}
    }
}

#[tokio::test]
async fn more_calls_than_places_wait_for_their_turn() {
    let calls = (0..40).map(|_| handle(json!({}), SchedulerEvent::Started));
    for decision in futures::future::join_all(calls).await {
        decision.unwrap();
    }
}

#[tokio::test]
async fn a_change_source_reads_repositories_and_servers() {
    let (caller, world) = caller(everything());
    let config = json!({ "repository": "https://git.example.org/a", "url": "https://INDEX.example.org/x/../p", "since": "a0" });
    let poll = plugin("fixture-source")
        .poll(&caller, &config, &[4])
        .await
        .unwrap();
    assert_eq!(
        (poll.cursor.as_slice(), poll.poll_again_ms),
        ([4, 1].as_slice(), 60_000)
    );
    let keys: Vec<_> = poll
        .changes
        .iter()
        .map(|change| change.dedup_key.as_str())
        .collect();
    assert_eq!(keys, ["index@v1", "refs/heads/main@a1", "refs/heads/main@b2"]);
    assert_snapshot!(world.asked().join("\n"), @r##"
    GET https://index.example.org/p [] false
    fetch https://git.example.org/a
    commits https://git.example.org/a ["a0"] refs/heads/main 10
    "##);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_counted() {
    let source = fresh("fixture-source");
    let poll = async |grants, config: Value| {
        let (caller, world) = caller(grants);
        let error = source.poll(&caller, &config, &[]).await.unwrap_err().to_string();
        assert!(world.asked().is_empty(), "nothing leaves the process");
        error
    };
    let granted = json!({ "repository": "https://git.example.org/a" });
    assert_snapshot!(poll(Rights::default(), granted).await, @r##"GitError::Denied("plugin `fixture-source` may not use git `https://git.example.org/a`: the manifest asks for it, the operator has not granted it; to grant it, add it to `git` under [grants.fixture-source] in capstan.toml")"##);
    assert_snapshot!(poll(everything(), json!({ "repository": "https://elsewhere.example.org/a" })).await, @r##"GitError::Denied("plugin `fixture-source` may not use git `https://elsewhere.example.org/a`: its manifest does not ask for it")"##);
    assert_snapshot!(poll(everything(), json!({ "url": "https://index.example.org@evil.example/" })).await, @r##"HttpError::Invalid("expected an http or https URL, found a user name in it; use a secret header")"##);
    assert_snapshot!(poll(everything(), json!({ "url": "https://index.example.org.evil.example/" })).await, @r##"HttpError::Denied("plugin `fixture-source` may not use http `GET https://index.example.org.evil.example/`: its manifest does not ask for it")"##);
    assert_snapshot!(poll(everything(), json!({ "repository": "--upload-pack=x" })).await, @r##"GitError::Invalid("expected the URL of a git repository, found \"--upload-pack=x\": it begins with `-`")"##);
    assert_snapshot!(poll(everything(), json!({ "repository": "ext::sh -c id" })).await, @r##"GitError::Invalid("expected the URL of a git repository, found \"ext::sh -c id\": it holds white space or control characters")"##);
    assert_eq!(source.stats().refusals, 3);
    assert_eq!(source.stats().failures, 6);
    let refusals = source.refusals();
    let told: Vec<_> = refusals
        .iter()
        .map(|r| (r.refusal.right, r.refusal.value.as_str(), r.refusal.side, r.count))
        .collect();
    assert_eq!(
        told,
        [
            (
                Right::Http,
                "GET https://index.example.org.evil.example/",
                Side::Manifest,
                1
            ),
            (Right::Git, "https://elsewhere.example.org/a", Side::Manifest, 1),
            (Right::Git, "https://git.example.org/a", Side::Operator, 1),
        ],
        "the last comes first"
    );
}

#[tokio::test]
async fn odd_names_never_reach_git() {
    let (caller, world) = caller(everything());
    for since in ["--output=x", "a b", "a\nb"] {
        let config = json!({ "repository": "https://git.example.org/a", "since": since });
        let error = plugin("fixture-source")
            .poll(&caller, &config, &[])
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("expected the name of a revision"),
            "{error}"
        );
    }
    assert!(world.asked().iter().all(|call| call.starts_with("fetch")));
    let gone = json!({ "repository": "https://git.example.org/gone" });
    let error = plugin("fixture-source")
        .poll(&caller, &gone, &[])
        .await
        .unwrap_err();
    assert_eq!(error, CallError::Transient("no such repository".to_owned()));
}

#[tokio::test]
async fn checking_parameters_reaches_nothing() {
    let error = plugin("fixture-source")
        .check(&json!({ "in_check": "fetch" }))
        .await
        .unwrap_err();
    assert_snapshot!(error, @"the plugin was ended: it called git.fetch, which is not allowed here");
    plugin("fixture-source").check(&json!({})).await.unwrap();
    plugin("fixture-reporter").check(&json!({})).await.unwrap();
}

pub fn report() -> Report {
    let mut properties = Properties::default();
    properties.set("rev", json!({ "b": 1, "a": [2] }), "fixture");
    Report {
        delivery_id: "d-1".to_owned(),
        phase: Phase::Finished,
        builder: "hello".to_owned(),
        made_by: "hello".to_owned(),
        number: 3,
        url: "http://127.0.0.1/builders/hello/3".to_owned(),
        worker: "w1".to_owned(),
        reason: "a push".to_owned(),
        outcome: Some(Outcome::Failure),
        previous_outcome: None,
        summary: "tests failed".to_owned(),
        sources: vec![SourceStamp::default()],
        properties,
        steps: vec![StepResult {
            name: "test".to_owned(),
            outcome: None,
            summary: String::new(),
        }],
        started: Timestamp(10),
        finished: Some(Timestamp(20)),
    }
}

#[tokio::test]
async fn a_reporter_sees_the_whole_report() {
    let (caller, world) = caller(everything());
    plugin("fixture-reporter")
        .deliver(&caller, &json!({ "file": "reports/a.jsonl" }), &report())
        .await
        .unwrap();
    let asked = world.asked().remove(0);
    let line: Value = serde_json::from_str(asked.strip_prefix("reports/a.jsonl: ").unwrap()).unwrap();
    assert_snapshot!(line["getters"], @r##"["d-1",true,"hello",3,"http://127.0.0.1/builders/hello/3","w1","a push","Outcome::Failure",null,"tests failed",1,"{\"a\":[2],\"b\":1}","test",10,20]"##);
    let whole: Value = serde_json::from_str(line["json"].as_str().unwrap()).unwrap();
    assert_eq!(whole, serde_json::to_value(report()).unwrap());
}

#[tokio::test]
async fn a_secret_header_needs_the_right_to_the_secret() {
    let (caller, world) = caller(everything());
    let deliver = async |config: Value| {
        plugin("fixture-reporter")
            .deliver(&caller, &config, &report())
            .await
    };
    let hook = "https://hook.example.org/ci";
    deliver(json!({ "url": hook, "secret": "token" })).await.unwrap();
    assert_eq!(
        world.asked(),
        [format!("POST {hook} [(\"authorization\", \"token\")] true")]
    );
    let other = deliver(json!({ "url": hook, "secret": "root-password" }))
        .await
        .unwrap_err();
    assert_snapshot!(other, @"plugin `fixture-reporter` may not use secrets `root-password@hello`: its manifest does not ask for it");
    assert_snapshot!(deliver(json!({ "file": "../../etc/cron.d/x" })).await.unwrap_err(), @r##"FileError::Io("expected a path inside the farm's folder, found \"../../etc/cron.d/x\"")"##);
    assert_snapshot!(deliver(json!({ "file": "secrets/key" })).await.unwrap_err(), @r##"FileError::Denied("plugin `fixture-reporter` may not use files `secrets/key`: its manifest does not ask for it")"##);
    assert_snapshot!(deliver(json!({ "url": "https://hook.example.org/busy" })).await.unwrap_err(), @"status 503");
    assert_snapshot!(deliver(json!({ "url": "https://hook.example.org/large" })).await.unwrap_err(), @"HttpError::TooLarge");
}
