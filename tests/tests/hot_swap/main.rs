//! Plugins come and go while the farm runs: whoever replaces a file must not lose, double or reorder anything, and a bad file
//! must cost nothing.

mod exchange;
mod migrations;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::versions::{version, with_manifest};
use capstan_tests::{BOUND, Farm, story, wait_for};
use serde_json::{Value, json};

use crate::exchange::*;

const LIMIT: u64 = 1000;

/// How fast changes came, and what the master's log says of exchanges: how long each took after compiling.
fn print_times(farm: &Farm) -> Result<()> {
    let received = |path: &str, pick: &dyn Fn(Value) -> Value| -> Result<i64> {
        let answer = pick(farm.api()?.get(path)?);
        answer["received"].as_i64().context("expected a change")
    };
    let first = received("/changes/1", &|change| change)?;
    let last = received("/changes?limit=1", &|page| page["changes"][0].clone())?;
    println!("{} changes a second", LIMIT as i64 * 1000 / (last - first).max(1));
    let log = std::fs::read_to_string(farm.root().join("master.log"))?;
    for line in log.lines().filter(|line| line.contains("is now version")) {
        println!("{line}");
    }
    Ok(())
}

#[test]
fn every_kind_is_exchanged_under_load_and_nothing_is_lost_doubled_or_reordered() {
    story(|farm| {
        grant(farm)?;
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", configuration(LIMIT, 25, 6000))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.api()?.post("/builders/slow/force", &json!({}))?;
        wait_builds(farm, 10)?;
        put_all(farm, "0.2.0", "v2")?;
        for guest in GUESTS {
            wait_in_force(farm, guest, "0.2.0")?;
        }
        wait_builds(farm, 40)?;
        // And once more, all kinds one after the other.
        for guest in GUESTS {
            put(farm, guest, &version(guest, "0.3.0", "v3")?)?;
            wait_in_force(farm, guest, "0.3.0")?;
        }
        wait_builds(farm, LIMIT as usize / 10)?;
        let marks = ensure_all_in_order(&reasons(farm)?, LIMIT)?;
        ensure!(
            marks.is_sorted() && marks[0] == "v1" && marks.contains(&"v2".to_owned()),
            "{marks:?}"
        );
        let slow = farm.finished("slow", 1)?;
        ensure!(
            slow["steps"][0]["summary"] == "v1 v1",
            "a running step keeps its version, found {slow:#}"
        );
        let reports = wait_for("every report", BOUND, || {
            let text = farm.read("reports/swap")?;
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            Ok((lines.len() > LIMIT as usize / 10).then_some(lines))
        })?;
        let busy: Vec<_> = reports
            .iter()
            .filter_map(|line| line.strip_prefix("busy "))
            .collect();
        let numbers: Vec<u64> = busy
            .iter()
            .map(|line| line.split(' ').next().unwrap_or_default().parse())
            .collect::<Result<_, _>>()?;
        ensure!(
            numbers == (1..=LIMIT / 10).collect::<Vec<_>>(),
            "each build is reported once and in order, found {busy:?}"
        );
        ensure!(
            busy[0].ends_with("v1") && busy.iter().any(|line| line.ends_with("v2")),
            "{busy:?}"
        );
        print_times(farm)
    });
}

#[test]
fn a_version_that_keeps_crashing_is_given_up_and_no_event_is_lost() {
    story(|farm| {
        grant(farm)?;
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", configuration(300, 5, 0))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        wait_builds(farm, 3)?;
        for guest in GUESTS {
            put(farm, guest, &version(guest, "0.2.0", "trap")?)?;
        }
        for guest in GUESTS {
            let reason = wait_state(farm, guest, "refused")?;
            ensure!(
                reason.contains("kept crashing") && reason.contains("plugin install"),
                "{reason}"
            );
            ensure!(in_force(farm, guest)?.as_deref() == Some("0.1.0"));
        }
        wait_builds(farm, 30)?;
        ensure_all_in_order(&reasons(farm)?, 300)?;
        let text = wait_for("every report", BOUND, || {
            let text = farm.read("reports/swap")?;
            Ok((text.lines().count() >= 30).then_some(text))
        })?;
        let numbers: Vec<_> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        let expected: Vec<_> = (1..=30).map(|number| number.to_string()).collect();
        ensure!(
            numbers == expected,
            "each build is reported once and in order, found {text}"
        );
        let list = farm.capstan_ok(&["plugin", "list"])?;
        ensure!(list.contains("kept: this version kept crashing"), "{list}");
        // It is not taken again after a restart, but by hand.
        farm.stop_master()?;
        farm.start_master()?;
        ensure!(in_force(farm, "swap-scheduler")?.as_deref() == Some("0.1.0"));
        let mended = farm.folder().join("mended.wasm");
        std::fs::write(&mended, version("swap-scheduler", "0.3.0", "v2")?)?;
        let said = farm.capstan_ok(&["plugin", "install", &mended.display().to_string()])?;
        ensure!(said.contains("it is in force"), "{said}");
        wait_in_force(farm, "swap-scheduler", "0.3.0")
    });
}

/// Schedulers that wait for their branch to be quiet, and take the new patience over when they are told of it.
fn patient(timer: &str) -> String {
    format!(
        r#"
worker("w1", slots = 8)
busy = builder(name = "busy", workers = ["w1"], collapse = False, steps = [step.shell(command = "true")])
source.swap_source(name = "numbers", limit = 1, each = 1, pause_ms = 200)
[schedule.any_branch(name = "s%d" % n, builders = [busy], tree_stable_timer = {timer:?}) for n in range({PATIENT})]
"#
    )
}

const PATIENT: usize = 8;

#[test]
fn a_reload_is_told_to_schedulers_with_their_new_parameters() {
    story(|farm| {
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", patient("10h"))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        wait_for("every scheduler to know the change", BOUND, || {
            // The check of their parameters, then for each the start and the change.
            let calls = rows(farm, "any-branch")?[0]["calls"].as_u64();
            Ok((calls > Some(2 * PATIENT as u64)).then_some(()))
        })?;
        farm.write("ci.star", patient("0s"))?;
        farm.capstan_ok(&["reload"])?;
        wait_builds(farm, PATIENT)
    });
}

#[test]
fn a_version_that_cannot_read_the_old_state_leaves_it_with_the_old_version() {
    story(|farm| {
        grant(farm)?;
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", configuration(200, 5, 0))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        wait_builds(farm, 3)?;
        for guest in ["swap-source", "swap-scheduler"] {
            put(farm, guest, &version(guest, "0.2.0", "unfit")?)?;
            wait_state(farm, guest, "refused")?;
            ensure!(in_force(farm, guest)?.as_deref() == Some("0.1.0"));
        }
        wait_builds(farm, 20)?;
        ensure_all_in_order(&reasons(farm)?, 200)?;
        Ok(())
    });
}

#[test]
fn a_bad_file_leaves_the_old_version_in_place_and_the_others_are_taken() {
    story(|farm| {
        grant(farm)?;
        put_all(farm, "0.1.0", "v1")?;
        farm.write("ci.star", configuration(0, 0, 0))?;
        farm.start_master()?;
        let good = version("swap-step", "0.2.0", "v2")?;
        let broken = version("swap-scheduler", "0.2.0", "v2")?;
        // Written straight into its place, and cut off.
        farm.write("plugins/swap-scheduler.wasm", &broken[..broken.len() / 2])?;
        put(
            farm,
            "swap-source",
            &version("swap-source", "0.2.0", "bad-check")?,
        )?;
        put(farm, "swap-step", &good)?;
        let more = with_manifest(&version("swap-reporter", "0.2.0", "v2")?, |manifest| {
            manifest["rights"]["http"] = json!(["https://chat.example.org/*"]);
        })?;
        put(farm, "swap-reporter", &more)?;
        wait_in_force(farm, "swap-step", "0.2.0")?;
        let reason = wait_state(farm, "swap-source", "refused")?;
        ensure!(
            reason.contains("likes no parameters") && reason.contains("ci.star"),
            "{reason}"
        );
        let reason = wait_state(farm, "swap-reporter", "waiting")?;
        ensure!(
            reason.contains("chat.example.org") && reason.contains("plugin grant swap-reporter"),
            "{reason}"
        );
        wait_state(farm, "swap-scheduler", "kept")?;
        let all_old = |farm: &Farm| -> Result<()> {
            for guest in ["swap-source", "swap-scheduler", "swap-reporter"] {
                ensure!(in_force(farm, guest)?.as_deref() == Some("0.1.0"), "{guest}");
            }
            Ok(())
        };
        all_old(farm)?;
        // The store has the old versions: no file holds them any more.
        farm.stop_master()?;
        farm.start_master()?;
        all_old(farm)?;
        // The rest of the file arrives.
        farm.write("plugins/swap-scheduler.wasm", &broken)?;
        wait_in_force(farm, "swap-scheduler", "0.2.0")?;
        // A file that is used goes away: it stays in force. One that is not used is gone.
        std::fs::remove_file(farm.folder().join("plugins/swap-step.wasm"))?;
        let reason = wait_state(farm, "swap-step", "kept")?;
        ensure!(reason.contains("its file is gone"), "{reason}");
        farm.write("ci.star", "worker(\"w1\")\n")?;
        farm.capstan_ok(&["reload"])?;
        ensure!(rows(farm, "swap-step")?.is_empty());
        Ok(())
    });
}

/// Answers one request with these bytes.
fn serve_once(bytes: Vec<u8>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/swap.wasm", listener.local_addr()?);
    std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        // The request is short, and comes in one piece.
        let _request = stream.read(&mut [0; 4096])?;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes())?;
        Ok(stream.write_all(&bytes)?)
    });
    Ok(url)
}

#[test]
fn a_pinned_farm_takes_what_was_accepted_and_nothing_else() {
    story(|farm| {
        farm.edit("capstan.toml", "pinning = false", "pinning = true")?;
        farm.write("ci.star", "worker(\"w1\")\n")?;
        farm.start_master()?;
        // A new file without rights is accepted and noted, one with rights waits.
        put(farm, "swap-step", &version("swap-step", "0.1.0", "v1")?)?;
        put(farm, "swap-reporter", &version("swap-reporter", "0.1.0", "v1")?)?;
        wait_in_force(farm, "swap-step", "0.1.0")?;
        let reason = wait_state(farm, "swap-reporter", "waiting")?;
        ensure!(reason.contains("files `reports/*`"), "{reason}");
        let lock = farm.read("capstan.lock")?;
        ensure!(
            lock.contains("name = \"swap-step\"") && !lock.contains("swap-reporter"),
            "{lock}"
        );
        // What was granted to the built-in change source is not for a reporter that bears its name.
        let namesake = with_manifest(&version("swap-reporter", "0.1.0", "v1")?, |manifest| {
            manifest["plugin"]["name"] = "git-poller".into();
            manifest["rights"] = json!({ "git": ["*"] });
        })?;
        put(farm, "namesake", &namesake)?;
        let reason = wait_state(farm, "git-poller", "waiting")?;
        ensure!(reason.contains("git `*`"), "{reason}");
        std::fs::remove_file(farm.folder().join("plugins/namesake.wasm"))?;
        // A file that changed is refused with the command that accepts it.
        put(farm, "swap-step", &version("swap-step", "0.2.0", "v2")?)?;
        let reason = wait_state(farm, "swap-step", "refused")?;
        let file = farm.folder().canonicalize()?.join("plugins/swap-step.wasm");
        ensure!(
            reason.contains(&format!("capstan plugin install {}", file.display())),
            "{reason}"
        );
        ensure!(in_force(farm, "swap-step")?.as_deref() == Some("0.1.0"));
        farm.capstan_ok(&["plugin", "install", &file.display().to_string()])?;
        wait_in_force(farm, "swap-step", "0.2.0")?;
        // Another file with a wrong digest changes nothing.
        let third = farm.folder().join("third.wasm");
        std::fs::write(&third, version("swap-step", "0.3.0", "v2")?)?;
        let (lock, before) = (farm.read("capstan.lock")?, std::fs::read(&file)?);
        let third = third.display().to_string();
        let refused = farm.capstan_refused(&["plugin", "install", &third, "--sha256", &"0".repeat(64)])?;
        ensure!(
            refused.contains("SHA-256") && refused.contains("nothing was changed"),
            "{refused}"
        );
        ensure!(farm.read("capstan.lock")? == lock && std::fs::read(&file)? == before);
        farm.capstan_ok(&["plugin", "install", &third])?;
        wait_in_force(farm, "swap-step", "0.3.0")?;
        let digest = rows(farm, "swap-step")?[0]["digest"]
            .as_str()
            .context("expected a digest")?
            .to_owned();
        farm.capstan_ok(&["plugin", "install", &third, "--sha256", &digest])?;
        let url = serve_once(version("swap-step", "0.4.0", "v2")?)?;
        farm.capstan_ok(&["plugin", "install", &url])?;
        wait_in_force(farm, "swap-step", "0.4.0")?;
        ensure!(
            farm.read("capstan.lock")?
                .contains(&format!("source = \"{url}\""))
        );
        farm.capstan_refused(&[
            "plugin",
            "install",
            &farm.folder().join("ci.star").display().to_string(),
        ])?;
        farm.capstan_refused(&["plugin", "install", "http://plugins.example.org/a.wasm"])?;
        // What is used is not removed by accident.
        farm.write(
            "ci.star",
            "worker(\"w1\")\nbuilder(name = \"b\", workers = [\"w1\"], steps = [step.swap_step(name = \"say\")])\n",
        )?;
        farm.capstan_ok(&["reload"])?;
        let refused = farm.capstan_refused(&["plugin", "remove", "swap-step"])?;
        ensure!(refused.contains("--force"), "{refused}");
        let refused = farm.capstan_refused(&["plugin", "remove", "shell"])?;
        ensure!(refused.contains("is part of capstan"), "{refused}");
        let said = farm.capstan_ok(&["plugin", "remove", "swap-step", "--force"])?;
        ensure!(said.contains("it stays in use, for new builds too"), "{said}");
        farm.capstan_ok(&["plugin", "install", &third])?;
        farm.write("ci.star", "worker(\"w1\")\n")?;
        farm.capstan_ok(&["reload"])?;
        farm.capstan_ok(&["plugin", "remove", "swap-step"])?;
        ensure!(!file.exists() && !farm.read("capstan.lock")?.contains("swap-step"));
        wait_for("the plugin to be gone", BOUND, || {
            Ok(rows(farm, "swap-step")?.is_empty().then_some(()))
        })
    });
}
