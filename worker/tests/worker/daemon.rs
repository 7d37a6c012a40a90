//! What a farm may rely on: a worker joins once, serves its master, and neither's death disturbs a running
//! command.

use std::collections::BTreeMap;
use std::time::Duration;

use capstan_model::{Channel, EnvValue, Exit};
use capstan_worker::os::{self, Told};

use crate::farm::{
    Worker, check_two_halves, end_of, farm, in_two_halves, join, let_go, program, said, shows,
};
use crate::master::{Master, NAME, Store};
use crate::support::{bytes, shell, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_and_is_forgotten_when_the_master_has_it() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let hello = master.store.get().hello.clone().unwrap();
    assert_eq!(
        (hello.slots, hello.labels, hello.facts["os"].as_str()),
        (2, vec!["linux".to_owned()], std::env::consts::OS)
    );
    let mut spec = shell("echo $TOKEN; exit 7");
    spec.env.insert("TOKEN".into(), EnvValue::Secret("upload".into()));
    let id = master.send(spec, BTreeMap::from([("upload".into(), "hunter22".into())]));
    let (exit, log) = end_of(&master.store, id);
    assert_eq!(exit, Exit::Code(7));
    assert_eq!(bytes(&log, Channel::Stdout), b"[secret upload]\n");
    assert!(master.store.get().started.contains_key(&id));
    assert!(worker.command(id).path().exists());
    assert!(master.handle.forget(NAME, id));
    wait_for("the command's folder to go", || {
        (!worker.command(id).path().exists()).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_disturbs_no_command() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let ends_meanwhile = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, ends_meanwhile, "half");
    worker.end(Told::Kill);
    let_go(&worker);
    let folder = worker.command(ends_meanwhile);
    wait_for("the command's end without a daemon", || folder.exit().unwrap());
    worker.start();
    let (exit, log) = end_of(&master.store, ends_meanwhile);
    check_two_halves(&worker, &exit, &log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_daemon_takes_up_a_command_that_still_runs() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let id = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, id, "half");
    let took = worker.end(Told::Terminate);
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    worker.start();
    let_go(&worker);
    let (exit, log) = end_of(&master.store, id);
    check_two_halves(&worker, &exit, &log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_returns_finds_the_log_whole() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let id = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, id, "100\n");
    let (store, address) = (master.store.clone(), master.address);
    master.end().await;
    let_go(&worker);
    wait_for("the command's end without a master", || {
        worker.command(id).exit().unwrap()
    });
    let _master = Master::start(&root.path().join("data"), store.clone(), Some(address), 2).await;
    let (exit, log) = end_of(&store, id);
    check_two_halves(&worker, &exit, &log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_command_ends_with_its_reason_and_its_tree() {
    let root = tempfile::tempdir().unwrap();
    let (master, _worker) = farm(root.path()).await;
    let id = master.send(
        shell("(setsid sleep 100 &); echo ready; sleep 100"),
        BTreeMap::new(),
    );
    shows(&master.store, id, "ready");
    assert!(master.handle.kill(NAME, id, "a newer change came"));
    assert_eq!(
        end_of(&master.store, id).0,
        Exit::Killed("a newer change came".into())
    );
    assert_eq!(os::marked(&id.to_string()).unwrap(), [] as [u32; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_is_reported_and_leaves_no_process() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let id = master.send(shell("echo ready; sleep 100"), BTreeMap::new());
    shows(&master.store, id, "ready");
    os::send(worker.command(id).supervisor().unwrap().unwrap(), Told::Kill);
    let (exit, log) = end_of(&master.store, id);
    assert_eq!(exit, Exit::Lost("the command's supervisor was killed".into()));
    assert_eq!(bytes(&log, Channel::Stdout), b"ready\n");
    assert_eq!(os::marked(&id.to_string()).unwrap(), [] as [u32; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_wants_any_more_is_ended_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let (master, mut worker) = farm(root.path()).await;
    let id = master.send(shell("echo ready; sleep 100"), BTreeMap::new());
    shows(&master.store, id, "ready");
    worker.end(Told::Kill);
    master.store.get().dropped.insert(id);
    worker.start();
    wait_for("the command's folder to go", || {
        (!worker.command(id).path().exists()).then_some(())
    });
    assert_eq!(os::marked(&id.to_string()).unwrap(), [] as [u32; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_from_the_past_is_not_obeyed() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let master = Master::start(&data, Store::default(), None, 5).await;
    let worker = Worker::joined(root.path(), &master);
    let (store, address) = (master.store.clone(), master.address);
    master.end().await;
    let past = Master::start(&data, store.clone(), Some(address), 4).await;
    let refusal = "expected a master of epoch 5 or later, found epoch 4";
    wait_for("a refusal", || worker.messages().contains(refusal).then_some(()));
    past.end().await;
    assert!(!store.get().connected);
    let _again = Master::start(&data, store.clone(), Some(address), 5).await;
    wait_for("the connection to the right master", || {
        store.get().connected.then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_has_one_daemon_and_one_membership() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let second = program()
        .arg("run")
        .arg("--dir")
        .arg(&worker.folder)
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(said(&second).contains(&format!(
        "in use by the capstan-worker with process id {}",
        worker.pid()
    )));
    let unused = master.invite();
    let again = join(&unused, &worker.folder, &[]);
    assert!(
        said(&again).contains("holds the worker `w1` already"),
        "{}",
        said(&again)
    );
    let forced = join(&unused, &worker.folder, &["--force"]);
    assert!(
        said(&forced).contains("stop it before it is replaced"),
        "{}",
        said(&forced)
    );
    // Neither used the invitation up.
    assert!(join(&unused, &root.path().join("other"), &[]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_good_once_and_for_one_master() {
    let root = tempfile::tempdir().unwrap();
    let master = Master::start(&root.path().join("data"), Store::default(), None, 1).await;
    let string = master.invite();
    assert!(join(&string, &root.path().join("first"), &[]).status.success());
    let used = join(&string, &root.path().join("second"), &[]);
    assert!(
        said(&used).contains("the join string was used already"),
        "{}",
        said(&used)
    );
    assert!(!root.path().join("second/worker.toml").exists());

    let string = master.invite();
    let address = master.address;
    master.end().await;
    let _other = Master::start(&root.path().join("elsewhere"), Store::default(), Some(address), 1).await;
    let foreign = join(&string, &root.path().join("third"), &[]);
    assert!(
        said(&foreign).contains("is not the one that this worker was invited by"),
        "{}",
        said(&foreign)
    );
    let damaged = join(&string[..string.len() - 1], &root.path().join("fourth"), &[]);
    assert!(
        said(&damaged).contains("the join string is damaged"),
        "{}",
        said(&damaged)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_let_in_again_after_a_refusal_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let id = master.send(in_two_halves(), BTreeMap::new());
    shows(&master.store, id, "half");
    let welcome = std::mem::take(&mut master.store.get().certificates);
    master.handle.disconnect(NAME, "revoked", false);
    let_go(&worker);
    wait_for("the command's end", || worker.command(id).exit().unwrap());
    assert!(!master.store.get().connected);
    master.store.get().certificates = welcome;
    let (exit, log) = end_of(&master.store, id);
    check_two_halves(&worker, &exit, &log);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_stays_small() {
    let root = tempfile::tempdir().unwrap();
    let (_master, worker) = farm(root.path()).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    eprintln!("an idle daemon has {kib} KiB resident");
    assert!(kib < 24 * 1024, "{kib} KiB");
}
