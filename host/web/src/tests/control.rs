//! Who may ask for what, and what browsers are told.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

async fn force_with(site: &Site, authorization: Option<&str>) -> (StatusCode, Value) {
    let mut force = request("POST", "/api/v1/builders/linux/force");
    if let Some(value) = authorization {
        force = force.header(header::AUTHORIZATION, value);
    }
    let response = site.send(force.body(Body::empty()).unwrap()).await;
    (
        response.status(),
        serde_json::from_str(&text(response).await).unwrap(),
    )
}

#[tokio::test]
async fn nothing_changes_without_the_token() {
    let site = Site::new().await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("x:{TOKEN}")));
    for authorization in [None, Some("Bearer"), Some(TOKEN), Some(basic.as_str())] {
        let (status, body) = force_with(&site, authorization).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::UNAUTHORIZED, &json!("unauthorized"))
        );
        assert!(
            body["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("Authorization: Bearer"),
            "{body}"
        );
    }
    for wrong in ["Bearer x", "Bearer correct-horse-battery", "bearer correct-hors"] {
        assert_eq!(force_with(&site, Some(wrong)).await.0, StatusCode::FORBIDDEN);
    }
    assert!(site.asked().is_empty());
    assert_eq!(
        force_with(&site, Some("bearer correct-horse")).await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(site.asked().len(), 1);
}

#[tokio::test]
async fn every_address_that_changes_something_wants_the_token() {
    let site = Site::new().await;
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "get" {
                continue;
            }
            let path = path.replace("{id}", "1").replace("{name}", "x");
            let response = site
                .send(request("POST", &path).body(Body::empty()).unwrap())
                .await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(operation["security"], json!([{ "token": [] }]), "{method} {path}");
            checked += 1;
        }
    }
    assert_eq!(checked, 20);
}

#[tokio::test]
async fn what_is_asked_reaches_the_master() {
    let site = Site::new().await;
    let force = json!({ "branch": "main", "reason": "because", "properties": { "a": 1 }, "priority": 2 });
    let response = site.post("/api/v1/builders/linux%2Fx/force", &force).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(text(response).await, r#"{"buildset":5,"requests":[6]}"#);
    assert_eq!(
        site.post("/api/v1/builds/7/stop", &json!({})).await.status(),
        StatusCode::CONFLICT
    );
    site.post("/api/v1/requests/8/cancel", &json!({ "reason": "late" }))
        .await;
    site.post("/api/v1/workers/w1/invite", &json!({ "ttl_seconds": 60 }))
        .await;
    site.post("/api/v1/workers/w1/pause", &json!({ "reason": "disk" }))
        .await;
    site.post("/api/v1/workers/w1/unpause", &json!({})).await;
    site.post("/api/v1/workers/w1/revoke", &json!({})).await;
    let asked = site.asked().join("\n");
    insta::assert_snapshot!(asked, @r#"
    force linux/x {"branch":"main","revision":null,"repository":"","codebase":"","reason":"because","properties":{"a":1},"priority":2}
    stop 7 stopped by the operator
    cancel 8 late
    invite w1 60000
    pause w1 Some("disk")
    pause w1 None
    revoke w1
    "#);
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_refused_with_the_reason() {
    let site = Site::new().await;
    for (path, body, status, expected) in [
        (
            "/api/v1/builders/x/force",
            json!({ "brunch": "main" }),
            400,
            "unknown field `brunch`",
        ),
        (
            "/api/v1/builders/x/force",
            json!({ "priority": "high" }),
            400,
            "invalid type",
        ),
        (
            "/api/v1/builders/x/force",
            json!([1]),
            400,
            "Failed to deserialize",
        ),
        (
            "/api/v1/workers/x/invite",
            json!({ "ttl_seconds": 0 }),
            400,
            "expected ttl_seconds from 1",
        ),
        (
            "/api/v1/workers/x/invite",
            json!({ "ttl_seconds": u64::MAX }),
            400,
            "expected ttl_seconds from 1",
        ),
        (
            "/api/v1/builders/x/force",
            json!({ "reason": "x".repeat(MAX_VALUES) }),
            413,
            "",
        ),
        (
            "/api/v1/workers/x/invite",
            json!({ "reason": "x".repeat(MAX_BODY) }),
            413,
            "",
        ),
    ] {
        let response = site.post(path, &body).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        let text = text(response).await;
        assert!(text.contains(expected), "{text}");
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn a_foreign_name_for_this_machine_is_not_answered() {
    let site = Site::new().await;
    for (host, status) in [
        ("127.0.0.1:8010", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:8010", 200),
        ("ci.example.org", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.0.2.1", 421),
        ("", 421),
    ] {
        let request = Request::builder()
            .uri("/api/v1/health")
            .header(header::HOST, host);
        let response = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{host:?}");
    }
    let nameless = Request::builder().uri("/").body(Body::empty()).unwrap();
    assert_eq!(
        site.send(nameless).await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
}

#[tokio::test]
async fn reading_from_other_machines_needs_the_token_too() {
    let site = Site {
        listen: "192.0.2.1:80".parse().unwrap(),
        ..Site::new().await
    };
    assert_eq!(site.get("/").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.get("/api/v1/health").await.status(), StatusCode::OK);
    let basic = |password| format!("Basic {}", BASE64_STANDARD.encode(format!("me:{password}")));
    for (credentials, status) in [
        (basic(TOKEN), 200),
        (format!("Bearer {TOKEN}"), 200),
        (basic("x"), 403),
    ] {
        let page = Request::builder()
            .uri("/")
            .header(header::AUTHORIZATION, credentials);
        assert_eq!(
            site.send(page.body(Body::empty()).unwrap())
                .await
                .status()
                .as_u16(),
            status
        );
    }
}

#[tokio::test]
async fn browsers_are_told_to_trust_nothing_on_every_answer() {
    let site = Site::new().await;
    for path in [
        "/",
        "/assets/log.js",
        "/api/v1/builds",
        "/nowhere",
        "/builds/99",
        "/api/v1/openapi.json",
    ] {
        let response = site.get(path).await;
        let headers = response.headers();
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'"),
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "same-origin", "{path}");
    }
}

#[tokio::test]
async fn a_fault_in_a_handler_is_one_failed_request() {
    let site = Site::new().await;
    let response = site.post("/api/v1/reload", &json!({})).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["error"]["code"], "internal");
    assert_eq!(site.json("/api/v1/health").await["epoch"], 3);
}

#[tokio::test]
async fn buildsets_and_builds_are_wanted_again_or_not_at_all() {
    let site = Site::new().await;
    for (path, body, asked) in [
        ("/api/v1/builds/7/rebuild", json!({}), "rebuild 7 None"),
        (
            "/api/v1/buildsets/3/rebuild",
            json!({ "failed": true, "reason": "x" }),
            "rebuild set 3 true Some(\"x\")",
        ),
    ] {
        let response = site.post(path, &body).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{path}");
        assert_eq!(text(response).await, r#"{"buildset":5,"requests":[6]}"#);
        assert_eq!(site.asked().last().map(String::as_str), Some(asked));
    }
    for (path, body, status) in [
        ("/api/v1/buildsets/99/cancel", json!({}), StatusCode::NOT_FOUND),
        (
            "/api/v1/builds/7/rebuild",
            json!({ "reason": "x".repeat(2001) }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/api/v1/buildsets/3/rebuild",
            json!({ "faild": true }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let response = site.post(path, &body).await;
        let found = response.status();
        assert!(
            found == status || found == StatusCode::BAD_REQUEST && status != StatusCode::NOT_FOUND,
            "{path}: {found}"
        );
    }
}
