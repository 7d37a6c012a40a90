//! The pages of changes.

use super::*;

#[tokio::test]
async fn changes_show_what_became_of_them() {
    let site = Site::with(&["linux", "docs"]).await;
    let change = site
        .pushed("1", "ann", "main", "Mend it\n\nBecause <it> broke.")
        .await;
    let plot = |builder| Plot {
        builder,
        changes: vec![change],
        ..Plot::default()
    };
    let good = site.built(plot("docs"), Outcome::Success, "fine").await;
    let bad = site.built(plot("linux"), Outcome::Failure, "broken").await;
    let list = site.page("/changes").await;
    assert!(list.contains(r#"<body data-page="changes""#), "{list}");
    assert!(
        list.contains(&format!(r#"<a href="/changes/{change}">Mend it</a>"#)),
        "{list}"
    );
    for (build, builder, word) in [(good, "docs", "success"), (bad, "linux", "failure")] {
        let dot = format!(r#"data-build="{build}" data-builder="{builder}" data-outcome="{word}""#);
        assert!(list.contains(&dot), "expected {dot} in {list}");
    }
    let page = site.page(&format!("/changes/{change}")).await;
    assert!(
        page.contains(r#"<body data-page="change""#) && page.contains("1 failure, 1 success"),
        "{page}"
    );
    assert!(
        page.contains("Because &#60;it&#62; broke.") && page.contains("<li>src/main.rs</li>"),
        "{page}"
    );
    assert_eq!(count(&page, r#"<tr id="build-"#), 2);
}

#[tokio::test]
async fn changes_are_filtered_and_paged() {
    let site = Site::new().await;
    for number in 0..45 {
        let (author, branch) = if number == 3 {
            ("a&b", "next")
        } else {
            ("ann", "main")
        };
        site.pushed(&number.to_string(), author, branch, &format!("change {number}"))
            .await;
    }
    let page = site.page("/changes").await;
    assert_eq!(count(&page, r#"<tr id="change-"#), 40);
    assert!(
        page.contains("change 44<") && !page.contains("change 4<"),
        "{page}"
    );
    let start = page.find("before=").expect("older changes");
    let before: String = page[start + 7..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let older = site
        .page(&format!("/changes?branch=&author=&before={before}"))
        .await;
    assert_eq!(count(&older, r#"<tr id="change-"#), 5);
    for query in ["author=a%26b", "branch=next", "author=a%26b&branch=next"] {
        let found = site.page(&format!("/changes?{query}")).await;
        assert_eq!(count(&found, r#"<tr id="change-"#), 1, "{query}");
    }
    let page = site.page("/changes?author=nobody").await;
    assert!(page.contains("No change fits"), "{page}");
    let fault = site.get("/changes?before=yesterday").await;
    assert_eq!(fault.status(), StatusCode::BAD_REQUEST);
    assert!(text(fault).await.contains("<h1>Bad Request</h1>"));
    let api = site.json("/api/v1/changes?author=a%26b").await;
    assert_eq!(api["changes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn before_the_first_change_the_page_says_where_changes_come_from() {
    let page = Site::new().await.page("/changes").await;
    assert!(page.contains("source.git_poller"), "{page}");
}
