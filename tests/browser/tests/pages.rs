//! Each page shows what it is about: on a desk, on a phone, in the dark, by keyboard, and without any script.

use anyhow::{Context as _, Result, ensure};
use capstan_browser::scene::{MESSAGE, step_and_log};
use capstan_browser::{Browser, Scene, View, browse};
use fantoccini::key::Key;

/// A page and what a visitor must find on it.
struct Page {
    path: String,
    kind: &'static str,
    elements: Vec<String>,
    texts: Vec<String>,
}

fn page(path: impl Into<String>, kind: &'static str, elements: &[&str], texts: &[&str]) -> Page {
    let own = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    Page {
        path: path.into(),
        kind,
        elements: own(elements),
        texts: own(texts),
    }
}

/// Every page that only shows something.
fn pages(scene: &Scene) -> Result<Vec<Page>> {
    let (failed, passed) = (&scene.failed["id"], &scene.passed["id"]);
    let (spill, log) = step_and_log(&scene.failed, 1)?;
    let revision = scene.passed["sources"][0]["revision"]
        .as_str()
        .context("expected a revision")?;
    let row = |id: &dyn std::fmt::Display| format!("tr[data-build='{id}']");
    Ok(vec![
        page(
            "/",
            "home",
            &[
                "[data-builder='fails'] [data-outcome='failure'], [data-builder='fails'][data-outcome='failure']",
            ],
            &["passes", "fails", "holds"],
        ),
        page(
            "/builders",
            "builders",
            &[
                "[data-builder='passes']",
                "[data-builder='fails']",
                "[data-builder='stuck']",
            ],
            &["Ends well", "quick"],
        ),
        page(
            "/builders/fails",
            "builder",
            &[&row(failed), "[data-outcome='failure']"],
            &["fails", "w1"],
        ),
        page(
            format!("/builds/{failed}"),
            "build",
            &[
                &format!("[data-step='{spill}']"),
                "[data-outcome='failure']",
                &format!("a[href^='/logs/{log}']"),
            ],
            &["fails", "prepare", "spill", "w1", "to see it fail"],
        ),
        page(
            format!("/builds/{passed}"),
            "build",
            &["[data-outcome='success']"],
            &["passes", "boil", MESSAGE, &revision[..7]],
        ),
        page(
            format!("/logs/{log}"),
            "log",
            &["#log .line[data-number]"],
            &["all over the stove", "wet", "spill"],
        ),
        page(
            "/changes",
            "changes",
            &[&format!("a[href='/changes/{}']", scene.change)],
            &[MESSAGE, "Ada", "main"],
        ),
        page(
            format!("/changes/{}", scene.change),
            "change",
            &[&format!("a[href='/builds/{passed}']")],
            &[MESSAGE, "Ada", "main", "src/whistle.sh"],
        ),
        page("/requests", "requests", &[], &["stuck"]),
        page(format!("/requests/{}", scene.waiting), "request", &[], &["stuck"]),
        page(
            "/workers",
            "workers",
            &[&format!("a[href='/builds/{}']", scene.held)],
            &["w1", "absent", "holds"],
        ),
        page(
            "/plugins",
            "plugins",
            &[],
            &["shell", "git-poller", "any-branch", "report-file"],
        ),
        page(
            "/sign-in",
            "sign-in",
            &["form[method='post'] input[name='token']"],
            &[],
        ),
    ])
}

fn expect(browser: &Browser, page: &Page) -> Result<()> {
    browser.expect_page(page.kind)?;
    for selector in &page.elements {
        browser.expect(selector)?;
    }
    for text in &page.texts {
        browser.expect_text("main", text)?;
    }
    Ok(())
}

/// A short text that is many lines high was squeezed: it is read letter by letter.
fn expect_nothing_squeezed(browser: &Browser) -> Result<()> {
    let script = "return Array.from(document.querySelectorAll('main *'))
        .filter((one) => one.children.length === 0 && one.textContent.trim().length < 40
            && one.getBoundingClientRect().height > 120 && one.innerText?.trim() && one.nodeName !== 'TEXTAREA')
        .map((one) => one.textContent.trim())";
    let found = browser.evaluate(script, &[])?;
    let found = found.as_array().context("expected texts")?;
    ensure!(
        found.is_empty(),
        "expected no squeezed text at {}, found {found:?}",
        browser.address()?
    );
    Ok(())
}

/// What does not fit scrolls within its own box, never the document.
fn expect_no_overflow(browser: &Browser, width: u32) -> Result<()> {
    let script = "const root = document.documentElement;
        const wide = Array.from(document.querySelectorAll('body *'))
            .filter((one) => one.getBoundingClientRect().right > arguments[0] + 1 && !one.closest('.scroll, pre'))
            .map((one) => one.outerHTML.slice(0, 200));
        return [Math.max(root.scrollWidth, document.body.scrollWidth), wide.slice(0, 3).join('\\n')]";
    let found = browser.evaluate(script, &[width.into()])?;
    ensure!(
        found[0].as_u64() <= Some(width.into()),
        "expected {} to be {width} pixels wide, it is {}; too far right are: {}",
        browser.address()?,
        found[0],
        found[1].as_str().unwrap_or_default()
    );
    Ok(())
}

#[test]
fn every_page_shows_what_it_is_about_on_a_desk_and_on_a_phone() {
    browse(Scene::play, |_, scene, browser| {
        let all = pages(&scene)?;
        for page in &all {
            browser.look_with(View::DESKTOP)?;
            browser.open(&page.path)?;
            expect(browser, page)?;
            expect_no_overflow(browser, View::DESKTOP.width)?;
            expect_nothing_squeezed(browser)?;
            browser.look_with(View::PHONE)?;
            expect_no_overflow(browser, View::PHONE.width)?;
            expect_nothing_squeezed(browser)?;
            let title = browser.evaluate("return document.title", &[])?;
            ensure!(
                !title.as_str().unwrap_or_default().trim().is_empty(),
                "{} has no title",
                page.path
            );
        }
        Ok(())
    });
}

#[test]
fn every_page_is_useful_without_a_script() {
    browse(Scene::play, |_, scene, browser| {
        browser.without_scripts()?;
        for page in pages(&scene)? {
            browser.open(&page.path)?;
            expect(browser, &page)?;
        }
        Ok(())
    });
}

#[test]
fn the_first_tab_reaches_a_link_that_skips_to_the_content() {
    browse(Scene::play, |_, scene, browser| {
        for page in pages(&scene)?
            .iter()
            .filter(|page| ["home", "build"].contains(&page.kind))
        {
            browser.open(&page.path)?;
            browser.press(Key::Tab)?;
            let focus = "return document.activeElement.getAttribute('href')";
            let target = browser.evaluate(focus, &[])?;
            let target = target.as_str().context("expected the focus on a link")?;
            ensure!(
                target.starts_with('#'),
                "expected a link within the page, found {target}"
            );
            browser.press(Key::Enter)?;
            browser.expect_that(
                "the focus in the content",
                "return document.activeElement.matches('main, main *') && location.hash === arguments[0]",
                &[target.into()],
            )?;
            browser.press(Key::Tab)?;
            browser.expect_that(
                "the next stop in the content",
                "return document.activeElement.matches('main *')",
                &[],
            )?;
        }
        Ok(())
    });
}

#[test]
fn a_visitor_who_prefers_the_dark_gets_light_text_on_a_dark_ground() {
    browse(Scene::play, |_, _, browser| {
        // The brightness of the ground and of the text, from 0 to 255.
        let script = "const style = getComputedStyle(document.body);
            const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
            return [style.backgroundColor, style.color].map((colour) => {
                probe.fillStyle = colour;
                probe.fillRect(0, 0, 1, 1);
                const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
                return Math.round(0.3 * r + 0.6 * g + 0.1 * b);
            })";
        for (view, dark) in [(View::DESKTOP, false), (View::DESKTOP.dark(), true)] {
            browser.look_with(view)?;
            browser.open("/")?;
            let found = browser.evaluate(script, &[])?;
            let (ground, text) = (found[0].as_i64().unwrap_or(128), found[1].as_i64().unwrap_or(128));
            let difference = if dark { text - ground } else { ground - text };
            ensure!(
                difference > 120,
                "expected a contrast, dark: {dark}, found ground {ground} and text {text}"
            );
        }
        Ok(())
    });
}

#[test]
fn an_address_that_does_not_exist_answers_with_a_page_that_leads_home() {
    browse(Scene::play, |_, _, browser| {
        browser.forgive("the server responded with a status of 404");
        for path in [
            "/nowhere",
            "/builds/999999",
            "/logs/999999",
            "/builders/nobody",
            "/changes/999999",
        ] {
            browser.open(path)?;
            browser.expect_page("fault")?;
            browser.expect("a[href='/']")?;
        }
        Ok(())
    });
}
