//! What is imported but not granted answers `denied`, in every interface; each refusal reaches the audit with its place.

use std::sync::{Arc, Mutex};

use capstan_engine::{
    Audit, CallError, Engine, HttpFault, HttpPort, HttpRequest, HttpResponse, Place, Plugin, Refused, Report,
    WaitMode,
};
use capstan_model::StepId;
use capstan_model::plugin::{Kind, Right, Rights, Side};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::calls::{caller, everything, report};
use crate::farm::{Death, Farm, Lasting, no_stop, run_of};
use crate::support::{fixture, options, plugin};

/// Remembers refusals.
#[derive(Default)]
struct Ledger(Mutex<Vec<Refused>>);

impl Audit for Ledger {
    fn refused(&self, refused: Refused) {
        self.0.lock().unwrap().push(refused);
    }
}

impl Ledger {
    fn told(&self) -> Vec<(Right, String, Side, Place)> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        taken
            .into_iter()
            .map(|r| (r.refusal.right, r.refusal.value, r.refusal.side, r.place))
            .collect()
    }
}

/// A plugin of an engine that tells of refusals.
fn audited(name: &str) -> (Plugin, Arc<Ledger>) {
    let engine = Engine::new(options()).unwrap();
    let ledger = Arc::<Ledger>::default();
    let plugin = engine.load(&fixture(name)).unwrap();
    // After it was loaded: it is told of all the same.
    engine.audit_to(ledger.clone());
    (plugin, ledger)
}

/// Remembers which requests may go to the operator's own network.
#[derive(Default)]
struct Network(Mutex<Vec<bool>>);

impl HttpPort for Network {
    fn fetch(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpFault>> {
        self.0.lock().unwrap().push(request.allow_private);
        let inside = request.url.ends_with("/inside") && !request.allow_private;
        async move {
            if inside {
                return Err(HttpFault::Denied(
                    "the host is at 10.0.0.1, which is a private network".to_owned(),
                ));
            }
            Ok(HttpResponse {
                status: 200,
                headers: Vec::new(),
                body: Vec::new(),
            })
        }
        .boxed()
    }
}

fn http(patterns: &[&str]) -> Rights {
    Rights {
        http: patterns.iter().map(|&p| p.to_owned()).collect(),
        ..everything()
    }
}

const HOOK: &str = "https://hook.example.org/ci";

#[tokio::test]
async fn nothing_that_is_not_granted_leaves_a_reporter() {
    let (reporter, ledger) = audited("fixture-reporter");
    let (nothing, world) = caller(Rights::default());
    let mut told = Vec::new();
    for config in [
        json!({ "url": HOOK }),
        json!({ "file": "reports/a" }),
        json!({ "state": [["get", "seen/a"]] }),
        json!({ "state": [["set", "seen/a", "1"]] }),
        json!({ "state": [["delete", "seen/a"]] }),
        json!({ "mail": { "to": ["team@example.org"], "text": "x" } }),
    ] {
        let error = reporter
            .deliver(&nothing, &config, &report())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the operator has not granted it"),
            "{config}: {error}"
        );
        for (right, value, side, place) in ledger.told() {
            assert_eq!(side, Side::Operator);
            assert_eq!(
                place,
                Place {
                    owner: "tell".to_owned(),
                    builder: Some("hello".to_owned()),
                    step: None,
                    delivery: Some("d-1".to_owned()),
                }
            );
            told.push(format!("{} {value}", right.as_str()));
        }
    }
    assert!(world.asked().is_empty(), "{:?}", world.asked());
    assert_snapshot!(told.join("\n"), @r"
    http POST https://hook.example.org/ci
    files reports/a
    state seen/a
    state seen/a
    state seen/a
    mail team@example.org
    ");
}

#[tokio::test]
async fn nothing_that_is_not_granted_leaves_a_change_source() {
    let (source, ledger) = audited("fixture-source");
    let (nothing, world) = caller(Rights::default());
    for config in [
        json!({ "url": "https://index.example.org/a?key=hunter2" }),
        json!({ "repository": "https://git.example.org/a" }),
    ] {
        let error = source.poll(&nothing, &config, &[]).await.unwrap_err().to_string();
        assert!(
            error.contains("Denied") && error.contains("has not granted"),
            "{error}"
        );
    }
    assert!(world.asked().is_empty());
    let told: Vec<_> = ledger
        .told()
        .into_iter()
        .map(|(right, value, ..)| (right, value))
        .collect();
    assert_eq!(
        told,
        [
            (Right::Http, "GET https://index.example.org/a?…".to_owned()),
            (Right::Git, "https://git.example.org/a".to_owned())
        ],
        "and no query, which may hold a key"
    );
}

#[tokio::test]
async fn nothing_that_is_not_granted_leaves_a_step() {
    let (step, ledger) = audited("fixture-step");
    let farm = Farm::new(Lasting::default(), Death::Never);
    let script = json!([
        { "op": "run", "argv": ["make"] },
        { "op": "start", "argv": ["make"], "secret": "token" },
        { "op": "run", "argv": ["/bin/rm"] },
    ]);
    let mut run = run_of(&step, script, Vec::new(), WaitMode::Warm);
    run.grants = Arc::new(Rights::default());
    farm.run(run, no_stop()).await.unwrap().unwrap();
    assert!(farm.lasting().begun.is_empty());
    let place = Place {
        owner: "compile".to_owned(),
        builder: Some("hello".to_owned()),
        step: Some(StepId(9)),
        delivery: None,
    };
    let refused = |value: &str, side| (Right::Commands, value.to_owned(), side, place.clone());
    let told = ledger.told();
    assert_eq!(told[0], refused("make", Side::Operator));
    assert_eq!(told[1], refused("make", Side::Operator));
    assert_eq!(told[2], refused("/bin/rm", Side::Manifest));
    let (kind, digest) = (step.kind(), step.digest());
    assert_eq!((kind, told.len()), (Kind::Step, 3));
    assert_eq!(step.stats().refusals, 3, "{digest}");
}

#[tokio::test]
async fn a_secret_is_for_the_builders_that_the_grant_names() {
    let deliver = async |secrets: &str| {
        let (caller, world) = caller(Rights {
            secrets: vec![secrets.to_owned()],
            ..everything()
        });
        let config = json!({ "url": HOOK, "secret": "token" });
        let reporter = plugin("fixture-reporter");
        // Not those that a virtual builder has the name of.
        let report = Report {
            builder: "goodbye".to_owned(),
            ..report()
        };
        let delivered = reporter.deliver(&caller, &config, &report).await;
        assert_eq!(world.asked().len(), usize::from(delivered.is_ok()));
        delivered
    };
    for granted in ["token", "token@hello", "token@hel*", "*@hello", "*"] {
        deliver(granted).await.unwrap();
    }
    for granted in ["token@goodbye", "token@hell", "toke", "other@hello"] {
        let error = deliver(granted).await.unwrap_err().to_string();
        assert!(error.contains("secrets `token@hello`"), "{error}");
    }
    // The builder is what the master says, not what the plugin writes.
    let (caller, world) = caller(everything());
    let config = json!({ "url": HOOK, "secret": "token@hello" });
    let error = plugin("fixture-reporter")
        .deliver(&caller, &config, &report())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("expected the name of a secret"),
        "{error}"
    );
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_step_gets_a_secret_for_its_builder_only() {
    for (secrets, starts) in [("token@hello", true), ("token@other", false)] {
        let farm = Farm::new(Lasting::default(), Death::Never);
        let script = json!([{ "op": "start", "argv": ["make"], "secret": "token" }]);
        let mut run = run_of(&plugin("fixture-step"), script, Vec::new(), WaitMode::Warm);
        run.grants = Arc::new(Rights {
            secrets: vec![secrets.to_owned()],
            ..everything()
        });
        farm.run(run, no_stop()).await.unwrap().unwrap();
        assert_eq!(farm.lasting().begun.is_empty(), !starts, "{secrets}");
    }
}

#[tokio::test]
async fn only_a_grant_that_names_the_host_opens_the_operators_network() {
    let network = Arc::<Network>::default();
    let deliver = async |grants: &[&str], url: &str| {
        let (mut caller, _) = caller(http(grants));
        caller.ports.http = network.clone();
        let config = json!({ "url": url });
        let sent = plugin("fixture-reporter")
            .deliver(&caller, &config, &report())
            .await;
        (sent, network.0.lock().unwrap().pop())
    };
    for (grants, private) in [
        (&["*"][..], false),
        (&["https://*"], false),
        (&["https://*.example.org/*"], false),
        (&["POST *"], false),
        (&["*", "https://hook.example.org/other"], false),
        (&["*", "GET https://hook.example.org/*"], false),
        (&["https://hook.example.org/*"], true),
        (&["*", "POST https://hook.example.org"], true),
    ] {
        assert_eq!(deliver(grants, HOOK).await, (Ok(()), Some(private)), "{grants:?}");
    }
    let (sent, _) = deliver(&["GET https://hook.example.org/*"], HOOK).await;
    let error = sent.unwrap_err().to_string();
    assert!(
        error.contains("http `POST https://hook.example.org/ci`"),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_port_refuses_is_denied_and_told() {
    let (reporter, ledger) = audited("fixture-reporter");
    let (mut caller, _) = caller(http(&["*"]));
    caller.ports.http = Arc::<Network>::default();
    let config = json!({ "url": "https://hook.example.org/inside" });
    let error = reporter.deliver(&caller, &config, &report()).await.unwrap_err();
    let CallError::Permanent(text) = &error else {
        panic!("{error}")
    };
    assert_snapshot!(text, @"plugin `fixture-reporter` may not use http `POST https://hook.example.org/inside`: the host is at 10.0.0.1, which is a private network; only a grant that names that very host reaches it: add it to `http` under [grants.fixture-reporter] in capstan.toml");
    let told = ledger.told();
    assert_eq!(
        (told.len(), told[0].0, told[0].2),
        (1, Right::Http, Side::Operator)
    );
    assert_eq!(reporter.stats().refusals, 1);
}

#[tokio::test]
async fn a_request_without_a_right_is_not_told_apart_by_its_form() {
    let (caller, world) = caller(http(&["https://hook.example.org/ci/*"]));
    let deliver = async |url: &str| {
        let config: Value = json!({ "url": url });
        plugin("fixture-reporter")
            .deliver(&caller, &config, &report())
            .await
    };
    for url in [
        "https://hook.example.org/ci/../admin",
        "https://hook.example.org/ci/%2e%2e/admin",
        "https://hook.example.org/ci/..%2fadmin",
        "https://hook.example.org\\@evil.example/ci/",
        "https://hook.example.org:8443/ci/",
        "http://hook.example.org/ci/",
        "https://hook.example.org./ci/",
        "https://evil.example/ci/",
    ] {
        let error = deliver(url).await.unwrap_err().to_string();
        assert!(error.contains("may not use http"), "{url}: {error}");
    }
    assert!(world.asked().is_empty());
    deliver("HTTPS://Hook.Example.Org:443/ci/x/../y").await.unwrap();
    assert_eq!(world.asked(), ["POST https://hook.example.org/ci/y [] true"]);
}
