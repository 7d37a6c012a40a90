//! The page of a log: a million lines, links to lines and ranges, colours.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_browser::scene::step_and_log;
use capstan_browser::{Browser, browse};
use capstan_tests::{Farm, sample, wait_for};
use serde_json::json;

/// More elements than this make scrolling slow.
const MAX_NODES: u64 = 5000;
/// How long a page of a million lines may take, on a busy machine.
const OPENING: Duration = Duration::from_secs(10);

/// A farm with one finished build of this command; answers its log's id.
fn printed(farm: &mut Farm, command: &str) -> Result<i64> {
    farm.write(
        "ci.star",
        sample::hello(&format!("step.shell(name = \"print\", command = {command:?})")),
    )?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    let build = farm.force("hello", &json!({}))?;
    ensure!(build["outcome"] == "success", "{build:#}");
    Ok(step_and_log(&build, 0)?.1)
}

/// Waits until a line, numbered from 1, can be read without scrolling, with what the log has there.
fn expect_in_sight(farm: &Farm, browser: &Browser, log: i64, number: u64) -> Result<()> {
    let range = farm
        .api()?
        .get(&format!("/logs/{log}/lines?from={}&count=1", number - 1))?;
    let text = &range["lines"][0]["text"];
    ensure!(text.is_string(), "expected the line {number} in {range}");
    browser.expect_that(
        &format!("the line {number}, {text}, in sight"),
        "const line = document.querySelector(`#log .line[data-number=\"${arguments[0]}\"]`);
         const box = line?.getBoundingClientRect();
         return Boolean(line) && box.top >= 0 && box.bottom <= innerHeight && box.height > 0
             && line.querySelector('.text')?.innerText.trim() === arguments[1]",
        &[number.into(), text.clone()],
    )?;
    expect_few_nodes(browser)
}

fn expect_few_nodes(browser: &Browser) -> Result<()> {
    let nodes = browser.count("*")?;
    ensure!(
        nodes < MAX_NODES,
        "expected fewer than {MAX_NODES} elements, found {nodes}"
    );
    Ok(())
}

#[test]
fn a_log_of_a_million_lines_opens_at_once_and_can_be_read_everywhere() {
    let prepare = |farm: &mut Farm| printed(farm, "seq -f 'line %.0f' 1000000");
    browse(prepare, |farm, log, browser| {
        let start = Instant::now();
        browser.open(&format!("/logs/{log}"))?;
        browser.expect("#log .line[data-number]")?;
        let took = start.elapsed();
        ensure!(
            took < OPENING,
            "expected the log within {OPENING:?}, it took {took:?}"
        );
        expect_few_nodes(browser)?;
        browser.open(&format!("/logs/{log}#L500000"))?;
        expect_in_sight(farm, browser, log, 500_000)?;
        // The link is followed within the page, too, and at both ends.
        for number in [1, 1_000_002, 999_000, 250_000] {
            browser.evaluate("location.hash = arguments[0]", &[format!("#L{number}").into()])?;
            expect_in_sight(farm, browser, log, number)?;
        }
        Ok(())
    });
}

#[test]
fn scrolling_through_a_million_lines_shows_those_that_are_there() {
    let prepare = |farm: &mut Farm| printed(farm, "seq -f 'line %.0f' 1000000");
    browse(prepare, |_, log, browser| {
        browser.open(&format!("/logs/{log}"))?;
        browser.expect("#log .line[data-number]")?;
        for part in [0.5, 0.9, 0.1] {
            browser.evaluate(SCROLL, &[part.into()])?;
            let near = wait_for(&format!("lines near {part} of the log"), OPENING, || {
                let found = browser.evaluate(IN_SIGHT, &[])?.as_f64();
                Ok(found.filter(|number| (number / 1_000_000.0 - part).abs() < 0.05))
            });
            near.with_context(|| format!("in sight: {:?}", browser.evaluate(IN_SIGHT, &[])))?;
            expect_few_nodes(browser)?;
        }
        Ok(())
    });
}

/// Scrolls whatever scrolls, the log's own box or the document, to this part of it.
const SCROLL: &str = "
    let box = document.getElementById('log');
    while (box && !(box.scrollHeight > box.clientHeight + 50 && /auto|scroll/.test(getComputedStyle(box).overflowY))) {
        box = box.parentElement;
    }
    box ??= document.scrollingElement;
    box.scrollTop = (box.scrollHeight - box.clientHeight) * arguments[0];";

/// The number of a line in the middle of the window that has its text.
const IN_SIGHT: &str = "
    const middle = Array.from(document.querySelectorAll('#log .line')).find((one) => {
        const box = one.getBoundingClientRect();
        return box.bottom > innerHeight / 2 && box.top < innerHeight && one.querySelector('.text')?.innerText;
    });
    return middle ? Number(middle.dataset.number) : null;";

#[test]
fn a_link_to_a_range_of_lines_marks_it() {
    let prepare = |farm: &mut Farm| printed(farm, "seq -f 'line %.0f' 3000");
    browse(prepare, |farm, log, browser| {
        // Lines with another ground than the one below the range.
        let marked = "const ground = (one) => getComputedStyle(one).backgroundColor;
            const other = document.querySelector(`#log .line[data-number=\"${arguments[1] + 1}\"]`);
            if (!other) return false;
            const found = Array.from(document.querySelectorAll('#log .line'))
                .filter((one) => ground(one) !== ground(other))
                .map((one) => Number(one.dataset.number));
            return found.length === arguments[1] - arguments[0] + 1
                && found.at(0) === arguments[0] && found.at(-1) === arguments[1]";
        browser.open(&format!("/logs/{log}#L10-L20"))?;
        expect_in_sight(farm, browser, log, 10)?;
        browser.expect_that("the lines 10 to 20 marked", marked, &[10.into(), 20.into()])?;
        browser.evaluate("location.hash = '#L2500'", &[])?;
        expect_in_sight(farm, browser, log, 2500)?;
        browser.expect_that("the line 2500 marked alone", marked, &[2500.into(), 2500.into()])?;
        // By hand: one line, and with the shift key all up to another.
        browser.click("#log .line[data-number='2502'] a")?;
        browser.expect_that(
            "the address of the line",
            "return location.hash === '#L2502'",
            &[],
        )?;
        browser.expect_that("the line 2502 marked alone", marked, &[2502.into(), 2502.into()])
    });
}

#[test]
fn colours_are_shown_and_other_escapes_leave_no_trace() {
    let command = r"printf '\033[31mred\033[0m plain \033[1;32mgreen\033[0m \033]0;title\007\033[2Kend\n'";
    let prepare = |farm: &mut Farm| printed(farm, command);
    browse(prepare, |_, log, browser| {
        browser.open(&format!("/logs/{log}"))?;
        browser.expect_text("#log .line", "red plain green end")?;
        browser.expect_that(
            "two coloured words",
            "const line = Array.from(document.querySelectorAll('#log .line')).find((one) => one.innerText.includes('red plain'));
             const colour = (text) => {
                 const walk = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
                 while (walk.nextNode()) {
                     if (walk.currentNode.data.includes(text)) return getComputedStyle(walk.currentNode.parentElement).color;
                 }
             };
             return new Set([colour('red'), colour('plain'), colour('green')]).size === 3",
            &[],
        )?;
        let lines = browser.texts("#log .line .text")?;
        ensure!(
            lines.iter().any(|line| line == "red plain green end"),
            "{lines:?}"
        );
        ensure!(
            lines.iter().all(|line| !line.contains(['\u{1b}', '\u{7}'])),
            "{lines:?}"
        );
        Ok(())
    });
}

#[test]
fn the_whole_log_can_be_taken_home() {
    let prepare = |farm: &mut Farm| printed(farm, "printf 'caf\\351\\r\\nend'");
    browse(prepare, |farm, log, browser| {
        browser.open(&format!("/logs/{log}"))?;
        let link = browser
            .attribute("a[href*='/raw']", "href")?
            .context("expected a link to the raw log")?;
        let path = link
            .strip_prefix("/api/v1")
            .context("expected a link below /api/v1")?;
        let raw = farm.api()?.bytes(path)?;
        ensure!(raw.windows(9).any(|part| part == b"caf\xe9\r\nend"), "{raw:?}");
        Ok(())
    });
}
