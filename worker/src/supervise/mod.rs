//! `capstan-worker supervise DIR`: the process that owns one command, from before it starts until its end is
//! on disk.
//!
//! The daemon starts it and hands it a [`Job`] through its standard input, so that secrets touch neither the
//! disk nor a command line. From then on it needs nobody: the daemon may be killed and replaced while the
//! command runs. Plain threads-free synchronous code, because there is one for each running command.

mod file;
mod launch;
mod mask;
mod run;
mod spool;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capstan_model::{Channel, Clock, CommandId, CommandSpec, Exit, Program};
use capstan_wire::control::ExitReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::folder::{ExitRecord, Folder, Lock, SpecRecord, StartRecord};
use crate::os;
use spool::Spool;

/// No job is longer: control messages are shorter.
const MAX_JOB: u64 = 16 * 1024 * 1024;

/// How long somebody who only looks may hold the lock of a command that is being started.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// What a supervisor is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Job {
    /// Which command.
    pub id: CommandId,
    /// What to run.
    pub spec: CommandSpec,
    /// The values of the secrets that `spec` names.
    pub secrets: BTreeMap<String, String>,
    /// The folder that holds the builders' directories.
    pub base: PathBuf,
    /// Folders beside it that commands may run in.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    /// The file whose content changes as long as the daemon hears the master.
    pub heartbeat: PathBuf,
    /// The longest log that is kept; `None` is as long as there is room.
    pub spool_quota: Option<u64>,
}

/// What a spare supervisor waits for: a job, and where it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// The command's folder.
    pub folder: PathBuf,
    /// What to do there.
    pub job: Job,
}

/// Why a command could not be supervised; then it did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job did not arrive whole.
    #[error("expected a job on standard input: {0}")]
    Job(String),
    /// The command's folder refuses; most often the disk is full.
    #[error("the folder {path} could not be {what}: {source}")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses signals or processes.
    #[error("the supervisor could not be set up: {0}")]
    Setup(io::Error),
}

/// Runs the job on standard input in the command folder `path`, to its end. A command that was started
/// before, by this process or by any other, is left alone.
pub fn supervise(path: &Path, clock: &dyn Clock) -> Result<(), Error> {
    os::leave_session();
    let text = read_all(io::stdin().lock())?;
    let job = parse(&text)?;
    let mut group = os::Group::enter();
    let done = carry_out(&Folder::new(path), &job, clock, &mut group);
    group.into_iter().for_each(os::Group::leave);
    done
}

/// Waits for an [`Order`] on standard input, and carries it out as [`supervise`] does. A daemon keeps one such process
/// ready: starting a process takes longer than most of what it does. Ends when the daemon does. What is wrong goes to the
/// daemon, too: the folder may be on a disk that is full.
pub fn wait(clock: &dyn Clock) -> Result<(), Error> {
    os::leave_session();
    // Before the order comes: moving a process between groups may take some milliseconds.
    let mut group = os::Group::enter();
    let done = obey(&mut group, clock);
    if let Err(error) = &done {
        Bell::new().say(&error.to_string());
    }
    // When all is said: nobody waits for this.
    group.into_iter().for_each(os::Group::leave);
    done
}

fn obey(group: &mut Option<os::Group>, clock: &dyn Clock) -> Result<(), Error> {
    let text = read_all(io::stdin().lock())?;
    if text.is_empty() {
        return Ok(());
    }
    let Order { folder, job } = parse(&text)?;
    drop(text);
    let folder = Folder::new(folder);
    // Without room for complaints there may be room enough for the command.
    let _ = complain_to(&folder.errors());
    carry_out(&folder, &job, clock, group)
}

/// From now on complaints, also those of a panic, go there.
fn complain_to(errors: &Path) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(errors)?;
    Ok(nix::unistd::dup2_stderr(file)?)
}

fn carry_out(
    folder: &Folder,
    job: &Job,
    clock: &dyn Clock,
    group: &mut Option<os::Group>,
) -> Result<(), Error> {
    let Some(_lock) = patient_lock(folder).map_err(failed(folder, "locked"))? else {
        return Ok(());
    };
    // The end of a command that never started is recorded, too, when its supervisor was killed: by a daemon that held the
    // lock, and told the master.
    if folder.was_started() || folder.has_exit() {
        return Ok(());
    }
    folder.reserve_exit().map_err(failed(folder, "written"))?;
    let record = SpecRecord {
        id: job.id,
        spec: job.spec.clone(),
    };
    folder.write_spec(&record).map_err(failed(folder, "written"))?;

    let begun = Instant::now();
    let spool = Spool::create(&folder.spool(), job.spool_quota, &job.secrets, begun);
    let mut spool = spool.map_err(failed(folder, "written"))?;
    let alarm = os::Alarm::install().map_err(Error::Setup)?;
    os::adopt_descendants().map_err(Error::Setup)?;
    let mut bell = Bell::new();
    let start = StartRecord {
        id: job.id,
        at: clock.now(),
        boot: os::boot_text(),
        uptime: os::uptime(),
        group: group.as_ref().map(|group| group.path().to_owned()),
    };
    if !folder.start(&start).map_err(failed(folder, "written"))? {
        return Ok(());
    }

    spool.admit_short(&job.secrets);
    spool.header(&launch::header(&job.spec));
    let exit = match folder.stop() {
        Ok(Some(stop)) => Exit::Killed(stop.reason),
        _ => match &job.spec.program {
            Program::File { path, max_bytes } => {
                file::print(job, (path, *max_bytes), folder, &mut spool, &mut bell, &alarm)
            }
            Program::Argv(_) | Program::Shell(_) => match launch::start(job) {
                Ok(child) => {
                    run::Run::new(job, folder, &mut spool, &mut bell, alarm, begun, group).until_end(child)
                }
                Err(error) => Exit::NotStarted(error.to_string()),
            },
        },
    };
    finish(folder, job.id, spool, exit, begun, clock).map_err(failed(folder, "written"))?;
    // Nobody has to wait until this process is gone, too.
    bell.ring();
    Ok(())
}

/// The log first, then the end: who sees the end finds the whole log. A short log is durable with the end, in one file.
fn finish(
    folder: &Folder,
    id: CommandId,
    mut spool: Spool,
    mut exit: Exit,
    begun: Instant,
    clock: &dyn Clock,
) -> io::Result<()> {
    spool.header(&exit.to_string());
    if spool.whole().is_none()
        && let Err(fault) = spool.sync(folder)
        && spool.full().is_none()
    {
        exit = Exit::Killed(fault.to_string());
    }
    let report = ExitReport {
        exit,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        log_length: spool.length(),
        stdout_bytes: spool.payload(Channel::Stdout),
        stderr_bytes: spool.payload(Channel::Stderr),
    };
    let kept = spool.whole().unwrap_or_default();
    folder.write_exit(&ExitRecord::new(id, clock.now(), report, kept), kept)
}

fn read_all(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut text = Zeroizing::new(Vec::new());
    input
        .take(MAX_JOB)
        .read_to_end(&mut text)
        .map_err(|error| Error::Job(error.to_string()))?;
    Ok(text)
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| Error::Job(error.to_string()))
}

/// Takes the lock; a daemon that looks whether it is taken holds it for an instant.
fn patient_lock(folder: &Folder) -> io::Result<Option<Lock>> {
    let begun = Instant::now();
    loop {
        match folder.lock()? {
            None if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            found => return Ok(found),
        }
    }
}

fn failed(folder: &Folder, what: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = folder.path().to_owned();
    move |source| Error::Folder { path, what, source }
}

/// Standard output, by which a living daemon learns at once that there is news. Never waits, needs no
/// listener.
struct Bell(Option<File>);

impl Bell {
    fn new() -> Self {
        let out = io::stdout().as_fd().try_clone_to_owned();
        Self(
            out.ok()
                .filter(|out| os::set_nonblocking(out).is_ok())
                .map(File::from),
        )
    }

    /// Says why this process ends without having started its command.
    fn say(&mut self, complaint: &str) {
        if let Some(out) = &mut self.0 {
            let _ = out.write_all(complaint.as_bytes());
        }
    }

    fn ring(&mut self) {
        let Some(out) = &mut self.0 else { return };
        // A full pipe has rung already. One without a reader will never have one again.
        if out
            .write(b"\n")
            .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
        {
            self.0 = None;
        }
    }
}
