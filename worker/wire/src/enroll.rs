//! Joining: a join string pins the master's authority, and a one-time secret is exchanged for a certificate.

use serde::{Deserialize, Serialize};

use crate::join::Secret;

/// The longest request and the longest answer.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// What a worker sends on the enrol protocol's one bidirectional stream.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// The one-time secret of the join string.
    pub secret: Secret,
    /// A certificate signing request, DER; its key never leaves the worker.
    #[serde(with = "serde_bytes")]
    pub csr: Vec<u8>,
}

/// What the master answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// Welcome.
    Accepted {
        /// The worker's name, as the invitation has it.
        name: String,
        /// The worker's certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The authority's certificate, DER.
        #[serde(with = "serde_bytes")]
        authority: Vec<u8>,
    },
    /// Not welcome, and why.
    Refused {
        /// For people: used, expired, unknown …
        reason: String,
    },
}
