//! How a test begins and ends: a farm of its own, a turn with the shared browser, no complaints at the end.
//!
//! A browser costs more than a second of two processors. The tests of one program therefore share one, and take turns;
//! while one has it the next prepares its farm. The last to leave ends it: a `static` is never dropped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use capstan_tests::{Farm, Told, story};

use crate::Browser;

static SHARED: Mutex<Option<Browser>> = Mutex::new(None);
/// The tests that have the browser or wait for it.
static VISITORS: AtomicUsize = AtomicUsize::new(0);

/// Tells a story about a new farm and its pages. `prepare` makes the farm what the story needs; `tell` has the browser.
pub fn browse<T>(
    prepare: impl FnOnce(&mut Farm) -> Result<T>,
    tell: impl FnOnce(&mut Farm, T, &Browser) -> Told,
) {
    let visitor = Visitor::arrive();
    story(|farm| {
        let prepared = prepare(farm)?;
        let mut turn = visitor.wait();
        let browser = turn.browser()?;
        browser.start_afresh(&farm.web()?)?;
        let told = tell(farm, prepared, browser).and_then(|()| browser.expect_no_complaints());
        if told.is_err() {
            show(browser);
        }
        told
    });
}

/// One who will have the browser, has it, or had it.
struct Visitor;

impl Visitor {
    fn arrive() -> Self {
        VISITORS.fetch_add(1, Ordering::SeqCst);
        Self
    }

    fn wait(&self) -> Turn {
        // Poisoned by a test that panicked, which took its browser with it.
        Turn(SHARED.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if VISITORS.fetch_sub(1, Ordering::SeqCst) == 1 {
            SHARED.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

struct Turn(MutexGuard<'static, Option<Browser>>);

impl Turn {
    fn browser(&mut self) -> Result<&Browser> {
        if self.0.is_none() {
            *self.0 = Some(Browser::start()?);
        }
        self.0.as_ref().context("a browser was started")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody knows what state it is in.
            self.0.take().iter().for_each(show);
        }
    }
}

/// What the page showed when the story failed.
fn show(browser: &Browser) {
    let text = browser.text("body").ok().flatten().unwrap_or_default();
    let start: String = text.chars().take(2000).collect();
    eprintln!("--- the page at {:?}\n{start}", browser.address().ok());
    if let Some(path) = picture()
        && browser.screenshot(&path).is_ok()
    {
        eprintln!("--- its picture is {}", path.display());
    }
}

/// Beside the program, so that it is found and ignored by git.
fn picture() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.ancestors().nth(2)?.join("browser-failures");
    std::fs::create_dir_all(&folder).ok()?;
    let test = std::thread::current().name()?.replace("::", "-");
    Some(folder.join(format!("{test}.png")))
}
