//! The commands that steps wait for: started on a worker at most once per id, finished when every log byte is durable.
//!
//! Steps call [`Commands::start`] and [`Commands::wait`]; the link's events come in through `workers`. What is here is in
//! memory: after a restart it is built again from the store as steps ask for their commands once more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use capstan_link::Handle as Link;
use capstan_logs::Writer;
use capstan_model::{CommandId, CommandSpec, Completion};
use tokio::sync::watch;

/// A command that some step waits for.
pub(crate) struct Flight {
    pub worker: String,
    pub spec: CommandSpec,
    pub secrets: BTreeMap<String, String>,
    pub end: watch::Sender<Option<Completion>>,
}

/// All of them, and the log writers of those that have written something.
#[derive(Default)]
pub(crate) struct Commands {
    flights: Mutex<HashMap<CommandId, Arc<Flight>>>,
    writers: tokio::sync::Mutex<HashMap<CommandId, Arc<tokio::sync::Mutex<Writer>>>>,
}

impl Commands {
    /// Registers a command and sends it to its worker, if that is connected; else `hello` will.
    pub fn start(&self, id: CommandId, flight: Flight, link: &Link) {
        let flight = Arc::new(flight);
        let known = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.insert(id, flight.clone()).is_some()
        };
        if !known {
            send(id, &flight, link);
        }
    }

    /// The command, if a step waits for it.
    pub fn get(&self, id: CommandId) -> Option<Arc<Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Sends every command of `worker` that is not among `held`: they were lost on the way.
    pub fn resend(&self, worker: &str, held: &[CommandId], link: &Link) {
        let flights: Vec<_> = {
            let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let missing = flights.iter().filter(|(id, f)| f.worker == worker && !held.contains(id));
            missing.map(|(id, flight)| (*id, flight.clone())).collect()
        };
        for (id, flight) in flights {
            if flight.end.borrow().is_none() {
                send(id, &flight, link);
            }
        }
    }

    /// Tells the waiting step.
    pub fn finish(&self, id: CommandId, end: Completion) {
        if let Some(flight) = self.get(id) {
            flight.end.send_replace(Some(end));
        }
    }

    /// Forgets a command whose end its step has recorded.
    pub fn remove(&self, id: CommandId) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The writer of a command's log: one per command, so that appends of two connections cannot interleave.
    pub async fn writer(
        &self,
        id: CommandId,
        open: impl AsyncFnOnce() -> Result<Writer, capstan_logs::Error>,
    ) -> Result<Arc<tokio::sync::Mutex<Writer>>, capstan_logs::Error> {
        let mut writers = self.writers.lock().await;
        if let Some(writer) = writers.get(&id) {
            return Ok(writer.clone());
        }
        let writer = Arc::new(tokio::sync::Mutex::new(open().await?));
        writers.insert(id, writer.clone());
        Ok(writer)
    }

    /// The writer of a command's log, if it is open.
    pub async fn open_writer(&self, id: CommandId) -> Option<Arc<tokio::sync::Mutex<Writer>>> {
        self.writers.lock().await.get(&id).cloned()
    }

    /// Closes the writer of a command that has ended.
    pub async fn close_writer(&self, id: CommandId) {
        self.writers.lock().await.remove(&id);
    }
}

fn send(id: CommandId, flight: &Flight, link: &Link) {
    link.start(&flight.worker, id, flight.spec.clone(), flight.secrets.clone());
}
