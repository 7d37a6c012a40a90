//! What is kept ready for the next command, so that it does not wait for it: a supervisor that waits for its order, and the
//! folders of commands that are over (see [`crate::folder`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

use crate::folder::Folder;
use crate::os;
use crate::room::Found;

/// Folders with this before their number are nobody's.
const SPARE: &str = "spare-";

/// More are not kept: a worker seldom runs more commands at once.
const MOST: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Spares {
    commands: PathBuf,
    supervisor: Mutex<Option<Child>>,
    folders: Mutex<Folders>,
}

#[derive(Debug, Default)]
struct Folders {
    ready: Vec<PathBuf>,
    next: u64,
}

impl Spares {
    /// Takes over what an earlier daemon left in the folder `commands`, where no command runs whose folder is a spare one.
    /// After a crash of the machine a folder may have the name that it had before: it gets the name that its record says.
    pub fn open(commands: PathBuf) -> io::Result<Self> {
        let spares = Self {
            commands,
            supervisor: Mutex::default(),
            folders: Mutex::default(),
        };
        for entry in fs::read_dir(&spares.commands)? {
            let path = entry?.path();
            let folder = Folder::new(&path);
            if let Ok(Found::Record(record)) = folder.whoever_started() {
                let named = spares.commands.join(record.id.to_string());
                if !named.exists() {
                    fs::rename(&path, &named)?;
                }
            } else if is_spare(&path) {
                spares.keep(&folder);
            }
        }
        Ok(spares)
    }

    /// A process that waits for its order.
    pub fn supervisor(&self) -> io::Result<Child> {
        let ready = lock(&self.supervisor).take();
        if let Some(mut child) = ready
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(child);
        }
        spawn()
    }

    /// Sees to it that there is a spare process. If there is none, the next command takes longer, and says what is wrong.
    pub fn prepare(&self) {
        let mut ready = lock(&self.supervisor);
        if ready.is_none() {
            *ready = spawn().ok();
        }
    }

    /// Makes the folder of a command out of a spare one, if there is one. Whether it did.
    pub fn make(&self, folder: &Folder) -> bool {
        // What an earlier order left there stays.
        if folder.path().exists() {
            return false;
        }
        let ready = lock(&self.folders).ready.pop();
        ready.is_some_and(|ready| fs::rename(ready, folder.path()).is_ok())
    }

    /// Keeps the folder of a command that nobody asks for any more, or removes it.
    pub fn keep(&self, folder: &Folder) {
        let mut folders = lock(&self.folders);
        let to = loop {
            folders.next += 1;
            let to = self.commands.join(format!("{SPARE}{}", folders.next));
            if !to.exists() {
                break to;
            }
        };
        let full = folders.ready.len() >= MOST;
        match folder.recycle(&to) {
            Ok(true) if !full => folders.ready.push(to),
            Ok(_) => remove(&to),
            Err(error) => {
                let path = folder.path().display();
                tracing::warn!(folder = %path, "what is left of a command could not be cleared away: {error}");
                remove(&to);
            }
        }
    }
}

/// Whether nobody's command is in that folder.
pub fn is_spare(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(SPARE))
}

/// What cannot be removed now is a spare folder at the next start.
fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

fn spawn() -> io::Result<Child> {
    let (program, name) = os::own_program()?;
    let mut command = std::process::Command::new(program);
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    command
        .arg("supervise")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Command::from(command).kill_on_drop(false).spawn()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use capstan_model::{CommandId, Exit, Timestamp};
    use capstan_wire::control::ExitReport;
    use uuid::Uuid;

    use super::*;
    use crate::folder::{ExitRecord, StartRecord};

    fn folder(commands: &Path) -> (CommandId, Folder) {
        let id = CommandId(Uuid::new_v4());
        (id, Folder::new(commands.join(id.to_string())))
    }

    /// A command's folder whose command has run.
    fn over(commands: &Path) -> (CommandId, Folder) {
        let (id, folder) = folder(commands);
        let at = Timestamp(1);
        let start = StartRecord {
            id,
            at,
            boot: String::new(),
            uptime: None,
            group: None,
        };
        fs::create_dir_all(folder.path()).unwrap();
        folder.reserve_exit().unwrap();
        assert!(folder.start(&start).unwrap());
        let report = ExitReport {
            exit: Exit::Code(0),
            duration_ms: 1,
            log_length: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        folder
            .write_exit(&ExitRecord::new(id, at, report, b""), b"")
            .unwrap();
        (id, folder)
    }

    #[tokio::test]
    async fn a_folder_goes_by_what_its_record_says_and_a_spare_one_is_used_once() {
        let state = tempfile::tempdir().unwrap();
        let commands = state.path();
        let ((id, kept), (_, other)) = (over(commands), over(commands));
        // As a daemon leaves them that is killed while it clears away, or a crash of the machine that takes a name back.
        fs::rename(kept.path(), commands.join("spare-7")).unwrap();
        assert!(other.recycle(&commands.join("spare-1")).unwrap());
        let spares = Spares::open(commands.to_owned()).unwrap();
        assert_eq!(kept.started().unwrap().map(|record| record.id), Some(id));
        // A command whose order was on its way already keeps its folder, and costs no spare one.
        assert!(!spares.make(&kept));
        let ((_, next), (_, last)) = (folder(commands), folder(commands));
        assert!(spares.make(&next) && !next.was_started());
        assert!(!spares.make(&last));
    }
}
