//! A small disk under the master's logs: a tmpfs in a mount namespace of its own, so that it can be filled without harm to
//! anything else. The namespace is held by a process that does nothing, since it has to outlive the master.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use capstan_tests::BOUND;
use capstan_tests::process::{self, Process};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// Room for the logs of the seeds that one farm sees.
const SIZE: &str = "64m";

/// A mounted disk. Dropping it ends the namespace, and what was on it is gone.
#[derive(Debug)]
pub struct Disk {
    keeper: Process,
    logs: PathBuf,
}

impl Disk {
    /// Mounts one at the folder `logs`; `root` is where its keeper works.
    pub fn mount(logs: PathBuf, root: &Path) -> Result<Self> {
        std::fs::create_dir_all(&logs)?;
        let script = "mount -t tmpfs -o size=$2 tmpfs \"$1\" && echo mounted && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(&logs).arg(SIZE).current_dir(root);
        let mut keeper = Process::spawn(command, &root.join("disk.log"))?;
        keeper.wait_until_printed("mounted", BOUND)?;
        Ok(Self { keeper, logs })
    }

    /// What stands before the command line of a program that is to see the disk.
    pub fn wrapper(&self) -> [String; 3] {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        ["nsenter".to_owned(), namespace, "--".to_owned()]
    }

    /// Leaves no room on it.
    pub fn fill(&self) -> Result<()> {
        let file = File::create(self.filling()).context("failed to make a file on the small disk")?;
        let room = statvfs(&self.seen())?;
        let free = room.blocks_free() * room.fragment_size();
        // It may be less by now.
        for size in [free, free / 2, free / 4] {
            let allocated = fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(size.max(1))?);
            if allocated.is_ok() && size == free {
                break;
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.filling()).context("failed to remove a file of the small disk")
    }

    /// Copies what is on it into a folder, for somebody who looks for the reason of a failure.
    pub fn save(&self, to: &Path) -> Result<()> {
        let mut copy = Command::new("cp");
        copy.arg("--archive").arg(self.seen()).arg(to);
        process::run(copy, BOUND).map(drop)
    }

    /// The folder as it is seen from outside the namespace.
    fn seen(&self) -> PathBuf {
        let inside = self.logs.strip_prefix("/").unwrap_or(&self.logs);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    fn filling(&self) -> PathBuf {
        self.seen().join("filling")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use capstan_tests::small_disk;

    use super::*;

    #[test]
    fn a_full_disk_takes_no_byte_until_it_is_freed_and_is_nobody_elses() {
        if !small_disk::is_allowed() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::mount(root.path().join("logs"), root.path()).unwrap();
        let write = |name: &str| {
            let mut file = File::create(disk.seen().join(name))?;
            file.write_all(&[0; 64 << 10])
        };
        write("before").unwrap();
        disk.fill().unwrap();
        assert_eq!(
            write("during").unwrap_err().kind(),
            std::io::ErrorKind::StorageFull
        );
        disk.free().unwrap();
        write("after").unwrap();
        assert_eq!(std::fs::read_dir(root.path().join("logs")).unwrap().count(), 0);
        let size = std::fs::metadata(disk.seen().join("after")).unwrap().len();
        assert_eq!(size, 64 << 10);
    }
}
