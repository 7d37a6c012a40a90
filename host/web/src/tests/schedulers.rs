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
