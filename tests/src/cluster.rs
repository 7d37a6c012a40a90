//! A private PostgreSQL server that can be crashed: in a folder of its own, on the loopback, ended when it is dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::port;
use crate::process;
use crate::wait::BOUND;
use anyhow::{Context as _, Result, ensure};
use nix::unistd::{User, chown, geteuid};

/// PostgreSQL refuses to run as root; Debian's package has made this user.
const USER: &str = "postgres";

/// A running server.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// Makes a cluster in a new folder and starts it. The folder has to be reached by the user `postgres`.
    pub fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder)?;
        if geteuid().is_root() {
            let user = User::from_name(USER)?.context("expected the user postgres")?;
            chown(folder, Some(user.uid), Some(user.gid))?;
        }
        let port = port::free(|address| TcpListener::bind(address).map(drop))?.port();
        let cluster = Self {
            folder: folder.to_owned(),
            port,
        };
        let options = "--auth=trust --username=capstan --encoding=UTF8 --locale=C --no-sync";
        cluster.run("initdb", options.split(' '))?;
        cluster.control("start", &[])?;
        Ok(cluster)
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        format!("postgres://capstan@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends every server process at once, as a crash does, and starts it again, which replays its log.
    pub fn crash(&self) -> Result<()> {
        self.control("restart", &["-m", "immediate"])
    }

    fn control(&self, what: &str, more: &[&str]) -> Result<()> {
        // -F: what is written is not forced to the disk. That matters only to a machine that loses its power.
        let options = format!("-p {} -h 127.0.0.1 -k '' -F -c shared_buffers=16MB", self.port);
        let mut words = vec![what, "-w", "-l", "log"];
        if what != "stop" {
            words.extend(["-o", &options]);
        }
        words.extend(more);
        self.run("pg_ctl", words)
    }

    fn run<'a>(&self, name: &str, words: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let program = program(name)?;
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", USER, "--regid", USER, "--init-groups", "--"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(words)
            .arg("-D")
            .arg(self.folder.join("data"))
            .current_dir(&self.folder);
        let output = process::run(command, BOUND)?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{name} failed: {}", said());
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // An error means that it does not run.
        let _ = self.control("stop", &["-m", "immediate"]);
    }
}

/// One of PostgreSQL's programs; Debian keeps them out of the search path, one folder a version. The newest is taken.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| {
            format!(
                "expected PostgreSQL's `{name}` in the search path or in /usr/lib/postgresql/*/bin, found none; install \
                 the package `postgresql`"
            )
        })
}
