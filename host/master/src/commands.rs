//! The commands that steps wait for: started on a worker at most once per id, finished when every log byte is durable.
//!
//! Steps call [`Commands::start`] and [`Commands::wait`]; the link's events come in through `workers`. What is here is in
//! memory: after a restart it is built again from the store as steps ask for their commands once more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use capstan_link::Handle as Link;
use capstan_logs::Writer;
use capstan_model::{CommandId, CommandSpec, Completion, Exit, LogId};
use capstan_store::Record;
use tokio::sync::watch;

use crate::step;

/// The one writer of a command's log.
pub(crate) type LogWriter = Arc<tokio::sync::Mutex<Writer>>;

/// A command that some step waits for.
pub(crate) struct Flight {
    pub worker: String,
    pub spec: CommandSpec,
    pub secrets: BTreeMap<String, String>,
    /// Its log.
    pub log: LogId,
    pub end: watch::Sender<Option<Ended>>,
    /// Its worker has said that it runs.
    pub begun: AtomicBool,
    /// Why it is to be stopped, once that was asked for.
    pub kill: OnceLock<String>,
}

impl Flight {
    pub fn new(worker: &str, spec: CommandSpec, secrets: BTreeMap<String, String>, log: LogId) -> Self {
        Self {
            worker: worker.to_owned(),
            spec,
            secrets,
            log,
            end: watch::Sender::new(None),
            begun: AtomicBool::new(false),
            kill: OnceLock::new(),
        }
    }
}

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub completion: Completion,
    /// Bytes and lines of its log, where that is complete.
    pub log: Option<(u64, u64)>,
    /// Whether the store has it. If not, whoever takes it notes it.
    pub recorded: bool,
}

impl Ended {
    /// An end that the store has.
    pub fn recorded(completion: Completion) -> Self {
        Self {
            completion,
            log: None,
            recorded: true,
        }
    }

    /// What the store has to know of it.
    pub fn records(&self, id: CommandId, log: LogId) -> impl Iterator<Item = Record> + use<> {
        let end = (!self.recorded).then(|| Record::CommandEnd {
            id,
            completion: self.completion.clone(),
        });
        let complete = self
            .log
            .map(|(length, lines)| Record::LogComplete { log, length, lines });
        end.into_iter().chain(complete)
    }
}

/// All of them, and the log writers of those that have written something.
#[derive(Default)]
pub(crate) struct Commands {
    flights: Mutex<HashMap<CommandId, Arc<Flight>>>,
    /// What each worker held when it last connected.
    held: Mutex<HashMap<String, HashSet<CommandId>>>,
    writers: tokio::sync::Mutex<HashMap<CommandId, LogWriter>>,
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

    /// Registers a command that an earlier master sent.
    pub fn adopt(&self, id: CommandId, flight: Flight) {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .or_insert_with(|| Arc::new(flight));
    }

    /// The command, if a step waits for it.
    pub fn get(&self, id: CommandId) -> Option<Arc<Flight>> {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// Stops a command. One that its worker never got is not started any more.
    pub fn kill(&self, id: CommandId, reason: &str, link: &Link) {
        let Some(flight) = self.get(id) else { return };
        let reason = flight.kill.get_or_init(|| reason.to_owned());
        link.kill(&flight.worker, id, reason);
    }

    /// Has a worker stop whatever it runs, without waiting for how that ends.
    pub fn stop_all(&self, worker: &str, reason: &str, link: &Link) {
        for (id, _) in self.unfinished(worker) {
            link.kill(worker, id, reason);
        }
    }

    /// Brings a worker that has come back up to date: it gets what was lost on the way, and is told what to stop.
    pub fn resend(&self, worker: &str, held: &[CommandId], link: &Link) {
        for (id, flight) in self.unfinished(worker) {
            match (flight.kill.get(), held.contains(&id)) {
                (None, false) => send(id, &flight, link),
                (Some(reason), true) => {
                    link.kill(worker, id, reason);
                }
                // Running as it should.
                (None, true) => {}
                // Asked for after `hello` looked and before the worker could be given orders: it was never sent.
                (Some(reason), false) => {
                    let completion = step::without_output(Exit::Killed(reason.clone()));
                    let never_sent = Ended {
                        completion,
                        log: None,
                        recorded: false,
                    };
                    self.finish(id, never_sent);
                }
            }
        }
    }

    /// Notes what a worker holds as it connects.
    pub fn greeted(&self, worker: &str, held: &[CommandId]) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(worker.to_owned(), held.iter().copied().collect());
    }

    /// Whether the worker, when it last connected, held the command.
    pub fn holds(&self, worker: &str, id: CommandId) -> bool {
        let all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(worker).is_some_and(|held| held.contains(&id))
    }

    /// Whether the worker, when it last connected, did not hold the command.
    pub fn is_missing(&self, worker: &str, id: CommandId) -> bool {
        let all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(worker).is_some_and(|held| !held.contains(&id))
    }

    /// The commands in flight of a worker that does not hold them, and why each is to be stopped, if it is.
    pub fn missing(&self, worker: &str, held: &[CommandId]) -> Vec<(CommandId, Option<String>)> {
        let missing = self
            .unfinished(worker)
            .into_iter()
            .filter(|(id, _)| !held.contains(id));
        missing
            .map(|(id, flight)| (id, flight.kill.get().cloned()))
            .collect()
    }

    fn unfinished(&self, worker: &str) -> Vec<(CommandId, Arc<Flight>)> {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = flights
            .iter()
            .filter(|(_, f)| f.worker == worker && f.end.borrow().is_none());
        wanted.map(|(id, flight)| (*id, flight.clone())).collect()
    }

    /// Tells the waiting step, unless it was told of an end before: the first one stays. Answers the one that holds.
    pub fn finish(&self, id: CommandId, end: Ended) -> Ended {
        let Some(flight) = self.get(id) else { return end };
        let mut holds = end.clone();
        flight.end.send_if_modified(|known| match known {
            Some(known) => {
                // Recorded by now, if it was not before.
                known.recorded |= end.recorded;
                holds = known.clone();
                false
            }
            None => {
                *known = Some(end);
                true
            }
        });
        holds
    }

    /// Forgets a command whose end its step has recorded.
    pub fn remove(&self, id: CommandId) {
        self.flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// The writer of a command's log: one per command, so that appends of two connections cannot interleave.
    pub async fn writer(
        &self,
        id: CommandId,
        open: impl AsyncFnOnce() -> Result<Writer, capstan_logs::Error>,
    ) -> Result<LogWriter, capstan_logs::Error> {
        let mut writers = self.writers.lock().await;
        if let Some(writer) = writers.get(&id) {
            return Ok(writer.clone());
        }
        let writer = Arc::new(tokio::sync::Mutex::new(open().await?));
        writers.insert(id, writer.clone());
        Ok(writer)
    }

    /// The writer of a command's log, if it is open.
    pub async fn open_writer(&self, id: CommandId) -> Option<LogWriter> {
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

#[cfg(test)]
mod tests {
    use capstan_config::Operator;
    use capstan_model::{Program, SystemClock};
    use uuid::Uuid;

    use super::*;
    use crate::{Master, Options};

    fn spec() -> CommandSpec {
        CommandSpec {
            program: Program::Argv(vec!["true".to_owned()]),
            builder_dir: "b".to_owned(),
            workdir: String::new(),
            env: BTreeMap::new(),
            log: "stdio".to_owned(),
            idle_timeout_ms: None,
            total_timeout_ms: None,
            term_grace_ms: 0,
            orphan_timeout_ms: 0,
            capture_stdout: 0,
        }
    }

    /// Nobody else tells its step: the worker's hello was looked at before the stop, and the worker never hears of it.
    #[tokio::test]
    async fn a_command_that_is_stopped_during_a_greeting_ends() {
        // As the program does; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ci.star"), "").unwrap();
        let text = Operator::template().replace(":8010", ":0").replace(":9010", ":0");
        let options = Options {
            operator: Operator::parse(&text, folder.path()).unwrap(),
            built_in: &[],
            clock: Arc::new(SystemClock),
        };
        let handle = Master::start(options).await.unwrap().handle();
        let (commands, link) = (&handle.0.commands, handle.0.link().unwrap());
        let [stopped, running] = [(); 2].map(|()| CommandId(Uuid::new_v4()));
        for id in [stopped, running] {
            commands.start(id, Flight::new("w1", spec(), BTreeMap::new(), LogId(1)), link);
        }
        assert!(commands.missing("w1", &[]).iter().all(|(_, kill)| kill.is_none()));
        commands.kill(stopped, "enough", link);
        commands.resend("w1", &[], link);
        let ended = |id| commands.get(id).unwrap().end.borrow().clone();
        let end = ended(stopped).expect("an end that its step is told and notes");
        assert_eq!(end.completion.exit, Exit::Killed("enough".to_owned()));
        assert!(!end.recorded);
        assert!(ended(running).is_none());
    }
}
