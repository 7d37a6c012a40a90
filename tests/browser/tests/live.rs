//! Pages keep themselves up to date: without being loaded again, and over a restart of the master.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use capstan_browser::scene::{let_go, start, step_and_log};
use capstan_browser::{Scene, browse};
use serde_json::json;

/// How long a page may take to open on a busy machine.
const OPENING: Duration = Duration::from_secs(15);

/// Whether a held log shows what it printed before and behind the gate.
const ONCE_AND_IN_ORDER: &str = "
    const lines = Array.from(document.querySelectorAll('#log .line .text'), (one) => one.innerText.trim());
    const at = (text) => lines.flatMap((line, number) => line === text ? [number] : []);
    const [before, behind] = [at('before the gate'), at('behind the gate')];
    return before.length === 1 && behind.length === 1 && before[0] < behind[0]";

#[test]
fn a_build_appears_where_builds_are_listed_and_turns_to_its_result() {
    browse(Scene::play, |farm, _, browser| {
        for path in ["/", "/builders/passes"] {
            browser.open(path)?;
            browser.mark_document()?;
            let build = farm.force("passes", &json!({ "branch": "main" }))?;
            let id = &build["id"];
            browser.expect(&format!("main a[href='/builds/{id}']"))?;
            browser.expect_same_document()?;
        }
        Ok(())
    });
}

/// Browsers keep pages that were left, for the way back, and allow a server few connections: a kept page must not hold
/// one.
#[test]
fn who_looks_at_many_pages_waits_for_none_and_finds_them_live_on_the_way_back() {
    browse(Scene::play, |farm, _, browser| {
        let pages = [
            "/",
            "/builders",
            "/builders/fails",
            "/changes",
            "/builders/passes",
        ];
        for path in pages.iter().cycle().take(3 * pages.len()) {
            let start = Instant::now();
            browser.open(path)?;
            let took = start.elapsed();
            ensure!(
                took < OPENING,
                "expected {path} within {OPENING:?}, it took {took:?}"
            );
        }
        browser.open("/sign-in")?;
        browser.evaluate("history.back()", &[])?;
        browser.expect("body[data-page='builder']")?;
        browser.mark_document()?;
        let build = farm.force("passes", &json!({ "branch": "main" }))?;
        browser.expect(&format!("tr[data-build='{}']", build["id"]))?;
        browser.expect_same_document()
    });
}

#[test]
fn a_running_build_shows_its_steps_and_their_results_as_they_come() {
    browse(Scene::play, |farm, scene, browser| {
        let build = farm.api()?.get(&format!("/builds/{}", scene.held))?;
        let (step, _) = step_and_log(&build, 0)?;
        browser.open(&format!("/builds/{}", scene.held))?;
        browser.expect("#connection[data-state='live']")?;
        browser.mark_document()?;
        browser.expect(&format!("[data-step='{step}']"))?;
        browser.expect("[data-outcome='running']")?;
        let_go(farm)?;
        let done = format!(
            "[data-step='{step}'] [data-outcome='success'], [data-step='{step}'][data-outcome='success']"
        );
        browser.expect(&done)?;
        browser.expect_none("[data-outcome='running']")?;
        browser.expect_same_document()
    });
}

#[test]
fn a_log_grows_while_it_is_read() {
    browse(Scene::play, |farm, scene, browser| {
        let build = farm.api()?.get(&format!("/builds/{}", scene.held))?;
        let (_, log) = step_and_log(&build, 0)?;
        browser.open(&format!("/logs/{log}"))?;
        browser.expect_text("#log .line", "before the gate")?;
        browser.mark_document()?;
        let_go(farm)?;
        browser.expect_that("each line once and in order", ONCE_AND_IN_ORDER, &[])?;
        browser.expect_same_document()
    });
}

#[test]
fn a_page_says_that_the_master_is_away_and_catches_up_when_it_is_back() {
    browse(Scene::play, |farm, _, browser| {
        // What the page asks for meanwhile is refused or cut off.
        browser.forgive("net::ERR_");
        browser.open("/")?;
        browser.expect("#connection[data-state='live']")?;
        browser.mark_document()?;
        farm.kill_master()?;
        browser.expect("#connection[data-state='lost']")?;
        browser.expect_text("main", "holds")?;
        farm.start_master()?;
        // Before the page has noticed that the master is back.
        let build = farm.force("fails", &json!({ "reason": "while nobody looked" }))?;
        browser.expect("#connection[data-state='live']")?;
        browser.expect(&format!("main a[href='/builds/{}']", build["id"]))?;
        // And it follows again, not only once.
        let_go(farm)?;
        farm.finished("holds", 1)?;
        browser.expect_none("[data-outcome='running']")?;
        let next = start(farm, "passes").context("a build after the restart")?;
        browser.expect(&format!("main a[href='/builds/{next}']"))?;
        browser.expect_same_document()
    });
}

#[test]
fn a_log_goes_on_where_it_was_when_the_master_is_back() {
    browse(Scene::play, |farm, scene, browser| {
        browser.forgive("net::ERR_");
        let build = farm.api()?.get(&format!("/builds/{}", scene.held))?;
        let (_, log) = step_and_log(&build, 0)?;
        browser.open(&format!("/logs/{log}"))?;
        browser.expect_text("#log .line", "before the gate")?;
        browser.mark_document()?;
        farm.kill_master()?;
        browser.expect("#connection[data-state='lost']")?;
        let_go(farm)?;
        farm.start_master()?;
        browser.expect_that("each line once and in order", ONCE_AND_IN_ORDER, &[])?;
        browser.expect_same_document()
    });
}

/// How often the page says that the master was away and that nothing was lost.
const ABSENCES: &str = "
    const lines = Array.from(document.querySelectorAll(`[data-interruption='master']`), (one) => one.innerText);
    const times = lines.map((line) => Number(/ away (\\d+) times, /.exec(line)?.[1] ?? 1));
    return lines.every((line) => /^master away .*, nothing lost$/.test(line))
        && times.reduce((sum, one) => sum + one, 0) === arguments[0]";

#[test]
fn a_build_says_that_its_master_was_away_without_being_loaded_again() {
    browse(Scene::play, |farm, scene, browser| {
        // What the page asks for meanwhile is refused or cut off.
        browser.forgive("net::ERR_");
        let build = farm.api()?.get(&format!("/builds/{}", scene.held))?;
        let (_, log) = step_and_log(&build, 0)?;
        let absences = |number: usize| browser.expect_that("so many absences", ABSENCES, &[number.into()]);
        for (before, path) in [format!("/builds/{}", scene.held), format!("/logs/{log}")]
            .into_iter()
            .enumerate()
        {
            browser.open(&path)?;
            browser.expect("#connection[data-state='live']")?;
            absences(before)?;
            browser.mark_document()?;
            farm.kill_master()?;
            browser.expect("#connection[data-state='lost']")?;
            farm.start_master()?;
            absences(before + 1)?;
            browser.expect_same_document()?;
        }
        let_go(farm)?;
        farm.finished("holds", 1).map(drop)
    });
}
