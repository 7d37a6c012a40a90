//! A control group (cgroup v2) for each command, where this process may make one: the kernel ends all of it at once, also
//! what forks meanwhile, runs as another user or hides its origin.
//!
//! A supervisor enters a new group below its own, starts the command, which so is in the group from its first instruction,
//! and leaves before it ends the group. No controller is switched on, so that processes may be in a group that has groups
//! below it. Where any of this is refused there is no group, and `/proc` alone tells what belongs to a command.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGKILL;

/// Groups whose names begin so are ours.
const PREFIX: &str = "capstan-";

/// Somebody who clears empty groups away may meet one that is about to be entered.
const TRIES: u32 = 3;

/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_millis(500);

/// The group of one command.
#[derive(Debug)]
pub struct Group {
    /// Where this process was before.
    home: PathBuf,
    folder: PathBuf,
    inside: bool,
}

impl Group {
    /// Makes a group and enters it; `None` where that is not allowed.
    pub fn enter() -> Option<Self> {
        let home = own()?;
        for _ in 0..TRIES {
            let mut group = Self::make(home.clone())?;
            group.inside = true;
            if join(&group.folder, "0").is_ok() && own().as_ref() == Some(&group.folder) {
                return Some(group);
            }
            group.leave();
        }
        None
    }

    /// A new group below `home`. One that could not be ended at once is none.
    fn make(home: PathBuf) -> Option<Self> {
        let folder = home.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).ok()?;
        let group = Self {
            home,
            folder,
            inside: false,
        };
        if group.folder.join("cgroup.kill").exists() {
            return Some(group);
        }
        group.leave();
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Ends all that is in it, without this process, which leaves it first. Whether it could.
    pub fn kill(&mut self) -> bool {
        !self.is_inside() && end(&self.folder).is_ok()
    }

    /// Leaves and removes it. What still lives there keeps it.
    pub fn leave(mut self) {
        if !self.is_inside() {
            remove(&self.folder, GONE);
        }
    }

    /// Whether this process is in it in spite of all.
    fn is_inside(&mut self) -> bool {
        if self.inside {
            let _ = join(&self.home, "0");
            self.inside = own().is_none_or(|own| own.starts_with(&self.folder));
        }
        self.inside
    }
}

/// Whether a group can be made, entered and ended here: tried with a process that waits.
pub fn can_group() -> bool {
    (0..TRIES).any(|_| {
        own().and_then(Group::make).is_some_and(|group| {
            let ended = ends_a_process(&group.folder).unwrap_or(false);
            group.leave();
            ended
        })
    })
}

fn ends_a_process(group: &Path) -> io::Result<bool> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read line"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // A supervisor has to come out of it, too.
    let home = group.parent().unwrap_or(group);
    let told = [home, group]
        .into_iter()
        .try_for_each(|group| join(group, &child.id().to_string()))
        .and_then(|()| end(group));
    // This ends its input; so it ends in any case.
    let status = child.wait()?;
    Ok(told.is_ok() && status.signal() == Some(SIGKILL))
}

/// Ends all that is in the group at `path`, which a supervisor left that was killed, and removes it. For groups of ours
/// only.
pub fn kill_group(path: &Path) {
    let named = path.file_name().and_then(|name| name.to_str());
    let ours = named.is_some_and(|name| name.starts_with(PREFIX));
    let mounted = mount().is_some_and(|(at, _)| path.starts_with(at));
    if ours && mounted && own().is_none_or(|own| !own.starts_with(path)) && end(path).is_ok() {
        remove(path, GONE);
    }
}

/// Removes the empty groups of supervisors that were killed.
pub fn clear_groups() {
    let groups = own().and_then(|home| fs::read_dir(home).ok());
    for entry in groups.into_iter().flatten().flatten() {
        let named = entry.file_name();
        if named.to_str().is_some_and(|name| name.starts_with(PREFIX)) && is_empty(&entry.path()) {
            remove(&entry.path(), Duration::ZERO);
        }
    }
}

fn is_empty(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events"));
    events.is_ok_and(|events| events.lines().any(|line| line == "populated 0"))
}

const PROCS: &str = "cgroup.procs";

fn join(group: &Path, pid: &str) -> io::Result<()> {
    fs::write(group.join(PROCS), pid)
}

fn end(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.kill"), "1")
}

/// Removes the group and those below it, which the command may have made.
fn remove(group: &Path, patience: Duration) {
    let begun = Instant::now();
    loop {
        for entry in fs::read_dir(group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path(), Duration::ZERO);
            }
        }
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return,
        }
    }
}

/// The folder of this process's own group.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (at, root) = mount()?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    Some(at.join(below))
}

/// Where the groups are to be seen, and which of them is seen there.
fn mount() -> Option<(PathBuf, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (place.next()?, place.next()?);
        kind.starts_with("cgroup2 ").then(|| (at.into(), root.into()))
    })
}
