//! Unix systems without a subreaper and control groups: the tree is what `ps` shows below the supervisor; a double fork
//! escapes it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{MARK, Told, send};

/// There are no control groups here.
#[derive(Debug)]
pub enum Group {}

impl Group {
    /// Not possible here.
    pub fn enter() -> Option<Self> {
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match *self {}
    }

    /// Ends all that is in it.
    pub fn kill(&mut self) -> bool {
        match *self {}
    }

    /// Leaves and removes it.
    pub fn leave(self) {
        match self {}
    }
}

/// Never.
pub fn can_group() -> bool {
    false
}

/// Nothing to do here.
pub fn kill_group(_path: &Path) {}

/// Nothing to do here.
pub fn clear_groups() {}

/// Not possible here: descendants that double-fork are found by their mark only.
pub fn adopt_descendants() -> io::Result<()> {
    Ok(())
}

/// The living descendants of the process `ancestor`, itself excluded.
pub fn descendants(ancestor: u32) -> io::Result<Vec<u32>> {
    let listing = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid=,stat="])
        .output()?;
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for line in String::from_utf8_lossy(&listing.stdout).lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [pid, parent, state, ..] = fields[..]
            && let (Ok(pid), Ok(parent)) = (pid.parse(), parent.parse())
            && !state.starts_with('Z')
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(parent) = open.pop() {
        let below = children.remove(&parent).unwrap_or_default();
        open.extend(&below);
        found.extend(below);
    }
    Ok(found)
}

/// Kills the living descendants of the process `ancestor`. Gives how many were found.
pub fn kill_descendants(ancestor: u32) -> io::Result<usize> {
    let found = descendants(ancestor)?;
    found.iter().for_each(|pid| send(*pid, Told::Kill));
    Ok(found.len())
}

/// The living processes that a dead supervisor left, as far as their marks tell.
pub fn left_behind(value: &str, _session: Option<u32>) -> io::Result<Vec<u32>> {
    marked(value)
}

/// The living processes that carry the mark `value`, as far as `ps` shows environments.
pub fn marked(value: &str) -> io::Result<Vec<u32>> {
    let listing = Command::new("ps")
        .args(["-A", "-E", "-o", "pid=,command="])
        .output()?;
    let mark = format!("{MARK}={value}");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let carriers = listing
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == mark));
    Ok(carriers
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect())
}

/// How this process starts another one of its own program; with the name to show.
pub fn own_program() -> io::Result<(PathBuf, &'static str)> {
    Ok((std::env::current_exe()?, "capstan-worker"))
}

/// A text that changes when the machine starts anew.
pub fn boot_text() -> String {
    let asked = Command::new("sysctl").args(["-n", "kern.boottime"]).output();
    asked
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// Not known here.
pub fn uptime() -> Option<Duration> {
    None
}

/// Facts that only this system tells.
pub fn facts() -> BTreeMap<String, String> {
    BTreeMap::new()
}
