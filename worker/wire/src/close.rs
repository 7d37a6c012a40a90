//! Why a connection or a stream is closed: the numbers that QUIC carries beside a reason for people.

use std::fmt;

/// An application error code of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// Everything was said.
    Done = 0,
    /// The peer broke the protocol; the reason says how.
    Protocol = 1,
    /// The worker shows no certificate, or one that is not (or no longer) welcome.
    NotAdmitted = 2,
    /// The same worker has connected again.
    Replaced = 3,
    /// The closing side ends.
    Ending = 4,
    /// The master could not store what it was sent; nothing is lost, the worker still has it.
    Storage = 5,
    /// The peer said nothing for too long.
    Silent = 6,
    /// On a log stream: nobody wants this log.
    Unwanted = 7,
    /// The master's epoch is older than one that the worker has seen.
    Fenced = 8,
    /// The peer does not read what it is sent.
    Stuck = 9,
}

impl Code {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Protocol,
        Self::NotAdmitted,
        Self::Replaced,
        Self::Ending,
        Self::Storage,
        Self::Silent,
        Self::Unwanted,
        Self::Fenced,
        Self::Stuck,
    ];

    /// The code of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|&code| u64::from(code as u32) == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Protocol => "protocol violated",
            Self::NotAdmitted => "not admitted",
            Self::Replaced => "replaced by a newer connection",
            Self::Ending => "ending",
            Self::Storage => "not stored",
            Self::Silent => "silent for too long",
            Self::Unwanted => "not wanted",
            Self::Fenced => "an old master",
            Self::Stuck => "does not read",
        })
    }
}
