//! Taking in connections: a bounded number of newcomers at a time, each in a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use capstan_wire::close::Code;
use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::Shared;
use crate::serve;

/// How long all workers together may take to hear our goodbye.
const FAREWELL: Duration = Duration::from_millis(1200);

pub(crate) async fn run(endpoint: &Endpoint, shared: Arc<Shared>, shutdown: CancellationToken) {
    let newcomers = Arc::new(Semaphore::new(shared.options.newcomers));
    let tasks = TaskTracker::new();
    loop {
        let incoming = tokio::select! {
            () = shutdown.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        take_in(incoming, &shared, &newcomers, &tasks);
    }
    shared.shutdown.cancel();
    tasks.close();
    // Who does not listen is cut off; the idle time-out of its worker does the rest.
    let _late = tokio::time::timeout(FAREWELL, tasks.wait()).await;
    endpoint.close(VarInt::from_u32(Code::Ending as u32), b"the master ends");
    let _late = tokio::time::timeout(FAREWELL / 4, endpoint.wait_idle()).await;
}

fn take_in(incoming: Incoming, shared: &Arc<Shared>, newcomers: &Arc<Semaphore>, tasks: &TaskTracker) {
    let Ok(permit) = newcomers.clone().try_acquire_owned() else {
        tracing::warn!(address = %incoming.remote_address(), "too many newcomers at a time, one is turned away");
        return incoming.refuse();
    };
    // Under pressure only addresses that answer are worth a handshake.
    if newcomers.available_permits() < shared.options.newcomers / 2 && !incoming.remote_address_validated() {
        // It can be retried: it was not validated.
        let _never = incoming.retry();
        return;
    }
    let arrival = shared.arrivals.fetch_add(1, Ordering::Relaxed);
    tasks.spawn(serve::newcomer(incoming, arrival, shared.clone(), permit));
}
