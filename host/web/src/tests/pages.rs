//! Pages: useful without a script, and harmless whatever a build prints or is called.

use super::*;

const HOSTILE: &str = "<script>alert('x')</script>";

#[tokio::test]
async fn an_empty_farm_says_what_to_do() {
    let page = Site::new().await.page("/").await;
    assert!(page.contains("capstan force BUILDER"), "{page}");
}

#[tokio::test]
async fn names_and_output_are_text_never_markup() {
    let site = Site::new().await;
    let (build, _, log) = site.build(HOSTILE, HOSTILE).await;
    site.print(
        log,
        &format!("{HOSTILE}\n</pre><img src=x onerror=alert(1)>\n\u{1b}[31mred\n"),
    )
    .await;
    for path in ["/".to_owned(), format!("/builds/{build}"), format!("/logs/{log}")] {
        let page = site.page(&path).await;
        assert!(!page.contains("<script>"), "{page}");
        assert!(!page.contains("<img"), "{page}");
        assert!(
            page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"),
            "{page}"
        );
        assert!(page.contains("A &#60;farm&#62;"), "{page}");
    }
    assert!(
        site.page(&format!("/builds/{build}"))
            .await
            .contains("&#60;b&#62;ann")
    );
}

#[tokio::test]
async fn a_build_leads_to_its_log_and_back() {
    let site = Site::new().await;
    let (build, _, log) = site.build("linux", "nightly").await;
    let list = site.page("/").await;
    assert!(
        list.contains(&format!(r#"<a href="/builds/{build}">1</a>"#)) && list.contains("nightly"),
        "{list}"
    );
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(
        page.contains(&format!(r#"<a href="/logs/{log}">stdio</a>"#)),
        "{page}"
    );
    assert!(
        site.page(&format!("/logs/{log}"))
            .await
            .contains(&format!(r#"<a href="/builds/{build}">"#))
    );
}

#[tokio::test]
async fn a_log_shows_its_end_and_says_where_the_script_goes_on() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let lines: String = (0..2500).map(|number| format!("line {number}\n")).collect();
    site.print(log, &lines).await;
    let page = site.page(&format!("/logs/{log}")).await;
    assert!(
        page.contains(">line 2499\n<") && page.contains(">line 500\n<") && !page.contains(">line 499\n<")
    );
    assert!(
        page.contains(r#"data-follow="2500""#),
        "the script follows from the next line on"
    );
    assert!(page.contains(r#"href="?from=0""#));
    let start = site.page(&format!("/logs/{log}?from=0")).await;
    assert!(start.contains(">line 0\n<") && start.contains(r#"href="?from=2000""#));
    assert!(
        !start.contains("data-follow"),
        "a page from the middle does not skip to the end"
    );
    site.logs.seal(log).await.unwrap();
    let complete = site.page(&format!("/logs/{log}")).await;
    assert!(complete.contains(">complete<") && !complete.contains("data-follow"));
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    let site = Site::new().await;
    for path in ["/builds/99", "/logs/99", "/builds/x"] {
        let response = site.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(response).await.contains("<h1>404 Not Found</h1>"), "{path}");
    }
    assert!(site.page("/?before=x").await.contains("<h1>400 Bad Request</h1>"));
}
