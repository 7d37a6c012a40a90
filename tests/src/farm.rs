//! A farm: a folder made by `capstan init`, a master, workers that joined by invitation.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::Api;
use crate::port;
use crate::process::{self, Process};
use crate::project::isolate;
use crate::proxy::Proxy;
use crate::wait::{BOUND, wait_for};

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The master.
    pub capstan: PathBuf,
    /// The worker.
    pub worker: PathBuf,
}

impl Programs {
    /// The programs in `folder`, which is `target/debug` after `cargo build --workspace`.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let found = Self {
            capstan: folder.join("capstan"),
            worker: folder.join("capstan-worker"),
        };
        for program in [&found.capstan, &found.worker] {
            ensure!(
                program.is_file(),
                "expected the program {}, found none; run `cargo build --workspace`",
                program.display()
            );
        }
        Ok(found)
    }

    /// Copies of them in `folder`, as an upgrade puts them in place.
    pub fn copied_to(&self, folder: &Path) -> Result<Self> {
        for program in [&self.capstan, &self.worker] {
            let name = program.file_name().context("expected a program's file")?;
            std::fs::copy(program, folder.join(name))
                .with_context(|| format!("failed to copy {}", program.display()))?;
        }
        Self::in_folder(folder)
    }

    /// The programs of the target folder that this test was built into: `target/debug/deps/test-1234` is two below.
    pub fn of_this_build() -> Result<Self> {
        let own = std::env::current_exe().context("failed to find this program's own file")?;
        let folder = own
            .ancestors()
            .nth(2)
            .context("expected a test in target/PROFILE/deps")?;
        Self::in_folder(folder)
    }
}

/// A farm in a temporary folder. Dropping it kills its processes and removes the folder.
#[derive(Debug)]
pub struct Farm {
    programs: Programs,
    root: TempDir,
    master: Option<Process>,
    workers: BTreeMap<String, Process>,
    /// What stands before the master's command line: `unshare` and its like.
    wrapper: Vec<String>,
    /// Added to the environment of master and workers.
    environment: BTreeMap<String, String>,
}

impl Farm {
    /// Makes a farm with `capstan init`, on free ports of the loopback.
    pub fn create(programs: Programs) -> Result<Self> {
        Self::create_in(programs, &std::env::temp_dir())
    }

    /// The same, with its temporary folder in this one.
    pub fn create_in(programs: Programs, folder: &Path) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("capstan-farm-")
            .tempdir_in(folder)?;
        let farm = Self {
            programs,
            root,
            master: None,
            workers: BTreeMap::new(),
            wrapper: Vec::new(),
            environment: BTreeMap::new(),
        };
        let folder = farm.folder();
        let made = farm.program(&farm.programs.capstan, [OsStr::new("init"), folder.as_os_str()])?;
        ensure!(
            made.status.success(),
            "capstan init failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // Not port 0: after a restart workers look for the master where they knew it.
        let (web, link) = (
            port::free(|address| TcpListener::bind(address).map(drop))?,
            port::free(|address| UdpSocket::bind(address).map(drop))?,
        );
        farm.edit(
            "capstan.toml",
            "listen = \"127.0.0.1:8010\"",
            &format!("listen = \"{web}\""),
        )?;
        farm.edit(
            "capstan.toml",
            "listen = \"127.0.0.1:9010\"",
            &format!("listen = \"{link}\""),
        )?;
        Ok(farm)
    }

    /// The temporary folder that holds the farm, the workers' folders and the processes' output.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The farm's folder, the one with `capstan.toml`.
    pub fn folder(&self) -> PathBuf {
        self.root().join("farm")
    }

    /// Keeps the temporary folder when the farm is dropped.
    pub fn keep(&mut self) -> &Path {
        self.root.disable_cleanup(true);
        self.root()
    }

    /// The programs that are started next.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Starts other programs from now on; those that run go on.
    pub fn set_programs(&mut self, programs: Programs) {
        self.programs = programs;
    }

    /// Puts a proxy between the master and the workers that are invited from now on; before the master's first start.
    pub fn behind_a_proxy(&self) -> Result<Proxy> {
        let text = self.read("capstan.toml")?;
        let operator: toml::Table = text.parse().context("expected TOML in capstan.toml")?;
        let listen = operator["link"]["listen"]
            .as_str()
            .context("expected [link] listen")?;
        let proxy = Proxy::start(listen.parse()?, 1).context("failed to start a proxy")?;
        let entry = format!("listen = \"{listen}\"");
        let both = format!("{entry}\nadvertise = [\"{}\"]", proxy.address());
        self.edit("capstan.toml", &entry, &both)?;
        Ok(proxy)
    }

    /// Writes a file of the farm's folder, and makes the folders that it is in.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.folder().join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Reads a text file of the farm's folder; one that is missing is empty.
    pub fn read(&self, path: &str) -> Result<String> {
        match std::fs::read_to_string(self.folder().join(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => Ok(other?),
        }
    }

    /// Replaces one text in a file of the farm's folder.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(path)?;
        ensure!(text.contains(from), "expected `{from}` in {path}, found:\n{text}");
        self.write(path, text.replacen(from, to, 1))
    }

    /// Puts words before the master's command line from its next start on.
    pub fn wrap_master(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Sets a variable in the environment of what is started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Runs `capstan` on this farm to its end.
    pub fn capstan(&self, arguments: &[&str]) -> Result<Output> {
        let folder = self.folder();
        let farm = [OsStr::new("--farm"), folder.as_os_str()];
        self.program(
            &self.programs.capstan,
            farm.into_iter().chain(arguments.iter().map(OsStr::new)),
        )
    }

    /// Runs `capstan` on this farm, which has to succeed, and answers what it printed.
    pub fn capstan_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.capstan(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "capstan {} failed: {errors}",
            arguments.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `capstan` on this farm, which has to fail, and answers its error text.
    pub fn capstan_refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.capstan(arguments)?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            !output.status.success(),
            "expected capstan {} to fail, it printed: {text}",
            arguments.join(" ")
        );
        ensure!(
            output.status.code().is_some(),
            "expected an exit code, found {}: {text}",
            output.status
        );
        Ok(text)
    }

    /// Runs `capstan-worker` to its end.
    pub fn capstan_worker(&self, arguments: &[&str]) -> Result<Output> {
        self.program(&self.programs.worker, arguments.iter().map(OsStr::new))
    }

    /// Starts the master and waits until it serves.
    pub fn start_master(&mut self) -> Result<()> {
        let started = self
            .launch_master()?
            .wait_until_printed("capstan is ready", BOUND);
        if started.is_err() {
            self.master = None;
        }
        started
    }

    /// Starts the master, and does not wait.
    pub fn launch_master(&mut self) -> Result<&mut Process> {
        ensure!(self.master.is_none(), "the master runs already");
        let words: Vec<_> = self
            .wrapper
            .iter()
            .map(OsStr::new)
            .chain([self.programs.capstan.as_os_str()])
            .collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg("--farm")
            .arg(self.folder())
            .arg("run");
        self.prepare(&mut command);
        let master = Process::spawn(command, &self.root().join("master.log"))?;
        Ok(self.master.insert(master))
    }

    /// The master's process.
    pub fn master(&mut self) -> Result<&mut Process> {
        self.master.as_mut().context("the master does not run")
    }

    /// Asks the master to end, as systemd would.
    pub fn stop_master(&mut self) -> Result<ExitStatus> {
        self.master.take().context("the master does not run")?.terminate()
    }

    /// Kills the master without warning.
    pub fn kill_master(&mut self) -> Result<ExitStatus> {
        self.master.take().context("the master does not run")?.kill()
    }

    /// Invites a worker, lets it join, and starts it.
    pub fn add_worker(&mut self, name: &str) -> Result<()> {
        let join = self.invite(name)?;
        let joined = self.join(name, &join)?;
        ensure!(
            joined.status.success(),
            "joining failed: {}",
            String::from_utf8_lossy(&joined.stderr)
        );
        self.start_worker(name)
    }

    /// A join string for a worker.
    pub fn invite(&self, name: &str) -> Result<String> {
        Ok(self.capstan_ok(&["worker", "invite", name])?.trim().to_owned())
    }

    /// Runs `capstan-worker join` for the worker folder `name`.
    pub fn join(&self, name: &str, join: &str) -> Result<Output> {
        let folder = self.worker_folder(name).display().to_string();
        self.capstan_worker(&["join", join, "--dir", &folder])
    }

    /// Where a worker keeps its things.
    pub fn worker_folder(&self, name: &str) -> PathBuf {
        self.root().join(format!("worker-{name}"))
    }

    /// Starts a worker that has joined and waits until it is connected.
    pub fn start_worker(&mut self, name: &str) -> Result<()> {
        self.launch_worker(name)?
            .wait_until_printed("is connected to", BOUND)
    }

    /// Starts a worker that has joined, and does not wait.
    pub fn launch_worker(&mut self, name: &str) -> Result<&mut Process> {
        ensure!(!self.workers.contains_key(name), "the worker {name} runs already");
        let mut command = Command::new(&self.programs.worker);
        command.arg("run").arg("--dir").arg(self.worker_folder(name));
        self.prepare(&mut command);
        let process = Process::spawn(command, &self.root().join(format!("worker-{name}.log")))?;
        Ok(self.workers.entry(name.to_owned()).or_insert(process))
    }

    /// A worker's process.
    pub fn worker(&mut self, name: &str) -> Result<&mut Process> {
        self.workers
            .get_mut(name)
            .with_context(|| format!("the worker {name} does not run"))
    }

    /// Asks a worker's daemon to end.
    pub fn stop_worker(&mut self, name: &str) -> Result<ExitStatus> {
        self.workers
            .remove(name)
            .with_context(|| format!("the worker {name} does not run"))?
            .terminate()
    }

    /// Kills a worker's daemon without warning; what it runs goes on.
    pub fn kill_worker(&mut self, name: &str) -> Result<ExitStatus> {
        self.workers
            .remove(name)
            .with_context(|| format!("the worker {name} does not run"))?
            .kill()
    }

    /// The address of the running master's pages.
    pub fn web(&self) -> Result<String> {
        let run = self.read("data/run.json")?;
        let run: Value = serde_json::from_str(&run).context("expected data/run.json of a running master")?;
        run["web"]
            .as_str()
            .map(str::to_owned)
            .context("expected an address in data/run.json")
    }

    /// The REST interface of the running master, with the right to control.
    pub fn api(&self) -> Result<Api> {
        Ok(Api::new(
            &self.web()?,
            Some(self.read("data/token")?.trim().to_owned()),
        ))
    }

    /// Waits until a build has ended, and answers it with its steps.
    pub fn finished(&self, builder: &str, number: u64) -> Result<Value> {
        wait_for(&format!("the end of build {builder}/{number}"), BOUND, || {
            let build = self.api()?.get(&format!("/builders/{builder}/builds/{number}"))?;
            Ok((build["state"] == "complete").then_some(build))
        })
    }

    /// Asks for a build and waits for its end. `body` is that of `POST /builders/NAME/force`.
    pub fn force(&self, builder: &str, body: &Value) -> Result<Value> {
        let answer = self.api()?.post(&format!("/builders/{builder}/force"), body)?;
        let request = answer["requests"][0]
            .as_i64()
            .context("expected a request's id")?;
        wait_for(
            &format!("the end of request {request} for {builder}"),
            BOUND,
            || {
                let builds = self.api()?.get(&format!("/builds?builder={builder}&limit=100"))?;
                let builds = builds["builds"].as_array().context("expected builds")?;
                let ours = |build: &&Value| {
                    build["state"] == "complete"
                        && build["requests"]
                            .as_array()
                            .is_some_and(|all| all.contains(&request.into()))
                };
                let Some(build) = builds.iter().find(ours) else {
                    return Ok(None);
                };
                self.api()?.get(&format!("/builds/{}", build["id"])).map(Some)
            },
        )
    }

    /// The lines that the reporter `report-file` wrote to `reports/builds.jsonl`.
    pub fn reports(&self) -> Result<Vec<Value>> {
        let text = self.read("reports/builds.jsonl")?;
        let lines = text.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .context("expected JSON in each line of the report file")
    }

    /// Ends workers and master in order. What they printed stays.
    pub fn shut_down(&mut self) -> Result<()> {
        while let Some((_, worker)) = self.workers.pop_first() {
            worker.terminate()?;
        }
        match self.master.take() {
            Some(master) => master.terminate().map(drop),
            None => Ok(()),
        }
    }

    /// What every process printed, the end of it, for somebody who looks for the reason of a failure.
    pub fn show_outputs(&self) {
        let Ok(files) = std::fs::read_dir(self.root()) else {
            return;
        };
        let mut logs: Vec<_> = files.flatten().map(|file| file.path()).collect();
        logs.retain(|path| path.extension() == Some(OsStr::new("log")));
        logs.sort();
        for path in logs {
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- the end of {}", path.display());
            lines[lines.len().saturating_sub(80)..]
                .iter()
                .for_each(|line| eprintln!("{line}"));
        }
    }

    fn program(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Output> {
        let mut command = Command::new(program);
        command.args(arguments);
        self.prepare(&mut command);
        process::run(command, BOUND)
    }

    fn prepare(&self, command: &mut Command) {
        isolate(command);
        for name in ["CAPSTAN_FARM", "CAPSTAN_URL", "CAPSTAN_TOKEN"] {
            command.env_remove(name);
        }
        command.current_dir(self.root()).envs(&self.environment);
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_outputs();
        }
        self.workers.clear();
        self.master = None;
        // Supervisors and commands outlive their worker's daemon, by design; they are found by their folder.
        process::end_all_under(self.root());
    }
}

/// Whether a program failed, with the text of its error.
pub fn refusal(output: &Output) -> Result<String> {
    if output.status.success() {
        bail!(
            "expected a refusal, it succeeded: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
