//! Small disks, which can be filled without harm to anything else: a tmpfs in a mount namespace that only one program sees.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::Farm;

/// Whether this machine lets us have a mount namespace; that needs root. Says so if it does not.
pub fn is_allowed() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let allowed = tried.is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("LEFT OUT: no private mount namespace is allowed here (it needs root)");
    }
    allowed
}

impl Farm {
    /// From its next start on the master sees a disk of this size (`2m`) at `folder`, which is made.
    pub fn on_small_disk(&mut self, folder: &Path, size: &str) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs {} && exec \"$@\"",
            folder.display()
        );
        self.wrap_master(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
        Ok(())
    }
}
