//! A browser with one window: what a test can do with it. Every call blocks, and is bounded.

use std::cell::RefCell;
use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Complaint;
use crate::command::Vendor;
use crate::driver::Driver;

/// How long one command may take: the browser's own start is the slowest.
const COMMAND: Duration = Duration::from_secs(60);
/// How long closing may take before it is killed.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a page is looked at with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The inner width, in CSS pixels.
    pub width: u32,
    /// The inner height, in CSS pixels.
    pub height: u32,
    /// Whether the visitor prefers dark colours.
    pub dark: bool,
    /// Device pixels per CSS pixel.
    pub density: u32,
}

impl View {
    /// A window on a desk.
    pub const DESKTOP: Self = Self {
        width: 1280,
        height: 900,
        dark: false,
        density: 1,
    };
    /// A phone held upright.
    pub const PHONE: Self = Self {
        width: 390,
        height: 844,
        ..Self::DESKTOP
    };

    /// The same with dark colours.
    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }

    /// The same on a screen with four times the pixels.
    pub const fn sharp(self) -> Self {
        Self { density: 2, ..self }
    }
}

/// A running browser. Dropping it ends its processes.
pub struct Browser {
    // Before the driver: the session is closed while that still runs.
    session: Session,
    _driver: Driver,
    /// Where the paths that are opened start.
    base: RefCell<String>,
    forgiven: RefCell<Vec<String>>,
}

struct Session {
    runtime: Runtime,
    client: Option<Client>,
}

impl Browser {
    /// Starts `chromedriver` and, through it, Chromium.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let driver = Driver::start()?;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(driver.capabilities());
        let address = driver.address();
        let client = within(
            &runtime,
            "the browser's start",
            COMMAND,
            builder.connect(&address),
        )?;
        Ok(Self {
            session: Session {
                runtime,
                client: Some(client),
            },
            _driver: driver,
            base: RefCell::default(),
            forgiven: RefCell::default(),
        })
    }

    /// Forgets whatever the last test left: cookies, complaints, how it looked at pages. From now on paths are opened
    /// below `base`.
    pub fn start_afresh(&self, base: &str) -> Result<()> {
        base.clone_into(&mut self.base.borrow_mut());
        self.go("about:blank")?;
        self.devtools("Network.clearBrowserCookies", &json!({}))?;
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": false }))?;
        self.look_with(View::DESKTOP)?;
        self.forgiven.take();
        self.log().map(drop)
    }

    /// Opens a path of the farm and waits until it is loaded.
    pub fn open(&self, path: &str) -> Result<()> {
        let address = format!("{}{path}", self.base.borrow());
        self.go(&address)
    }

    fn go(&self, address: &str) -> Result<()> {
        self.command(&format!("{address} to open"), |client| async move {
            client.goto(address).await
        })
    }

    /// Opens the address again.
    pub fn reload(&self) -> Result<()> {
        self.command("the page to load again", |client| async move {
            client.refresh().await
        })
    }

    /// The address of the page that is shown.
    pub fn address(&self) -> Result<String> {
        let address = self.command("the page's address", |client| async move {
            client.current_url().await
        })?;
        Ok(address.into())
    }

    /// From now on pages are looked at with this.
    pub fn look_with(&self, view: View) -> Result<()> {
        let scheme = if view.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }))?;
        let screen = json!({
            "width": view.width, "height": view.height, "deviceScaleFactor": view.density, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen)
            .map(drop)
    }

    /// From the next page on, pages run no script of their own.
    pub fn without_scripts(&self) -> Result<()> {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }))
            .map(drop)
    }

    /// What the body of a function answers in the page; `arguments` are its arguments.
    pub fn evaluate(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        let all = arguments.to_vec();
        self.command(&format!("an answer from `{script}`"), |client| async move {
            client.execute(script, all).await
        })
    }

    /// Clicks the first element of a selector, as a mouse does: what is hidden or covered cannot be clicked.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.command(&format!("a click on `{selector}`"), |client| async move {
            client.find(Locator::Css(selector)).await?.click().await
        })
    }

    /// Replaces what is in a field by this text, typed.
    pub fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.command(&format!("`{selector}` to be filled"), |client| async move {
            let field = client.find(Locator::Css(selector)).await?;
            field.clear().await?;
            field.send_keys(text).await
        })
    }

    /// Presses a key wherever the focus is.
    pub fn press(&self, key: fantoccini::key::Key) -> Result<()> {
        self.command("a key to be pressed", |client| async move {
            client.active_element().await?.send_keys(&key.to_string()).await
        })
    }

    /// Writes what the window shows into a PNG file.
    pub fn screenshot(&self, path: &Path) -> Result<()> {
        let image = self.command("a screenshot", |client| async move { client.screenshot().await })?;
        std::fs::write(path, image).with_context(|| format!("failed to write {}", path.display()))
    }

    /// From now on complaints with this text are expected: a test that stops the master expects that it is missed.
    pub fn forgive(&self, text: &str) {
        self.forgiven.borrow_mut().push(text.to_owned());
    }

    /// Fails if any page complained since the test began, except about what it forgives.
    pub fn expect_no_complaints(&self) -> Result<()> {
        let forgiven = self.forgiven.borrow();
        let bad = |complaint: &Complaint| !forgiven.iter().any(|text| complaint.text.contains(text));
        let found: Vec<_> = Complaint::among(&self.log()?)
            .into_iter()
            .filter(bad)
            .map(|complaint| complaint.to_string())
            .collect();
        ensure!(
            found.is_empty(),
            "expected pages without errors, the browser complained:\n{}",
            found.join("\n")
        );
        Ok(())
    }

    /// Calls a method of the DevTools protocol.
    pub fn devtools(&self, method: &str, parameters: &Value) -> Result<Value> {
        let command = Vendor::devtools(method, parameters);
        self.command(method, |client| async move { client.issue_cmd(command).await })
    }

    fn log(&self) -> Result<Value> {
        self.command("the browser's log", |client| async move {
            client.issue_cmd(Vendor::browser_log()).await
        })
    }

    fn command<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        make: impl FnOnce(Client) -> F,
    ) -> Result<T> {
        let client = self.session.client.clone().context("the session was closed")?;
        within(&self.session.runtime, what, COMMAND, make(client))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // One that does not close is killed with its driver.
            let _ = within(&self.runtime, "the browser's end", FAREWELL, client.close());
        }
    }
}

fn within<T, E: Display>(
    runtime: &Runtime,
    what: &str,
    bound: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    match runtime.block_on(async { tokio::time::timeout(bound, work).await }) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(anyhow!("expected {what}, the browser answered: {error}")),
        Err(_) => Err(anyhow!("expected {what} within {bound:?}, it did not happen")),
    }
}
