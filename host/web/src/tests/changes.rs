//! Changes that are sent, patches and blame over the REST interface and on the page of a build.

use capstan_model::{Change, ChangeId, NewChange, Outcome, Patch, Properties};
use capstan_store::{BuildFinish, CallProblem, NewBuildset};

use super::*;

pub(super) fn answer(sent: capstan_master::SentChange) -> Answer<'static, (Change, bool)> {
    if sent.revision.is_empty() {
        let problem = CallProblem {
            path: "revision".to_owned(),
            message: "expected the revision of the change, found nothing".to_owned(),
        };
        return async { Err(capstan_master::Error::Refused(vec![problem]).into()) }.boxed();
    }
    let new = sent.key.as_deref() != Some("again");
    let change = Change {
        id: ChangeId(4),
        source: "sent".to_owned(),
        received: NOW,
        facts: NewChange {
            revision: sent.revision,
            author: sent.author,
            files: sent.files,
            ..facts("k", "")
        },
    };
    async move { Ok((change, new)) }.boxed()
}

fn facts(key: &str, author: &str) -> NewChange {
    NewChange {
        dedup_key: key.to_owned(),
        codebase: String::new(),
        repository: String::new(),
        project: String::new(),
        branch: Some("main".to_owned()),
        revision: key.to_owned(),
        author: author.to_owned(),
        comments: "made".to_owned(),
        files: Vec::new(),
        category: None,
        when: NOW,
        properties: Properties::default(),
    }
}

#[tokio::test]
async fn a_change_that_is_sent_reaches_the_master_with_every_field() {
    let site = Site::new().await;
    let sent = json!({
        "key": "k1", "codebase": "lib", "repository": "r", "project": "p", "branch": "main", "revision": "abc",
        "author": "Ann", "comments": "mend", "files": ["a.c"], "category": "tag", "when": 5, "properties": {"n": 3},
    });
    let mut without = request("POST", "/api/v1/changes");
    without = without.header(header::CONTENT_TYPE, "application/json");
    let response = site
        .send(without.body(Body::from(sent.to_string())).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = site.post("/api/v1/changes", &sent).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(
        (&body["new"], &body["change"]["id"], &body["change"]["files"]),
        (&json!(true), &json!(4), &json!(["a.c"]))
    );
    let noted = site.asked().pop().unwrap();
    for part in [
        "k1",
        "lib",
        "\"r\"",
        "\"p\"",
        "main",
        "abc",
        "Ann",
        "mend",
        "a.c",
        "tag",
        "Timestamp(5)",
        "\"n\"",
    ] {
        assert!(noted.contains(part), "{part}: {noted}");
    }
    let again = json!({"key": "again", "revision": "abc", "author": "Ann"});
    assert_eq!(
        site.post("/api/v1/changes", &again).await.status(),
        StatusCode::OK
    );
    let response = site
        .post("/api/v1/changes", &json!({"revision": "", "author": "Ann"}))
        .await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["error"]["problems"][0]["path"], "revision");
    let response = site
        .post(
            "/api/v1/changes",
            &json!({"revision": "a", "author": "Ann", "brunch": "x"}),
        )
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(text(response).await.contains("brunch"));
}

/// A build of a change by this author, ended so.
async fn built(site: &Site, key: &str, author: &str, patch: Option<Patch>, outcome: Outcome) -> BuildId {
    let change = site
        .store
        .send_change("sent", facts(key, author), &[], NOW)
        .await
        .unwrap();
    let source = SourceStamp {
        branch: Some("main".to_owned()),
        patch,
        ..SourceStamp::default()
    };
    let set = NewBuildset {
        reason: "pushed".to_owned(),
        sources: vec![source.clone()],
        builders: vec!["linux".to_owned()],
        changes: change.map(|change| change.id).into_iter().collect(),
        ..NewBuildset::default()
    };
    site.store.upsert_worker("w1", NOW).await.unwrap();
    let plan = site.control.plan.clone();
    site.store.put_plan(plan.bundle.clone(), NOW).await.unwrap();
    let requests = site.store.submit(set, NOW).await.unwrap().requests;
    let new = NewBuild {
        shown: None,
        directory: String::new(),
        locks: Vec::new(),
        builder: "linux".to_owned(),
        requests,
        worker: "w1".to_owned(),
        plan: plan.digest(),
        reason: "pushed".to_owned(),
        sources: vec![source],
        properties: Properties::default(),
        steps: vec![],
        reports: vec![],
    };
    let id = site.store.create_build(new, NOW).await.unwrap().unwrap().id;
    let finish = BuildFinish {
        outcome,
        summary: String::new(),
        reports: Vec::new(),
        subscribers: Vec::new(),
        retry: false,
    };
    site.store.finish_build(id, finish, NOW).await.unwrap();
    id
}

#[tokio::test]
async fn a_build_that_failed_names_whose_changes_came_since_the_last_good_one() {
    let site = Site::new().await;
    let good = built(&site, "r1", "Zoe <zoe@example.org>", None, Outcome::Success).await;
    built(&site, "r2", "Ann <ann@example.org>", None, Outcome::Failure).await;
    let diff = "--- a/x\n+++ b/x\n<b>";
    site.store.put_blob(diff.as_bytes().to_vec()).await.unwrap();
    let patch = Patch {
        author: "Max <max@example.org>".to_owned(),
        ..Patch::of(diff)
    };
    let tried = built(
        &site,
        "r3",
        "Eve <eve@example.org>",
        Some(patch),
        Outcome::Failure,
    )
    .await;
    let bad = built(&site, "r4", "Bob <bob@example.org>", None, Outcome::Failure).await;
    let blame = async |id: BuildId| -> Value {
        let answer = site.get(&format!("/api/v1/builds/{id}/blame")).await;
        serde_json::from_str(&text(answer).await).unwrap()
    };
    let names = |blame: &Value| -> Vec<String> {
        let people = blame["people"].as_array().unwrap().iter();
        people
            .map(|person| person["author"].as_str().unwrap()[..3].to_owned())
            .collect()
    };
    let found = blame(bad).await;
    assert_eq!(found["since"], json!({"id": good.0, "number": 1}));
    assert_eq!(names(&found), ["Bob", "Ann"], "not who tried a patch");
    assert_eq!(
        names(&blame(tried).await),
        ["Max", "Ann"],
        "the patch is the first suspect"
    );
    let page = text(site.get(&format!("/builds/{bad}")).await).await;
    let row = page.split("data-blame").nth(1).unwrap_or_default();
    assert!(row.contains("Ann") && row.contains("linux/1"), "{row:.300}");
    let page = text(site.get(&format!("/builds/{good}")).await).await;
    assert!(
        !page.contains("data-blame"),
        "a good build has nothing to explain"
    );
    let page = text(site.get(&format!("/builds/{tried}")).await).await;
    assert!(page.contains("with a patch"));
    let answer = site.get(&format!("/api/v1/builds/{tried}/patch")).await;
    assert!(
        answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(text(answer).await, diff);
    assert_eq!(
        site.get(&format!("/api/v1/builds/{bad}/patch")).await.status(),
        StatusCode::NOT_FOUND
    );
}
