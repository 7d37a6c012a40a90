//! Workers that are gone for good: what they ran counts as lost, is said to be, and is tried again elsewhere.

use super::*;

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
    if !small_disk::is_allowed() {
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
