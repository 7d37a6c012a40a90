//! A master that is only a link, and real daemons that serve it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use capstan_model::{Channel, CommandId, Exit};
use capstan_worker::folder::Folder;
use capstan_worker::os::{self, Told};

use crate::master::{Master, NAME, Store};
use crate::support::{bytes, shell, wait_for};

/// A worker's folder, and its daemon while one runs. A command that a failed test leaves behind ends with the
/// folder's owner: every test here ends its commands.
pub struct Worker {
    pub folder: PathBuf,
    /// What its daemons are started from: a program with arguments.
    pub program: Vec<String>,
    daemon: Option<Child>,
    out: Option<BufReader<ChildStdout>>,
}

impl Worker {
    pub fn joined(root: &Path, master: &Master) -> Self {
        let folder = root.join("worker");
        let done = join(&master.invite(), &folder, &["--slots", "2", "--label", "linux"]);
        assert!(done.status.success(), "{}", said(&done));
        let mut worker = Self {
            folder,
            program: vec![env!("CARGO_BIN_EXE_capstan-worker").to_owned()],
            daemon: None,
            out: None,
        };
        worker.start();
        worker
    }

    /// Starts a daemon and waits until it is connected.
    pub fn start(&mut self) {
        let messages = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("messages"))
            .unwrap();
        let mut daemon = Command::new(&self.program[0]);
        daemon
            .args(&self.program[1..])
            .arg("run")
            .arg("--dir")
            .arg(&self.folder)
            .stdout(Stdio::piped())
            .stderr(messages);
        let mut daemon = daemon.spawn().unwrap();
        let mut out = BufReader::new(daemon.stdout.take().unwrap());
        self.daemon = Some(daemon);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(
            line.starts_with(&format!("capstan-worker {NAME} is connected to ")),
            "{line:?}"
        );
        self.out = Some(out);
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub fn end(&mut self, told: Told) -> Duration {
        let begun = Instant::now();
        if let Some(mut daemon) = self.daemon.take() {
            os::send(daemon.id(), told);
            daemon.wait().unwrap();
        }
        begun.elapsed()
    }

    /// What its daemons said on standard error.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(self.folder.join("messages")).unwrap()
    }

    pub fn command(&self, id: CommandId) -> Folder {
        Folder::new(self.folder.join("commands").join(id.to_string()))
    }

    pub fn workdir(&self) -> PathBuf {
        self.folder.join("builds/builder/build")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end(Told::Kill);
        if std::thread::panicking() {
            eprintln!("the worker said:\n{}", self.messages());
        }
    }
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_capstan-worker"))
}

pub fn join(string: &str, folder: &Path, more: &[&str]) -> Output {
    program()
        .arg("join")
        .arg(string)
        .arg("--dir")
        .arg(folder)
        .args(more)
        .output()
        .unwrap()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub async fn farm(root: &Path) -> (Master, Worker) {
    let master = Master::start(&root.join("data"), Store::default(), None, 1).await;
    let worker = Worker::joined(root, &master);
    (master, worker)
}

pub fn end_of(store: &Store, id: CommandId) -> (Exit, Vec<u8>) {
    let report = wait_for("the command's end at the master", || {
        store.get().ends.get(&id).cloned()
    });
    (
        report.exit,
        store.get().logs.get(&id).cloned().unwrap_or_default(),
    )
}

pub fn shows(store: &Store, id: CommandId, text: &str) {
    wait_for(text, || {
        let kept = store.get();
        let log = kept.logs.get(&id)?;
        let mut whole = capstan_wire::frame::frames(log);
        whole.by_ref().for_each(drop);
        let out = bytes(&log[..whole.consumed()], Channel::Stdout);
        String::from_utf8_lossy(&out).contains(text).then_some(())
    });
}

/// Prints `from` to `to`, then waits until the file `go` exists, then prints the rest up to `end`; counts its
/// runs.
pub fn in_two_halves() -> capstan_model::CommandSpec {
    shell(
        "echo run >> ../count; seq 1 150000; echo half; while ! test -e go; do sleep 0.02; done; seq 150001 300000 >&2; echo end",
    )
}

pub fn check_two_halves(worker: &Worker, exit: &Exit, log: &[u8]) {
    assert_eq!(*exit, Exit::Code(0));
    let numbers = |from: u32, to: u32| (from..=to).map(|n| format!("{n}\n")).collect::<String>();
    assert!(bytes(log, Channel::Stdout) == format!("{}half\nend\n", numbers(1, 150_000)).as_bytes());
    assert!(bytes(log, Channel::Stderr) == numbers(150_001, 300_000).as_bytes());
    assert_eq!(
        std::fs::read_to_string(worker.folder.join("builds/builder/count")).unwrap(),
        "run\n"
    );
}

pub fn let_go(worker: &Worker) {
    std::fs::write(worker.workdir().join("go"), "").unwrap();
}
