//! The control stream: one bidirectional stream that the worker opens, length-prefixed CBOR messages both ways.
//!
//! A message is a map with a `type`. Unknown fields are ignored, an unknown `type` decodes as `Unknown`: a peer of
//! another minor version stays understandable.

use std::collections::BTreeMap;

use capstan_model::{CommandId, CommandSpec, Exit, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest control message.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FromWorker {
    /// The first message on a connection.
    Hello(Hello),
    /// The command's supervisor runs. Answers `Start`, also when it had been started before.
    Started {
        /// Which command.
        id: CommandId,
        /// When, by the worker's clock.
        at: Timestamp,
    },
    /// The command has ended and its spool is complete. Repeated after a reconnect until `Forget`.
    Exited {
        /// Which command.
        id: CommandId,
        /// How, and how much it wrote.
        report: ExitReport,
    },
    /// Answers `Ping`.
    Pong {
        /// As in the `Ping`.
        nonce: u64,
    },
    /// The worker ends: it takes no new commands; running ones go on under their supervisors.
    Leaving,
    /// A message of a newer minor version.
    #[serde(other)]
    Unknown,
}

/// What a master says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FromMaster {
    /// Answers `Hello`.
    Welcome(Welcome),
    /// Run this command, or attach to it if it was started before.
    Start {
        /// Which command.
        id: CommandId,
        /// What to run.
        spec: Box<CommandSpec>,
        /// Values of the secrets that the specification names; kept in memory only, masked in the log.
        secrets: BTreeMap<String, String>,
    },
    /// Stop the command's process tree.
    Kill {
        /// Which command.
        id: CommandId,
        /// Why, for its log and its `Exit::Killed`.
        reason: String,
    },
    /// How much of the command's log has arrived and how much of it is on disk at the master.
    Ack {
        /// Which command.
        id: CommandId,
        /// The offset up to which bytes have arrived.
        received: u64,
        /// The offset up to which they survive the master's death; the worker may forget what is below.
        durable: u64,
    },
    /// The command's end is durable at the master: remove what is kept of it.
    Forget {
        /// Which command.
        id: CommandId,
    },
    /// Answer with `Pong`.
    Ping {
        /// Any number.
        nonce: u64,
    },
    /// The connection ends for this reason; reconnecting is useless if `fatal`.
    Goodbye {
        /// For the worker's log.
        reason: String,
        /// Whether the worker should stop trying (revoked, replaced by its double).
        fatal: bool,
    },
    /// A message of a newer minor version.
    #[serde(other)]
    Unknown,
}

/// Who connects, and what it still holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// `PROTOCOL_MINOR` of the worker.
    pub minor: u32,
    /// The version of the worker's program.
    pub version: String,
    /// Changes whenever the machine or its state folder starts anew.
    pub boot: Uuid,
    /// How many builds it wants at a time.
    pub slots: u32,
    /// What people called it for.
    pub labels: Vec<String>,
    /// Operating system, architecture, cores, host name …: for people and for label rules.
    pub facts: BTreeMap<String, String>,
    /// The highest master epoch that it has seen; it refuses a lower one.
    pub epoch_seen: u64,
    /// Every command that it holds.
    pub commands: Vec<Held>,
}

/// A command that a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Which command.
    pub id: CommandId,
    /// The length of its spool: the log's offset at the worker.
    pub length: u64,
    /// Its end, if it has ended.
    pub exit: Option<ExitReport>,
}

/// The end of a command as its supervisor recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// How it ended.
    pub exit: Exit,
    /// From start to end, by the worker's monotonic clock.
    pub duration_ms: u64,
    /// The final length of the log, in frame bytes: the command is complete when the master has stored so much.
    pub log_length: u64,
    /// Payload bytes of standard output.
    pub stdout_bytes: u64,
    /// Payload bytes of standard error.
    pub stderr_bytes: u64,
}

/// What the master makes of a `Hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// `PROTOCOL_MINOR` of the master.
    pub minor: u32,
    /// The installation's identity; a worker belongs to one.
    pub installation: Uuid,
    /// The master's epoch; never lower than one that the worker has seen.
    pub epoch: u64,
    /// The worker's name, as the master knows it.
    pub name: String,
    /// What to do with each command of the `Hello`.
    pub commands: Vec<Resume>,
}

/// What to do with a command that the worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// Which command.
    pub id: CommandId,
    /// Where its log goes on, or that nobody needs it any more.
    pub action: ResumeAction,
}

/// See [`Resume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeAction {
    /// Send the log from this offset: the master has what is below.
    From(u64),
    /// Stop it if it runs, and remove it.
    Forget,
}

/// Why bytes are no control message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too long to be read into memory.
    #[error("expected a control message of 1 to {MAX_MESSAGE} bytes, found a length of {0}")]
    Length(usize),
    /// No CBOR, or CBOR of another shape.
    #[error("expected a control message, found {0}")]
    Malformed(String),
}

/// Encodes one message with its length (u32, big-endian) before it.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; 4];
    ciborium::into_writer(message, &mut bytes).map_err(|e| Error::Malformed(e.to_string()))?;
    let length = bytes.len() - 4;
    check_length(length)?;
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(bytes)
}

/// The length of the message that follows this prefix, if it may be read.
pub fn decode_length(prefix: [u8; 4]) -> Result<usize, Error> {
    let length = u32::from_be_bytes(prefix) as usize;
    check_length(length)?;
    Ok(length)
}

/// Decodes one message, without its length.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    check_length(bytes.len())?;
    ciborium::de::from_reader_with_recursion_limit(bytes, 64).map_err(|e| Error::Malformed(describe(e)))
}

fn describe(error: ciborium::de::Error<std::io::Error>) -> String {
    use ciborium::de::Error::{Io, RecursionLimitExceeded, Semantic, Syntax};
    match error {
        Io(_) => "the end within it".to_owned(),
        Syntax(at) => format!("no CBOR at byte {at}"),
        Semantic(_, what) => what,
        RecursionLimitExceeded => "values nested too deep".to_owned(),
    }
}

fn check_length(length: usize) -> Result<(), Error> {
    if (1..=MAX_MESSAGE).contains(&length) {
        Ok(())
    } else {
        Err(Error::Length(length))
    }
}

#[cfg(test)]
mod tests {
    use ciborium::cbor;
    use proptest::prelude::*;

    use super::*;

    fn bytes(value: &ciborium::Value) -> Vec<u8> {
        encode(value).unwrap()[4..].to_vec()
    }

    #[test]
    fn a_newer_peer_stays_understandable() {
        let newer = cbor!({"type" => "teleport", "where" => [1, {"a" => null}]}).unwrap();
        assert_eq!(decode::<FromWorker>(&bytes(&newer)).unwrap(), FromWorker::Unknown);
        assert_eq!(decode::<FromMaster>(&bytes(&newer)).unwrap(), FromMaster::Unknown);
        let longer = cbor!({"type" => "pong", "mood" => "good", "nonce" => 7}).unwrap();
        assert_eq!(
            decode::<FromWorker>(&bytes(&longer)).unwrap(),
            FromWorker::Pong { nonce: 7 }
        );
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let id = CommandId(Uuid::from_u128(5));
        let exit = Exit::NotStarted("no such program".to_owned());
        let report = ExitReport {
            exit,
            duration_ms: 1,
            log_length: 2,
            stdout_bytes: 3,
            stderr_bytes: 4,
        };
        let held = Held {
            id,
            length: 2,
            exit: Some(report.clone()),
        };
        let hello = Hello {
            minor: 1,
            version: "0.1.0".to_owned(),
            boot: Uuid::from_u128(9),
            slots: 4,
            labels: vec!["gpu".to_owned()],
            facts: [("os".to_owned(), "linux".to_owned())].into(),
            epoch_seen: 3,
            commands: vec![held],
        };
        for message in [
            FromWorker::Hello(hello),
            FromWorker::Exited { id, report },
            FromWorker::Leaving,
        ] {
            let bytes = encode(&message).unwrap();
            let (prefix, body) = bytes.split_first_chunk::<4>().unwrap();
            assert_eq!(decode_length(*prefix).unwrap(), body.len());
            assert_eq!(decode::<FromWorker>(body).unwrap(), message);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        let reason = "x".repeat(MAX_MESSAGE);
        assert!(matches!(
            encode(&FromMaster::Goodbye { reason, fatal: false }),
            Err(Error::Length(_))
        ));
    }

    #[test]
    fn errors_say_what_was_found() {
        let error = |bytes: &[u8]| decode::<FromMaster>(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(error(b""), @"expected a control message of 1 to 1048576 bytes, found a length of 0");
        insta::assert_snapshot!(error(b"\xff"), @"expected a control message, found invalid type: break, expected non-break");
        insta::assert_snapshot!(error(&[0xa1; 20]), @"expected a control message, found the end within it");
        insta::assert_snapshot!(error(&[0x81; 200]), @"expected a control message, found invalid type: sequence, expected str or bytes");
        insta::assert_snapshot!(error(&bytes(&cbor!({"type" => "ping"}).unwrap())), @"expected a control message, found missing field `nonce`");
        insta::assert_snapshot!(error(&bytes(&cbor!({"type" => "ping", "nonce" => "seven"}).unwrap())), @r#"expected a control message, found invalid type: string "seven", expected u64"#);
    }

    proptest! {
        #[test]
        fn noise_is_refused_without_harm(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _any = decode::<FromWorker>(&noise);
            let _any = decode::<FromMaster>(&noise);
        }
    }
}
