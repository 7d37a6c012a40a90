//! The session machines: what each end of a connection remembers and does, without clock, sockets or disk.
//!
//! The worker's daemon drives [`Worker`], which lives as long as the daemon; the master's link drives one [`Master`] per
//! connection. Both take events and return actions, to be carried out in their order. A log is a byte offset on both
//! sides: the worker sends from where the master's durable copy ends, the master ignores what it has and refuses gaps.
//!
//! ```text
//! worker                                   master
//!   Hello {epoch seen, held commands}  ->
//!                                      <-  Welcome {epoch, per command: from offset | forget}
//!   log streams from those offsets     ->
//!                                      <-  Ack {received, durable}
//!   Exited {log length}                ->    durable == log length: the end is recorded
//!                                      <-  Forget
//! ```

pub mod master;
pub mod worker;

#[cfg(test)]
mod model;
#[cfg(test)]
mod rules;

use capstan_model::CommandId;

pub use master::Master;
pub use worker::Worker;

use crate::frame;

/// The peer did what the protocol does not allow; the connection has to end. A worker keeps its commands and dials again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message that does not fit where the conversation is.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What could have come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A master from before a restart, or a second one on an old copy of the database.
    #[error(
        "expected a master of epoch {seen} or later, found epoch {found}; it was replaced, or runs on an old copy of its database"
    )]
    Fenced {
        /// The highest epoch that the worker has seen.
        seen: u64,
        /// The epoch of the master.
        found: u64,
    },
    /// Log bytes are missing.
    #[error("expected the log of command {id} to go on at or below offset {expected}, found offset {found}")]
    Gap {
        /// Whose log.
        id: CommandId,
        /// What has arrived so far.
        expected: u64,
        /// Where the peer went on.
        found: u64,
    },
    /// A log and its command's end contradict each other.
    #[error("expected the log of command {id} to be {expected} bytes long, as its end says, found {found}")]
    Length {
        /// Whose log.
        id: CommandId,
        /// What the end says.
        expected: u64,
        /// What has arrived.
        found: u64,
    },
    /// Two streams for one log.
    #[error("expected one log stream of command {0} on this connection, found another")]
    SecondStream(CommandId),
    /// The master has more of a log than there is.
    #[error("expected the log of command {id} to be acknowledged up to {sent} at most, found {found}")]
    Acknowledged {
        /// Whose log.
        id: CommandId,
        /// What was sent.
        sent: u64,
        /// What was acknowledged.
        found: u64,
    },
    /// Bytes in a log that are no frame.
    #[error("the log of command {id}: {error}")]
    Frame {
        /// Whose log.
        id: CommandId,
        /// What is wrong with them.
        error: frame::Error,
    },
    /// What came again is not what came before.
    #[error(
        "expected the log of command {id} to be the one that was sent before, found other frames around offset {offset}"
    )]
    Other {
        /// Whose log.
        id: CommandId,
        /// Where a frame should begin.
        offset: u64,
    },
    /// A log stream ended within a frame.
    #[error(
        "the log of command {id}: expected the rest of a frame, found the end of the stream after {pending} bytes of it"
    )]
    Torn {
        /// Whose log.
        id: CommandId,
        /// How much of the frame came.
        pending: usize,
    },
}
