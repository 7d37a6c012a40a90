//! What plugins were refused: on their page, and for programs.

use capstan_master::PluginStatus;
use capstan_model::Digest;
use capstan_model::plugin::{Kind, Right, Rights, Side};
use capstan_store::NewRefusal;

use super::*;

fn refusal(right: Right, value: &str, side: Side) -> NewRefusal {
    NewRefusal {
        kind: Kind::Reporter,
        name: "chat".to_owned(),
        digest: Digest::of(b"chat"),
        right,
        value: value.to_owned(),
        side,
        owner: "team".to_owned(),
        builder: Some("linux".to_owned()),
        step: None,
        delivery: Some("7.1".to_owned()),
        times: 3,
        at: NOW.plus_ms(-60_000),
    }
}

fn chat(status: PluginStatus) -> PluginStatus {
    PluginStatus {
        kind: Some(Kind::Reporter),
        granted: Rights {
            http: vec!["https://a.example.org/*".to_owned()],
            ..Rights::default()
        },
        ..status
    }
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_place_and_the_line_that_grants_it() {
    let site = Site::new().await;
    *site.control.plugins.lock().unwrap() = vec![chat(operation::plugin("chat"))];
    let told = vec![
        refusal(Right::Http, "POST https://b.example.org/x", Side::Operator),
        refusal(Right::Http, "GET https://a.example.org/since", Side::Operator),
        refusal(Right::Secrets, "<b>token</b>@linux", Side::Manifest),
    ];
    site.store.add_refusals(told).await.unwrap();
    let page = site.page("/plugins").await;
    let rows: Vec<_> = page.split("data-refused=").skip(1).collect();
    assert_eq!(rows.len(), 3, "{page}");
    let row = |text: &str| *rows.iter().find(|row| row.contains(text)).unwrap();
    let other = row("b.example.org");
    assert!(
        other.contains("linux, reporter team") && other.contains("1 min ago"),
        "{other}"
    );
    assert!(
        other.contains("[grants.chat]\nhttp = [&#34;https://a.example.org/*&#34;, &#34;POST https://b.example.org/x&#34;]"),
        "{other}"
    );
    assert!(!row("since").contains("data-remedy"), "it has been granted since");
    let secret = row("token");
    assert!(
        !secret.contains("data-remedy") && !secret.contains("<b>token"),
        "{secret}"
    );

    let api = site.json("/api/v1/plugins/reporter/chat/audit?limit=2").await;
    let rows = api["refusals"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["right"], &rows[0]["remedy"]),
        (&json!("secrets"), &Value::Null)
    );
    assert_eq!(
        (&rows[1]["times"], &rows[1]["delivery"]),
        (&json!(3), &json!("7.1"))
    );
    let none = site.json("/api/v1/plugins/step/chat/audit").await;
    assert_eq!(none["refusals"], json!([]));
    let strange = site.get("/api/v1/plugins/wizard/chat/audit").await;
    assert_eq!(strange.status(), StatusCode::NOT_FOUND);
}
