//! What people are told of a master or a worker that was away: one quiet line each, with a plausible length, beside what was
//! printed and never in it; and who follows a build goes on following.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::process::Process;
use capstan_tests::{BOUND, Farm, sample, story, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// How often a master notes that it is alive, with some room for a busy machine.
const STAMP: Duration = Duration::from_millis(2500);
/// Interruptions of one kind that are further apart than three seconds are told apart, and a master's begins with
/// the last sign of life before its end.
const APART: Duration = Duration::from_secs(3).saturating_add(STAMP);

/// A farm whose one command prints numbered lines on both channels until the test allows its end.
fn counting(farm: &mut Farm) -> Result<()> {
    let root = farm.root().display().to_string();
    let line = format!(
        "i=0; until [ -e {root}/go ]; do i=$((i + 1)); echo out $i; echo err $i >&2; sleep 0.02; done; echo end"
    );
    let step = format!("step.shell(name = \"count\", command = {line:?})");
    farm.write("ci.star", sample::hello(&step))?;
    farm.start_master()?;
    farm.add_worker("w1")
}

fn force(farm: &Farm) -> Result<()> {
    farm.api()?.post("/builders/hello/force", &json!({}))?;
    wait_for("the command to print", BOUND, || {
        Ok((lines(farm)? > 5).then_some(()))
    })
}

/// How many lines of the first log the master has.
fn lines(farm: &Farm) -> Result<u64> {
    let build = farm.api()?.get("/builds/1")?;
    let log = &build["steps"][0]["logs"][0];
    Ok(log["lines"].as_u64().unwrap_or(0))
}

fn let_go(farm: &Farm) -> Result<Value> {
    std::fs::write(farm.root().join("go"), "")?;
    let build = farm.finished("hello", 1)?;
    ensure!(build["outcome"] == "success", "expected success, found {build:#}");
    Ok(build)
}

fn interruptions(farm: &Farm, build: u64) -> Result<Vec<Value>> {
    let build = farm.api()?.get(&format!("/builds/{build}"))?;
    let found = build["interruptions"].as_array();
    Ok(found.context("expected interruptions in a build")?.clone())
}

/// Kills the master and starts another one after `pause`; says what the pause was at least and at most.
fn without_master(farm: &mut Farm, pause: Duration) -> Result<(Duration, Duration)> {
    let killed = Instant::now();
    farm.kill_master()?;
    // The pause is the point of the test: not a wait for something.
    std::thread::sleep(pause);
    let least = killed.elapsed();
    farm.start_master()?;
    Ok((least, killed.elapsed() + STAMP))
}

fn ensure_plausible(found: &Value, (least, most): (Duration, Duration)) -> Result<()> {
    let away = found["away_ms"].as_u64().context("expected a length")?;
    let bounds = least.as_millis() as u64..=most.as_millis() as u64;
    ensure!(
        bounds.contains(&away),
        "expected a length within {bounds:?} ms, found {found:#}"
    );
    let span = found["ended"].as_i64().zip(found["began"].as_i64());
    let span = span.map(|(ended, began)| ended - began);
    // Each was rounded to a millisecond by itself.
    ensure!(
        span.and_then(|span| u64::try_from(span).ok())
            .is_some_and(|span| span.abs_diff(away) <= 5),
        "expected it to end {away} ms after it began, found {found:#}"
    );
    Ok(())
}

/// The lines about interruptions of a build's page.
fn on_the_page(farm: &Farm, path: &str) -> Result<Vec<String>> {
    let mut page = ureq::get(format!("{}{path}", farm.web()?)).call()?;
    let page = page.body_mut().read_to_string()?;
    let of_ours = page.split("data-interruption=").skip(1);
    Ok(of_ours
        .map(|rest| rest.split("</p>").next().unwrap_or_default().to_owned())
        .collect())
}

#[test]
fn a_master_that_was_away_is_one_quiet_line() {
    story(|farm| {
        let clock = farm.root().join("clock");
        std::fs::write(&clock, "0")?;
        farm.set_env("CAPSTAN_CLOCK_OFFSET_FILE", &clock.display().to_string());
        counting(farm)?;
        force(farm)?;
        let first = without_master(farm, Duration::from_secs(2))?;
        let back = Instant::now();
        let found = interruptions(farm, 1)?;
        ensure!(found.len() == 1, "expected one interruption, found {found:#?}");
        ensure!(
            found[0]["kind"] == "master" && found[0]["lost"] == false,
            "{found:#?}"
        );
        ensure_plausible(&found[0], first)?;

        std::thread::sleep(APART.saturating_sub(back.elapsed()));
        let second = without_master(farm, Duration::from_millis(200))?;
        // The third one begins with its clock an hour behind.
        farm.kill_master()?;
        std::fs::write(&clock, "-3600000")?;
        let killed = Instant::now();
        farm.start_master()?;
        let third = (Duration::ZERO, killed.elapsed() + STAMP);
        let found = interruptions(farm, 1)?;
        ensure!(found.len() == 3, "expected three interruptions, found {found:#?}");
        for (found, bounds) in found.iter().zip([first, second, third]) {
            ensure_plausible(found, bounds)?;
        }
        let_go(farm)?;
        shown_everywhere(farm, &found)?;

        let untroubled = farm.force("hello", &json!({}))?;
        ensure!(untroubled["interruptions"] == json!([]), "{untroubled:#}");
        ensure!(
            on_the_page(farm, "/builds/2")?.is_empty(),
            "a build without trouble"
        );
        Ok(())
    });
}

/// The page, the command line and the log tell of them; what was printed stays what was printed.
fn shown_everywhere(farm: &Farm, interruptions: &[Value]) -> Result<()> {
    let said: Vec<_> = interruptions
        .iter()
        .filter_map(|i| i["summary"].as_str())
        .collect();
    ensure!(
        said.iter()
            .all(|line| line.starts_with("master away ") && line.ends_with(", nothing lost")),
        "{said:?}"
    );
    let page = on_the_page(farm, "/builds/1")?;
    ensure!(
        page.len() == said.len() && page.iter().zip(&said).all(|(shown, line)| shown.contains(line)),
        "expected {said:?} on the page, found {page:?}"
    );
    let shown = farm.capstan_ok(&["build", "show", "hello/1"])?;
    for line in &said {
        ensure!(
            shown.matches(line).count() == 1,
            "expected `{line}` once in:\n{shown}"
        );
    }
    let raw = farm.api()?.bytes("/logs/1/raw")?;
    ensure!(
        !String::from_utf8_lossy(&raw).contains("away"),
        "the bytes of the log"
    );
    let log = farm.capstan(&["log", "hello/1", "count"])?;
    let (out, aside) = (
        String::from_utf8_lossy(&log.stdout),
        String::from_utf8_lossy(&log.stderr),
    );
    ensure!(!out.contains("away"), "expected a clean pipe, found:\n{out}");
    // The clock was turned back while the step ran: what came after that seems to be before its beginning.
    for line in &said[..2] {
        ensure!(
            aside.matches(line).count() == 1,
            "expected `{line}` once in:\n{aside}"
        );
    }
    Ok(())
}

/// `capstan` in the background: one pipe to each file.
struct Follower {
    process: Process,
    errors: PathBuf,
}

impl Follower {
    fn start(farm: &Farm, arguments: &[&str]) -> Result<Self> {
        let errors = farm.root().join("follower.err");
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec \"$@\" 2> \"$0\"");
        command.arg(&errors).arg(&farm.programs().capstan);
        command.arg("--farm").arg(farm.folder()).args(arguments);
        let process = Process::spawn(command, &farm.root().join("follower.out"))?;
        Ok(Self { process, errors })
    }

    /// Waits until it has printed so many lines more than now.
    fn goes_on(&self) -> Result<()> {
        let count = || Ok::<_, anyhow::Error>(self.process.output()?.lines().count());
        let before = count()?;
        wait_for("the follower to print more", BOUND, || {
            Ok((count()? > before + 10).then_some(()))
        })
    }

    fn end(mut self) -> Result<(String, String)> {
        let status = self.process.wait(BOUND)?;
        let errors = std::fs::read_to_string(&self.errors)?;
        ensure!(
            status.success(),
            "expected it to succeed, found {status}: {errors}"
        );
        Ok((self.process.output()?, errors))
    }
}

#[test]
fn who_follows_a_log_goes_on_over_the_masters_death() {
    story(|farm| {
        counting(farm)?;
        force(farm)?;
        let follower = Follower::start(farm, &["log", "hello/1", "count", "--follow"])?;
        follower.goes_on()?;
        without_master(farm, Duration::from_millis(500))?;
        let back = Instant::now();
        follower.goes_on()?;
        std::thread::sleep(APART.saturating_sub(back.elapsed()));
        // A master that ends in order closes the stream itself.
        farm.stop_master()?;
        farm.start_master()?;
        follower.goes_on()?;
        let_go(farm)?;
        let (followed, aside) = follower.end()?;
        let whole = farm.capstan_ok(&["log", "hello/1", "count"])?;
        ensure!(
            followed == whole,
            "expected {} bytes as the log has them, the follower printed {}",
            whole.len(),
            followed.len()
        );
        let told: Vec<_> = aside.lines().collect();
        ensure!(
            told.len() == 2 && told.iter().all(|line| line.starts_with("master away ")),
            "expected a line for each absence, found {told:?}"
        );
        Ok(())
    });
}

#[test]
fn who_follows_a_forced_build_goes_on_over_the_masters_death() {
    story(|farm| {
        counting(farm)?;
        let follower = Follower::start(farm, &["force", "hello", "--follow"])?;
        wait_for("the command to print", BOUND, || {
            Ok((lines(farm)? > 5).then_some(()))
        })?;
        follower.goes_on()?;
        without_master(farm, Duration::from_millis(500))?;
        follower.goes_on()?;
        let_go(farm)?;
        let (shown, aside) = follower.end()?;
        for channel in ["out", "err"] {
            let raw = farm.api()?.bytes(&format!("/logs/1/raw?channel=std{channel}"))?;
            let raw = String::from_utf8(raw)?;
            let printed: Vec<_> = raw.lines().filter(|line| line.starts_with(channel)).collect();
            let followed: Vec<_> = shown.lines().filter(|line| line.starts_with(channel)).collect();
            ensure!(
                !printed.is_empty() && printed == followed,
                "expected the {} lines of {channel}, found {}",
                printed.len(),
                followed.len()
            );
        }
        let told = aside
            .lines()
            .filter(|line| line.starts_with("master away "))
            .count();
        ensure!(told == 1, "expected one line about the master, found:\n{aside}");
        Ok(())
    });
}

#[test]
fn a_worker_that_was_away_is_said_to_be_silent_and_then_to_be_back() {
    story(|farm| {
        counting(farm)?;
        force(farm)?;
        // Who is replaced at once was not away.
        farm.stop_worker("w1")?;
        farm.start_worker("w1")?;
        ensure!(interruptions(farm, 1)?.is_empty(), "a daemon that was replaced");
        let left = Instant::now();
        farm.stop_worker("w1")?;
        let silent = wait_for("the worker to be missed", BOUND, || {
            Ok(interruptions(farm, 1)?.into_iter().next())
        })?;
        ensure!(
            silent["ended"].is_null() && silent["kind"] == "worker",
            "expected it to last, found {silent:#}"
        );
        let shown = farm.capstan_ok(&["build", "show", "hello/1"])?;
        ensure!(shown.contains("worker w1 silent for "), "{shown}");
        let page = on_the_page(farm, "/builds/1")?;
        ensure!(
            page.len() == 1 && page[0].contains("worker w1 silent for"),
            "{page:?}"
        );
        let least = left.elapsed() - Duration::from_millis(500);
        farm.start_worker("w1")?;
        let back = wait_for("the worker to be back", BOUND, || {
            let found = interruptions(farm, 1)?;
            Ok(found.into_iter().find(|found| !found["ended"].is_null()))
        })?;
        ensure_plausible(&back, (Duration::ZERO, left.elapsed() + STAMP))?;
        ensure!(
            back["away_ms"].as_u64() >= u64::try_from(least.as_millis()).ok(),
            "{back:#}"
        );
        let_go(farm)?;
        let found = interruptions(farm, 1)?;
        ensure!(found.len() == 1, "expected one interruption, found {found:#?}");
        let said = found[0]["summary"].as_str().unwrap_or_default();
        ensure!(
            said.starts_with("worker w1 away ") && said.ends_with(", nothing lost"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn a_stall_below_the_idle_time_is_no_interruption() {
    story(|farm| {
        counting(farm)?;
        force(farm)?;
        farm.worker("w1")?.signal(Signal::SIGSTOP)?;
        // Longer than what is noted of a connection that is gone, shorter than what ends one: the stall is the point.
        std::thread::sleep(Duration::from_secs(4));
        farm.worker("w1")?.signal(Signal::SIGCONT)?;
        let before = lines(farm)?;
        wait_for("the log to go on", BOUND, || {
            Ok((lines(farm)? > before).then_some(()))
        })?;
        let build = let_go(farm)?;
        ensure!(build["interruptions"] == json!([]), "{build:#}");
        Ok(())
    });
}

#[test]
fn a_worker_that_stays_away_is_said_to_have_lost_its_command() {
    story(|farm| {
        farm.edit("capstan.toml", "# grace = \"5min\"", "grace = \"3s\"")?;
        counting(farm)?;
        force(farm)?;
        farm.stop_worker("w1")?;
        wait_for("the build to end", BOUND, || {
            let build = farm.api()?.get("/builds/1")?;
            Ok((build["state"] == "complete").then_some(()))
        })?;
        let found = interruptions(farm, 1)?;
        ensure!(
            found.len() == 1 && found[0]["lost"] == true,
            "expected one that lost a command, found {found:#?}"
        );
        let said = found[0]["summary"].as_str().unwrap_or_default();
        ensure!(
            said.starts_with("worker w1 away for longer than ") && said.ends_with(": its command was lost"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn the_journal_of_a_step_is_listed_for_people_and_for_programs() {
    story(|farm| {
        farm.write(
            "ci.star",
            sample::hello("step.shell(name = \"one\", command = \"echo 1\"), step.shell(name = \"two\", command = \"echo 2\")"),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.force("hello", &json!({}))?;
        let all = farm.capstan_ok(&["build", "show", "hello/1", "--journal"])?;
        for word in [
            "0 one, success",
            "1 two, success",
            "created",
            "start",
            "end",
            "finished",
        ] {
            ensure!(all.contains(word), "expected `{word}` in:\n{all}");
        }
        let one = farm.capstan_ok(&["build", "show", "hello/1", "two", "--journal"])?;
        ensure!(!one.contains("0 one") && one.contains("1 two"), "{one}");
        let rows: Value = serde_json::from_str(&farm.capstan_ok(&[
            "--json",
            "build",
            "show",
            "hello/1",
            "1",
            "--journal",
        ])?)?;
        let rows = rows["steps"][0]["journal"].as_array().context("expected rows")?;
        let count = one.lines().filter(|line| line.starts_with("  ")).count();
        ensure!(rows.len() + 1 == count, "expected a line for each row:\n{one}");
        ensure!(
            rows[0]["kind"] == "created" && rows[0]["request"]["start"].is_string(),
            "{rows:#?}"
        );
        let step: Value = serde_json::from_str(&farm.capstan_ok(&["--json", "build", "show", "1", "two"])?)?;
        ensure!(step["name"] == "two", "{step:#}");
        let refused = farm.capstan_refused(&["build", "show", "hello/1", "three", "--journal"])?;
        ensure!(
            refused.contains("one, two") && refused.contains("three"),
            "{refused}"
        );
        Ok(())
    });
}
