//! What a fault of the machine or of a neighbour costs: the build waits or ends with the reason, and nothing else suffers.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::cluster::Cluster;
use capstan_tests::logs::printed;
use capstan_tests::waiting::{self, ends_as_if_nothing_had_happened};
use capstan_tests::{BOUND, Farm, Project, sample, small_disk, story, wait_for};
use serde_json::json;

const HOUR_MS: i64 = 3_600_000;

/// Every event of the farm's feed so far, by kind and what it is about.
fn told(farm: &Farm) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    farm.api()?.events("/events?after=0&build=1", |event| {
        let ended = event.kind == "build.finished";
        seen.push(format!(
            "{} {} {}",
            event.kind, event.data["step"], event.data["payload"]
        ));
        Ok(match ended {
            true => std::ops::ControlFlow::Break(()),
            false => std::ops::ControlFlow::Continue(()),
        })
    })?;
    Ok(seen)
}

#[test]
fn a_database_server_that_crashes_three_times_loses_nothing_and_doubles_nothing() {
    story(|farm| {
        // The server's own user has to get there.
        let place = tempfile::Builder::new().prefix("capstan-faults-").tempdir()?;
        open_to_all(place.path())?;
        let cluster = Cluster::start(&place.path().join("postgres"))?;
        farm.edit("capstan.toml", "sqlite:data/capstan.db", &cluster.url())?;
        let steps: String = (0..30)
            .map(|n| {
                format!(
                    "step.shell(name = \"s{n}\", command = \"echo {n} >> {}/counter; echo out {n}\"),\n",
                    farm.root().display()
                )
            })
            .collect();
        farm.write(
            "ci.star",
            sample::hello(&steps) + "notify.report_file(path = \"reports/builds.jsonl\")\n",
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "hello"])?;
        for done in [5, 12, 20] {
            wait_for(&format!("{done} steps"), BOUND, || {
                let text = std::fs::read_to_string(farm.root().join("counter")).unwrap_or_default();
                Ok((text.lines().count() >= done).then_some(()))
            })?;
            cluster.crash()?;
        }
        let build = farm.finished("hello", 1)?;
        ensure!(build["outcome"] == "success", "{build:#}");
        let runs = std::fs::read_to_string(farm.root().join("counter"))?;
        let expected: String = (0..30).map(|n| format!("{n}\n")).collect();
        ensure!(
            runs == expected,
            "expected each command once and in order, found {runs:?}"
        );
        let text = printed(&farm.api()?, &build, &farm.root().display().to_string())?;
        for n in 0..30 {
            let found = text.get(&format!("s{n}/stdio/stdout"));
            ensure!(
                found == Some(&format!("out {n}\n").into_bytes()),
                "{n}: {found:?}"
            );
        }
        let told = told(farm)?;
        for kind in [
            "build.started",
            "step.started",
            "step.finished",
            "log.complete",
            "build.finished",
        ] {
            let mut of_kind: Vec<_> = told.iter().filter(|event| event.starts_with(kind)).collect();
            let count = of_kind.len();
            of_kind.sort();
            of_kind.dedup();
            let expected = if kind.starts_with("build") { 1 } else { 30 };
            ensure!(
                count == expected && of_kind.len() == count,
                "expected {expected} events `{kind}`, each once, found {count}: {of_kind:#?}"
            );
        }
        wait_for("the report", BOUND, || {
            Ok((!farm.reports()?.is_empty()).then_some(()))
        })?;
        let next = farm.force("hello", &json!({}))?;
        ensure!(next["number"] == 2 && next["outcome"] == "success", "{next:#}");
        // Before its server.
        farm.shut_down()
    });
}

fn open_to_all(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(
        folder,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

#[test]
fn a_full_disk_under_the_database_holds_a_build_up_until_there_is_room() {
    if !small_disk::is_allowed() {
        return;
    }
    story(|farm| {
        let folder = farm.folder().join("db");
        farm.edit("capstan.toml", "sqlite:data/capstan.db", "sqlite:db/capstan.db")?;
        let idle =
            "builder(\"idle\", workers = [worker(\"w2\")], steps = [step.shell(command = \"true\")])\n";
        farm.write("ci.star", waiting::configuration(farm) + idle)?;
        farm.on_small_disk(&folder, "8m")?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        waiting::begin(farm)?;
        // The mount is the master's own; its root leads there.
        let inside = format!("/proc/{}/root{}/filler", farm.master()?.id(), folder.display());
        let mut filler = std::fs::File::create(&inside)?;
        // The database's files keep room of their own: that is used up by what cannot be written.
        while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
        drop(filler);
        wait_for("the database to be full", BOUND, || {
            let (status, answer) = farm
                .api()?
                .try_post("/builders/idle/force", &json!({ "reason": "x".repeat(500) }))?;
            Ok((status >= 500).then_some(answer))
        })?;
        std::fs::write(farm.root().join("go"), "")?;
        wait_for("the master to find no room", BOUND, || {
            Ok(farm
                .master()?
                .output()?
                .contains("failed to carry on with a build")
                .then_some(()))
        })?;
        ensure!(farm.api()?.get("/health")?["status"] == "ok");
        std::fs::remove_file(&inside)?;
        ends_as_if_nothing_had_happened(farm).map(drop)
    });
}

#[test]
fn a_receiver_that_hangs_holds_nobody_elses_reports_up() {
    story(|farm| {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        farm.edit(
            "capstan.toml",
            "# http = [\"https://chat.example.org/hooks/*\"]",
            &format!("http = [\"http://{}/*\"]", silent.local_addr()?),
        )?;
        let text = sample::hello("step.shell(command = \"true\")")
            + &format!(
                "notify.http_push(url = \"http://{}/\", timeout = \"60s\", on = [\"started\", \"finished\"])\n",
                silent.local_addr()?
            )
            + "notify.report_file(path = \"reports/builds.jsonl\")\n";
        farm.write("ci.star", text)?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        for number in 1..=2 {
            farm.force("hello", &json!({}))?;
            wait_for("the other reporter's report", Duration::from_secs(20), || {
                Ok((farm.reports()?.len() >= number).then_some(()))
            })?;
        }
        let reports = farm.api()?.get("/reports?build=1")?;
        let hung = reports["reports"].as_array().context("expected reports")?;
        ensure!(
            hung.iter()
                .any(|report| report["reporter"] == "http-push" && report["state"] == "pending"),
            "{reports:#}"
        );
        Ok(())
    });
}

/// The files below a folder, with that ending.
fn files(folder: &std::path::Path, ending: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path, ending)?),
            false if path.extension().is_some_and(|found| found == ending) => found.push(path),
            false => {}
        }
    }
    Ok(found)
}

/// Takes this many bytes from the end of a file, as a disk does that forgot what it had synced.
fn cut(file: &std::path::Path, bytes: u64) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).open(file)?;
    Ok(file.set_len(file.metadata()?.len().saturating_sub(bytes))?)
}

#[test]
fn a_log_that_lost_its_end_is_filled_up_as_long_as_its_worker_has_it() {
    story(|farm| {
        farm.write("ci.star", waiting::configuration(farm))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.capstan_ok(&["force", "hello"])?;
        let logs = farm.folder().join("data/logs");
        let printed = |farm: &Farm| -> Result<bool> {
            let build = farm.api()?.get("/builds/1")?;
            let log = &build["steps"][0]["logs"][0]["id"];
            Ok(farm.api()?.bytes(&format!("/logs/{log}/raw"))? == b"one\n")
        };
        wait_for("the first line", BOUND, || Ok(printed(farm)?.then_some(())))?;
        farm.kill_master()?;
        let live = files(&logs, "log")?;
        let [live] = &live[..] else {
            anyhow::bail!("expected one live log, found {live:?}")
        };
        cut(live, 3)?;
        farm.start_master()?;
        ends_as_if_nothing_had_happened(farm)?;

        let sealed = wait_for("the sealed log", BOUND, || Ok(files(&logs, "clog")?.pop()))?;
        farm.stop_master()?;
        let aside = farm.root().join("aside");
        std::fs::rename(&sealed, &aside)?;
        farm.start_master()?;
        let build = farm.api()?.get("/builds/1")?;
        let log = &build["steps"][0]["logs"][0]["id"];
        let (status, answer) = farm.api()?.try_get(&format!("/logs/{log}/raw"))?;
        ensure!(
            status == 500 && answer.to_string().contains("its end is lost"),
            "{status}: {answer}"
        );
        ensure!(build["outcome"] == "success" && farm.api()?.get("/health")?["status"] == "ok");
        std::fs::rename(&aside, &sealed)?;
        farm.stop_master()?;
        farm.start_master()?;
        ensure!(farm.api()?.bytes(&format!("/logs/{log}/raw"))? == b"one\ntwo\n");
        Ok(())
    });
}

/// Turns the clock of master and workers to the system's and so many hours.
fn turn(farm: &Farm, hours: i64) -> Result<()> {
    let (file, new) = (farm.root().join("clock"), farm.root().join("clock.new"));
    std::fs::write(&new, (hours * HOUR_MS).to_string())?;
    Ok(std::fs::rename(new, file)?)
}

#[test]
fn a_clock_that_jumps_ends_no_build_and_floods_nobody() {
    story(|farm| {
        let clock = farm.root().join("clock").display().to_string();
        farm.set_env("CAPSTAN_CLOCK_OFFSET_FILE", &clock);
        let project = Project::create(farm.root(), "roman")?;
        project.push("first", &[("a", "1")])?;
        let repository = project.repository();
        farm.write(
            "ci.star",
            waiting::configuration(farm)
                + &format!(
                    "pushed = builder(\"pushed\", workers = [\"w1\"], steps = [step.shell(command = \"true\")])
nightly = builder(\"nightly\", workers = [\"w1\"], steps = [step.shell(command = \"true\")])
source.git_poller(name = \"roman\", repository = {repository:?}, interval = 0.2)
schedule.any_branch(name = \"each-push\", builders = [pushed], tree_stable_timer = \"3s\")
schedule.nightly(name = \"night\", builders = [nightly], hour = 3)
notify.report_file(path = \"reports/builds.jsonl\")\n"
                ),
        )?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        ensure!(
            farm.master()?.output()?.contains("for tests only"),
            "a moved clock is said"
        );
        waiting::begin(farm)?;
        let nightly = || -> Result<usize> {
            let builds = farm.api()?.get("/builds?builder=nightly&limit=100")?;
            Ok(builds["builds"].as_array().context("expected builds")?.len())
        };
        turn(farm, 24)?;
        wait_for("the night that has passed", BOUND, || {
            Ok((nightly()? >= 1).then_some(()))
        })?;
        // A branch becomes quiet by a timer; the clock goes back before it is due.
        project.push("second", &[("a", "2")])?;
        wait_for("the change", BOUND, || {
            let changes = farm.api()?.get("/changes")?;
            Ok((!changes["changes"]
                .as_array()
                .context("expected changes")?
                .is_empty())
            .then_some(()))
        })?;
        turn(farm, -24)?;
        let pushed = farm.finished("pushed", 1)?;
        ensure!(pushed["outcome"] == "success", "{pushed:#}");
        turn(farm, -1)?;
        wait_for("all reports", Duration::from_secs(40), || {
            let ended = farm.reports()?.len();
            Ok((ended > nightly()?).then_some(()))
        })?;
        ensure!(nightly()? <= 2, "expected a night or two, found {}", nightly()?);
        let build = ends_as_if_nothing_had_happened(farm)?;
        let again = farm.force("pushed", &json!({}))?;
        ensure!(again["outcome"] == "success", "{again:#} after {build:#}");
        Ok(())
    });
}
