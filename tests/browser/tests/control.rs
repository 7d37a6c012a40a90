//! Who may change something: nobody without signing in, and who has signed in by the form of a builder.

use anyhow::{Context as _, Result, ensure};
use capstan_browser::{Browser, Scene, browse};
use capstan_tests::{BOUND, wait_for};
use fantoccini::key::Key;

#[test]
fn a_build_can_be_asked_for_by_the_form_and_a_bad_value_is_named_beside_its_field() {
    browse(Scene::play, |farm, _, browser| {
        // The answer to a bad form is an error, and browsers log that.
        browser.forgive("the server responded with a status of 4");
        browser.sign_in(&farm.read("data/token")?)?;
        browser.open("/builders/passes/force")?;
        browser.expect_page("force")?;
        browser.fill("form [name='branch']", "main")?;
        browser.click("main form summary")?;
        browser.fill("form [name='priority']", "soon")?;
        submit(browser)?;
        browser.expect(".error[data-field='priority']")?;
        let kept = browser.evaluate("return document.querySelector('form [name=branch]').value", &[])?;
        ensure!(kept == "main", "expected the good value to stay, found {kept}");
        browser.fill("form [name='priority']", "7")?;
        browser.fill("form [name='reason']", "by hand")?;
        submit(browser)?;
        let build = farm.finished("passes", 2)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        ensure!(
            build["reason"].as_str().unwrap_or_default().contains("by hand"),
            "{build:#}"
        );
        let there = wait_for("a page after the form", BOUND, || {
            let kind = browser.attribute("body", "data-page")?;
            Ok(kind.filter(|kind| kind != "force" && kind != "fault"))
        })?;
        ensure!(
            ["request", "build", "builder", "requests"].contains(&there.as_str()),
            "{there}"
        );
        Ok(())
    });
}

/// Sends the form of the page, with its values as they are: the server has to judge them.
fn submit(browser: &Browser) -> Result<()> {
    browser.evaluate("document.querySelector('main form').noValidate = true", &[])?;
    browser.click("main form button")
}

#[test]
fn a_wrong_token_is_refused_beside_its_field_and_gives_nothing() {
    browse(Scene::play, |_, _, browser| {
        browser.forgive("the server responded with a status of 4");
        browser.open("/sign-in")?;
        browser.fill("input[name='token']", "wrong")?;
        browser.press(Key::Enter)?;
        browser.expect(".error[data-field='token']")?;
        browser.expect_none("form[action='/sign-out']")?;
        let cookies = browser.devtools("Network.getAllCookies", &serde_json::json!({}))?;
        ensure!(
            cookies["cookies"].as_array().is_some_and(Vec::is_empty),
            "expected no session, found {cookies}"
        );
        Ok(())
    });
}

#[test]
fn who_signs_out_may_change_nothing_any_more() {
    browse(Scene::play, |farm, _, browser| {
        browser.forgive("the server responded with a status of 4");
        browser.sign_in(&farm.read("data/token")?)?;
        let cookies = browser.devtools("Network.getAllCookies", &serde_json::json!({}))?;
        let session = cookies["cookies"].get(0).context("expected a session's cookie")?;
        ensure!(
            session["httpOnly"] == true && session["sameSite"].is_string(),
            "expected a cookie that no script reads and no other site sends, found {session}"
        );
        browser.click("form[action='/sign-out'] button")?;
        browser.expect("a[href^='/sign-in']")?;
        browser.open("/builders/passes/force")?;
        browser.expect("main a[href^='/sign-in']")?;
        browser.expect_none("main form button:not([disabled])")
    });
}

/// What a visitor without a session sees of control, and what becomes of forms that are sent all the same.
#[test]
fn without_signing_in_nothing_can_be_changed() {
    browse(Scene::play, |farm, scene, browser| {
        browser.forgive("the server responded with a status of 4");
        let build = scene.held;
        for path in [
            "/".to_owned(),
            "/builders".to_owned(),
            "/builders/passes".to_owned(),
            format!("/builds/{build}"),
            "/requests".to_owned(),
            format!("/requests/{}", scene.waiting),
            "/workers".to_owned(),
            "/plugins".to_owned(),
        ] {
            browser.open(&path)?;
            let forms = browser.count("form[method='post']")?;
            ensure!(
                forms == 0,
                "expected no form that changes something at {path}, found {forms}"
            );
        }
        // As a script of this very origin would.
        let post = "return fetch(arguments[0], {
                method: 'POST',
                headers: { 'content-type': 'application/x-www-form-urlencoded' },
                body: 'reason=none&branch=main',
                redirect: 'manual',
            }).then((answer) => answer.type === 'opaqueredirect' ? 'redirect' : String(answer.status))";
        for path in [
            "/builders/passes/force".to_owned(),
            format!("/builds/{build}/stop"),
            format!("/requests/{}/cancel", scene.waiting),
            "/api/v1/builders/passes/force".to_owned(),
            format!("/api/v1/builds/{build}/stop"),
        ] {
            let answer = browser.evaluate(post, &[path.clone().into()])?;
            let answer = answer.as_str().unwrap_or_default().to_owned();
            ensure!(
                answer == "redirect" || answer.starts_with('4'),
                "expected a refusal from {path}, found {answer}"
            );
        }
        let api = farm.api()?;
        ensure!(api.get(&format!("/builds/{build}"))?["state"] == "running");
        let builds = api.get("/builds?builder=passes")?;
        ensure!(builds["builds"].as_array().map(Vec::len) == Some(1), "{builds:#}");
        Ok(())
    });
}
