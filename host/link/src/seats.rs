//! Who is connected. Each worker has one seat; of two connections of one worker, the newer gets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use capstan_wire::close::Code;
use quinn::Connection;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::peer::Peer;
use crate::serve::End;

/// The order to leave, given once to one connection.
#[derive(Debug, Default)]
pub(crate) struct Leave {
    /// The connection's number: a later one has a higher one.
    arrival: u64,
    order: OnceLock<(End, bool)>,
    given: CancellationToken,
}

impl Leave {
    /// For the connection with this number.
    pub fn of(arrival: u64) -> Self {
        Self {
            arrival,
            ..Self::default()
        }
    }

    /// The connection has to end; `fatal` tells the worker not to come back. The first order counts.
    pub fn give(&self, end: End, fatal: bool) {
        let _earlier_one_counts = self.order.set((end, fatal));
        self.given.cancel();
    }

    /// Waits for the order.
    pub async fn given(&self) -> (End, bool) {
        self.given.cancelled().await;
        self.order
            .get()
            .cloned()
            .unwrap_or_else(|| (End::new(Code::Done, "asked to leave"), false))
    }
}

/// All seats, by the worker's name.
#[derive(Default)]
pub(crate) struct Seats(Mutex<HashMap<String, Seat>>);

#[derive(Default)]
struct Seat {
    /// The newest connection that wants the seat.
    newest: Option<Arc<Leave>>,
    /// Held by the connection that has it, from before its hello until after its disconnection was told.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Who can be sent orders.
    peer: Option<Arc<Peer>>,
}

impl Seats {
    /// Waits for the seat; whoever has it, or waits for it, is told to leave. What came late out of its admission, so that its
    /// worker has given it up and dialled again, or has closed it, takes nobody's seat.
    pub async fn claim(
        &self,
        name: &str,
        leave: &Arc<Leave>,
        connection: &Connection,
    ) -> Result<OwnedMutexGuard<()>, End> {
        if let Some(lost) = connection.close_reason() {
            return Err(End::lost(&lost));
        }
        let lock = {
            let mut seats = self.lock();
            let seat = seats.entry(name.to_owned()).or_default();
            if seat
                .newest
                .as_ref()
                .is_some_and(|known| known.arrival > leave.arrival)
            {
                let reason = "a later connection of the same worker was admitted first";
                return Err(End::new(Code::Replaced, reason));
            }
            if let Some(older) = seat.newest.replace(leave.clone()) {
                let reason = format!(
                    "the worker `{name}` has connected again, from {}; if that is another machine with a copy of this folder, \
                     invite it under a name of its own",
                    connection.remote_address()
                );
                older.give(End::new(Code::Replaced, reason), true);
            }
            seat.lock.clone()
        };
        Ok(lock.lock_owned().await)
    }

    /// From now on the worker can be sent orders.
    pub fn occupy(&self, peer: Arc<Peer>) {
        let name = peer.name().to_owned();
        self.lock().entry(name).or_default().peer = Some(peer);
    }

    /// It no longer can.
    pub fn vacate(&self, name: &str) {
        if let Some(seat) = self.lock().get_mut(name) {
            seat.peer = None;
        }
    }

    /// The worker, if it is connected.
    pub fn peer(&self, name: &str) -> Option<Arc<Peer>> {
        self.lock().get(name)?.peer.clone()
    }

    /// Every connected worker, in no order.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.lock()
            .values()
            .filter_map(|seat| seat.peer.clone())
            .collect()
    }

    /// Tells the newest connection of a worker to leave, also one that has not been welcomed yet.
    pub fn send_away(&self, name: &str, end: End, fatal: bool) -> bool {
        let newest = self.lock().get(name).and_then(|seat| seat.newest.clone());
        newest.map(|leave| leave.give(end, fatal)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
