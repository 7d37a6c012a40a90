//! What an operator may rely on: a worker's daemon is killed, replaced by another version, or started twice, and no command
//! notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use capstan_model::{Channel, Exit};
use capstan_worker::os::{self, Told};

use crate::farm::{Worker, check_two_halves, end_of, farm, in_two_halves, let_go, program, shows};
use crate::support::{bytes, shell, wait_for};
use crate::trees::{NO_GROUPS, hides_groups, working_below};

/// A copy of the program, as another version would be.
fn copy(root: &Path, version: &str) -> PathBuf {
    let path = root.join(version).join("capstan-worker");
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_capstan-worker"), &path).unwrap();
    path
}

/// The supervisors that the worker's daemon has ready.
fn spares(worker: &Worker) -> Vec<u32> {
    let commands = fs::read_dir(worker.folder.join("commands")).unwrap();
    let busy: Vec<u32> = commands
        .filter_map(|entry| {
            capstan_worker::folder::Folder::new(entry.unwrap().path())
                .supervisor()
                .unwrap()
        })
        .collect();
    let mut found = os::descendants(worker.pid()).unwrap();
    found.retain(|pid| !busy.contains(pid) && supervises(*pid));
    found
}

fn supervises(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"capstan-worker\0supervise\0")
}

fn runs(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_program_takes_up_what_the_old_one_began() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (copy(root.path(), "old"), copy(root.path(), "new"));
    let (master, mut worker) = farm(root.path()).await;
    worker.end(Told::Terminate);
    worker.program = vec![old.display().to_string()];
    worker.start();
    let id = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, id, "half");
    let supervisor = worker.command(id).supervisor().unwrap().unwrap();
    assert_eq!(runs(supervisor), old);
    // The file is replaced before the service is started again; the old daemon goes on with what it is.
    fs::remove_file(&old).unwrap();
    let other = master.send(shell("echo other"), BTreeMap::new());
    assert_eq!(end_of(&master.store, other).0, Exit::Code(0));
    let waiting = wait_for("a spare supervisor", || {
        Some(spares(&worker)).filter(|found| !found.is_empty())
    });
    worker.end(Told::Kill);
    wait_for("the end of the old spare supervisors", || {
        (!waiting.iter().any(|pid| supervises(*pid))).then_some(())
    });
    worker.program = vec![new.display().to_string()];
    worker.start();
    assert_eq!(runs(worker.pid()), new);
    assert_eq!(worker.command(id).supervisor().unwrap(), Some(supervisor));
    let_go(&worker);
    let (exit, log) = end_of(&master.store, id);
    check_two_halves(&worker, &exit, &log);
    let next = master.send(shell("echo next"), BTreeMap::new());
    assert_eq!(bytes(&end_of(&master.store, next).1, Channel::Stdout), b"next\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_daemons_that_start_at_once_one_serves() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let id = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, id, "half");
    worker.end(Told::Kill);
    let mut daemons: Vec<_> = (0..6)
        .map(|_| {
            let mut daemon = program();
            daemon.arg("run").arg("--dir").arg(&worker.folder);
            daemon
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    wait_for("all but one to give up", || {
        daemons.retain_mut(|daemon| daemon.try_wait().unwrap().is_none());
        (daemons.len() <= 1).then_some(())
    });
    let_go(&worker);
    let (exit, log) = end_of(&master.store, id);
    check_two_halves(&worker, &exit, &log);
    let mut last = daemons.pop().expect("one daemon serves");
    os::send(last.id(), Told::Kill);
    last.wait().unwrap();
}

/// Has no environment, most of it, and in part another parent.
const HIDES: &str = "env -i sleep 100 & (env -i sh -c 'sleep 100 & sleep 100' &) ; echo ready; sleep 100";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_leaves_nothing_in_the_session() {
    if hides_groups() {
        a_killed_supervisor_leaves_nothing(NO_GROUPS, HIDES).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_leaves_nothing_in_the_control_group() {
    if os::can_group() {
        // Only there: without a control group a process that leaves its session, too, is not found any more.
        a_killed_supervisor_leaves_nothing(&[], &format!("(setsid env -i sleep 100 &); {HIDES}")).await;
    } else {
        eprintln!("LEFT OUT: this system lets no test make a control group");
    }
}

async fn a_killed_supervisor_leaves_nothing(wrapper: &[&str], line: &str) {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    worker.end(Told::Terminate);
    worker
        .program
        .splice(0..0, wrapper.iter().map(|word| (*word).to_owned()));
    worker.start();
    let trees = if wrapper.is_empty() { "cgroup" } else { "proc" };
    assert_eq!(
        master.store.get().hello.as_ref().unwrap().facts["process_trees"],
        trees
    );
    let id = master.send(shell(line), BTreeMap::new());
    shows(&master.store, id, "ready");
    let working = || working_below(&root.path().join("worker/builds"));
    wait_for("the whole tree", || (working().len() >= 5).then_some(()));
    os::send(worker.command(id).supervisor().unwrap().unwrap(), Told::Kill);
    let (exit, _) = end_of(&master.store, id);
    assert_eq!(exit, Exit::Lost("the command's supervisor was killed".into()));
    wait_for("the command's processes to be gone", || {
        working().is_empty().then_some(())
    });
}
