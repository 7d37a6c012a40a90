//! Schedulers over the REST interface: who may ask, what reaches the master, what a refusal looks like.

use axum::http::StatusCode;
use capstan_master::{Called, Error, SchedulerStatus};
use capstan_model::plan::Plan;
use capstan_model::{BuildsetId, CallId, RequestId, Timestamp};
use capstan_store::{CallProblem, Submitted};
use serde_json::{Value, json};

use super::*;

pub(super) fn statuses(plan: &Plan) -> Vec<SchedulerStatus> {
    let status = |scheduler: &capstan_model::plan::Scheduler| SchedulerStatus {
        scheduler: scheduler.clone(),
        enabled: false,
        takes_calls: true,
        waiting: 2,
        next: Some(Timestamp(5)),
        failed: Some((Timestamp(4), "it <trapped>".to_owned())),
    };
    plan.schedulers.iter().map(status).collect()
}

/// A form with a field of each kind; what there is to choose depends on the platform.
pub(super) fn form(name: &str, values: &Value) -> Result<Value, crate::Error> {
    if name == "timer" {
        return Err(Error::Conflict("the scheduler `timer` cannot be asked for builds".to_owned()).into());
    }
    let choices = match values["platform"].as_str() {
        Some("mac") => json!(["clang"]),
        _ => json!(["gcc", "clang"]),
    };
    Ok(json!({
        "kind": "force", "label": "Release <it>", "builders": ["linux", "mac"],
        "reason": { "default": "", "required": true },
        "fields": [
            {"name": "bad", "type": "string", "label": "Bad", "required": true, "help": "<b>no</b>", "regex": "v.*"},
            {"name": "notes", "type": "text", "label": "Notes"},
            {"name": "jobs", "type": "int", "label": "Jobs", "min": 1, "max": 8, "default": 4},
            {"name": "clean", "type": "bool", "label": "Clean", "default": true},
            {"name": "platform", "type": "choice", "label": "Platform", "choices": ["linux", "mac"]},
            {"name": "compiler", "type": "choice", "label": "Compiler", "choices": choices},
            {"name": "free", "type": "choice", "label": "Free", "choices": ["a"], "other": true},
            {"name": "targets", "type": "choice", "label": "Targets", "choices": ["x", "y"], "multiple": true},
            {"name": "app", "type": "codebase", "label": "Application", "ask": ["branch"], "source": {"branch": "main"}},
            {"name": "publish", "type": "group", "label": "Publish", "fields": [
                {"name": "key", "type": "secret", "label": "Key", "choices": ["signing-key"]},
            ]},
            {"name": "log", "type": "file", "label": "Log", "max_size": 100},
            {"name": "fixed", "type": "fixed", "label": "Fixed", "default": [1]},
        ],
    }))
}

pub(super) fn answer(call: &Value) -> Result<Called, crate::Error> {
    if call["values"]["bad"].is_null() {
        let made = Submitted {
            buildset: BuildsetId(7),
            requests: vec![RequestId(8), RequestId(9)],
        };
        return Ok(Called {
            id: CallId(3),
            made: Some(vec![made]),
        });
    }
    let problem = CallProblem {
        path: "values.bad".to_owned(),
        message: "expected something else".to_owned(),
    };
    Err(Error::Refused(vec![problem]).into())
}

#[tokio::test]
async fn a_call_needs_the_token_and_reaches_the_master_as_it_was_sent() {
    let site = Site::new().await;
    let call = json!({
        "key": "k1", "owner": "ann", "builders": ["linux"], "sources": [{"branch": "main"}], "values": {"jobs": "4"},
    });
    let mut without = request("POST", "/api/v1/schedulers/release/call");
    without = without.header(header::CONTENT_TYPE, "application/json");
    let response = site
        .send(without.body(Body::from(call.to_string())).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = site.post("/api/v1/schedulers/release/call", &call).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        body,
        json!({"call": 3, "decided": true, "buildsets": [{"buildset": 7, "requests": [8, 9]}]})
    );
    let asked = site.asked().join("\n");
    let call = asked
        .strip_prefix("call release Some(\"k1\") ")
        .expect("a call with its key");
    let call: Value = serde_json::from_str(call).unwrap();
    assert_eq!(
        (&call["kind"], &call["owner"], &call["key"]),
        (&json!("force"), &json!("ann"), &Value::Null)
    );
    assert_eq!(
        (&call["values"], &call["sources"][0]["branch"]),
        (&json!({"jobs": "4"}), &json!("main"))
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_field_by_field() {
    let site = Site::new().await;
    let response = site
        .post("/api/v1/schedulers/release/call", &json!({"values": {"bad": 1}}))
        .await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        body["error"]["problems"],
        json!([{"path": "values.bad", "message": "expected something else"}])
    );
    assert_eq!(body["error"]["code"], "refused");
    let response = site
        .post("/api/v1/schedulers/release/call", &json!({"vaules": {}}))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let response = site
        .post("/api/v1/schedulers/release/call", &json!({"kind": "push"}))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn switching_a_scheduler_needs_the_token() {
    let site = Site::new().await;
    for action in ["enable", "disable"] {
        let path = format!("/api/v1/schedulers/nightly%2Fx/{action}");
        let refused = site
            .send(request("POST", &path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(site.post(&path, &json!({})).await.status(), StatusCode::OK);
    }
    assert_eq!(site.asked(), ["enable nightly/x true", "enable nightly/x false"]);
}

/// What the page sends when a person has filled in the form.
const FILLED: &str = "v.notes=a%0D%0Ab&v.jobs=4&v.clean=false&v.platform=mac&v.compiler=clang&v.free=z&v.targets=&v.targets=x\
                      &v.app.branch=devel&v.publish.key=signing-key&reason=because&owner=Ann&builder=linux&builder=mac";

#[tokio::test]
async fn a_form_is_shown_filled_in_and_sent_as_a_call() {
    let site = Site::new().await;
    let cookie = people::sign_in(&site).await;
    let path = "/schedulers/release/force";
    let page = text(people::get_as(&site, path, &cookie).await).await;
    for shown in [
        "<h1>Release &#60;it&#62;</h1>",
        r#"<label for="v.bad">Bad <span class="faint">required</span></label>"#,
        r#"id="v.bad" name="v.bad" value="" autocomplete="off" spellcheck="false" required aria-describedby="v.bad-hint""#,
        "&#60;b&#62;no&#60;/b&#62;",
        r#"name="v.jobs" value="4""#,
        "A whole number from 1 to 8.",
        r#"name="v.clean" value="true" checked"#,
        r#"<legend>Publish</legend>"#,
        r#"name="v.app.branch" value="main""#,
        r#"enctype="multipart/form-data""#,
        r#"type="file" id="v.log""#,
        "The build gets the secret&#39;s name",
        r#"name="builder" value="linux" checked"#,
        "<code>[1]</code>",
    ] {
        assert!(page.contains(shown), "expected {shown} in {page}");
    }
    assert!(!page.contains("disabled"), "{page}");
    let response = people::send_form(&site, path, &cookie, FILLED).await;
    assert_eq!(people::location(&response), "/requests/8");
    let asked = site.asked();
    let call = asked[0].strip_prefix("call release None ").expect("a call");
    assert_eq!(
        serde_json::from_str::<Value>(call).unwrap(),
        json!({
            "kind": "force", "reason": "because", "owner": "Ann",
            "values": {
                "notes": "a\nb", "jobs": "4", "clean": "false", "platform": "mac", "compiler": "clang",
                "free": "z", "targets": ["x"], "app": {"branch": "devel"}, "publish": {"key": "signing-key"},
            },
        })
    );
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let site = Site::new().await;
    let cookie = people::sign_in(&site).await;
    let path = "/schedulers/release/force";
    let fields = format!(
        "v.bad=%22%3E%3Cscript%3E&{}",
        FILLED.replace("builder=linux&", "")
    );
    let response = people::send_form(&site, path, &cookie, &fields).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = text(response).await;
    for shown in [
        r#"<p class="error" id="v.bad-error" data-field="v.bad">expected something else</p>"#,
        r#"aria-describedby="v.bad-hint v.bad-error" aria-invalid="true""#,
        r#"name="v.bad" value="&#34;&#62;&#60;script&#62;""#,
        r#"name="reason" value="because""#,
        r#"<option value="mac" selected>"#,
        r#"name="v.targets" value="x" checked"#,
        r#"name="builder" value="linux"> linux"#,
        r#"name="builder" value="mac" checked"#,
    ] {
        assert!(page.contains(shown), "expected {shown} in {page}");
    }
    // What there is to choose is as of what was typed.
    assert!(!page.contains(r#"<option value="gcc""#), "{page}");
    let call = site.asked()[0].clone();
    assert!(call.contains(r#""builders":["mac"]"#), "{call}");
    // Looking again asks for nothing.
    let again = people::send_form(&site, path, &cookie, &format!("{FILLED}&again=1")).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert!(site.asked().is_empty());
    let none = FILLED.replace("&builder=linux&builder=mac", "");
    let page = text(people::send_form(&site, path, &cookie, &none).await).await;
    assert!(
        page.contains("expected at least one builder, found none"),
        "{page}"
    );
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn a_file_comes_along_and_one_that_is_no_text_is_refused() {
    let site = Site::new().await;
    let cookie = people::sign_in(&site).await;
    let send = async |content: &[u8]| {
        let mut body = b"--xx\r\ncontent-disposition: form-data; name=\"builder\"\r\n\r\nlinux\r\n--xx\r\ncontent-disposition: \
            form-data; name=\"v.log\"; filename=\"a.log\"\r\n\r\n"
            .to_vec();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--xx--\r\n");
        let request = request("POST", "/schedulers/release/force")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xx")
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &cookie);
        site.send(request.body(Body::from(body)).unwrap()).await
    };
    assert_eq!(people::location(&send("zwölf".as_bytes()).await), "/requests/8");
    let asked = site.asked().join("\n");
    assert!(asked.contains(r#""log":"zwölf""#), "{asked}");
    let response = send(b"\xff\xfe").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = text(response).await;
    let said = r#"data-field="v.log">expected text in UTF-8, found other bytes in a.log"#;
    assert!(page.contains(said), "{page}");
    assert_eq!(
        send(&vec![b'a'; 3 << 20]).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn only_who_has_signed_in_may_send_a_form() {
    let site = Site::new().await;
    let page = site.page("/schedulers/release/force").await;
    assert!(page.contains("sign in") && page.contains("disabled"), "{page}");
    let cookie = people::sign_in(&site).await;
    let response = people::send_form(&site, "/schedulers/release/force", "session=wrong", FILLED).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        text(response).await.contains(r#"value="because""#),
        "what was typed stays"
    );
    let foreign = request("POST", "/schedulers/release/force")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site")
        .header(header::COOKIE, &cookie);
    let refused = site.send(foreign.body(Body::from(FILLED)).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(site.asked().is_empty());
    let none = people::get_as(&site, "/schedulers/timer/force", &cookie).await;
    assert_eq!(none.status(), StatusCode::CONFLICT);
    let page = site.page("/schedulers/release/calls/3").await;
    assert!(page.contains("has not decided yet"), "{page}");
}

/// A reason has the same bound whoever gives it.
#[tokio::test]
async fn a_reason_that_is_too_long_is_refused_everywhere() {
    let site = Site::new().await;
    let cookie = people::sign_in(&site).await;
    let long = json!({ "reason": "x".repeat(2001) });
    for path in [
        "builds/1/stop",
        "builds/1/rebuild",
        "requests/1/cancel",
        "workers/w/pause",
        "buildsets/1/cancel",
    ] {
        let response = site.post(&format!("/api/v1/{path}"), &long).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let fields = format!("reason={}", "x".repeat(2001));
        let response = people::send_form(&site, &format!("/{path}"), &cookie, &fields).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    assert!(site.asked().is_empty());
}
