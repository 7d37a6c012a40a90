//! The pages of a farm in a real browser: Debian's headless Chromium, driven through WebDriver.
//!
//! A test calls [`browse`]: it gets a farm of its own and, once that is prepared, the browser that all tests of a program
//! share, one at a time. What the page complains about (an error in a script, a violation of the content security policy)
//! fails the test. The tests are in `tests/browser/tests`; `examples/screenshots.rs` makes the pictures of the documents.
//!
//! Read `visit` (how a test begins and ends), then `browser` and `page` (what it can do and ask), `scene` (a farm to look
//! at), `driver` (the processes) and `command` (what WebDriver has no name for).

pub mod browser;
mod command;
pub mod complaint;
mod driver;
pub mod page;
pub mod scene;
pub mod visit;

pub use browser::{Browser, View};
pub use complaint::Complaint;
pub use scene::Scene;
pub use visit::browse;
