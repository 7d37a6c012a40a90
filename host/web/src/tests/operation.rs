//! The pages on which a farm is run: the queue, workers, plugins, and their buttons.

use capstan_master::{Hindrance, PluginState, RefusedUse, Running};
use capstan_model::plugin::{Kind, Limits, Right, Rights, Side};
use capstan_store::Submitted;

use super::people::{get_as, location, send_form, sign_in};
use super::*;

const HOSTILE: &str = "<script>alert('x')</script>";

/// A request that waits.
async fn submit(site: &Site, builder: &str, reason: &str) -> RequestId {
    let set = NewBuildset {
        reason: reason.to_owned(),
        sources: vec![SourceStamp {
            branch: Some(HOSTILE.to_owned()),
            ..SourceStamp::default()
        }],
        builders: vec![builder.to_owned()],
        priority: 4,
        ..NewBuildset::default()
    };
    let Submitted { requests, .. } = site.store.submit(set, NOW).await.unwrap();
    requests[0]
}

fn worker(name: &str) -> WorkerStatus {
    WorkerStatus {
        name: name.to_owned(),
        configured: true,
        enrolled: true,
        connected: true,
        since: Some(NOW),
        last_heard: Some(NOW),
        address: None,
        paused: None,
        slots: 2,
        labels: vec!["gpu".to_owned(), "os=linux".to_owned()],
        facts: [("os".to_owned(), "linux".to_owned())].into(),
        builds: vec![],
    }
}

pub(super) fn plugin(name: &str) -> PluginStatus {
    PluginStatus {
        origin: format!("{name}.wasm"),
        kind: Some(Kind::Step),
        name: Some(name.to_owned()),
        version: Some("1.2.0".to_owned()),
        description: String::new(),
        digest: Some(Digest::of(name.as_bytes())),
        active: true,
        state: PluginState::InForce,
        since: Some(NOW),
        note: None,
        asks: Rights::default(),
        granted: Rights::default(),
        size: Some(87_654),
        limits: Limits {
            memory_mib: Some(64),
            call_ms: Some(5000),
            journal_rows: Some(10_000),
        },
        calls: 7,
        failures: 0,
        traps: 0,
        mean_us: 180,
        longest_us: 2_500,
        refusals: 0,
        refused: vec![],
        error: None,
    }
}

/// The part of a page from `start` to the next `end`.
fn part<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = page
        .split_once(start)
        .unwrap_or_else(|| panic!("{start} is not in {page}"));
    rest.split_once(end).unwrap().0
}

#[tokio::test]
async fn the_queue_says_of_each_request_why_it_waits() {
    let site = Site::new().await;
    let (build, _, _) = site.build("linux", "nightly").await;
    let ids = [
        submit(&site, "linux", "one").await,
        submit(&site, "linux", "two").await,
        submit(&site, "gone", "three").await,
    ];
    let running = Running {
        build,
        builder: "linux".to_owned(),
        number: 1,
        worker: "w/1".to_owned(),
    };
    *site.control.why.lock().unwrap() = vec![
        Why::Busy {
            builds: vec![running],
            ahead: 2,
        },
        Why::Hindered(vec![
            ("w1".to_owned(), Hindrance::Silent(Some(NOW.plus_ms(-300_000)))),
            ("w2".to_owned(), Hindrance::Paused(HOSTILE.to_owned())),
        ]),
        Why::UnknownBuilder,
    ];
    let page = site.page("/requests").await;
    assert!(page.contains(r#"data-page="requests""#));
    let row = |id: RequestId| part(&page, &format!(r#"data-request="{id}""#), "</tr>");
    let busy = row(ids[0]);
    assert!(
        busy.contains(&format!(r#"<a href="/builds/{build}">linux/1</a>"#)),
        "{busy}"
    );
    assert!(
        busy.contains(r#"href="/workers/w%2F1""#) && busy.contains("2 requests before it"),
        "{busy}"
    );
    let silent = row(ids[1]);
    assert!(
        silent.contains("5 min ago") && silent.contains("is paused (&#60;script"),
        "{silent}"
    );
    assert!(row(ids[2]).contains("no builder of this name"));
    let places: Vec<_> = ids
        .iter()
        .map(|id| page.find(&format!(r#"data-request="{id}""#)).unwrap())
        .collect();
    assert!(places.is_sorted(), "in the order in which they are served");
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(
        page.contains(r#"data-outcome="running""#),
        "the one that is served"
    );

    let of = site.json(&format!("/api/v1/requests/{}", ids[0])).await;
    assert_eq!(
        of["waiting"],
        "its workers are busy with linux/1 on w/1; 2 requests come before it"
    );
    let list = site.json("/api/v1/requests").await;
    let served = list["requests"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&served["state"], &served["waiting"]),
        (&json!("claimed"), &Value::Null)
    );
    let filtered = site.page("/requests?builder=gone").await;
    assert!(
        filtered.contains(&format!(r#"data-request="{}""#, ids[2]))
            && !filtered.contains(&format!(r#"data-request="{}""#, ids[0]))
    );
}

#[tokio::test]
async fn a_request_says_what_it_waits_for_and_then_what_it_became() {
    let site = Site::new().await;
    let id = submit(&site, HOSTILE, HOSTILE).await;
    let page = site.page(&format!("/requests/{id}")).await;
    assert!(
        page.contains(r#"data-page="request""#) && page.contains("data-why") && !page.contains("data-became"),
        "{page}"
    );
    assert!(page.contains("It is the first of the"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    let (build, _, _) = site.build("linux", "nightly").await;
    let request = site.store.build(build).await.unwrap().unwrap().requests[0];
    let page = site.page(&format!("/requests/{request}")).await;
    assert!(
        part(&page, "data-became", "</p>").contains(&format!(r#"href="/builds/{build}">build linux/1"#)),
        "{page}"
    );
    assert!(!page.contains("data-why"), "{page}");
    assert_eq!(site.get("/requests/99").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_farm_says_how_to_begin() {
    let site = Site::new().await;
    assert!(site.page("/requests").await.contains("Nothing waits."));
    let workers = site.page("/workers").await;
    assert!(
        workers.contains("capstan worker invite w1") && workers.contains("data-empty"),
        "{workers}"
    );
    assert!(site.page("/plugins").await.contains("There are no plugins."));
}

#[tokio::test]
async fn workers_say_how_they_stand() {
    let site = Site::new().await;
    let (build, _, _) = site.build("linux", "nightly").await;
    let busy = WorkerStatus {
        builds: vec![build],
        ..worker("w1")
    };
    let new = WorkerStatus {
        enrolled: false,
        connected: false,
        since: None,
        ..worker("w2")
    };
    let paused = WorkerStatus {
        paused: Some(HOSTILE.to_owned()),
        ..worker("w3")
    };
    let silent = WorkerStatus {
        connected: false,
        since: Some(NOW.plus_ms(-7_200_000)),
        ..worker("w4")
    };
    let foreign = WorkerStatus {
        configured: false,
        ..worker(HOSTILE)
    };
    site.store.upsert_worker("w5", NOW).await.unwrap();
    site.store.revoke_worker("w5", NOW).await.unwrap();
    let revoked = WorkerStatus {
        enrolled: false,
        connected: false,
        ..worker("w5")
    };
    *site.control.workers.lock().unwrap() = vec![foreign, busy, new, paused, silent, revoked, worker("w6")];
    let page = site.page("/workers").await;
    assert!(page.contains(r#"data-page="workers""#) && !page.contains("<script>alert"));
    let card = |name: &str| part(&page, &format!(r#"data-worker="{name}""#), "</article>");
    for (name, state, text) in [
        ("w1", "busy", "1 of 2 slots taken"),
        ("w2", "never joined", "capstan worker invite w2"),
        ("w3", "paused", "Paused: &#60;script"),
        ("w4", "silent", "2 h ago"),
        ("w5", "revoked", "capstan worker invite w5"),
        ("w6", "idle", "0 of 2 slots taken"),
    ] {
        let card = card(name);
        assert!(
            card.contains(&format!(r#"data-state="{state}""#)) && card.contains(text),
            "{card}"
        );
    }
    assert!(card("w1").contains(&format!(r#"<a href="/builds/{build}">linux/1</a>"#)));
    assert!(
        card("w6").contains(">gpu<") && !card("w6").contains("os=linux"),
        "facts are no chips"
    );
    assert!(!page.contains("/pause"), "buttons are for the operator");
    let one = site.page("/workers/w1").await;
    assert!(one.contains(r#"data-page="worker""#) && one.contains(&format!(r#"data-build="{build}""#)));
    let cookie = sign_in(&site).await;
    let page = text(get_as(&site, "/workers/w6", &cookie).await).await;
    assert!(
        page.contains(r#"action="/workers/w6/pause""#) && page.contains(r#"action="/workers/w6/revoke""#)
    );
    assert_eq!(site.get("/workers/nobody").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn plugins_say_what_they_may_do_and_did() {
    let site = Site::new().await;
    let rights = |commands: &[&str]| Rights {
        commands: commands.iter().map(|&value| value.to_owned()).collect(),
        ..Rights::default()
    };
    let refused = RefusedUse {
        right: Right::Commands,
        value: HOSTILE.to_owned(),
        side: Side::Operator,
        count: 3,
        last: NOW.plus_ms(-60_000),
    };
    let odd = PluginStatus {
        asks: rights(&["git", "rm"]),
        granted: rights(&["git", "curl"]),
        traps: 1,
        failures: 2,
        refusals: 3,
        refused: vec![refused],
        description: HOSTILE.to_owned(),
        ..plugin("odd")
    };
    let broken = PluginStatus {
        kind: None,
        name: None,
        state: PluginState::Broken,
        error: Some(format!("{HOSTILE}\nline 2")),
        ..plugin("broken")
    };
    *site.control.plugins.lock().unwrap() = vec![plugin("shell"), odd, broken];
    let page = site.page("/plugins").await;
    assert!(page.contains(r#"data-page="plugins""#) && !page.contains("<script>alert"));
    let (broken, odd) = (
        page.find(r#"data-plugin="broken.wasm""#).unwrap(),
        page.find(r#"data-plugin="odd""#).unwrap(),
    );
    assert!(broken < odd, "what is wrong comes first");
    assert!(page.contains(r#"<p class="printed">broken: &#60;script"#));
    assert!(page.contains("&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62;\nline 2</p>"));
    let odd = part(&page, r#"data-plugin="odd""#, "</article>");
    let right = part(odd, r#"data-right="commands""#, "</tr>");
    assert!(part(right, "data-granted", "</td>").contains(">git<"));
    let denied = part(right, "data-denied", "</td>");
    assert!(
        denied.contains(">rm<") && denied.contains("not asked for") && denied.contains(">curl<"),
        "{denied}"
    );
    assert!(odd.contains(r#"data-calls="7""#) && odd.contains("180 µs on average, 2.5 ms at most"));
    assert!(odd.contains(r#"data-failures="2" data-traps="1""#) && odd.contains(r#"data-refusals="3""#));
    assert!(odd.contains("the operator, who has not granted it") && odd.contains("1 min ago"));
    assert!(
        part(&page, r#"data-plugin="shell""#, "</article>").contains("can compute, and nothing else"),
        "{page}"
    );
    let api = site.json("/api/v1/plugins").await;
    let odd = &api["plugins"][1];
    assert_eq!(
        (&odd["failures"], &odd["longest_us"], &odd["size"]),
        (&json!(2), &json!(2500), &json!(87_654))
    );
    assert_eq!(
        odd["refused"][0],
        json!({ "right": "commands", "value": HOSTILE, "side": "operator", "count": 3, "last": NOW.0 - 60_000 })
    );
}

#[tokio::test]
async fn a_version_that_is_kept_and_the_file_that_waits_are_both_shown_with_the_reason() {
    let site = Site::new().await;
    let kept = PluginStatus {
        state: PluginState::Kept,
        note: Some(HOSTILE.to_owned()),
        ..plugin("chat")
    };
    let waiting = PluginStatus {
        version: Some("2.0.0".to_owned()),
        active: false,
        state: PluginState::Waiting,
        error: Some("waiting: asks for http `*`".to_owned()),
        ..plugin("chat")
    };
    *site.control.plugins.lock().unwrap() = vec![kept, waiting];
    let page = site.page("/plugins").await;
    let kept = part(&page, r#"id="kept-step-chat.wasm""#, "</article>");
    assert!(kept.contains(">kept</span>") && kept.contains("data-note") && !kept.contains(HOSTILE));
    let waiting = part(&page, r#"id="step-chat.wasm""#, "</article>");
    assert!(
        waiting.contains(r#"data-state="waiting""#) && waiting.contains("step chat 2.0.0"),
        "{waiting}"
    );
    assert!(waiting.contains("waiting: asks for"), "{waiting}");
    let api = site.json("/api/v1/plugins").await;
    let states = [&api["plugins"][0]["state"], &api["plugins"][1]["state"]];
    assert_eq!(states, [&json!("kept"), &json!("waiting")]);
    assert_eq!(api["plugins"][0]["since"], NOW.0);
}

#[tokio::test]
async fn buttons_reach_the_master_and_lead_back() {
    let site = Site::new().await;
    let cookie = sign_in(&site).await;
    for (path, fields, back) in [
        ("/requests/8/cancel", "", "/requests/8"),
        ("/workers/w%2F1/pause", "reason=+disk+", "/workers/w%2F1"),
        ("/workers/w%2F1/pause", "reason=", "/workers/w%2F1"),
        ("/workers/w%2F1/unpause", "", "/workers/w%2F1"),
        ("/workers/w%2F1/revoke", "", "/workers/w%2F1"),
    ] {
        let response = send_form(&site, path, &cookie, fields).await;
        assert_eq!(location(&response), back);
    }
    let stopped = send_form(&site, "/builds/7/stop", &cookie, "reason=wrong+branch").await;
    assert_eq!(stopped.status(), StatusCode::CONFLICT);
    assert!(text(stopped).await.contains("build 7 has ended already"));
    let asked = site.asked().join("\n");
    insta::assert_snapshot!(asked, @r#"
    cancel 8 cancelled by the operator
    pause w/1 Some("disk")
    pause w/1 Some("paused by the operator")
    pause w/1 None
    revoke w/1
    stop 7 wrong branch
    "#);
    for path in [
        "/builds/7/stop",
        "/requests/8/cancel",
        "/workers/w1/pause",
        "/workers/w1/unpause",
        "/workers/w1/revoke",
        "/reload",
    ] {
        let stranger = send_form(&site, path, "capstan-8010=none", "").await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
        let foreign = request("POST", path)
            .header(header::COOKIE, &cookie)
            .header("sec-fetch-site", "cross-site");
        let foreign = site.send(foreign.body(Body::empty()).unwrap()).await;
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn a_reload_shows_what_changed_or_why_nothing_did() {
    let site = Site::new().await;
    let cookie = sign_in(&site).await;
    let answer = |answer| *site.control.reload.lock().unwrap() = Some(answer);
    answer(Ok(Reloaded {
        changes: vec![format!("+ builder {HOSTILE}")],
        warnings: vec!["a grant without a plugin".to_owned()],
    }));
    let response = send_form(&site, "/reload", &cookie, "").await;
    assert_eq!(response.status(), StatusCode::OK);
    let page = text(response).await;
    let note = part(&page, r#"data-reload="applied""#, "</div>");
    assert!(
        note.contains("+ builder &#60;script") && note.contains("a grant without a plugin"),
        "{note}"
    );
    assert!(
        !page.contains("data-live-after"),
        "the address of a form's answer cannot be fetched again"
    );
    let refused = Error::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration", "1 fault")
        .diagnostics(vec![format!("ci.star:3:1: {HOSTILE}")]);
    answer(Err(refused));
    let response = send_form(&site, "/reload", &cookie, "").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = text(response).await;
    assert!(
        part(&page, r#"data-reload="refused""#, "</div>").contains("ci.star:3:1: &#60;script"),
        "{page}"
    );
}
