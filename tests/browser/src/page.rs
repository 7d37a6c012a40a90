//! What a test asks of the page that is shown.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::wait_for;
use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::Browser;

/// How long a page may take to show what the farm knows. It is a fraction of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl Browser {
    /// The text of the first element of a selector as a visitor sees it, if there is one.
    pub fn text(&self, selector: &str) -> Result<Option<String>> {
        let found = self.evaluate(
            "return document.querySelector(arguments[0])?.innerText ?? null",
            &[selector.into()],
        )?;
        Ok(found.as_str().map(str::to_owned))
    }

    /// The texts of all elements of a selector.
    pub fn texts(&self, selector: &str) -> Result<Vec<String>> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]), (one) => one.innerText)";
        let found = self.evaluate(script, &[selector.into()])?;
        serde_json::from_value(found).context("expected texts")
    }

    /// An attribute of the first element of a selector.
    pub fn attribute(&self, selector: &str, name: &str) -> Result<Option<String>> {
        let script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? null";
        let found = self.evaluate(script, &[selector.into(), name.into()])?;
        Ok(found.as_str().map(str::to_owned))
    }

    /// How many elements a selector finds.
    pub fn count(&self, selector: &str) -> Result<u64> {
        let found = self.evaluate(
            "return document.querySelectorAll(arguments[0]).length",
            &[selector.into()],
        )?;
        found.as_u64().context("expected a number")
    }

    /// Waits until a selector finds something.
    pub fn expect(&self, selector: &str) -> Result<()> {
        self.expect_that(
            &format!("`{selector}`"),
            "return document.querySelector(arguments[0]) !== null",
            &[selector.into()],
        )
    }

    /// Waits until a selector finds nothing any more.
    pub fn expect_none(&self, selector: &str) -> Result<()> {
        self.expect_that(
            &format!("no `{selector}`"),
            "return document.querySelector(arguments[0]) === null",
            &[selector.into()],
        )
    }

    /// Waits until the text of some element of a selector contains this.
    pub fn expect_text(&self, selector: &str, text: &str) -> Result<()> {
        self.expect_that(
            &format!("`{text}` in `{selector}`"),
            "return Array.from(document.querySelectorAll(arguments[0])).some((one) => one.innerText.includes(arguments[1]))",
            &[selector.into(), text.into()],
        )
    }

    /// Waits until the body of a function answers `true` in the page.
    pub fn expect_that(&self, what: &str, script: &str, arguments: &[Value]) -> Result<()> {
        let place = self.address()?;
        wait_for(&format!("{what} at {place}"), PATIENCE, || {
            Ok((self.evaluate(script, arguments)? == true).then_some(()))
        })
    }

    /// Fails unless the page is one of this kind: an error page never is.
    pub fn expect_page(&self, kind: &str) -> Result<()> {
        let found = self.attribute("body", "data-page")?;
        ensure!(
            found.as_deref() == Some(kind),
            "expected the page `{kind}` at {}, found {found:?}: {}",
            self.address()?,
            self.text("body")?.unwrap_or_default()
        );
        Ok(())
    }

    /// Signs in by the form, as somebody who may read the farm's token.
    pub fn sign_in(&self, token: &str) -> Result<()> {
        self.open("/sign-in")?;
        self.fill("input[name='token']", token.trim())?;
        self.press(Key::Enter)?;
        self.expect("form[action='/sign-out']")
    }

    /// Marks the document, so that [`Browser::expect_same_document`] can tell that it was not loaded again.
    pub fn mark_document(&self) -> Result<()> {
        self.evaluate("window.marker = 1", &[]).map(drop)
    }

    /// Fails if the document was loaded again since it was marked.
    pub fn expect_same_document(&self) -> Result<()> {
        ensure!(
            self.evaluate("return window.marker ?? null", &[])? == json!(1),
            "expected the page to stay, it was loaded again: {}",
            self.address()?
        );
        Ok(())
    }
}
