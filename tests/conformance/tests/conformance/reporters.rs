//! What reporters do, in every language.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use capstan_engine::{
    CallError, Caller, FileFault, FilesPort, HttpFault, HttpPort, HttpRequest, HttpResponse, Mail, MailFault,
    MailPort, Phase, Plugin, Ports, Report, StateFault, StatePort, StepResult,
};
use capstan_model::plugin::{Kind, Rights};
use capstan_model::{Outcome, Properties, SourceStamp, Timestamp};
use capstan_pack::Language;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::guests;

/// The world: what it was asked, and what it keeps.
#[derive(Default)]
struct World {
    asked: Mutex<Vec<String>>,
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl World {
    fn note(&self, text: String) {
        self.asked.lock().unwrap().push(text);
    }
}

impl HttpPort for World {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let headers: BTreeMap<_, _> = request
            .headers
            .iter()
            .map(|(n, v)| (n.to_lowercase(), v))
            .collect();
        self.note(format!(
            "{} {} {headers:?} {:?} {} {}",
            request.method, request.url, request.secret_headers, request.timeout_ms, body["summary"]
        ));
        let answer = |status, body: &str| {
            Ok(HttpResponse {
                status,
                headers: Vec::new(),
                body: body.as_bytes().to_vec(),
            })
        };
        let answer = match request.url.rsplit('/').next().unwrap_or_default() {
            "busy" => answer(503, "später"),
            "gone" => answer(410, "no such hook"),
            "slow" => Err(HttpFault::Timeout),
            "large" => Err(HttpFault::TooLarge),
            "dead" => Err(HttpFault::Transport("connection refused".to_owned())),
            "odd" => Err(HttpFault::Invalid("no such secret".to_owned())),
            _ => answer(204, ""),
        };
        async { answer }.boxed()
    }
}

impl FilesPort for World {
    fn append_line(&self, path: String, line: String) -> BoxFuture<'_, Result<(), FileFault>> {
        self.note(format!("{path}: {line}"));
        let full = path.ends_with("full");
        async move {
            if full {
                Err(FileFault("no room".to_owned()))
            } else {
                Ok(())
            }
        }
        .boxed()
    }
}

impl StatePort for World {
    fn get(&self, _: String, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateFault>> {
        let kept = self.kept.lock().unwrap().get(&key).cloned();
        async { Ok(kept) }.boxed()
    }

    fn set(&self, _: String, key: String, value: Option<Vec<u8>>) -> BoxFuture<'_, Result<(), StateFault>> {
        let text = value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        self.note(format!("{key} = {text:?}"));
        let mut kept = self.kept.lock().unwrap();
        match value {
            Some(value) => kept.insert(key, value),
            None => kept.remove(&key),
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

fn caller(world: &Arc<World>) -> Caller {
    let list = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect();
    Caller {
        owner: "conformance".to_owned(),
        grants: Arc::new(Rights {
            http: list(&["https://ci.example.org/*"]),
            secrets: list(&["token"]),
            files: list(&["reports/*"]),
            state: list(&["*"]),
            mail: list(&["*@example.org"]),
            ..Rights::default()
        }),
        ports: Ports {
            http: world.clone(),
            files: world.clone(),
            state: world.clone(),
            mail: world.clone(),
            ..Ports::nowhere()
        },
    }
}

fn report() -> Report {
    let mut properties = Properties::default();
    properties.set("branch", "main ü", "scheduler");
    Report {
        delivery_id: "d-1".to_owned(),
        phase: Phase::Finished,
        builder: "hello \"ü\"".to_owned(),
        made_by: "hello".to_owned(),
        number: 9_007_199_254_740_991,
        url: "https://ci.example.org/builds/3".to_owned(),
        worker: "w1".to_owned(),
        reason: "a change\n".to_owned(),
        outcome: Some(Outcome::Failure),
        previous_outcome: Some(Outcome::Success),
        summary: "zwei \u{1f600}".to_owned(),
        sources: vec![
            SourceStamp {
                revision: Some("a1".to_owned()),
                ..SourceStamp::default()
            },
            SourceStamp::default(),
        ],
        properties,
        steps: vec![
            StepResult {
                name: "compile".to_owned(),
                outcome: Some(Outcome::Warnings),
                summary: "3 warnings".to_owned(),
            },
            StepResult {
                name: "test".to_owned(),
                outcome: None,
                summary: String::new(),
            },
        ],
        started: Timestamp(1_700_000_000_000),
        finished: None,
    }
}

async fn told(plugin: &Plugin, world: &Arc<World>, config: &Value) -> Result<(), CallError> {
    plugin.deliver(&caller(world), config, &report()).await
}

/// Where what is kept is JSON; C keeps text, Rust bytes.
#[tokio::test]
async fn what_is_remembered_and_no_json_is_recalled_as_text() {
    for (language, plugin) in guests(Kind::Reporter) {
        let world = Arc::new(World::default());
        let old = b"many".to_vec();
        world.kept.lock().unwrap().insert("seen/hello".to_owned(), old);
        let config = json!({ "url": "https://ci.example.org/hooks/1", "count": "seen/hello" });
        let answer = told(&plugin, &world, &config).await;
        // It adds one to what it recalls.
        match language {
            Language::Javascript => {
                answer.unwrap_or_else(|error| panic!("{error}"));
                let asked = world.asked.lock().unwrap();
                assert!(asked.iter().any(|line| line.contains("many1")), "{asked:?}");
            }
            Language::Python => {
                let error = answer.expect_err("a text is no number").to_string();
                assert!(error.contains("can only concatenate str"), "{error}");
            }
            Language::Rust | Language::C => {}
        }
    }
}

#[tokio::test]
async fn a_report_arrives_the_same_from_every_language() {
    let config = json!({
        "url": "https://ci.example.org/hooks/1", "token": "token", "file": "reports/all.jsonl", "count": "seen/hello",
        "mail": ["ann@example.org", "Bob <bob@example.org>"],
    });
    let mut first: Option<Vec<String>> = None;
    for (language, plugin) in guests(Kind::Reporter) {
        let world = Arc::new(World::default());
        for _ in 0..4 {
            told(&plugin, &world, &config)
                .await
                .unwrap_or_else(|error| panic!("{language}: {error}"));
        }
        let asked = world.asked.lock().unwrap().clone();
        let line = asked[0].strip_prefix("reports/all.jsonl: ").unwrap();
        let facts: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{language}: {line}"));
        assert_eq!(
            facts,
            json!([
                "d-1",
                "finished",
                "hello \"ü\"",
                9_007_199_254_740_991_u64,
                "https://ci.example.org/builds/3",
                "w1",
                "a change\n",
                "failure",
                "success",
                "zwei \u{1f600}",
                ["a1", null],
                "main ü",
                ["compile warnings 3 warnings", "test - "],
                1_700_000_000_000_u64,
                null
            ]),
            "{language}"
        );
        let counted: Vec<_> = asked
            .iter()
            .filter(|line| line.starts_with("seen/hello"))
            .collect();
        assert_eq!(
            counted,
            [
                "seen/hello = Some(\"1\")",
                "seen/hello = Some(\"2\")",
                "seen/hello = Some(\"3\")",
                "seen/hello = None",
                "seen/hello = Some(\"1\")"
            ],
            "{language}"
        );
        let sent = asked.iter().find(|line| line.starts_with("POST")).unwrap();
        assert!(
            sent.contains("[(\"Authorization\", \"token\")] 2000 \"zwei \u{1f600}\""),
            "{language}: {sent}"
        );
        // How a language writes JSON is its own matter: the line with the facts was compared as JSON.
        let asked: Vec<_> = asked
            .into_iter()
            .filter(|line| !line.starts_with("reports/"))
            .collect();
        assert_eq!(&asked, first.get_or_insert_with(|| asked.clone()), "{language}");
    }
}

/// What goes wrong, by the last word of the URL or by parameters: whether to try again, and the words.
#[tokio::test]
async fn a_delivery_fails_the_same_in_every_language() {
    let url = |word: &str| json!({ "url": format!("https://ci.example.org/hooks/{word}"), "token": "token" });
    let with = |name: &str, value: Value| {
        let mut config = url("1");
        config[name] = value;
        config
    };
    let table = [
        (url("busy"), true, "the server answered 503: später"),
        (url("gone"), false, "the server answered 410: no such hook"),
        (url("slow"), true, "the server did not answer in time"),
        (
            url("large"),
            false,
            "the server's answer is larger than the limit",
        ),
        (
            url("dead"),
            true,
            "the server cannot be reached: connection refused",
        ),
        (url("odd"), false, "the request is malformed: no such secret"),
        (
            json!({ "url": "https://elsewhere.example.org/" }),
            false,
            "the operator has not granted it",
        ),
        (
            json!({ "url": "http://ci.example.org/" }),
            false,
            "its manifest does not ask for it",
        ),
        (with("token", json!("deploy")), false, "may not use secrets"),
        (with("file", json!("reports/full")), true, "no room"),
        (
            with("file", json!("etc/passwd")),
            false,
            "its manifest does not ask for it",
        ),
        (
            with("mail", json!(["eve@example.com"])),
            false,
            "its manifest does not ask for it",
        ),
    ];
    for (language, plugin) in guests(Kind::Reporter) {
        for (config, again, words) in &table {
            let world = Arc::new(World::default());
            let found = told(&plugin, &world, config).await;
            let text = format!("{language} {config}: {found:?}");
            match found {
                Err(CallError::Transient(said)) => assert!(*again && said.contains(words), "{text}"),
                Err(CallError::Permanent(said)) => assert!(!*again && said.contains(words), "{text}"),
                _ => panic!("{text}"),
            }
        }
        // A bug: its words reach the operator, and nothing is tried again.
        let world = Arc::new(World::default());
        match told(&plugin, &world, &with("bug", json!("no luck: ü"))).await {
            Err(CallError::Permanent(said)) => assert!(said.contains("no luck: ü"), "{language}: {said}"),
            Err(CallError::Trap(trap)) => {
                assert!(trap.to_string().contains("no luck: ü"), "{language}: {trap}")
            }
            other => panic!("{language}: {other:?}"),
        }
        assert!(world.asked.lock().unwrap().is_empty(), "{language}");
    }
}

#[tokio::test]
async fn a_reporter_checks_its_parameters_in_every_language() {
    for (language, plugin) in guests(Kind::Reporter) {
        for (config, path) in [(json!({ "url": 3 }), "url"), (json!({ "url": "ftp://x" }), "url")] {
            match plugin.check(&config).await {
                Err(CallError::InvalidConfig(problems)) => {
                    assert_eq!(problems[0].path, path, "{language} {config}")
                }
                other => panic!("{language} {config}: {other:?}"),
            }
        }
        plugin
            .check(&json!({ "url": "https://x" }))
            .await
            .unwrap_or_else(|error| panic!("{language}: {error}"));
    }
}
