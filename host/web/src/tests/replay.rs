//! What `capstan replay` fetches: whole rows and the component, for who shows the token.

use capstan_model::journal::{Class, Entry, Kind};

use super::*;

#[tokio::test]
async fn a_step_can_be_replayed_from_what_the_token_opens() {
    let site = Site::new().await;
    let (_, step, _) = site.build("linux/x", "because").await;
    // Longer than the excerpts that everybody may read.
    let long = "x".repeat(100_000);
    let row = Entry {
        seq: 0,
        kind: Kind::Created,
        call: "created".to_owned(),
        class: Class::Local,
        request_hash: Digest::of(b"request"),
        request: Some(json!({ "config": { "command": long } })),
        response: None,
        at: NOW,
    };
    site.store.begin_step(step, row.clone(), NOW).await.unwrap();
    let (rows, component) = (
        format!("/api/v1/steps/{}/rows", step.0),
        format!("/api/v1/steps/{}/component", step.0),
    );
    for path in [&rows, &component] {
        assert_eq!(site.get(path).await.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let open = async |path: &str| {
        let request = request("GET", path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        let response = site.send(request.body(Body::empty()).unwrap()).await;
        (response.status(), text(response).await)
    };
    let (status, body) = open(&rows).await;
    assert_eq!(status, StatusCode::OK);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["component"], json!(Digest::of(b"shell").to_string()));
    let found: Vec<Entry> = serde_json::from_value(body["rows"].clone()).unwrap();
    assert_eq!(found, [row]);

    let (status, body) = open(&component).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    site.store.put_blob(b"shell".to_vec()).await.unwrap();
    assert_eq!(open(&component).await, (StatusCode::OK, "shell".to_owned()));
    assert_eq!(open("/api/v1/steps/999/rows").await.0, StatusCode::NOT_FOUND);
}
