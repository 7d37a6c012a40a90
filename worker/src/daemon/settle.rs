//! What becomes of a command whose supervisor is gone: how it ended, as far as anybody knows; and what is left of it on disk
//! after a crash.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capstan_model::{Channel, Clock, CommandId, Exit};
use capstan_wire::control::ExitReport;
use capstan_wire::frame;

use crate::folder::{ExitRecord, Folder, StartRecord};
use crate::os;

/// How long the processes of a command without a supervisor are hunted.
const HUNT: Duration = Duration::from_secs(5);

/// How long a killed process may take to be gone.
const PAUSE: Duration = Duration::from_millis(10);

/// How much of a supervisor's complaints is passed on.
const MAX_COMPLAINT: u64 = 1000;

/// What is known of a supervisor, for when it is gone.
#[derive(Debug, Default)]
pub struct Left {
    /// The last that was seen alive, by this daemon.
    pub supervisor: Option<u32>,
    /// Why there was none, or what it said itself.
    pub complaint: String,
}

/// The end of a command whose supervisor is gone without a record: it never started, or nobody knows. It is recorded.
/// `None`: another supervisor has taken the command up meanwhile, or has ended it.
///
/// All under the lock: a supervisor that is still on its way, with the order of an earlier daemon, finds the end instead of
/// a command to start.
pub async fn settle(id: CommandId, folder: &Folder, left: &Left, clock: &dyn Clock) -> Option<ExitReport> {
    let _lock = match folder.lock() {
        Ok(None) => return None,
        Ok(lock) => lock,
        // Nobody else can take it either.
        Err(_) => None,
    };
    if folder.has_exit() {
        return None;
    }
    let started = folder.was_started();
    let report = if started {
        lost(id, folder, left).await
    } else {
        never_started(folder, left)
    };
    let record = ExitRecord::new(id, clock.now(), report, &[]);
    if let Err(error) = folder.write_exit(&record, &[]) {
        tracing::warn!(command = %id, "the end could not be recorded: {error}");
        if !started {
            // Without a folder nobody can start it either.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
    Some(record.report)
}

fn never_started(folder: &Folder, left: &Left) -> ExitReport {
    let exit = match folder.stop() {
        Ok(Some(stop)) => Exit::Killed(stop.reason),
        _ => Exit::NotStarted(complaints(folder, left)),
    };
    report(exit, 0, Whole::default())
}

async fn lost(id: CommandId, folder: &Folder, left: &Left) -> ExitReport {
    let started = folder.started().ok().flatten();
    let same_boot = started
        .as_ref()
        .is_none_or(|record| record.boot == os::boot_text());
    let reason = if same_boot {
        let (group, session) = (
            started.as_ref().and_then(|record| record.group.clone()),
            left.supervisor,
        );
        let _ = tokio::task::spawn_blocking(move || hunt(id, group, session)).await;
        "the command's supervisor was killed"
    } else {
        "the worker's machine was started anew while the command ran"
    };
    let spool = folder.clone();
    let found = tokio::task::spawn_blocking(move || cut_and_keep(&spool)).await;
    let whole = found
        .unwrap_or_else(|error| Err(error.into()))
        .unwrap_or_else(|error| {
            tracing::warn!(command = %id, "the log of a lost command could not be read: {error}");
            Whole::default()
        });
    let ran = started.filter(|_| same_boot).and_then(|record| lasted(&record));
    let duration_ms = ran.map_or(whole.elapsed_ms, |ran| {
        u64::try_from(ran.as_millis()).unwrap_or(u64::MAX)
    });
    report(Exit::Lost(reason.to_owned()), duration_ms, whole)
}

/// How long ago it started, by a clock that nobody sets.
fn lasted(started: &StartRecord) -> Option<Duration> {
    os::uptime()?.checked_sub(started.uptime?)
}

fn report(exit: Exit, duration_ms: u64, log: Whole) -> ExitReport {
    ExitReport {
        exit,
        duration_ms,
        log_length: log.length,
        stdout_bytes: log.stdout,
        stderr_bytes: log.stderr,
    }
}

/// Kills the processes that a killed supervisor left without an owner. Blocks.
fn hunt(id: CommandId, group: Option<PathBuf>, session: Option<u32>) {
    let begun = Instant::now();
    while begun.elapsed() < HUNT {
        if let Some(group) = &group {
            os::kill_group(group);
        }
        let found = os::left_behind(&id.to_string(), session).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        found.into_iter().for_each(|pid| os::send(pid, os::Told::Kill));
        std::thread::sleep(PAUSE);
    }
    tracing::warn!(command = %id, "processes of a lost command could not be ended");
}

fn complaints(folder: &Folder, left: &Left) -> String {
    if !left.complaint.is_empty() {
        return left.complaint.clone();
    }
    let mut text = Vec::new();
    if let Ok(file) = File::open(folder.errors()) {
        let _ = file.take(MAX_COMPLAINT).read_to_end(&mut text);
    }
    match String::from_utf8_lossy(&text).trim() {
        "" => "its supervisor ended before it started the command; is the worker's disk full?".to_owned(),
        text => format!("its supervisor failed: {text}"),
    }
}

/// Looks through what an earlier daemon left of a command, before the master is told of it: a crash of the machine may have
/// taken or damaged the end of a log. A command whose log is not what its end says is lost; so the master is never sent
/// anything but whole frames.
pub fn mend(folder: &Folder, clock: &dyn Clock) -> io::Result<()> {
    let Some(record) = folder.exit()? else {
        return match folder.supervisor()? {
            None if folder.spool().exists() => cut_to_whole_frames(&folder.spool()).map(drop),
            _ => Ok(()),
        };
    };
    if record.kept > 0 {
        return folder.restore_spool();
    }
    let length = record.report.log_length;
    if length == 0 || whole_frames(&folder.spool()).is_ok_and(|whole| whole.length >= length) {
        return Ok(());
    }
    let whole = cut_and_keep(folder).unwrap_or_default();
    let exit = Exit::Lost("its log was damaged on the worker's disk".to_owned());
    let report = report(exit, record.report.duration_ms, whole);
    folder.write_exit(&ExitRecord::new(record.id, clock.now(), report, &[]), &[])
}

/// What the whole frames at the beginning of a log hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Whole {
    length: u64,
    stdout: u64,
    stderr: u64,
    /// When the last of them came.
    elapsed_ms: u64,
}

fn cut_and_keep(folder: &Folder) -> io::Result<Whole> {
    let found = cut_to_whole_frames(&folder.spool())?;
    folder.sync_names()?;
    Ok(found)
}

/// Removes a torn last frame.
fn cut_to_whole_frames(spool: &Path) -> io::Result<Whole> {
    let found = whole_frames(spool)?;
    let file = File::options().write(true).open(spool)?;
    file.set_len(found.length)?;
    file.sync_all()?;
    Ok(found)
}

fn whole_frames(spool: &Path) -> io::Result<Whole> {
    let mut file = File::open(spool)?;
    let mut whole = Whole::default();
    let mut buffer = Vec::new();
    loop {
        let read = (&mut file)
            .take(4 * frame::MAX_PAYLOAD as u64)
            .read_to_end(&mut buffer)?;
        let mut frames = frame::frames(&buffer);
        let mut torn = false;
        for found in frames.by_ref() {
            let Ok(frame) = found else {
                torn = true;
                break;
            };
            match frame.channel {
                Channel::Stdout => whole.stdout += frame.payload.len() as u64,
                Channel::Stderr => whole.stderr += frame.payload.len() as u64,
                Channel::Header => {}
            }
            whole.elapsed_ms = frame.elapsed_ms;
        }
        let consumed = frames.consumed();
        whole.length += consumed as u64;
        buffer.drain(..consumed);
        if torn || read == 0 {
            return Ok(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::{ManualClock, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn folder(commands: &Path) -> (CommandId, Folder) {
        let id = CommandId(Uuid::new_v4());
        let folder = Folder::new(commands.join(id.to_string()));
        fs::create_dir(folder.path()).unwrap();
        folder.reserve_exit().unwrap();
        (id, folder)
    }

    #[tokio::test]
    async fn no_end_is_told_while_somebody_may_start_the_command() {
        let commands = tempfile::tempdir().unwrap();
        let (id, folder) = folder(commands.path());
        let (clock, left) = (ManualClock::default(), Left::default());
        // A supervisor with the order of an earlier daemon, about to start it.
        let on_its_way = folder.lock().unwrap();
        assert_eq!(settle(id, &folder, &left, &clock).await, None);
        assert!(!folder.has_exit());
        drop(on_its_way);
        let told = settle(id, &folder, &left, &clock).await.unwrap();
        assert!(matches!(told.exit, Exit::NotStarted(_)));
        // The next one finds it.
        assert_eq!(folder.exit().unwrap().unwrap().report, told);
        assert_eq!(settle(id, &folder, &left, &clock).await, None);
    }

    #[tokio::test]
    async fn how_long_a_lost_command_ran_does_not_depend_on_a_clock_that_is_set() {
        let commands = tempfile::tempdir().unwrap();
        let boots = [os::boot_text(), "an earlier start of the machine".to_owned()];
        for (boot, jump) in boots
            .iter()
            .flat_map(|boot| [(boot, -1_000_000_000), (boot, 1_000_000_000)])
        {
            let (id, folder) = folder(commands.path());
            let clock = ManualClock::new(Timestamp(2_000_000_000));
            let start = StartRecord {
                id,
                at: clock.now(),
                boot: boot.clone(),
                uptime: os::uptime(),
                group: None,
            };
            assert!(folder.start(&start).unwrap());
            let mut log = Vec::new();
            frame::encode(&mut log, 250, Channel::Stdout, b"a line");
            fs::write(folder.spool(), log).unwrap();
            clock.advance_ms(jump);
            let told = settle(id, &folder, &Left::default(), &clock).await.unwrap();
            assert!(matches!(told.exit, Exit::Lost(_)));
            assert!(
                told.duration_ms < 60_000,
                "{} ms after a jump by {jump}",
                told.duration_ms
            );
            if *boot != os::boot_text() {
                assert_eq!(told.duration_ms, 250, "as far as its log tells");
            }
        }
    }

    #[test]
    fn a_log_is_cut_back_to_its_last_whole_frame() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let mut whole = Vec::new();
        for n in 0..40u8 {
            frame::encode(&mut whole, 0, Channel::Stdout, &vec![n; 20_000]);
            frame::encode(&mut whole, 0, Channel::Stderr, b"err");
        }
        for torn in [0, 1, 5, 19, 25] {
            let mut bytes = whole.clone();
            frame::encode(&mut bytes, 0, Channel::Stdout, b"torn off");
            bytes.truncate(whole.len() + torn);
            if torn == 25 {
                *bytes.last_mut().unwrap() ^= 1;
            }
            fs::write(&spool, &bytes).unwrap();
            let found = Whole {
                length: whole.len() as u64,
                stdout: 800_000,
                stderr: 120,
                elapsed_ms: 0,
            };
            assert_eq!(cut_to_whole_frames(&spool).unwrap(), found);
            assert!(fs::read(&spool).unwrap() == whole);
        }
    }
}
