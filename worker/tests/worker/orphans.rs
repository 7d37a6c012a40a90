//! What a machine may rely on: no command goes on for long without an owner, and none ends because its owner was away for
//! less.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use capstan_model::{Channel, CommandId, CommandSpec, Exit, TimeOut};
use capstan_worker::os::{self, Told};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::farm::{Worker, end_of, farm, let_go, shows};
use crate::master::{Master, Store};
use crate::support::{bytes, shell, wait_for};

/// The shortest orphan time-out that there is.
const LIMIT: Duration = Duration::from_secs(3);

/// Says `ready`, and ends when it is let go.
fn patient() -> CommandSpec {
    let mut spec =
        shell("echo ready; (setsid sleep 100 &); while ! test -e go; do sleep 0.02; done; echo gone");
    spec.orphan_timeout_ms = 1;
    spec
}

fn begun(master: &Master) -> CommandId {
    let id = master.send(patient(), BTreeMap::new());
    shows(&master.store, id, "ready");
    id
}

fn is_orphaned(worker: &Worker, id: CommandId) {
    let end = wait_for("the orphan's end", || worker.command(id).exit().unwrap());
    assert_eq!(end.report.exit, Exit::TimedOut(TimeOut::Orphan));
    assert_eq!(os::marked(&id.to_string()).unwrap(), [] as [u32; 0]);
}

fn learns_of_it(store: &Store, id: CommandId) {
    let (exit, log) = end_of(store, id);
    assert_eq!(exit, Exit::TimedOut(TimeOut::Orphan));
    assert_eq!(bytes(&log, Channel::Stdout), b"ready\n");
}

fn signal(worker: &Worker, signal: Signal) {
    kill(Pid::from_raw(worker.pid().cast_signed()), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_daemon_stays_dead_ends_and_its_record_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let id = begun(&master);
    worker.end(Told::Kill);
    is_orphaned(&worker, id);
    worker.start();
    learns_of_it(&master.store, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_master_is_silent_ends_though_the_daemon_lives() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let id = begun(&master);
    let (store, address) = (master.store.clone(), master.address);
    master.end().await;
    is_orphaned(&worker, id);
    // A daemon that dials in vain ends as fast as another.
    let took = worker.end(Told::Terminate);
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    let _again = Master::start(&root.path().join("data"), store.clone(), Some(address), 2).await;
    worker.start();
    learns_of_it(&store, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stands_still_for_a_while_costs_nothing_and_for_too_long_the_command() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let (id, begun_at) = (begun(&master), Instant::now());
    // Twice two thirds of the limit, with a beat in between: never silent for as long as the limit.
    for _ in 0..2 {
        signal(&worker, Signal::SIGSTOP);
        std::thread::sleep(LIMIT * 2 / 3);
        let beat = std::fs::read(worker.folder.join("heartbeat")).unwrap();
        signal(&worker, Signal::SIGCONT);
        wait_for("a beat", || {
            (std::fs::read(worker.folder.join("heartbeat")).unwrap() != beat).then_some(())
        });
        // The supervisor looks twice a second.
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(begun_at.elapsed() > LIMIT);
    assert_eq!(worker.command(id).exit().unwrap(), None);
    let_go(&worker);
    assert_eq!(end_of(&master.store, id).0, Exit::Code(0));

    std::fs::remove_file(worker.workdir().join("go")).unwrap();
    let id = begun(&master);
    signal(&worker, Signal::SIGSTOP);
    is_orphaned(&worker, id);
    signal(&worker, Signal::SIGCONT);
    learns_of_it(&master.store, id);
}
