//! Real supervisors in temporary folders, and what they leave behind.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use capstan_model::{Channel, CommandId, CommandSpec, EnvValue, Exit, Program};
use capstan_wire::control::ExitReport;
use capstan_wire::frame;
use capstan_worker::folder::Folder;
use capstan_worker::supervise::Job;
use uuid::Uuid;

/// Longer than anything here takes on a busy machine.
pub const BOUND: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something; says what was awaited if it never does.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < BOUND, "waited {BOUND:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A specification that runs `line` in a shell, without time-outs.
pub fn shell(line: &str) -> CommandSpec {
    CommandSpec {
        program: Program::Shell(line.to_owned()),
        builder_dir: "builder".to_owned(),
        workdir: "build".to_owned(),
        env: BTreeMap::new(),
        log: "stdio".to_owned(),
        idle_timeout_ms: None,
        total_timeout_ms: None,
        term_grace_ms: 5_000,
        orphan_timeout_ms: 3_600_000,
        capture_stdout: 0,
    }
}

/// A specification that runs `argv`, without time-outs.
pub fn argv(argv: &[&str]) -> CommandSpec {
    CommandSpec {
        program: Program::Argv(argv.iter().map(|word| (*word).to_owned()).collect()),
        ..shell("")
    }
}

/// A state folder with one command in it.
pub struct Bench {
    pub root: tempfile::TempDir,
    pub job: Job,
    pub worker_env: Vec<(String, String)>,
    /// A program with arguments that becomes the supervisor.
    pub wrapper: Vec<String>,
}

impl Bench {
    pub fn new(spec: CommandSpec) -> Self {
        let root = tempfile::tempdir().unwrap();
        let job = Job {
            id: CommandId(Uuid::new_v4()),
            spec,
            secrets: BTreeMap::new(),
            base: root.path().join("base"),
            heartbeat: root.path().join("heartbeat"),
            folders: Vec::new(),
            spool_quota: None,
        };
        std::fs::create_dir_all(root.path().join("commands").join(job.id.to_string())).unwrap();
        Self {
            root,
            job,
            worker_env: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    pub fn with_secret(mut self, variable: &str, name: &str, value: &str) -> Self {
        self.job.secrets.insert(name.to_owned(), value.to_owned());
        self.job
            .spec
            .env
            .insert(variable.to_owned(), EnvValue::Secret(name.to_owned()));
        self
    }

    pub fn folder(&self) -> Folder {
        Folder::new(self.root.path().join("commands").join(self.job.id.to_string()))
    }

    pub fn workdir(&self) -> PathBuf {
        self.job
            .base
            .join(&self.job.spec.builder_dir)
            .join(&self.job.spec.workdir)
    }

    /// Starts a supervisor; its bell is not listened to.
    pub fn start(&self) -> Child {
        let words = self.wrapper.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_capstan-worker")]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg("supervise")
            .arg(self.folder().path())
            .envs(self.worker_env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&serde_json::to_vec(&self.job).unwrap()).unwrap();
        child
    }

    /// Starts a supervisor and waits for its end.
    pub fn run(&self) -> Ran {
        let mut child = self.start();
        let status = wait_for("the supervisor's end", || child.try_wait().unwrap());
        assert!(status.success(), "the supervisor failed: {status}");
        self.ran()
    }

    /// What is on disk after the end.
    pub fn ran(&self) -> Ran {
        let report = self.folder().exit().unwrap().expect("exit.json").report;
        let spool = std::fs::read(self.folder().spool()).unwrap();
        assert_eq!(report.log_length, spool.len() as u64);
        Ran { report, spool }
    }
}

/// A command that has ended.
pub struct Ran {
    pub report: ExitReport,
    pub spool: Vec<u8>,
}

impl Ran {
    pub fn exit(&self) -> &Exit {
        &self.report.exit
    }

    pub fn bytes(&self, channel: Channel) -> Vec<u8> {
        bytes(&self.spool, channel)
    }

    pub fn text(&self, channel: Channel) -> String {
        String::from_utf8(self.bytes(channel)).unwrap()
    }
}

/// The payload of one channel of a log.
pub fn bytes(spool: &[u8], channel: Channel) -> Vec<u8> {
    let frames = frame::frames(spool).map(|frame| frame.unwrap());
    frames
        .filter(|frame| frame.channel == channel)
        .flat_map(|frame| frame.payload.to_vec())
        .collect()
}
