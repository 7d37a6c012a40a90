//! What a worker may rely on when its disk fills up, or when a crash of its machine tears and garbles what is on it: the daemon
//! comes up and lives, and no command that may have run is run again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capstan_model::{Channel, CommandId, Exit, SystemClock, Timestamp};
use capstan_wire::control::ExitReport;
use capstan_wire::frame;
use capstan_worker::daemon::commands::{Commands, Options};
use capstan_worker::folder::{ExitRecord, Folder, SHORT_LOG, StartRecord};
use capstan_worker::os::Told;
use serde::Serialize;
use uuid::Uuid;

use crate::farm::{Worker, end_of, farm, shows};
use crate::master::Master;
use crate::support::{BOUND, bytes, shell, wait_for};

/// Moves the folder `$1` to a disk of a few megabytes of its own, and runs the rest there.
const SMALL_DISK: &[&str] = &[
    "unshare",
    "--mount",
    "--map-root-user",
    "sh",
    "-c",
    r#"cp -a "$1" "$1.copy" && mount -t tmpfs -o size=6m small "$1" && cp -a "$1.copy/." "$1" && shift && exec "$@""#,
    "sh",
];

/// A worker whose folder is on a small disk; where a test sees that.
async fn on_a_small_disk(root: &Path) -> Option<(Master, Worker, PathBuf)> {
    let (master, mut worker) = farm(root).await;
    worker.end(Told::Terminate);
    let mut wrapper: Vec<String> = SMALL_DISK.iter().map(|word| (*word).to_owned()).collect();
    wrapper.push(worker.folder.display().to_string());
    let possible = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "mount",
            "-t",
            "tmpfs",
            "small",
            "/mnt",
        ])
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("LEFT OUT: this system lets no test mount a small disk");
        return None;
    }
    worker.program.splice(0..0, wrapper);
    worker.start();
    let folder = worker.folder.strip_prefix("/").unwrap();
    let seen = PathBuf::from(format!("/proc/{}/root", worker.pid())).join(folder);
    assert!(seen.join("worker.toml").exists());
    Some((master, worker, seen))
}

/// Leaves no room at all.
fn fill(file: &Path) {
    let mut file = File::create(file).unwrap();
    let mut part = vec![0; 64 * 1024];
    while !part.is_empty() {
        if file.write_all(&part).is_err() {
            part.truncate(part.len() / 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_commands_that_need_room_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let Some((master, worker, seen)) = on_a_small_disk(root.path()).await else {
        return;
    };
    let send = |line: &str| master.send(shell(line), BTreeMap::new());
    let quiet = send("echo quiet; while ! test -e go; do sleep 0.02; done");
    shows(&master.store, quiet, "quiet");
    let greedy = send("seq 1 100000000");
    let (exit, log) = end_of(&master.store, greedy);
    let full = format!(
        "the worker's disk is full: its log could not be written beyond {} bytes",
        log.len()
    );
    assert_eq!(exit, Exit::Killed(full));
    // Whole up to there.
    let out = String::from_utf8(bytes(&log, Channel::Stdout)).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[..lines.len() - 1]
            .iter()
            .zip(1..)
            .all(|(line, n)| *line == format!("{n}"))
    );

    let filler = seen.join("filler");
    fill(&filler);
    let (exit, _) = end_of(&master.store, send("echo more"));
    let Exit::NotStarted(reason) = exit else {
        panic!("expected a command that was not started, found {exit}");
    };
    assert!(
        reason.contains("No space left") || reason.contains("disk full"),
        "{reason}"
    );
    // A new master is served on a full disk: how else would there be room again?
    let (store, address) = (master.store.clone(), master.address);
    let data = root.path().join("data");
    master.end().await;
    let master = Master::start(&data, store.clone(), Some(address), 2).await;
    wait_for("the connection to the new master", || {
        store.get().connected.then_some(())
    });
    // And what it forgets makes room.
    assert!(master.handle.forget(crate::master::NAME, greedy));
    wait_for("room", || {
        let held = seen.join("commands").join(greedy.to_string());
        (!held.exists()).then_some(())
    });
    fs::remove_file(filler).unwrap();
    let again = master.send(shell("echo again; touch go"), BTreeMap::new());
    let (exit, log) = end_of(&store, again);
    assert_eq!(
        (exit, bytes(&log, Channel::Stdout)),
        (Exit::Code(0), b"again\n".to_vec())
    );
    assert_eq!(end_of(&store, quiet).0, Exit::Code(0));
    assert!(Path::new(&format!("/proc/{}", worker.pid())).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_ends_its_command_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let (master, worker) = farm(root.path()).await;
    let send = |line: &str| master.send(shell(line), BTreeMap::new());
    let until = "while ! test -e go; do sleep 0.02; done";
    // A short log would be kept with the record of the end, too.
    let broken = send(&format!("echo broken; {until}; seq 1 20000"));
    let whole = send(&format!("echo whole; {until}"));
    shows(&master.store, broken, "broken");
    shows(&master.store, whole, "whole");
    // Somebody cleans up while the daemon has no file open.
    let (store, address) = (master.store.clone(), master.address);
    master.end().await;
    let folder = worker.folder.join("commands").join(broken.to_string());
    fs::remove_file(Folder::new(&folder).spool()).unwrap();
    let master = Master::start(&root.path().join("data"), store.clone(), Some(address), 2).await;
    wait_for("the connection to the new master", || {
        store.get().connected.then_some(())
    });
    let done = master.send(shell("touch go"), BTreeMap::new());
    let (exit, log) = end_of(&store, broken);
    let Exit::Lost(reason) = exit else {
        panic!("expected a lost command, found {exit}");
    };
    assert!(reason.contains("could not be read"), "{reason}");
    assert_eq!(
        bytes(&log, Channel::Stdout),
        b"broken\n",
        "what the master has stays"
    );
    assert_eq!(end_of(&store, done).0, Exit::Code(0));
    assert_eq!(end_of(&store, whole).0, Exit::Code(0));
}

/// What a command left on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It ran when the machine crashed.
    Running,
    /// It has ended, and its record has its log, too.
    Ended,
    /// It has ended with a long log, which its record has not.
    Long,
}

/// What a crash did to one byte, or from there on.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flipped,
    Zero,
    Cut,
}

fn log(left: Left) -> Vec<u8> {
    let mut log = Vec::new();
    frame::encode(&mut log, 0, Channel::Header, b"$ make\n");
    frame::encode(&mut log, 700, Channel::Stdout, b"one");
    frame::encode(&mut log, 1500, Channel::Stderr, b"two");
    if left == Left::Long {
        frame::encode(&mut log, 2500, Channel::Stdout, &vec![b'x'; SHORT_LOG]);
    }
    log
}

/// A record as it is on disk, with its room; not synced, because there are thousands here.
fn record(record: &impl Serialize, room: usize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(record).unwrap();
    let sum = crc32fast::hash(&bytes);
    bytes.extend(format!("\n{sum:08x}\n").bytes());
    bytes.resize(room, b' ');
    bytes
}

fn leave(commands: &Path, left: Left) -> (CommandId, Folder) {
    let id = CommandId(Uuid::new_v4());
    let folder = Folder::new(commands.join(id.to_string()));
    fs::create_dir(folder.path()).unwrap();
    let start = StartRecord {
        id,
        at: Timestamp(1),
        boot: "an earlier start of the machine".to_owned(),
        uptime: Some(Duration::from_secs(1)),
        group: None,
    };
    fs::write(folder.path().join("started"), record(&start, 4 * 1024)).unwrap();
    let log = log(left);
    fs::write(folder.spool(), &log).unwrap();
    let report = ExitReport {
        exit: Exit::Code(7),
        duration_ms: 2000,
        log_length: log.len() as u64,
        stdout_bytes: 3,
        stderr_bytes: 3,
    };
    let kept = if left == Left::Long { &[][..] } else { &log };
    let mut end = record(&ExitRecord::new(id, Timestamp(2), report, kept), 8 * 1024);
    end.extend_from_slice(kept);
    if left != Left::Running {
        fs::write(folder.path().join("exit.json"), end).unwrap();
        assert!(folder.has_exit());
    }
    assert_eq!(folder.started().unwrap(), Some(start));
    (id, folder)
}

fn damage(path: &Path, at: usize, how: Damage) {
    let mut found = fs::read(path).unwrap();
    match how {
        Damage::Flipped => found[at] ^= 0x15,
        Damage::Zero => found[at..].fill(0),
        Damage::Cut => found.truncate(at),
    }
    fs::write(path, found).unwrap();
}

/// The places of a file that say something: what is behind them is room.
fn places(path: &Path) -> Vec<usize> {
    let found = fs::read(path).unwrap();
    let head = found.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 2);
    // A long run of the same says as much as its ends.
    let same =
        |at: usize| at > 2 && at + 2 < found.len() && found[at - 2..at + 2].iter().all(|b| *b == found[at]);
    (0..head.min(found.len())).filter(|at| !same(*at)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_crash_tears_the_daemon_comes_up_and_starts_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let commands = root.path().join("commands");
    fs::create_dir(&commands).unwrap();
    let mut cases = HashMap::new();
    for left in [Left::Running, Left::Ended, Left::Long] {
        let (id, folder) = leave(&commands, left);
        let files: &[&str] = match left {
            Left::Running => &["started", "spool"],
            Left::Ended | Left::Long => &["started", "spool", "exit.json"],
        };
        for file in files {
            let in_it = |folder: &Folder| match *file {
                "spool" => folder.spool(),
                name => folder.path().join(name),
            };
            for at in places(&in_it(&folder)) {
                let zero = (at % 8 == 0).then_some(Damage::Zero);
                for how in [Damage::Flipped, Damage::Cut].into_iter().chain(zero) {
                    let (id, folder) = leave(&commands, left);
                    damage(&in_it(&folder), at, how);
                    cases.insert(id, (left, format!("{left:?}: {file} at byte {at}: {how:?}")));
                }
            }
        }
        cases.insert(id, (left, format!("{left:?}")));
    }
    let options = Options {
        state: root.path().to_owned(),
        base: root.path().join("base"),
        folders: Vec::new(),
        spool_quota: None,
    };
    let begun = Instant::now();
    let (mut held, mut news) = Commands::open(options, Arc::new(SystemClock)).unwrap();
    let mut ends = HashMap::new();
    let found = held.rescan().unwrap();
    let known: BTreeSet<_> = found.iter().map(|news| news.id).collect();
    for (id, (_, case)) in &cases {
        assert!(known.contains(id), "{case}: it would be started again");
    }
    ends.extend(
        found
            .into_iter()
            .filter_map(|news| Some((news.id, news.standing.exit?))),
    );
    while ends.len() < cases.len() {
        let heard = tokio::time::timeout(BOUND, news.recv())
            .await
            .expect("an end of every command");
        let heard = heard.unwrap();
        held.heard(&heard);
        ends.extend(heard.standing.exit.map(|exit| (heard.id, exit)));
    }
    eprintln!(
        "{} damaged commands were taken up in {:?}",
        cases.len(),
        begun.elapsed()
    );
    for (id, (left, case)) in &cases {
        is_true_or_lost(&held.folder(*id).unwrap(), *left, &ends[id], case);
    }
}

/// The end is the true one or none, and the log is the true one up to where it ends.
fn is_true_or_lost(folder: &Folder, left: Left, end: &ExitReport, case: &str) {
    let log = log(left);
    let length = usize::try_from(end.log_length).unwrap();
    match &end.exit {
        Exit::Code(7) if left != Left::Running => assert_eq!(length, log.len(), "{case}"),
        Exit::Lost(_) => assert!(left != Left::Running || end.duration_ms <= 1500, "{case}"),
        other => panic!("{case}: found {other}"),
    }
    let mut kept = vec![0; length];
    if length > 0 {
        folder.log().unwrap().read(&mut kept, 0).unwrap();
    }
    assert!(log.starts_with(&kept), "{case}");
    let mut frames = frame::frames(&kept);
    assert!(frames.by_ref().all(|frame| frame.is_ok()), "{case}");
    assert_eq!(frames.consumed(), length, "{case}");
    assert_eq!(folder.exit().unwrap().unwrap().report, *end, "{case}");
}
