//! What differs between operating systems: processes and their trees, signals, facts about the machine.
//!
//! The supervisor and the daemon use only what this file re-exports, so that another system is another file
//! here.

use std::collections::BTreeMap;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as tree;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as tree;
mod unix;

pub use tree::{
    Group, adopt_descendants, boot_text, can_group, clear_groups, descendants, kill_descendants, kill_group,
    left_behind, marked, own_program, uptime,
};
pub use unix::{
    Alarm, hostname, is_disk_full, leave_session, make_private, reap, send, send_group, set_nonblocking,
    shell, stop_signal, sync_folder, wait_readable, write_private,
};

/// The environment variable that every process of a command inherits; its value is the command's id.
pub const MARK: &str = "CAPSTAN_COMMAND";

/// What a process tree can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Please end (and wake up for it, if stopped).
    Terminate,
    /// End now.
    Kill,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What asking for ended children gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child has ended and is gone.
    Child(u32, Ended),
    /// There are children, and none of them has ended.
    NoneYet,
    /// There are no children, so that (where descendants are adopted) there are no descendants either.
    NoChildren,
}

/// What is known about this machine, for people and for label rules.
pub fn facts() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut facts = BTreeMap::from([
        ("os".to_owned(), std::env::consts::OS.to_owned()),
        ("arch".to_owned(), std::env::consts::ARCH.to_owned()),
        ("cores".to_owned(), cores.to_string()),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    facts.extend(hostname().map(|name| ("hostname".to_owned(), name)));
    facts.extend(tree::facts());
    facts
}
