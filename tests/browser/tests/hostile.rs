//! What strangers wrote is shown as text: names, messages, summaries, links, output. No script of theirs runs.

use anyhow::{Context as _, Result, ensure};
use capstan_browser::scene::step_and_log;
use capstan_browser::{Browser, browse};
use capstan_tests::{BOUND, Farm, Project, wait_for};
use serde_json::{Value, json};
use url::form_urlencoded;

/// Sets `window.pwned` if it is ever taken for markup: in an element, in an attribute of either quote, in a script. Names
/// have at most a hundred characters.
const MARKUP: &str = r#"</script><script>pwned=1</script><img src=x onerror=pwned=1>"' onmouseover='pwned=1"#;
/// Git allows no spaces in the names of branches.
const BRANCH: &str = "a&<script>pwned=1</script>\"'";
/// A builder's name that needs care in every place: markup, an address, a query.
const BUILDER: &str = r#"b/../<b>?x=1&y#z%41 "'"#;

/// The step that does what its parameters say, which `cargo xtask plugins` builds.
const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/guests/fixtures/fixture-step.wasm"
);

struct Hostile {
    build: Value,
    change: i64,
}

fn prepare(farm: &mut Farm) -> Result<Hostile> {
    let fixture = std::fs::read(FIXTURE)
        .with_context(|| format!("failed to read {FIXTURE}; run `cargo xtask plugins`"))?;
    farm.write("plugins/fixture-step.wasm", fixture)?;
    let project = Project::create(farm.root(), "hostile")?;
    let script = json!([
        { "op": "summary", "text": MARKUP },
        { "op": "link", "text": MARKUP, "url": "javascript:pwned=1" },
        { "op": "link", "text": "fine", "url": format!("https://example.org/?{MARKUP}") },
        { "op": "set", "name": MARKUP, "value": json!(MARKUP).to_string() },
        { "op": "text", "log": MARKUP, "text": format!("{MARKUP}\n\u{1b}]8;;javascript:pwned=1\u{7}click\u{1b}]8;;\u{7}\nlast\n") },
    ]);
    farm.write(
        "ci.star",
        format!(
            "w1 = worker(\"w1\")\n\
             source.git_poller(name = \"hostile\", repository = {:?}, interval = 1, announce_existing = True)\n\
             hostile = builder({BUILDER:?}, description = {MARKUP:?}, tags = [{MARKUP:?}], workers = [w1], steps = [\n\
             step.fixture_step(name = {MARKUP:?}, script = {script}),\n])\n\
             schedule.any_branch(name = {MARKUP:?}, builders = [hostile])\n",
            project.repository()
        ),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    project.branch(BRANCH)?;
    project.push(MARKUP, &[("<img src=x onerror=pwned=1>", "a file\n")])?;
    let build = wait_for("the end of the hostile build", BOUND, || {
        let builds = farm.api()?.get("/builds?state=complete")?;
        let Some(id) = builds["builds"][0]["id"].as_i64() else {
            return Ok(None);
        };
        farm.api()?.get(&format!("/builds/{id}")).map(Some)
    })?;
    ensure!(build["outcome"] == "success", "{build:#}");
    let change = build["changes"][0].as_i64().context("expected a change")?;
    Ok(Hostile { build, change })
}

/// The place of a builder's page.
fn builder_path() -> String {
    let encoded: String = form_urlencoded::byte_serialize(BUILDER.as_bytes()).collect();
    format!("/builders/{}", encoded.replace('+', "%20"))
}

fn expect_harmless(browser: &Browser) -> Result<()> {
    let place = browser.address()?;
    let found = browser.evaluate(
        "return {
            pwned: window.pwned ?? null,
            scripts: Array.from(document.scripts).filter((one) => !one.src).length,
            images: document.querySelectorAll('img[onerror], [onmouseover], img[src=x]').length,
            links: Array.from(document.links).filter((one) => !/^https?:$/.test(one.protocol)).map((one) => one.href),
        }",
        &[],
    )?;
    let good = json!({ "pwned": null, "scripts": 0, "images": 0, "links": [] });
    ensure!(found == good, "expected text at {place}, found {found:#}");
    Ok(())
}

#[test]
fn what_strangers_wrote_is_shown_as_text() {
    browse(prepare, |_, hostile, browser| {
        let (step, log) = step_and_log(&hostile.build, 0)?;
        let build = format!("/builds/{}", hostile.build["id"]);
        let pages = [
            ("/".to_owned(), "home", vec![BUILDER]),
            ("/builders".to_owned(), "builders", vec![BUILDER, MARKUP]),
            (builder_path(), "builder", vec![BUILDER]),
            (build.clone(), "build", vec![BUILDER, MARKUP, BRANCH, "fine"]),
            (format!("/logs/{log}"), "log", vec![MARKUP, "click", "last"]),
            ("/changes".to_owned(), "changes", vec![MARKUP, BRANCH]),
            (
                format!("/changes/{}", hostile.change),
                "change",
                vec![MARKUP, BRANCH, "<img src=x onerror=pwned=1>"],
            ),
            ("/requests".to_owned(), "requests", vec![]),
            ("/workers".to_owned(), "workers", vec!["w1"]),
            ("/plugins".to_owned(), "plugins", vec!["fixture-step"]),
        ];
        for (path, kind, texts) in pages {
            browser.open(&path)?;
            browser.expect_page(kind)?;
            for text in texts {
                // The whole text in one piece: `textContent` keeps spaces as they are.
                browser.expect_that(
                    &format!("`{text}` as text"),
                    "return document.querySelector('main').textContent.includes(arguments[0])",
                    &[text.into()],
                )?;
            }
            expect_harmless(browser)?;
        }
        browser.open(&build)?;
        browser.expect(&format!("[data-step='{step}']"))
    });
}

#[test]
fn a_builder_with_a_hostile_name_is_reached_from_the_pages_that_name_it() {
    browse(prepare, |_, hostile, browser| {
        for from in ["/builders".to_owned(), format!("/builds/{}", hostile.build["id"])] {
            browser.open(&from)?;
            browser.click("main a[href^='/builders/b%2F']")?;
            browser.expect("body[data-page='builder']")?;
            browser.expect(&format!("tr[data-build='{}']", hostile.build["id"]))?;
            expect_harmless(browser)?;
        }
        Ok(())
    });
}
