//! The worker's end of the link: [`enroll`] once with a join string, [`connect`] from then on, and control messages over
//! the streams of a connection. The worker's daemon and the tests of the master's link use it.

mod dial;
mod enroll;
mod error;
mod messages;
mod pinned;

use std::time::Duration;

use zeroize::Zeroizing;

pub use dial::{Connection, connect};
pub use enroll::{Enrolled, enroll};
pub use error::Error;
pub use messages::{receive, send};

/// What makes a worker a member of a farm.
#[derive(Clone)]
pub struct Identity {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS #8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificate of the master's authority, DER: the only one that is trusted.
    pub authority: Vec<u8>,
}

/// How to dial.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long one address may take to answer and to prove who it is.
    pub handshake: Duration,
    /// A connection is over when nothing at all has come for so long; the master's limit counts if it is lower.
    pub idle: Duration,
    /// How often an idle connection shows that it lives: also how soon it learns from a restarted master that nobody knows it
    /// any more. That it lasts is seen to by the master's pings.
    pub keep_alive: Duration,
    /// Hand the system several packets at once; some networks and drivers announce it and then fail.
    pub segmentation_offload: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(3),
            segmentation_offload: true,
        }
    }
}
