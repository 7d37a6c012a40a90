//! A program that a test started: its output in a file, signals, and an end in any case.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
    /// Where this process's output starts in the file: a restarted program appends.
    start: u64,
}

impl Process {
    /// Starts `command` with both its pipes going to the file `output`, in a process group of its own, so that Ctrl-C
    /// at the terminal reaches the caller alone and it ends things in order.
    pub fn spawn(mut command: Command, output: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(output);
        let file = file.with_context(|| format!("failed to open {}", output.display()))?;
        let start = file.metadata()?.len();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        Ok(Self {
            child,
            output: output.to_owned(),
            start,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed since it was started, on both pipes.
    pub fn output(&self) -> Result<String> {
        let mut file = File::open(&self.output)?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until it prints `text`; fails at once if it ends before.
    pub fn wait_until_printed(&mut self, text: &str, bound: Duration) -> Result<()> {
        let ended = wait_for(&format!("`{text}` in {}", self.output.display()), bound, || {
            if self.output()?.contains(text) {
                return Ok(Some(None));
            }
            Ok(self.child.try_wait()?.map(Some))
        })?;
        match ended {
            None => Ok(()),
            Some(status) => anyhow::bail!(
                "expected it to print `{text}`, it ended with {status}:\n{}",
                self.output()?
            ),
        }
    }

    /// Sends a signal to this process alone, not to what it has started.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // The number of a process that was collected may belong to another by now.
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "expected a running process, it had ended");
        let id = i32::try_from(self.child.id()).context("a process id is an i32")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("failed to send {signal} to process {id}"))
    }

    /// Asks it to end and waits for that, within bounds.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(GRACE)
    }

    /// Ends it as the kernel's out-of-memory killer would. One that has ended already is only collected.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill().context("failed to kill a process")?;
        self.wait(GRACE)
    }

    /// Waits for its end.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        wait_for(&format!("the end of process {}", self.child.id()), bound, || {
            Ok(self.child.try_wait()?)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, within a bound, and collects what it printed.
pub fn run(mut command: Command, bound: Duration) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))?;
    // The pipes are drained side by side, or a talkative program would block.
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let ended = wait_for(
        &format!("the end of {command:?}"),
        bound,
        || Ok(child.try_wait()?),
    );
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let collect = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    };
    Ok(Output {
        status: ended?,
        stdout: collect(stdout),
        stderr: collect(stderr),
    })
}

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the output: what came before it is kept.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Kills every process that works in `folder` or names it on its command line; nothing where there is no `/proc`.
pub fn end_all_under(folder: &Path) {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    let name = folder.as_os_str().as_encoded_bytes();
    for entry in processes.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let works_there =
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let names_it = line.windows(name.len()).any(|part| part == name);
        if (works_there || names_it) && id != std::process::id().cast_signed() {
            // An error means that it has ended meanwhile.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
