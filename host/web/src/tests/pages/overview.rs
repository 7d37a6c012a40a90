//! Home, the list of builders, and the page of one.

use super::*;

#[tokio::test]
async fn home_says_what_is_red_and_since_when_and_why() {
    let site = Site::with(&["linux", "docs"]).await;
    let at = |minutes| Plot {
        started: ago(minutes),
        ..Plot::default()
    };
    site.built(at(90), Outcome::Success, "fine").await;
    let first = site.built(at(60), Outcome::Failure, "3 of 9 failed").await;
    let newest = site.built(at(30), Outcome::Failure, "4 of 9 failed").await;
    let docs = Plot {
        builder: "docs",
        ..Plot::default()
    };
    site.built(docs, Outcome::Success, "fine").await;
    let page = site.page("/").await;
    assert!(page.contains(r#"<body data-page="home""#), "{page}");
    assert!(page.contains("1 of 2 builders is red; nothing runs."), "{page}");
    let red = part(&page, r#"<section id="red""#, "</section>");
    assert!(
        red.contains(r#"data-builder="linux" data-outcome="failure""#)
            && red.contains(&format!(r#"<a href="/builds/{newest}">test: 4 of 9 failed</a>"#)),
        "the step's own words: {red}"
    );
    let since = format!(r#"red since <a href="/builds/{first}">build 2</a>, <time"#);
    assert!(
        red.contains(&since) && red.contains("1 h ago") && red.contains("for 2 builds"),
        "{red}"
    );
    let rest = part(&page, r#"<section id="recent""#, "</section>");
    assert!(
        rest.contains(r#"data-builder="docs""#) && !rest.contains(r#"data-builder="linux""#),
        "{rest}"
    );
}

#[tokio::test]
async fn home_shows_how_far_a_running_build_is() {
    let site = Site::with(&["linux"]).await;
    site.built(
        Plot {
            started: ago(60),
            ..Plot::default()
        },
        Outcome::Success,
        "fine",
    )
    .await;
    let (build, steps) = site
        .begin(Plot {
            started: NOW.plus_ms(-15_000),
            ..Plot::default()
        })
        .await;
    let store = &site.store;
    store
        .finish_step(steps[0], Outcome::Success, "fine", None, NOW)
        .await
        .unwrap();
    let page = site.page("/").await;
    let running = part(&page, r#"<section id="running""#, "</section>");
    assert!(
        running.contains(&format!(r#"data-build="{build}""#)) && running.contains("linux/2"),
        "{running}"
    );
    assert!(
        running.contains("1 of 2 steps done")
            && running.contains(r#"on <a href="/workers/w1">w1</a>, usually 1 min 0 s"#),
        "{running}"
    );
    assert!(
        running.contains(r#"max="60000" value="15000" data-began=""#) && running.contains(">15 s<"),
        "the bar goes on without the server: {running}"
    );
    assert!(page.contains("The builder is not red; 1 build runs."), "{page}");
}

#[tokio::test]
async fn a_fresh_farm_says_what_to_do_first() {
    let site = Site::with(&["hello <b>"]).await;
    let page = site.page("/").await;
    assert!(
        page.contains("capstan force &#39;hello &#60;b&#62;&#39;") && page.contains("capstan worker invite"),
        "{page}"
    );
    assert!(
        page.contains(r#"href="/builders/hello%20%3Cb%3E/force""#),
        "{page}"
    );
    assert!(!page.contains("is red"), "{page}");
}

#[tokio::test]
async fn home_stays_short_with_hundreds_of_builders() {
    let names: Vec<String> = (0..300).map(|number| format!("b{number:03}")).collect();
    let site = Site::with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (place, name) in (0..).zip(&names[..45]) {
        let plot = Plot {
            builder: name,
            started: ago(60 + place),
            steps: &["only"],
            ..Plot::default()
        };
        let outcome = if place < 15 {
            Outcome::Exception
        } else {
            Outcome::Success
        };
        site.built(plot, outcome, "said").await;
    }
    let page = site.page("/").await;
    assert!(page.contains("15 of 300 builders are red"), "{page}");
    assert_eq!(count(&page, r#"class="card exception""#), 12);
    assert!(
        page.contains(r#"<a href="/builders?state=red">and 3 more red builders</a>"#),
        "{page}"
    );
    assert_eq!(count(&page, r#"<tr id="recent-"#), 25);
    assert!(
        page.contains(r#"<a href="/builders">All 300 builders</a>"#),
        "{page}"
    );
    let first = part(&page, r#"<tr id="recent-1""#, "</tr>");
    assert!(
        first.contains(r#"data-outcome="exception""#),
        "what is red comes first: {first}"
    );
}

#[tokio::test]
async fn builders_are_found_by_name_and_state() {
    let site = Site::with(&["linux", "docs", "idle"]).await;
    site.built(Plot::default(), Outcome::Failure, "broken").await;
    site.built(
        Plot {
            builder: "docs",
            ..Plot::default()
        },
        Outcome::Success,
        "fine",
    )
    .await;
    site.built(
        Plot {
            builder: "retired",
            ..Plot::default()
        },
        Outcome::Failure,
        "broken",
    )
    .await;
    let page = site.page("/builders").await;
    assert_eq!(rows(&page), ["linux", "docs", "idle", "retired"]);
    assert!(page.contains("never built"), "{page}");
    assert_eq!(count(&page, "no longer configured</span>"), 1);
    assert_eq!(rows(&site.page("/builders?q=DOC").await), ["docs"]);
    assert_eq!(rows(&site.page("/builders?state=red").await), ["linux"]);
    assert_eq!(
        rows(&site.page("/builders?state=gone&tag=&q=").await),
        ["retired"]
    );
    let none = site.page("/builders?q=nothing").await;
    assert!(
        rows(&none).is_empty() && none.contains("No builder fits"),
        "{none}"
    );
    for fault in ["/builders?state=purple", "/builders?colour=red"] {
        let response = site.get(fault).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fault}");
        assert!(text(response).await.contains("<h1>Bad Request</h1>"), "{fault}");
    }
    assert!(
        Site::new()
            .await
            .page("/builders")
            .await
            .contains("There is no builder yet")
    );
}

#[tokio::test]
async fn builders_are_filtered_by_tag() {
    let mut site = Site::with(&["linux", "docs"]).await;
    let control = Arc::get_mut(&mut site.control).unwrap();
    Arc::get_mut(&mut control.plan).unwrap().builders[1].tags = vec!["a&b".to_owned()];
    let page = site.page("/builders").await;
    assert!(page.contains(r#"href="/builders?tag=a%26b&#38;q=""#), "{page}");
    assert_eq!(rows(&site.page("/builders?tag=a%26b").await), ["docs"]);
}

#[tokio::test]
async fn the_history_of_a_builder_is_filtered_and_paged() {
    let site = Site::with(&["a/b c"]).await;
    for number in 0..30 {
        let branch = if number == 4 { "feature" } else { "main" };
        let plot = Plot {
            builder: "a/b c",
            branch,
            started: ago(100 - number),
            ..Plot::default()
        };
        let outcome = if number % 10 == 9 {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        site.built(plot, outcome, "said").await;
    }
    let address = "/builders/a%2Fb%20c";
    let page = site.page(address).await;
    assert!(
        page.contains(r#"<body data-page="builder""#) && page.contains("<h1>a/b c</h1>"),
        "{page}"
    );
    assert_eq!(count(&page, r#"<tr id="build-"#), 25);
    assert_eq!(count(&page, "<rect "), 30, "a bar for each build");
    assert!(page.contains(r#"href="/builders/a%2Fb%20c/force""#), "{page}");
    assert!(page.contains("red since"), "the newest build is red: {page}");
    let older = part(&page, r#"<a href="?result=&#38;branch=&#38;before="#, "#history");
    let before = older.rsplit('=').next().unwrap();
    let older = site
        .page(&format!("{address}?result=&branch=&before={before}"))
        .await;
    assert_eq!(count(&older, r#"<tr id="build-"#), 5);
    assert_eq!(
        count(
            &site.page(&format!("{address}?result=failure")).await,
            r#"<tr id="build-"#
        ),
        3
    );
    assert_eq!(
        count(
            &site.page(&format!("{address}?branch=feature")).await,
            r#"<tr id="build-"#
        ),
        1
    );
    let none = site.page(&format!("{address}?result=running")).await;
    assert!(none.contains("No build fits"), "{none}");
    let fault = site.page(&format!("{address}?result=purple")).await;
    assert!(
        fault.contains("<h1>Bad Request</h1>") && fault.contains("purple"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_builder_is_a_page_before_its_first_build_and_after_its_last() {
    let site = Site::with(&["new"]).await;
    let page = site.page("/builders/new").await;
    assert!(
        page.contains("It was never built") && page.contains("Build now"),
        "{page}"
    );
    site.built(
        Plot {
            builder: "old",
            ..Plot::default()
        },
        Outcome::Success,
        "fine",
    )
    .await;
    let page = site.page("/builders/old").await;
    assert!(
        page.contains("no longer configured") && !page.contains("Build now"),
        "{page}"
    );
    let response = site.get("/builders/none").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

/// The builders that the list shows, in its order.
fn rows(page: &str) -> Vec<String> {
    let parts = page.split(r#"<tr id="builder-"#).skip(1);
    parts
        .map(|row| part(row, "data-builder=\"", "\" ").replace("data-builder=\"", ""))
        .collect()
}

/// From the first `from` up to the next `to`.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page
        .find(from)
        .unwrap_or_else(|| panic!("expected {from} in {page}"));
    let end = page[start..]
        .find(to)
        .unwrap_or_else(|| panic!("expected {to} after {from} in {page}"));
    &page[start..start + end]
}
