//! The page of one build.

use capstan_model::journal::{Class, Entry, Kind};

use super::*;

#[tokio::test]
async fn a_failed_build_shows_why_without_a_click() {
    let site = Site::with(&["linux"]).await;
    let (build, steps) = site
        .begin(Plot {
            steps: &["compile", "test", "package"],
            ..Plot::default()
        })
        .await;
    let log = site.store.open_log(steps[1], "stdio", NOW).await.unwrap();
    let lines: String = (1..=50)
        .map(|number| format!("\u{1b}[31mcase {number}\u{1b}[0m\n"))
        .collect();
    site.print(log, &lines).await;
    let store = &site.store;
    store
        .finish_step(steps[0], Outcome::Success, "fine", None, NOW)
        .await
        .unwrap();
    store
        .finish_step(steps[1], Outcome::Failure, "3 of 50 failed", None, NOW)
        .await
        .unwrap();
    store.skip_step(steps[2], "not run", NOW).await.unwrap();
    site.end(build, Outcome::Failure, "failure: test", NOW).await;
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(page.contains(r#"<body data-page="build""#), "{page}");
    assert!(page.contains("test failed: 3 of 50 failed"), "{page}");
    assert!(page.contains("Last 20 of 50 lines of stdio"), "{page}");
    assert!(
        page.contains(">case 50</span>") && page.contains(">case 31</span>"),
        "{page}"
    );
    assert!(!page.contains(">case 30<") && !page.contains('\u{1b}'), "{page}");
    assert!(
        page.contains(&format!(r#"<a href="/logs/{log}">Whole log</a>"#)),
        "{page}"
    );
    for (step, word) in steps.iter().zip(["success", "failure", "skipped"]) {
        let row = format!(r#"<li id="step-{step}" class="step {word}" data-step="{step}">"#);
        assert!(page.contains(&row), "expected {row} in {page}");
    }
}

#[tokio::test]
async fn a_build_says_what_it_was_made_from_and_what_it_told_whom() {
    let site = Site::with(&["linux"]).await;
    let change = site
        .pushed("1", "Ann <ann@example.org>", "main", "Mend <it>\n\nBecause.")
        .await;
    let plot = || Plot {
        changes: vec![change],
        ..Plot::default()
    };
    let before = site.built(plot(), Outcome::Success, "fine").await;
    let build = site.built(plot(), Outcome::Success, "fine").await;
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(page.contains("All 2 steps went well."), "{page}");
    assert!(
        page.contains("<small>by Ann</small>")
            && page.contains("Ann &#60;ann@example.org&#62;")
            && page.contains(">Mend &#60;it&#62;</a>"),
        "{page}"
    );
    assert!(
        page.contains("0123456789ab</code>") && page.contains("https://example.org/r.git"),
        "{page}"
    );
    assert!(
        page.contains(&format!(r#"href="/builds/{before}" rel="prev""#)),
        "{page}"
    );
    assert!(!page.contains(r#"rel="next""#), "{page}");
    let again = "/builders/linux/force?branch=main&#38;repository=https%3A%2F%2Fexample.org%2Fr.git&#38;revision=0123";
    assert!(page.contains(again), "{page}");
    let reports = &page[page.find("<h2>Reports").expect("reports")..];
    assert!(
        reports.contains("<td>mail</td>") && reports.contains(r#"data-outcome="pending""#),
        "{reports}"
    );
}

#[tokio::test]
async fn only_an_operator_can_stop_a_build_and_only_while_it_runs() {
    let site = Site::with(&["linux"]).await;
    let (running, _) = site.begin(Plot::default()).await;
    let ended = site.built(Plot::default(), Outcome::Success, "fine").await;
    let stop = |build| format!(r#"action="/builds/{build}/stop""#);
    let cookie = site.cookie().await;
    assert!(
        !site
            .page(&format!("/builds/{running}"))
            .await
            .contains(&stop(running))
    );
    for (build, can) in [(running, true), (ended, false)] {
        let page = site.page_with(&format!("/builds/{build}"), &cookie).await;
        assert_eq!(page.contains(&stop(build)), can, "{page}");
    }
}

#[tokio::test]
async fn a_build_that_somebody_keeps_says_so_and_why() {
    let site = Site::with(&["linux"]).await;
    let build = site.built(Plot::default(), Outcome::Success, "fine").await;
    let path = format!("/builds/{build}");
    assert!(!site.page(&path).await.contains("data-kept"));
    site.store
        .keep_build(build, Some("the <first> release"))
        .await
        .unwrap();
    let page = site.page(&path).await;
    assert!(
        page.contains("Retention does not remove this build: the &#60;first&#62; release"),
        "{page}"
    );
}

#[tokio::test]
async fn the_journal_of_a_step_is_told_in_its_order() {
    let site = Site::with(&["linux"]).await;
    let (build, steps) = site.begin(Plot::default()).await;
    let entry = |seq, kind, call: &str, request: Option<Value>| Entry {
        seq,
        kind,
        call: call.to_owned(),
        class: Class::Local,
        request_hash: Digest::of(call.as_bytes()),
        request,
        response: None,
        at: NOW,
    };
    let created = entry(0, Kind::Created, "created", Some(json!({ "seed": 7 })));
    site.store.begin_step(steps[0], created, NOW).await.unwrap();
    let long = entry(
        1,
        Kind::Local,
        "build.set-property",
        Some(json!("<b>".repeat(1000))),
    );
    site.store
        .append_journal(steps[0], vec![long], vec![], None, NOW)
        .await
        .unwrap();
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(
        page.contains(r#"<details id="journal-"#) && page.contains("2 rows"),
        "{page}"
    );
    assert!(
        page.contains("build.set-property") && !page.contains("<b>&#60;b"),
        "{page}"
    );
    assert!(page.contains("compile runs, step 1 of 2"), "{page}");
    let path = format!("/api/v1/steps/{}/journal", steps[0]);
    let first = site.json(&format!("{path}?limit=1")).await;
    assert_eq!(
        (&first["entries"][0]["kind"], &first["next"]),
        (&json!("created"), &json!(0))
    );
    let rest = site.json(&format!("{path}?after=0")).await;
    assert_eq!(rest["entries"][0]["request"]["length"], json!(3002));
    assert_eq!(rest["next"], Value::Null);
    assert_eq!(
        site.get("/api/v1/steps/99/journal").await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_build_is_found_by_its_number() {
    let site = Site::with(&["a/b"]).await;
    let build = site
        .built(
            Plot {
                builder: "a/b",
                ..Plot::default()
            },
            Outcome::Success,
            "fine",
        )
        .await;
    let response = site.get("/builders/a%2Fb/builds/1").await;
    assert_eq!(response.headers()[header::LOCATION], format!("/builds/{build}"));
    let none = site.get(&format!("/builders/a%2Fb/builds/{}", u64::MAX)).await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
}
