//! What the resources say.

use super::*;

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let document = api::document() + "\n";
    if std::env::var_os("CAPSTAN_UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        document == reviewed,
        "the interface differs from host/web/openapi.json; if that is meant, run this test with CAPSTAN_UPDATE_OPENAPI=1"
    );
}

#[test]
fn generated_clients_can_tell_operations_and_shapes_apart() {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let operations = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let mut names: Vec<_> = operations
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    for (path, property) in [
        ("builds", "builds"),
        ("workers", "workers"),
        ("changes", "changes"),
        ("reports", "reports"),
    ] {
        let answer = &document["paths"][format!("/api/v1/{path}")]["get"]["responses"]["200"];
        let shape = answer["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap();
        let shape = document.pointer(shape.trim_start_matches('#')).unwrap();
        assert!(shape["properties"].get(property).is_some(), "{path}: {shape}");
    }
}

#[tokio::test]
async fn a_build_is_shown_with_its_steps_and_logs() {
    let site = Site::new().await;
    let (build, step, log) = site.build("linux", "nightly").await;
    site.print(log, "one\ntwo\n").await;
    let shown = site.json(&format!("/api/v1/builds/{build}")).await;
    assert_eq!(shown, site.json("/api/v1/builders/linux/builds/1").await);
    assert_eq!(shown["builder"], "linux");
    assert_eq!(
        (&shown["state"], &shown["outcome"]),
        (&json!("running"), &Value::Null)
    );
    assert_eq!(shown["started"], NOW.0);
    assert_eq!(shown["sources"][0]["branch"], "main");
    let steps = &shown["steps"][0];
    assert_eq!(
        (&steps["id"], &steps["name"], &steps["plugin"]),
        (&json!(step), &json!("compile"), &json!("shell"))
    );
    let expected = json!({ "id": log, "step": step, "name": "stdio", "length": 25, "lines": 2, "complete": false, "sealed": false });
    assert_eq!(steps["logs"], json!([expected]));
    assert_eq!(
        site.json(&format!("/api/v1/steps/{step}/logs")).await,
        json!({ "logs": [expected] })
    );
    assert_eq!(site.json(&format!("/api/v1/logs/{log}")).await, expected);
    let request = site.json("/api/v1/requests?state=claimed").await;
    assert_eq!(request["requests"][0]["builds"], json!([build]));
    assert_eq!(
        site.json(&format!("/api/v1/reports?build={build}")).await,
        json!({ "reports": [] })
    );
}

#[tokio::test]
async fn builds_come_by_page_newest_first() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(
            site.build(if number % 2 == 0 { "even" } else { "odd" }, "x")
                .await
                .0,
        );
    }
    let first = site.json("/api/v1/builds?limit=3").await;
    let shown: Vec<_> = first["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| build["id"].clone())
        .collect();
    assert_eq!(shown, [json!(ids[4]), json!(ids[3]), json!(ids[2])]);
    assert_eq!(first["next"], json!(ids[2]));
    assert!(first["builds"][0].get("steps").is_none());
    let second = site
        .json(&format!("/api/v1/builds?limit=3&before={}", ids[2]))
        .await;
    assert_eq!(
        (second["builds"].as_array().unwrap().len(), &second["next"]),
        (2, &Value::Null)
    );
    assert_eq!(
        site.json("/api/v1/builds?builder=odd").await["builds"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        site.json("/api/v1/builds?outcome=failure").await["builds"],
        json!([])
    );
}

#[tokio::test]
async fn what_does_not_exist_or_makes_no_sense_is_said_in_one_form() {
    let site = Site::new().await;
    for (path, status, code) in [
        ("/api/v1/builds/99", 404, "not-found"),
        ("/api/v1/builds/99999999999999999999", 404, "not-found"),
        ("/api/v1/builds/x", 404, "not-found"),
        ("/api/v1/builders/linux", 404, "not-found"),
        ("/api/v1/builders/linux/builds/1", 404, "not-found"),
        ("/api/v1/logs/7/lines", 404, "not-found"),
        ("/api/v1/logs/7/raw", 404, "not-found"),
        ("/api/v1/logs/7/follow", 404, "not-found"),
        ("/api/v1/changes/7", 404, "not-found"),
        ("/api/v1/requests/7", 404, "not-found"),
        ("/api/v1/workers/w", 404, "not-found"),
        ("/api/v1/nothing", 404, "not-found"),
        ("/api/v1/builds?bulder=x", 400, "invalid"),
        ("/api/v1/builds?outcome=great", 400, "invalid"),
        ("/api/v1/builds?state=great", 400, "invalid"),
        ("/api/v1/builds?limit=many", 400, "invalid"),
        ("/api/v1/builds/1/stop", 405, "method"),
    ] {
        let response = site.get(path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["error"]["code"], code, "{path}: {body}");
        assert!(!body["error"]["message"].as_str().unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_log_is_read_by_line_and_by_byte() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, 1, Channel::Header, b"$ make\n");
    frame::encode(&mut bytes, 2, Channel::Stdout, b"ol\xe9\nrest");
    frame::encode(&mut bytes, 3, Channel::Stderr, b"warning\n");
    site.logs
        .writer(log)
        .await
        .unwrap()
        .append(0, bytes.into())
        .await
        .unwrap();
    let lines = site.json(&format!("/api/v1/logs/{log}/lines?from=1")).await;
    let line = |number, channel, elapsed, text| json!({ "number": number, "channel": channel, "elapsed_ms": elapsed, "text": text });
    let expected = [
        line(1, "stdout", 2, "ol\u{fffd}"),
        line(2, "stderr", 3, "warning"),
    ];
    assert_eq!(
        lines,
        json!({ "first": 1, "lines": expected, "total": 3, "complete": false })
    );
    let raw = async |query: &str| {
        let response = site.get(&format!("/api/v1/logs/{log}/raw{query}")).await;
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/plain; charset=utf-8"
        );
        axum::body::to_bytes(response.into_body(), 1000).await.unwrap()
    };
    assert_eq!(raw("").await, &b"ol\xe9\nrestwarning\n"[..]);
    assert_eq!(raw("?channel=stderr").await, "warning\n");
    assert_eq!(raw("?channel=header").await, "$ make\n");
    assert_eq!(
        site.get(&format!("/api/v1/logs/{log}/raw?channel=all"))
            .await
            .status(),
        StatusCode::BAD_REQUEST
    );
    site.logs.seal(log).await.unwrap();
    let sealed = site
        .json(&format!("/api/v1/logs/{log}/lines?from=3&count=5"))
        .await;
    assert_eq!(
        sealed,
        json!({ "first": 3, "lines": [line(3, "stdout", 2, "rest")], "total": 4, "complete": true })
    );
}
