//! What must be gone when all builds have ended: processes of commands, and commands in the workers' folders.

use std::path::Path;

use anyhow::{Context as _, Result};

/// What every process of a command has in its environment.
const MARK: &[u8] = b"CAPSTAN_COMMAND=";

/// The processes of commands that work under `root`: their ids and command lines.
pub fn processes(root: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let root = root.as_os_str().as_encoded_bytes();
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let ours = all.filter_map(|entry| {
        // What cannot be read has ended, or is somebody else's.
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        (has(&environment, MARK) && has(&environment, root)).then(|| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            format!("process {}: {line}", entry.file_name().display())
        })
    });
    ours.collect()
}

/// The commands that a worker still keeps.
pub fn folders(worker: &Path) -> Result<Vec<String>> {
    let commands = worker.join("commands");
    let all =
        std::fs::read_dir(&commands).with_context(|| format!("failed to read {}", commands.display()))?;
    let names = all.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    // What is kept is for the next command.
    let kept = names.into_iter().filter(|name| !name.starts_with("spare-"));
    Ok(kept
        .map(|name| format!("command {name} of {}", worker.display()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use capstan_tests::{BOUND, wait_for};

    use super::*;

    #[test]
    fn a_process_that_is_left_over_is_found_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep")
            .arg("60")
            .env("CAPSTAN_COMMAND", "1")
            .env("PWD", root.path())
            .spawn()
            .unwrap();
        // Its environment is there when it has become the program, a moment after it was started.
        let found = wait_for("the process", BOUND, || {
            Ok(Some(processes(root.path())).filter(|found| !found.is_empty()))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap(), [format!("process {}: sleep 60 ", child.id())]);
        assert!(processes(root.path()).is_empty());
    }

    #[test]
    fn a_command_that_is_kept_is_found_and_a_spare_folder_is_none() {
        let worker = tempfile::tempdir().unwrap();
        assert!(folders(worker.path()).is_err());
        for name in ["spare-1", "0b4f"] {
            std::fs::create_dir_all(worker.path().join("commands").join(name)).unwrap();
        }
        let found = folders(worker.path()).unwrap();
        assert!(found.len() == 1 && found[0].contains("0b4f"), "{found:?}");
    }
}
