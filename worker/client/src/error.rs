//! Why a worker did not get through to its master.

use std::io;

use capstan_model::Digest;
use capstan_wire::close::Code;
use capstan_wire::control;

/// See the module. The texts fit after "failed to join" and "failed to connect".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A join string or a membership without an address.
    #[error("expected at least one address of the master, found none")]
    NoAddress,
    /// No such host.
    #[error("expected `{address}` to be host:port of the master: {source}")]
    Resolve {
        /// As it was given.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No socket for us.
    #[error("no UDP socket could be opened: {0}")]
    Socket(io::Error),
    /// What we hold is no membership.
    #[error("the certificate, the key or the authority of this worker cannot be used ({0}); join again")]
    Identity(String),
    /// Nobody answers there.
    #[error("nobody answers at {address}; is the master running, and does its UDP port reach this machine?")]
    Silent {
        /// As it was given.
        address: String,
    },
    /// Somebody else's master.
    #[error(
        "the master at {address} is not the one that this worker was invited by: expected an authority with the \
         fingerprint {}, found {}; ask for a new join string", .expected.short(), .found.short()
    )]
    Foreign {
        /// As it was given.
        address: String,
        /// The pinned authority.
        expected: Digest,
        /// What was shown instead.
        found: Digest,
    },
    /// The two ends do not trust or do not understand each other.
    #[error("no secure connection to {address}: {reason}")]
    Handshake {
        /// As it was given.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The master hung up and said why.
    #[error("the master closed the connection ({}): {reason}", code_text(.code))]
    Closed {
        /// Its code, if it is one that we know.
        code: Option<Code>,
        /// For people.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// The invitation is void.
    #[error("the master refused: {0}")]
    Refused(String),
    /// It answered with something else.
    #[error("the master's answer cannot be used: {0}")]
    Answer(String),
    /// A message that is none.
    #[error(transparent)]
    Message(#[from] control::Error),
    /// A stream ended too early.
    #[error("expected {expected}, found the end of the stream")]
    Ended {
        /// What should have come.
        expected: &'static str,
    },
}

impl Error {
    /// Whether the master said so itself: dialling another address of the same master does not help.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Closed { .. } | Self::Identity(_) | Self::Answer(_)
        )
    }
}

impl From<quinn::ConnectionError> for Error {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: Code::from_number(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            other => Self::Lost(other.to_string()),
        }
    }
}

fn code_text(code: &Option<Code>) -> String {
    code.map_or_else(
        || "for a reason of a newer version".to_owned(),
        |code| code.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let address = || "ci.example.org:9010".to_owned();
        let (expected, found) = (Digest::of(b"ours"), Digest::of(b"theirs"));
        insta::assert_snapshot!(Error::Foreign { address: address(), expected, found }, @"the master at ci.example.org:9010 is not the one that this worker was invited by: expected an authority with the fingerprint ae0bec9e9d33, found 4c55a8552a2c; ask for a new join string");
        insta::assert_snapshot!(Error::Silent { address: address() }, @"nobody answers at ci.example.org:9010; is the master running, and does its UDP port reach this machine?");
        let reason = "worker `w1` was revoked".to_owned();
        insta::assert_snapshot!(Error::Closed { code: Some(Code::NotAdmitted), reason }, @"the master closed the connection (not admitted): worker `w1` was revoked");
    }
}
