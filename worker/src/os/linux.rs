//! Linux: a subreaper inherits every orphan below it, and /proc tells who descends from whom.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use super::MARK;

/// Makes orphaned descendants children of this process, so that a double fork does not lose them.
pub fn adopt_descendants() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The living descendants of the process `ancestor`, itself excluded.
pub fn descendants(ancestor: u32) -> std::io::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in pids()?.filter_map(Process::read) {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if child.lives {
                found.push(child.pid);
            }
        }
    }
    Ok(found)
}

/// The living processes that carry the mark `value`, wherever they ended up. Those of other users cannot be
/// read.
pub fn marked(value: &str) -> std::io::Result<Vec<u32>> {
    let mark = format!("{MARK}={value}");
    let carries = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|b| *b == 0)
                .any(|variable| variable == mark.as_bytes())
        })
    };
    Ok(pids()?
        .filter(carries)
        .filter_map(Process::read)
        .filter(|p| p.lives)
        .map(|p| p.pid)
        .collect())
}

/// How this process starts another one of the very same program, also after its file was replaced; with the
/// name to show.
pub fn own_program() -> std::io::Result<(PathBuf, &'static str)> {
    Ok((PathBuf::from("/proc/self/exe"), "capstan-worker"))
}

/// A text that changes when the machine starts anew.
pub fn boot_text() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Facts that only this system tells.
pub fn facts() -> BTreeMap<String, String> {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(("memory_mb".to_owned(), (kib / 1024).to_string()))
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|text| ("kernel".to_owned(), text.trim().to_owned()));
    memory.into_iter().chain(kernel).collect()
}

fn pids() -> std::io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

struct Process {
    pid: u32,
    parent: u32,
    lives: bool,
}

impl Process {
    /// Reads `/proc/PID/stat`; `None` when the process has gone meanwhile.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The program's name may hold anything, parentheses and line ends too: the fields follow its last
        // parenthesis.
        let fields = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
        let fields: Vec<&str> = std::str::from_utf8(fields)
            .ok()?
            .split_ascii_whitespace()
            .collect();
        let state = *fields.first()?;
        let threads: u32 = fields.get(17)?.parse().ok()?;
        // A zombie whose first thread ended before the others is still at work.
        let lives = !matches!(state, "Z" | "X") || threads > 1;
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            lives,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_until_it_is_dead() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .env(MARK, "tree-test")
            .spawn()
            .unwrap();
        let me = std::process::id();
        assert!(descendants(me).unwrap().contains(&child.id()));
        // Between fork and exec the child still shows another environment.
        let begun = std::time::Instant::now();
        while marked("tree-test").unwrap() != [child.id()] {
            assert!(
                begun.elapsed().as_secs() < 10,
                "the child was never found by its mark"
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(me).unwrap().contains(&child.id()));
        assert!(marked("tree-test").unwrap().is_empty());
    }
}
