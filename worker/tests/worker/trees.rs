//! What a worker's machine may rely on: however a command's processes hide, none outlives the command.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use capstan_model::{Channel, Exit};
use capstan_worker::folder::StopRecord;
use capstan_worker::os::{self, Told};

use crate::support::{Bench, bytes, shell, wait_for};

/// Everything here ignores TERM. Some of it leaves the session, is orphaned, has no environment, is stopped; a rabbit forks
/// as fast as it can, each time into a session of its own, and ends itself.
const HOSTILE: &str = r#"
    trap '' TERM
    printf 'trap "" TERM\nsetsid sh rabbit >/dev/null 2>&1 &\n' > rabbit
    env -i sh -c 'trap "" TERM; (setsid sh -c "sleep 100 & echo > inner; sleep 100" &); sleep 100' &
    (setsid env -i sh -c 'echo > stopped; kill -STOP $$; sleep 100' &)
    (while :; do sh -c 'sleep 0.02' & sleep 0.01; done) &
    sh rabbit &
    while ! test -e inner || ! test -e stopped; do sleep 0.01; done
    echo ready
    while :; do sleep 1; done
"#;

/// Hides the control groups, so that nothing but `/proc` is left.
pub const NO_GROUPS: &[&str] = &[
    "unshare",
    "--mount",
    "--map-root-user",
    "sh",
    "-c",
    r#"mount -t tmpfs none /sys/fs/cgroup && exec "$@""#,
    "sh",
];

/// Stops are tried so often; a hundred in a usual run of the tests.
fn stops() -> usize {
    std::env::var("CAPSTAN_TEST_STOPS").map_or(100, |text| text.parse().unwrap())
}

/// The living processes that work below `root`: every process of a command does, whatever it did to its environment.
pub fn working_below(root: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let below =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(root));
    pids.filter(below).collect()
}

fn survivors(bench: &Bench) -> Vec<u32> {
    let mut found = working_below(&bench.root.path().canonicalize().unwrap());
    found.extend(os::marked(&bench.job.id.to_string()).unwrap());
    found
}

fn shows(bench: &Bench, text: &[u8]) -> Option<()> {
    let spool = std::fs::read(bench.folder().spool()).ok()?;
    (bytes(&spool, Channel::Stdout) == text).then_some(())
}

/// Stops a hostile tree; how many processes are left, and how long it took.
fn stop_once(wrapper: &[&str]) -> (usize, Duration) {
    let mut spec = shell(HOSTILE);
    spec.term_grace_ms = 30;
    // What a failed test leaves ends by itself.
    spec.orphan_timeout_ms = 90_000;
    let mut bench = Bench::new(spec);
    bench.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
    let mut child = bench.start();
    wait_for("the whole tree", || shows(&bench, b"ready\n"));
    assert!(working_below(&bench.root.path().canonicalize().unwrap()).len() >= 6);
    let started = bench.folder().started().unwrap().unwrap();
    assert_eq!(started.group.is_some(), wrapper.is_empty());
    let reason = "a person said so".to_owned();
    bench
        .folder()
        .write_stop(&StopRecord {
            reason: reason.clone(),
        })
        .unwrap();
    let begun = Instant::now();
    os::send(child.id(), Told::Terminate);
    wait_for("the supervisor's end", || child.try_wait().unwrap());
    let took = begun.elapsed();
    let left = survivors(&bench);
    left.iter().for_each(|pid| os::send(*pid, Told::Kill));
    assert_eq!(*bench.ran().exit(), Exit::Killed(reason));
    (left.len(), took)
}

/// Stops so many hostile trees, some side by side.
fn stop_many(what: &str, stops: usize, wrapper: &[&str]) {
    let (begun, count, left) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    let longest = std::thread::scope(|scope| {
        let stopping = || {
            let mut longest = Duration::ZERO;
            while count.fetch_add(1, Ordering::SeqCst) < stops {
                let (survivors, took) = stop_once(wrapper);
                left.fetch_add(survivors, Ordering::SeqCst);
                longest = longest.max(took);
            }
            longest
        };
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(stopping)).collect();
        let took = workers.into_iter().map(|worker| worker.join().unwrap());
        took.max().unwrap()
    });
    let (left, took) = (left.into_inner(), begun.elapsed());
    eprintln!(
        "{stops} stops of a hostile tree by {what}: {left} survivors, {took:?}, the longest stop {longest:?}"
    );
    assert_eq!(left, 0);
}

#[test]
fn no_process_survives_a_stop_by_control_group() {
    if !os::can_group() {
        eprintln!("LEFT OUT: this system lets no test make a control group");
        return;
    }
    stop_many("control group", stops(), &[]);
}

#[test]
fn no_process_survives_a_stop_by_proc_alone() {
    if hides_groups() {
        stop_many("/proc alone", stops() / 4, NO_GROUPS);
    }
}

/// Whether a test can; says so if not.
pub fn hides_groups() -> bool {
    let tried = Command::new(NO_GROUPS[0])
        .args(&NO_GROUPS[1..])
        .arg("true")
        .status();
    let possible = tried.is_ok_and(|status| status.success());
    if !possible {
        eprintln!("LEFT OUT: this system lets no test hide the control groups");
    }
    possible
}
