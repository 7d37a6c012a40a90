//! Parked reports: shown, listed, and sent back to be delivered after all.

use capstan_store::{BuildFinish, NewReport, ReportState};

use super::people::{location, send_form, sign_in};
use super::*;

/// A build with a report that was parked, and one that was delivered.
async fn parked(site: &Site) -> (BuildId, OutboxId) {
    let (build, step, _) = site.build("linux", "nightly").await;
    let store = &site.store;
    let report = |reporter: &str| NewReport {
        reporter: reporter.to_owned(),
        phase: "finished".to_owned(),
    };
    store
        .finish_step(step, capstan_model::Outcome::Success, "fine", None, NOW)
        .await
        .unwrap();
    let end = BuildFinish {
        outcome: capstan_model::Outcome::Success,
        summary: "fine".to_owned(),
        reports: vec![report("chat"), report("mail")],
        subscribers: vec![],
        retry: false,
    };
    store.finish_build(build, end, NOW).await.unwrap();
    let due = store.due_reports(NOW, None, 10).await.unwrap();
    store
        .report_parked(due[0].id, "401 <b>no</b>", NOW)
        .await
        .unwrap();
    store.report_delivered(due[1].id, NOW).await.unwrap();
    (build, due[0].id)
}

#[tokio::test]
async fn parked_reports_are_listed_and_go_back() {
    let site = Site::new().await;
    let (build, id) = parked(&site).await;
    let list = site.json("/api/v1/reports?state=parked").await;
    let [report] = &list["reports"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    assert_eq!(
        (&report["id"], &report["reporter"], &report["build"]),
        (&json!(id), &json!("chat"), &json!(build))
    );
    let all = site.json("/api/v1/reports?limit=1").await;
    assert_eq!(all["reports"].as_array().unwrap().len(), 1);
    for bad in [
        "/api/v1/reports?state=lost",
        "/api/v1/reports?state=parked&build=1",
    ] {
        assert_eq!(site.get(bad).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let one = site
        .post(&format!("/api/v1/reports/{id}/retry"), &json!({}))
        .await;
    assert_eq!(one.status(), StatusCode::ACCEPTED);
    assert_eq!(site.asked(), [format!("retry {id}")]);
    let all = site.post("/api/v1/reports/retry", &json!({})).await;
    assert_eq!(all.status(), StatusCode::ACCEPTED);
    assert_eq!(text(all).await, r#"{"retried":1}"#);
    let due = site.store.due_reports(NOW, None, 10).await.unwrap();
    assert_eq!((due[0].id, due[0].state), (id, ReportState::Pending));
    for path in [
        "/api/v1/reports/retry".to_owned(),
        format!("/api/v1/reports/{id}/retry"),
    ] {
        let stranger = site
            .send(request("POST", &path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn the_page_offers_to_try_a_parked_report_again_to_who_may() {
    let site = Site::new().await;
    let (build, id) = parked(&site).await;
    let action = format!("/builds/{build}/reports/{id}/retry");
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(
        page.contains("401 &#60;b&#62;no") && !page.contains(&action),
        "{page}"
    );
    let cookie = sign_in(&site).await;
    let page = text(people::get_as(&site, &format!("/builds/{build}"), &cookie).await).await;
    assert_eq!(page.matches("/retry\"").count(), 1, "only the parked one: {page}");
    assert!(page.contains(&format!(r#"action="{action}""#)), "{page}");
    let answer = send_form(&site, &action, &cookie, "").await;
    assert_eq!(location(&answer), format!("/builds/{build}#reports"));
    assert_eq!(site.asked(), [format!("retry {id}")]);
    let stranger = send_form(&site, &action, "capstan-8010=none", "").await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
}
