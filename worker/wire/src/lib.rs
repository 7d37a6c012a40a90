//! What a master and a worker say to each other, without I/O: log frames, control messages, session machines.
//!
//! Both ends upgrade separately: readers ignore fields and messages that they do not know, and a change that an older
//! peer would misread needs a new ALPN name.

pub mod close;
pub mod control;
pub mod enroll;
pub mod frame;
pub mod join;
pub mod log_stream;
pub mod session;

/// The protocol between a master and an enrolled worker.
pub const ALPN_WORKER: &[u8] = b"capstan-worker/1";

/// The protocol by which a worker joins.
pub const ALPN_ENROLL: &[u8] = b"capstan-enroll/1";

/// The name in the certificate of every master; which master it is, the authority says that issued the certificate.
pub const SERVER_NAME: &str = "capstan-master";

/// The minor version of the protocol that this build speaks.
pub const PROTOCOL_MINOR: u32 = 2;

/// The first minor version whose workers print files: an older one would not understand the order.
pub const MINOR_WITH_FILES: u32 = 1;

/// The first minor version whose workers join lists in an environment.
pub const MINOR_WITH_PATHS: u32 = 2;
