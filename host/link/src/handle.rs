//! What the master may ask of connected workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use capstan_model::{CommandId, CommandSpec, Digest, Timestamp};
use capstan_wire::close::Code;
use capstan_wire::control::Hello;

use crate::seats::Seats;
use crate::serve::End;

/// Cheap to clone. Orders to a worker that is not connected are dropped: `hello` and `ready` of the next connection settle
/// what it has to do. The methods that give orders answer whether the worker was connected.
#[derive(Clone)]
pub struct Handle {
    seats: Arc<Seats>,
    authority: Digest,
}

/// A connected worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Connected {
    /// Its name.
    pub name: String,
    /// Where it dialled from.
    pub address: SocketAddr,
    /// What it said of itself.
    pub hello: Hello,
    /// When it was welcomed.
    pub since: Timestamp,
    /// When it last said something.
    pub last_heard: Timestamp,
    /// It ends, and wants no new commands.
    pub leaving: bool,
}

impl Handle {
    pub(crate) fn new(seats: Arc<Seats>, authority: Digest) -> Self {
        Self { seats, authority }
    }

    /// The authority's fingerprint, for join strings.
    pub fn authority(&self) -> Digest {
        self.authority
    }

    /// Sends a command; a worker that holds it already attaches to it.
    pub fn start(
        &self,
        worker: &str,
        id: CommandId,
        spec: CommandSpec,
        secrets: BTreeMap<String, String>,
    ) -> bool {
        self.seats
            .peer(worker)
            .map(|peer| peer.start(id, spec, secrets))
            .is_some()
    }

    /// Stops a command. It ends with `Exit::Killed` and this reason.
    pub fn kill(&self, worker: &str, id: CommandId, reason: &str) -> bool {
        self.seats
            .peer(worker)
            .map(|peer| peer.order(|session| session.kill(id, reason.to_owned())))
            .is_some()
    }

    /// The command's end is recorded, or nobody waits for it: the worker stops it if it runs, and removes it.
    pub fn forget(&self, worker: &str, id: CommandId) -> bool {
        self.seats
            .peer(worker)
            .map(|peer| peer.order(|session| session.forget(id)))
            .is_some()
    }

    /// Ends the worker's connection. It dials again, unless `fatal`; its commands go on.
    pub fn disconnect(&self, worker: &str, reason: &str, fatal: bool) -> bool {
        self.seats
            .send_away(worker, End::new(Code::NotAdmitted, reason), fatal)
    }

    /// Every connected worker, by name.
    pub fn connected(&self) -> Vec<Connected> {
        let mut all: Vec<_> = self.seats.peers().iter().map(|peer| peer.status()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Whether the worker can be sent orders now.
    pub fn is_connected(&self, worker: &str) -> bool {
        self.seats.peer(worker).is_some()
    }
}
