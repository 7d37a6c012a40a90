//! The page of a log, and the lines that its script fetches: as a terminal shows them, never as markup.

use super::*;

/// A log with these frames, open.
async fn printed(site: &Site, frames: &[(u64, Channel, &str)]) -> (BuildId, LogId) {
    let (build, _, log) = site.build("linux", "x").await;
    let mut bytes = Vec::new();
    for (elapsed, channel, text) in frames {
        frame::encode(&mut bytes, *elapsed, *channel, text.as_bytes());
    }
    let mut writer = site.logs.writer(log).await.unwrap();
    writer.append(0, bytes.into()).await.unwrap();
    (build, log)
}

const COMMAND: &[(u64, Channel, &str)] = &[
    (0, Channel::Header, "$ make 'a b'\nin linux/build\n"),
    (15, Channel::Stdout, "\x1b[32mok\x1b[0m one\n 10%\r100%\n"),
    (61_250, Channel::Stderr, "oops\n"),
    (61_300, Channel::Header, "exit code 2\n"),
];

#[tokio::test]
async fn a_page_says_what_ran_how_it_ended_and_when_each_line_came() {
    let site = Site::new().await;
    let (build, log) = printed(&site, COMMAND).await;
    let open = site.page(&format!("/logs/{log}")).await;
    assert!(
        open.contains(">still growing<") && !open.contains(r#"id="exit""#),
        "{open}"
    );
    site.logs.seal(log).await.unwrap();
    let page = site.page(&format!("/logs/{log}")).await;
    for part in [
        r#"data-page="log""#,
        &format!(r#"<a href="/builds/{build}">linux/1</a>"#),
        "$ make &#39;a b&#39;",
        r#"id="exit">exit code 2<"#,
        ">complete<",
        ">6 lines<",
        r#"data-outcome="pending""#,
        &format!(r#"href="/api/v1/logs/{log}/raw?download""#),
        r#"<input id="jump""#,
        r#"<div class="line stderr" id="L5" data-number="5" data-elapsed="61250">"#,
        r#"title="1:01.250 after the start, 1:01.235 after the line before, standard error""#,
        r#"<span class="f2">ok</span> one<"#,
        r#"<span class="text">100%</span>"#,
        r#"<div class="line header" id="L1""#,
    ] {
        assert!(page.contains(part), "expected {part} in {page}");
    }
    assert!(!page.contains(" style="), "the policy forbids it");
}

#[tokio::test]
async fn a_long_log_starts_at_its_end_and_leads_to_every_other_line() {
    let site = Site::new().await;
    let lines: String = (1..=2500).map(|number| format!("line {number}\n")).collect();
    let (_, log) = printed(&site, &[(1, Channel::Stdout, &lines)]).await;
    let has = |page: &str, number: u64| page.contains(&format!(">line {number}</span></div>"));
    let page = site.page(&format!("/logs/{log}")).await;
    assert!(has(&page, 2500) && has(&page, 1501) && !has(&page, 1500));
    assert!(page.contains(r#"href="?from=0""#) && page.contains(r#"href="?from=500""#));
    assert!(!page.contains(">Later<"));
    let start = site.page(&format!("/logs/{log}?from=0")).await;
    assert!(has(&start, 1) && has(&start, 1000) && !has(&start, 1001));
    assert!(start.contains(r#"href="?from=1000""#) && !start.contains(">Earlier<"));
    let around = site.page(&format!("/logs/{log}?line=1200")).await;
    assert!(has(&around, 1200) && has(&around, 1180) && !has(&around, 1100));
    let behind = site.page(&format!("/logs/{log}?from=99999999999")).await;
    assert!(!behind.contains(r#"class="line"#) && behind.contains(r#"data-total="2500""#));
    for bad in ["from=-1", "from=x", "line=1.5"] {
        let answer = site.get(&format!("/logs/{log}?{bad}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_log_of_very_long_lines_still_starts_at_its_end() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let long = "x".repeat(60_000);
    for number in 0..200 {
        site.print(log, &format!("{number} {long}\n")).await;
    }
    let page = site.page(&format!("/logs/{log}")).await;
    assert!(page.contains(r#"data-number="200""#), "the last line is there");
}

#[tokio::test]
async fn what_a_line_cannot_hold_is_counted_behind_what_a_terminal_shows() {
    let site = Site::new().await;
    let progress = format!("{}\rready\n", "x".repeat(70_000));
    let (_, log) = printed(
        &site,
        &[
            (1, Channel::Stdout, &progress[..65_536]),
            (2, Channel::Stdout, &progress[65_536..]),
        ],
    )
    .await;
    let lines = site.json(&format!("/api/v1/logs/{log}/lines?styled=true")).await;
    let spans = lines["lines"][0]["spans"].as_array().unwrap();
    assert_eq!(spans[0][1].as_str().unwrap().len(), 65_536);
    assert_eq!(spans[1], json!(["", " … [4470 more bytes in this line]"]));
}

#[tokio::test]
async fn nothing_printed_is_said() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    assert!(
        site.page(&format!("/logs/{log}"))
            .await
            .contains("Nothing was printed yet.")
    );
    site.logs.seal(log).await.unwrap();
    assert!(
        site.page(&format!("/logs/{log}"))
            .await
            .contains("Nothing was printed.")
    );
}

#[tokio::test]
async fn styled_lines_are_parts_for_text_nodes() {
    let site = Site::new().await;
    let text = "\x1b[1;31m<b>red</b>\x1b[0m \x1b]8;;https://example.org/\x07here\x1b]8;;\x07\n";
    let (_, log) = printed(&site, &[(1, Channel::Stdout, text)]).await;
    let spans = json!([
        ["f1 bold", "<b>red</b>"],
        ["", " "],
        ["", "here", "https://example.org/"]
    ]);
    let styled = site.json(&format!("/api/v1/logs/{log}/lines?styled=true")).await;
    assert_eq!(styled["lines"][0]["spans"], spans);
    let plain = site.json(&format!("/api/v1/logs/{log}/lines")).await;
    assert_eq!(plain["lines"][0]["spans"], Value::Null);
    assert!(
        plain["lines"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("\u{1b}[1;31m")
    );
    let page = site.page(&format!("/logs/{log}")).await;
    assert!(page.contains(r#"<span class="f1 bold">&#60;b&#62;red"#), "{page}");
    assert!(
        page.contains(r#"href="https://example.org/" rel="noopener noreferrer">here</a>"#),
        "{page}"
    );
}

#[tokio::test]
async fn a_link_that_a_step_prints_is_no_script() {
    let site = Site::new().await;
    let text = "\x1b]8;;javascript:alert(1)\x07x\x1b]8;;\x07\x1b]8;;https://a\"onclick=x\x07y\n";
    let (_, log) = printed(&site, &[(1, Channel::Stdout, text)]).await;
    let page = site.page(&format!("/logs/{log}")).await;
    assert!(
        !page.contains("javascript:") && !page.contains(r#"a"onclick"#),
        "{page}"
    );
}

#[tokio::test]
async fn a_download_has_a_harmless_name() {
    let site = Site::new().await;
    let (_, step, log) = site.build("linux", "x").await;
    let odd = site.store.open_log(step, "../a\"b\r\nc: d", NOW).await.unwrap();
    for (log, name) in [
        (log, format!("stdio-{log}.txt")),
        (odd, format!("abcd-{odd}.txt")),
    ] {
        let answer = site.get(&format!("/api/v1/logs/{log}/raw?download")).await;
        assert_eq!(
            answer.headers()[header::CONTENT_DISPOSITION],
            format!("attachment; filename=\"{name}\"")
        );
    }
    let shown = site.get(&format!("/api/v1/logs/{log}/raw")).await;
    assert!(!shown.headers().contains_key(header::CONTENT_DISPOSITION));
}

#[tokio::test]
async fn a_text_is_found_as_it_is_shown() {
    let site = Site::new().await;
    let text = "one\n\x1b[31mTw\x1b[0mo <b>\nthree two\n";
    let (_, log) = printed(&site, &[(1, Channel::Stdout, text)]).await;
    let found =
        async |query: &str| site.json(&format!("/api/v1/logs/{log}/search?{query}")).await["line"].clone();
    assert_eq!(found("text=two").await, 1);
    assert_eq!(found("text=Two").await, 1);
    assert_eq!(found("text=TWO").await, Value::Null);
    assert_eq!(found("text=two&from=2").await, 2);
    assert_eq!(found("text=31m").await, Value::Null, "escapes are not shown");
    assert_eq!(found("text=one&from=1").await, Value::Null);
    for bad in ["", "?text=", "?from=3", &format!("?text={}", "x".repeat(1001))] {
        let answer = site.get(&format!("/api/v1/logs/{log}/search{bad}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_search_stops_at_its_bound_and_says_where_to_go_on() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    for _ in 0..41 {
        site.print(log, &"x\n".repeat(5_000)).await;
    }
    site.print(log, "needle\n").await;
    let path = format!("/api/v1/logs/{log}/search?text=needle");
    let first = site.json(&path).await;
    assert_eq!(first, json!({ "line": null, "next": 200_000 }));
    let second = site.json(&format!("{path}&from=200000")).await;
    assert_eq!(second, json!({ "line": 205_000, "next": null }));
}
