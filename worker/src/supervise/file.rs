//! A command that is no program: the supervisor itself prints a file of the builder's directory, byte by byte, as standard output. So
//! it travels as a log does: from the spool, resumed by offset, acknowledged when it is durable.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use capstan_model::{Exit, FileFault};
use nix::fcntl::OFlag;

use super::spool::Spool;
use super::{Bell, Job, launch};
use crate::folder::Folder;
use crate::os::Alarm;

/// As much is read at a time: one frame.
const READ: usize = capstan_wire::frame::MAX_PAYLOAD;
/// After so many reads it is looked whether the command is to end.
const LOOK: u64 = 64;

/// Prints the file at `path`, and says how that ended.
pub fn print(
    job: &Job,
    (path, max_bytes): (&str, u64),
    folder: &Folder,
    spool: &mut Spool,
    bell: &mut Bell,
    alarm: &Alarm,
) -> Exit {
    let copied = open(job, path, max_bytes).and_then(|(file, size)| {
        bell.ring();
        copy(file, size, path, || told_to_end(folder, alarm), spool, bell)
    });
    match copied {
        Ok(None) => Exit::Code(0),
        Ok(Some(ended)) => ended,
        Err((fault, reason)) => Exit::NoFile { fault, reason },
    }
}

type Refused = (FileFault, String);

/// Opens a regular file that lies within the builder's directory wherever links lead, and says how large it is.
fn open(job: &Job, path: &str, max_bytes: u64) -> Result<(File, u64), Refused> {
    let shown = Path::new(&job.spec.builder_dir).join(path).display().to_string();
    let invalid = |reason: String| (FileFault::Invalid, reason);
    let relative = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::CurDir | Component::Normal(_)));
    if !relative {
        return Err(invalid(format!(
            "expected the path of a file inside the builder's directory, found `{path}`"
        )));
    }
    let root =
        launch::workdir(&job.base, &job.spec.builder_dir, "").map_err(|error| invalid(error.to_string()))?;
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            FileFault::Missing,
            format!("there is no file `{shown}` on the worker"),
        ),
        _ => (
            FileFault::Unreadable,
            format!("the file `{shown}` could not be read: {error}"),
        ),
    };
    let leaves = |target: &Path| {
        invalid(format!(
            "`{shown}` leaves the builder's directory through a symbolic link, to `{}`",
            target.display()
        ))
    };
    let found = root.join(path).canonicalize().map_err(failed)?;
    if !found.starts_with(&root) {
        return Err(leaves(&found));
    }
    // What is no regular file must not keep this waiting, and what has become a link meanwhile is not followed.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let kind = fs::symlink_metadata(&found).map_err(failed)?;
    if !kind.is_file() {
        return Err(invalid(format!(
            "expected `{shown}` to be a regular file, found {}",
            named(&kind)
        )));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(&found)
        .map_err(failed)?;
    // A folder on the way may have become a link between the two.
    if let Some(opened) = where_it_is(&file).filter(|opened| !opened.starts_with(&root)) {
        return Err(leaves(&opened));
    }
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(invalid(format!(
            "expected `{shown}` to be a regular file, found {}",
            named(&about)
        )));
    }
    let size = about.len();
    if size > max_bytes {
        return Err((
            FileFault::TooLarge,
            format!(
                "`{shown}` has {size} bytes, at most {max_bytes} are allowed; max_artefact under [limits] in capstan.toml \
                 sets that"
            ),
        ));
    }
    Ok((file, size))
}

fn named(about: &fs::Metadata) -> &'static str {
    match about.is_dir() {
        true => "a folder",
        false => "something else",
    }
}

/// Where an open file is, on systems that can tell.
fn where_it_is(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Copies exactly as many bytes as the file had when it was opened. Answers why it was made to end, if it was.
fn copy(
    mut file: File,
    size: u64,
    path: &str,
    mut told: impl FnMut() -> Option<Exit>,
    spool: &mut Spool,
    bell: &mut Bell,
) -> Result<Option<Exit>, Refused> {
    let changed = || {
        let reason = format!("the file `{path}` changed while it was read");
        Err((FileFault::Unreadable, reason))
    };
    let (mut buffer, mut copied, mut reads) = (vec![0; READ], 0_u64, 0_u64);
    loop {
        if reads.is_multiple_of(LOOK)
            && let Some(ended) = told()
        {
            return Ok(Some(ended));
        }
        reads += 1;
        let length = match file.read(&mut buffer) {
            Ok(0) if copied == size => return Ok(None),
            Ok(0) => return changed(),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let reason = format!("the file `{path}` could not be read: {error}");
                return Err((FileFault::Unreadable, reason));
            }
        };
        copied += length as u64;
        if copied > size {
            return changed();
        }
        spool.plain(&buffer[..length]);
        bell.ring();
        if let Some(full) = spool.full() {
            return Ok(Some(Exit::Killed(full.to_string())));
        }
    }
}

fn told_to_end(folder: &Folder, alarm: &Alarm) -> Option<Exit> {
    match folder.stop() {
        Ok(Some(stop)) => Some(Exit::Killed(stop.reason)),
        _ if alarm.was_told_to_end() => Some(Exit::Killed("the supervisor was told to end".to_owned())),
        _ => None,
    }
}
