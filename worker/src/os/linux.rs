//! Linux: a subreaper inherits every orphan below it, /proc tells who descends from whom, and a control group ends at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{MARK, Told, send, send_group};

mod group;

pub use group::{Group, can_group, clear_groups, kill_group};

/// Makes orphaned descendants children of this process, so that a double fork does not lose them.
pub fn adopt_descendants() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The living descendants of the process `ancestor`, itself excluded.
pub fn descendants(ancestor: u32) -> std::io::Result<Vec<u32>> {
    let found = below(&[ancestor], Process::all()?);
    Ok(found.into_iter().map(|process| process.pid).collect())
}

/// Kills the living descendants of the process `ancestor`, and their process groups: what forks between a look and the
/// signal is in the group of the one that was seen. Gives how many were found.
pub fn kill_descendants(ancestor: u32) -> std::io::Result<usize> {
    let all = Process::all()?;
    let own = all
        .iter()
        .find(|process| process.pid == ancestor)
        .map(|process| process.group);
    let found = below(&[ancestor], all);
    let groups: BTreeSet<u32> = found.iter().map(|process| process.group).collect();
    for group in groups.into_iter().filter(|group| Some(*group) != own) {
        send_group(group, Told::Kill);
    }
    found.iter().for_each(|process| send(process.pid, Told::Kill));
    Ok(found.len())
}

fn below(ancestors: &[u32], all: Vec<Process>) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = ancestors.to_vec();
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if child.lives {
                found.push(child);
            }
        }
    }
    found
}

/// The living processes that carry the mark `value`, wherever they ended up. Those of other users cannot be
/// read.
pub fn marked(value: &str) -> std::io::Result<Vec<u32>> {
    let mark = format!("{MARK}={value}");
    let carries = |pid: u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|b| *b == 0)
                .any(|variable| variable == mark.as_bytes())
        })
    };
    let all = Process::all()?.into_iter();
    let found = all.filter(|process| process.lives && carries(process.pid));
    Ok(found.map(|process| process.pid).collect())
}

/// The living processes that a dead supervisor left: those that carry the mark `value`, those in its `session`, and what
/// descends from them. A number of a session is not given to another one as long as a process is in it.
pub fn left_behind(value: &str, session: Option<u32>) -> std::io::Result<Vec<u32>> {
    let mut found: BTreeSet<u32> = marked(value)?.into_iter().collect();
    let all = Process::all()?;
    let led = all
        .iter()
        .any(|process| Some(process.pid) == session && process.lives);
    let of_session = all
        .iter()
        .filter(|process| process.lives && Some(process.session) == session);
    if !led {
        found.extend(of_session.map(|process| process.pid));
    }
    let roots: Vec<u32> = found.iter().copied().collect();
    found.extend(below(&roots, all).into_iter().map(|process| process.pid));
    Ok(found.into_iter().collect())
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

/// How long this machine runs: a clock that nobody sets.
pub fn uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
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
    group: u32,
    session: u32,
    lives: bool,
}

impl Process {
    fn all() -> std::io::Result<Vec<Self>> {
        Ok(pids()?.filter_map(Self::read).collect())
    }

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
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
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
