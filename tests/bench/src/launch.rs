//! A master started without the harness's polling: its ready line is seen when it is written, and `kill` is at once. For
//! rows that time its start, or start it again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{Farm, Programs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::row::Bench;

/// How long a master may take until it serves.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end after it was asked to.
const END: Duration = Duration::from_secs(10);

/// A running master. It is killed when this is dropped.
#[derive(Debug)]
pub struct Master {
    child: Child,
    /// From just before its exec until its ready line.
    pub took: Duration,
}

/// An empty farm for the programs that are measured.
pub fn farm(bench: &Bench) -> Result<Farm> {
    Farm::create_in(Programs::in_folder(&bench.programs)?, &bench.scratch)
}

impl Master {
    /// Starts a master on this farm's folder and waits until it serves.
    pub fn start(bench: &Bench, farm: &Path) -> Result<Self> {
        let mut command = Command::new(bench.programs.join("capstan"));
        command.arg("--farm").arg(farm).arg("run");
        for name in ["CAPSTAN_FARM", "CAPSTAN_URL", "CAPSTAN_TOKEN"] {
            command.env_remove(name);
        }
        let errors = std::fs::File::create(farm.join("master.err"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let start = Instant::now();
        let mut child = command.spawn().context("failed to start capstan")?;
        let stdout = child.stdout.take().context("expected a pipe")?;
        let (ready, is_ready) = mpsc::channel();
        // Reads on after the ready line: a master must not block on a pipe that nobody reads.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.contains("capstan is ready") {
                    // Nobody waits any more if it came too late.
                    let _ = ready.send(Instant::now());
                }
            }
        });
        let mut master = Self { child, took: START };
        let at = is_ready.recv_timeout(START);
        let why = || std::fs::read_to_string(farm.join("master.err")).unwrap_or_default();
        let at = at.map_err(|_| anyhow::anyhow!("expected the master to become ready, found: {}", why()))?;
        master.took = at - start;
        Ok(master)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("failed to kill the master")?;
        self.child.wait().context("failed to wait for the master")?;
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("a process id is an i32")?;
        kill(Pid::from_raw(id), Signal::SIGTERM).context("failed to end the master")?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < END, "expected the master to end within {END:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
