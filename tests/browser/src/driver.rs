//! `chromedriver` and the Chromium that it starts: processes that end with the test, whatever becomes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::process::{self, Process};
use capstan_tests::{BOUND, wait_for};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `chromedriver` prints before the port that it has chosen.
const STARTED: &str = "was started successfully on port ";

/// A running `chromedriver`. Dropping it ends it, its browsers, and removes what they wrote.
pub(crate) struct Driver {
    process: Process,
    port: u16,
    browser: PathBuf,
    /// The browsers' home and profile. Every one of them names it on its command line.
    home: TempDir,
}

impl Driver {
    /// Starts it on a free port of the loopback and waits until it listens.
    pub(crate) fn start() -> Result<Self> {
        let (driver, browser) = (find("chromedriver")?, find("chromium")?);
        let home = tempfile::Builder::new().prefix("capstan-browser-").tempdir()?;
        let mut command = Command::new(driver);
        command
            .arg("--port=0")
            .current_dir(home.path())
            // Chromium keeps certificates, crash reports and settings there, beside its profile.
            .env("HOME", home.path())
            .env_remove("DISPLAY");
        let mut process = Process::spawn(command, &home.path().join("chromedriver.log"))?;
        process.wait_until_printed(STARTED, BOUND)?;
        let port = wait_for("the port of chromedriver", BOUND, || Ok(port(&process.output()?)))?;
        Ok(Self {
            process,
            port,
            browser,
            home,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the browser is asked to be: headless, alone, silent towards the network, with its log open to the test.
    pub(crate) fn capabilities(&self) -> serde_json::Map<String, Value> {
        let profile = format!("--user-data-dir={}", self.home.path().join("profile").display());
        let mut flags = vec![
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-crash-reporter",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-sync",
            "--hide-scrollbars",
            "--mute-audio",
            "--no-first-run",
            "--no-proxy-server",
            "--password-store=basic",
            &profile,
        ];
        if nix::unistd::geteuid().is_root() {
            flags.push("--no-sandbox");
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": self.browser, "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        match capabilities {
            Value::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Errors mean that nothing of it runs any more.
        if let Ok(id) = i32::try_from(self.process.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        // A browser has a process group of its own; it is found by its profile.
        process::end_all_under(self.home.path());
    }
}

fn port(printed: &str) -> Option<u16> {
    let (_, rest) = printed.split_once(STARTED)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    // The number is whole once something follows it.
    (digits.len() < rest.len()).then(|| digits.parse().ok())?
}

/// A program in the search path.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| Path::is_file(program));
    let found = found.with_context(|| {
        format!(
            "expected the program `{name}`, found none; install the packages `chromium` and `chromium-driver`, or leave \
             these tests out: `cargo xtask test --no-browser`"
        )
    })?;
    ensure!(
        found.is_absolute(),
        "expected absolute folders in PATH, found {}",
        found.display()
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn the_port_is_read_once_it_was_printed_whole() {
        let line = "ChromeDriver was started successfully on port ";
        assert_eq!(port("Starting ChromeDriver 156 on port 0\n"), None);
        assert_eq!(port(&format!("{line}40")), None);
        assert_eq!(port(&format!("{line}40673.\n")), Some(40673));
        assert_eq!(port(&format!("{line}.\n")), None);
    }
}
