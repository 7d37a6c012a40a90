//! What the network between master and worker may do without anybody losing a byte: change addresses, lose and reorder
//! datagrams, go away, pass one direction only. And what happens when a worker is really gone, or there are two of it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::proxy::{Proxy, Way, Weather};
use capstan_tests::{BOUND, Farm, Programs, story, wait_for};
use serde_json::{Value, json};

/// Short, so that the tests are; all is measured in it.
const IDLE: Duration = Duration::from_secs(2);
/// What a busy machine may add to any of it.
const SLACK: Duration = Duration::from_secs(2);

const CUT: Weather = Weather {
    loss: 0.0,
    reorder: 0.0,
    delay: Duration::ZERO,
    cut: true,
    only: None,
};

/// A farm on a stretch of network that the test controls, whose one command prints numbered lines on both channels until
/// the file `go` is there, and then writes down how many.
fn printing(farm: &mut Farm) -> Result<Proxy> {
    let proxy = farm.behind_a_proxy()?;
    configure_link(farm, &format!("idle = \"{}s\"", IDLE.as_secs()))?;
    let root = farm.root().display();
    let script = format!(
        "echo ran >> {root}/runs; i=0; until [ -e {root}/go ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.01; done; \
         echo $i > {root}/count"
    );
    farm.write("ci.star", star(&["w1"], &script))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    farm.api()?.post("/builders/hello/force", &json!({}))?;
    prints_more(farm)?;
    Ok(proxy)
}

fn configure_link(farm: &Farm, settings: &str) -> Result<()> {
    farm.edit("capstan.toml", "[link]", &format!("[link]\n{settings}"))
}

fn star(workers: &[&str], script: &str) -> String {
    let workers: Vec<_> = workers
        .iter()
        .map(|name| format!("worker({name:?}, slots = 2)"))
        .collect();
    format!(
        "builder(\"hello\", workers = [{}], steps = [step.shell(name = \"print\", command = {script:?})])\n",
        workers.join(", ")
    )
}

/// The bytes of a channel of the one command of a build.
fn channel(farm: &Farm, build: u64, channel: &str) -> Result<String> {
    let api = farm.api()?;
    let build = api.get(&format!("/builders/hello/builds/{build}"))?;
    let steps = build["steps"].as_array().context("expected steps")?;
    let print = steps.iter().find(|step| step["name"] == "print");
    let log = &print.context("expected the step")?["logs"][0]["id"];
    ensure!(log.is_i64(), "expected a log in {build:#}");
    let bytes = api.bytes(&format!("/logs/{log}/raw?channel={channel}"))?;
    Ok(String::from_utf8(bytes)?)
}

/// Waits until the master has more of the log than now.
fn prints_more(farm: &Farm) -> Result<()> {
    let before = channel(farm, 1, "stdout").map_or(0, |text| text.len());
    wait_for("more lines at the master", BOUND, || {
        Ok((channel(farm, 1, "stdout")?.len() > before + 100).then_some(()))
    })
}

/// Lets the command end: it has run once, and each channel is whole.
fn ends_whole(farm: &Farm) -> Result<()> {
    std::fs::write(farm.root().join("go"), "")?;
    let build = farm.finished("hello", 1)?;
    ensure!(build["outcome"] == "success", "expected success, found {build:#}");
    let count: u64 = read(farm, "count")?.trim().parse()?;
    for (name, word) in [("stdout", "out"), ("stderr", "err")] {
        let expected: String = (1..=count).map(|n| format!("{word} {n}\n")).collect();
        let found = channel(farm, 1, name)?;
        ensure!(
            found == expected,
            "expected {count} lines on {name}, found {} lines, {} bytes instead of {}",
            found.lines().count(),
            found.len(),
            expected.len()
        );
    }
    ensure!(read(farm, "runs")? == "ran\n", "expected one run");
    Ok(())
}

fn read(farm: &Farm, file: &str) -> Result<String> {
    let path = farm.root().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("expected {}", path.display()))
}

fn worker(farm: &Farm, name: &str) -> Result<Value> {
    farm.api()?.get(&format!("/workers/{name}"))
}

/// How often a worker's daemon has said this.
fn said(farm: &Farm, name: &str, what: &str) -> Result<usize> {
    Ok(read(farm, &format!("worker-{name}.log"))?.matches(what).count())
}

/// Waits until the master knows the worker to be connected, or not.
fn wait_connected(farm: &Farm, name: &str, connected: bool) -> Result<Value> {
    let what = format!("{name} to be {}connected", if connected { "" } else { "dis" });
    wait_for(&what, BOUND, || {
        let worker = worker(farm, name)?;
        Ok((worker["connected"] == connected).then_some(worker))
    })
}

#[test]
fn a_change_of_address_in_the_middle_of_a_build_is_not_even_a_reconnect() {
    story(|farm| {
        let proxy = printing(farm)?;
        let before = worker(farm, "w1")?;
        let mut address = before["address"].clone();
        for _ in 0..3 {
            proxy.move_upstream_port()?;
            prints_more(farm)?;
            let now = worker(farm, "w1")?;
            ensure!(
                now["address"] != address,
                "expected another address, found {now:#}"
            );
            address = now["address"].clone();
            ensure!(
                now["since"] == before["since"],
                "expected the same connection: {now:#}"
            );
        }
        ends_whole(farm)?;
        ensure!(
            said(farm, "w1", "is connected to")? == 1,
            "the worker dialled again"
        );
        Ok(())
    });
}

#[test]
fn a_short_cut_is_sat_out() {
    story(|farm| {
        let proxy = printing(farm)?;
        let before = worker(farm, "w1")?;
        proxy.set(CUT);
        // Its length is the point of the test: not a wait for something.
        std::thread::sleep(IDLE.mul_f64(0.4));
        ensure!(proxy.dropped() > 0, "nothing was cut");
        proxy.set(Weather::default());
        prints_more(farm)?;
        ensure!(
            worker(farm, "w1")?["since"] == before["since"],
            "the worker dialled again"
        );
        ends_whole(farm)
    });
}

#[test]
fn after_a_long_cut_the_log_goes_on_where_it_was() {
    story(|farm| {
        let proxy = printing(farm)?;
        let shown = farm.capstan_ok(&["worker", "list"])?;
        ensure!(
            shown.contains("connected, ") && !shown.contains("not heard"),
            "{shown}"
        );
        let began = Instant::now();
        proxy.set(CUT);
        let silent = wait_connected(farm, "w1", false)?;
        let noticed = began.elapsed();
        ensure!(noticed < IDLE + SLACK, "the master noticed after {noticed:?}");
        ensure!(
            silent["since"] == silent["last_heard"],
            "silent since it was last heard: {silent:#}"
        );
        ensure!(
            farm.capstan_ok(&["worker", "list"])?.contains("silent, "),
            "expected w1 to be silent"
        );
        // Two seconds more, so that it is dialling into nothing when the network returns.
        std::thread::sleep(Duration::from_secs(2));
        let returned = Instant::now();
        proxy.set(Weather::default());
        wait_connected(farm, "w1", true)?;
        println!(
            "noticed after {noticed:?}, back {:?} after the network",
            returned.elapsed()
        );
        ensure!(
            returned.elapsed() < Duration::from_secs(5) + SLACK,
            "the worker took {:?} to come back",
            returned.elapsed()
        );
        prints_more(farm)?;
        ends_whole(farm)
    });
}

#[test]
#[ignore = "a measurement that takes a minute: run it by name, with --nocapture"]
fn how_soon_after_the_network_a_worker_is_back() {
    story(|farm| {
        let proxy = printing(farm)?;
        for seconds in [3, 4, 6, 9, 13, 18] {
            proxy.set(CUT);
            std::thread::sleep(Duration::from_secs(seconds));
            let returned = Instant::now();
            proxy.set(Weather::default());
            wait_connected(farm, "w1", true)?;
            println!("a cut of {seconds} s: back after {:?}", returned.elapsed());
            prints_more(farm)?;
        }
        ends_whole(farm)
    });
}

#[test]
fn a_network_that_passes_one_direction_only_is_noticed_by_both_ends() {
    story(|farm| {
        let proxy = printing(farm)?;
        for (times, way) in [(1, Way::ToMaster), (2, Way::ToWorkers)] {
            let began = Instant::now();
            proxy.set(Weather {
                only: Some(way),
                ..Weather::default()
            });
            wait_connected(farm, "w1", false)?;
            let by_master = began.elapsed();
            wait_for("the worker to notice", BOUND, || {
                let ended = said(farm, "w1", "the connection to the master ended")?;
                Ok((ended == times).then_some(()))
            })?;
            let by_worker = began.elapsed();
            println!(
                "{way:?} only: noticed by the master after {by_master:?}, by the worker after {by_worker:?}"
            );
            for took in [by_master, by_worker] {
                // Each end's own limit, one after the other, would take nearly twice the idle time.
                ensure!(took < IDLE + SLACK / 2, "{way:?}: noticed after {took:?}");
            }
            proxy.set(Weather::default());
            wait_connected(farm, "w1", true)?;
            prints_more(farm)?;
        }
        ends_whole(farm)
    });
}

#[test]
fn a_lossy_network_that_reorders_changes_no_byte() {
    story(|farm| {
        let proxy = printing(farm)?;
        proxy.set(Weather {
            loss: 0.1,
            reorder: 0.2,
            delay: Duration::from_millis(2),
            ..Weather::default()
        });
        for _ in 0..10 {
            prints_more(farm)?;
        }
        ends_whole(farm)?;
        ensure!(proxy.dropped() > 10, "expected losses, found {}", proxy.dropped());
        Ok(())
    });
}

#[test]
fn of_two_daemons_with_one_identity_one_wins_and_the_other_says_why_it_ends() {
    story(|farm| {
        let proxy = printing(farm)?;
        let (original, copy) = (farm.worker_folder("w1"), farm.worker_folder("copy"));
        std::fs::create_dir(&copy)?;
        for entry in std::fs::read_dir(&original)?.flatten() {
            if entry.file_type()?.is_file() && entry.file_name() != "lock" {
                std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        let began = Instant::now();
        farm.start_worker("copy")?;
        let status = farm.worker("w1")?.wait(BOUND)?;
        let took = began.elapsed();
        ensure!(took < SLACK * 2, "it took {took:?}");
        ensure!(!status.success(), "expected a failure, found {status}");
        let output = farm.worker("w1")?.output()?;
        ensure!(
            output.contains("has connected again, from")
                && output.contains("invite it under a name of its own"),
            "{output}"
        );
        ensure!(said(farm, "copy", "is connected to")? == 1, "expected one winner");
        drop(proxy);
        Ok(())
    });
}

#[test]
fn a_master_on_an_old_copy_of_its_data_is_refused() {
    story(|farm| {
        farm.write("ci.star", star(&["w1"], "true"))?;
        farm.start_master()?;
        farm.add_worker("w1")?;
        farm.stop_master()?;
        let (data, old) = (farm.folder().join("data"), farm.root().join("old"));
        copy_folder(&data, &old)?;
        // The worker sees two later ones: the copy, started once, is older than the last of them.
        for connected in [2, 3] {
            farm.start_master()?;
            wait_for("the worker to be back", BOUND, || {
                Ok((said(farm, "w1", "is connected to")? == connected).then_some(()))
            })?;
            farm.stop_master()?;
        }
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&old, &data)?;
        farm.start_master()?;
        let words =
            "expected a master of epoch 3 or later, found epoch 2; it was replaced, or runs on an old copy";
        wait_for("the worker to refuse", BOUND, || {
            let (master, worker) = (farm.master()?.output()?, farm.worker("w1")?.output()?);
            Ok((master.contains(words) && worker.contains(words)).then_some(()))
        })?;
        ensure!(worker(farm, "w1")?["connected"] == false, "it is not served");
        Ok(())
    });
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// A farm of which the first of two workers runs a command that says which process it is and waits for `go`.
fn waiting(farm: &mut Farm, grace: &str) -> Result<()> {
    configure_link(farm, &format!("grace = {grace:?}"))?;
    let root = farm.root().display();
    let script =
        format!("echo $$ >> {root}/runs; echo begun; until [ -e {root}/go ]; do sleep 0.02; done; echo done");
    farm.write("ci.star", star(&["w1", "w2"], &script))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    farm.api()?.post("/builders/hello/force", &json!({}))?;
    wait_for("the command's first line", BOUND, || {
        Ok((channel(farm, 1, "stdout")? == "begun\n").then_some(()))
    })
}

/// The processes of the command's runs.
fn runs(farm: &Farm) -> Result<Vec<String>> {
    Ok(read(farm, "runs")?.lines().map(str::to_owned).collect())
}

fn is_gone(process: &str) -> Option<()> {
    // What has ended and was not collected yet has no command line any more.
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.is_empty().then_some(())
}

/// The folders of commands that a worker keeps.
fn kept(farm: &Farm, name: &str) -> Result<usize> {
    let mut specs = 0;
    for entry in std::fs::read_dir(farm.worker_folder(name).join("commands"))?.flatten() {
        specs += usize::from(entry.path().join("spec.json").exists());
    }
    Ok(specs)
}

/// Build 1 is to be retried, and its log says what was cut and why.
fn lost(farm: &Farm, why: &str) -> Result<()> {
    let build = farm.finished("hello", 1)?;
    ensure!(build["outcome"] == "retry", "expected retry, found {build:#}");
    ensure!(build.to_string().contains(why), "expected `{why}` in {build:#}");
    let last = channel(farm, 1, "header")?;
    let last = last.lines().last().unwrap_or_default();
    ensure!(
        last.contains(why) && last.contains("what the command printed after this is lost"),
        "expected the log to end with the reason, found {last:?}"
    );
    ensure!(
        channel(farm, 1, "stdout")? == "begun\n",
        "what came before is kept"
    );
    Ok(())
}

#[test]
fn a_worker_that_is_gone_for_good_loses_its_builds_to_another() {
    story(|farm| {
        waiting(farm, "2s")?;
        farm.kill_worker("w1")?;
        lost(farm, "worker `w1` has been away for longer than 2s")?;
        farm.add_worker("w2")?;
        wait_for("the second run", BOUND, || {
            Ok((runs(farm)?.len() == 2).then_some(()))
        })?;
        let retried = farm.api()?.get("/builders/hello/builds/2")?;
        ensure!(retried["worker"] == "w2", "expected it on w2, found {retried:#}");
        // The first one comes back in the middle: nobody wants what it still runs.
        ensure!(
            is_gone(&runs(farm)?[0]).is_none(),
            "the first run ended by itself"
        );
        farm.start_worker("w1")?;
        wait_for("the end of the first run", BOUND, || Ok(is_gone(&runs(farm)?[0])))?;
        wait_for("w1 to have cleaned up", BOUND, || {
            Ok((kept(farm, "w1")? == 0).then_some(()))
        })?;
        std::fs::write(farm.root().join("go"), "")?;
        let retried = farm.finished("hello", 2)?;
        ensure!(
            retried["outcome"] == "success" && retried["worker"] == "w2",
            "expected success on w2, found {retried:#}"
        );
        ensure!(
            channel(farm, 2, "stdout")? == "begun\ndone\n",
            "the second log is whole"
        );
        ensure!(runs(farm)?.len() == 2, "each build's command ran once");
        lost(farm, "worker `w1` has been away")
    });
}

/// A `capstan-worker` that sees another boot of its machine once the file that `BOOT` names is there. `None` where the system
/// does not let us.
fn worker_of_another_boot(programs: &Programs, folder: &Path) -> Result<Option<Programs>> {
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let real = programs.worker.display();
    let script = format!(
        "#!/bin/sh\n[ -e \"$BOOT\" ] && [ \"$1\" = run ] || exec {real} \"$@\"\n\
         exec unshare --mount sh -c 'mount --bind \"$BOOT\" /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"' {real} \"$@\"\n"
    );
    let path = folder.join("capstan-worker");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(Some(Programs {
        worker: path,
        ..programs.clone()
    }))
}

#[test]
fn a_machine_that_died_and_is_back_loses_its_commands_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = Programs::of_this_build().expect("the programs");
    let Some(programs) = worker_of_another_boot(&programs, folder.path()).expect("a script") else {
        println!("left out: this user may not make a mount namespace");
        return;
    };
    let mut farm = Farm::create(programs).expect("a farm");
    dies_and_is_back(&mut farm).unwrap_or_else(|error| panic!("{error:#}"));
}

fn dies_and_is_back(farm: &mut Farm) -> Result<()> {
    let boot = farm.root().join("boot");
    farm.set_env("BOOT", &boot.display().to_string());
    waiting(farm, "5min")?;
    let command = runs(farm)?.remove(0);
    let status = std::fs::read_to_string(format!("/proc/{command}/status"))?;
    let supervisor = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let supervisor = supervisor.context("expected a parent")?.trim();
    farm.kill_worker("w1")?;
    let killed = Command::new("kill")
        .args(["-KILL", supervisor, &command])
        .status()?;
    ensure!(killed.success(), "expected a supervisor and its command to kill");
    std::fs::write(boot, "8a5d6c1e-0000-4000-8000-000000000000\n")?;
    let began = Instant::now();
    farm.start_worker("w1")?;
    lost(farm, "machine was started anew")?;
    ensure!(
        began.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        began.elapsed()
    );
    std::fs::write(farm.root().join("go"), "")?;
    let retried = farm.finished("hello", 2)?;
    ensure!(
        retried["outcome"] == "success",
        "expected success, found {retried:#}"
    );
    ensure!(runs(farm)?.len() == 2, "each build's command ran once");
    Ok(())
}

#[test]
fn a_revoked_workers_builds_do_not_wait_for_it() {
    story(|farm| {
        waiting(farm, "5min")?;
        let began = Instant::now();
        farm.capstan_ok(&["worker", "revoke", "w1"])?;
        lost(farm, "worker `w1` was revoked")?;
        ensure!(
            began.elapsed() < Duration::from_secs(10),
            "it took {:?}",
            began.elapsed()
        );
        let status = farm.worker("w1")?.wait(BOUND)?;
        ensure!(
            !status.success(),
            "expected the daemon to say that it is not wanted: {status}"
        );
        // Nobody but its supervisor is left to end it.
        wait_for("the end of the run", BOUND, || Ok(is_gone(&runs(farm)?[0])))
    });
}
