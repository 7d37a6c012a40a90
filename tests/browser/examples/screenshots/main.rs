//! Makes the pictures of the documents: `cargo run -p capstan-browser --example screenshots -- FOLDER`, after
//! `cargo xtask plugins` and `cargo build --workspace --bins`. Plays a farm that builds a small project for several
//! machines, with something red, something running and something that waits, and writes a PNG of each page.

mod lantern;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use capstan_browser::scene::{gate, let_go, request, start, step_and_log};
use capstan_browser::{Browser, View};
use capstan_tests::{BOUND, Farm, Programs, wait_for};
use lantern::{HISTORY, Lantern};
use serde_json::Value;

/// The window of the pictures. It grows with the page, up to this height.
const DESK: View = View {
    width: 1200,
    height: 1000,
    ..View::DESKTOP
};
const LOWEST: u64 = 480;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("expected a folder to write the pictures to")?;
    std::fs::create_dir_all(&folder)?;
    let mut farm = Farm::create(Programs::of_this_build()?)?;
    let played = play(&mut farm).and_then(|builds| shoot(&farm, &builds, &folder));
    if played.is_err() {
        farm.show_outputs();
    }
    let_go(&farm)?;
    played
}

/// The builds that have a picture of their own.
struct Builds {
    failed: Value,
    running: i64,
}

fn play(farm: &mut Farm) -> Result<Builds> {
    let project = Lantern::create(farm.root())?;
    farm.edit("capstan.toml", "title = \"My farm\"", "title = \"Lantern\"")?;
    farm.write("ci.star", project.configuration(&gate(farm)))?;
    farm.start_master()?;
    for worker in ["linux-1", "linux-2", "arm-1"] {
        farm.add_worker(worker)?;
    }
    for (number, commit) in (1..).zip(&HISTORY) {
        project.push(commit)?;
        for builder in ["linux-x86_64", "linux-arm64", "docs", "lint"] {
            farm.finished(builder, number)?;
        }
    }
    for _ in 0..2 {
        request(farm, "release-packages")?;
    }
    let running = start(farm, "fuzz")?;
    start_after(farm, running)?;
    Ok(Builds {
        failed: farm.finished("linux-arm64", HISTORY.len() as u64)?,
        running,
    })
}

/// A second build that runs, and one that waits for its slot.
fn start_after(farm: &Farm, first: i64) -> Result<()> {
    request(farm, "benchmarks")?;
    wait_for("a second running build", BOUND, || {
        let running = farm.api()?.get("/builds?state=running")?;
        let other = |build: &&Value| build["id"] != first;
        Ok(running["builds"]
            .as_array()
            .and_then(|all| all.iter().find(other).map(drop)))
    })
}

fn shoot(farm: &Farm, builds: &Builds, folder: &Path) -> Result<()> {
    let browser = Browser::start()?;
    browser.start_afresh(&farm.web()?)?;
    let camera = Camera {
        browser: &browser,
        folder,
    };
    let failed = format!("/builds/{}", builds.failed["id"]);
    let steps = builds.failed["steps"].as_array().into_iter().flatten();
    let red = steps.take_while(|step| step["outcome"] != "failure").count();
    let (_, log) = step_and_log(&builds.failed, red)?;
    camera.shoot("/", "home", DESK)?;
    camera.shoot("/", "home-dark", DESK.dark())?;
    camera.shoot("/", "home-phone", View::PHONE.sharp())?;
    camera.shoot(&failed, "build-phone", View::PHONE.sharp())?;
    camera.shoot(&failed, "build", DESK)?;
    camera.shoot(&format!("/builds/{}", builds.running), "build-running", DESK)?;
    camera.shoot(
        &format!("/logs/{log}#L28-L32"),
        "log",
        View { height: 720, ..DESK },
    )?;
    camera.shoot(
        &format!("/logs/{log}#L28-L32"),
        "log-dark",
        View { height: 720, ..DESK }.dark(),
    )?;
    for (path, name) in [
        ("/builders", "builders"),
        ("/builders/linux-arm64", "builder"),
        ("/changes", "changes"),
        ("/requests", "queue"),
        ("/workers", "workers"),
        ("/plugins", "plugins"),
    ] {
        camera.shoot(path, name, DESK)?;
    }
    browser.sign_in(&farm.read("data/token")?)?;
    camera.shoot("/builders/linux-arm64/force", "force", DESK)?;
    browser.expect_no_complaints()
}

struct Camera<'a> {
    browser: &'a Browser,
    folder: &'a Path,
}

impl Camera<'_> {
    fn shoot(&self, path: &str, name: &str, view: View) -> Result<()> {
        self.browser.look_with(View {
            height: u32::try_from(LOWEST)?,
            ..view
        })?;
        self.browser.open(path)?;
        let height = self
            .browser
            .evaluate("return document.documentElement.scrollHeight", &[])?;
        let height = height.as_u64().unwrap_or(LOWEST).max(LOWEST);
        // A page that scrolls within itself fills whatever it gets.
        let height = if height == LOWEST && path.starts_with("/logs/") {
            view.height
        } else {
            u32::try_from(height)?.min(view.height)
        };
        self.browser.look_with(View { height, ..view })?;
        // After the pages' scripts have had their say, in the frame that follows.
        self.browser.expect_that(
            "the page at rest",
            "return document.readyState === 'complete' && document.fonts.status === 'loaded'
                 && document.getElementById('connection')?.dataset.state !== 'connecting'",
            &[],
        )?;
        let file = self.folder.join(format!("{name}.png"));
        self.browser.screenshot(&file)?;
        println!("{}", file.display());
        Ok(())
    }
}
