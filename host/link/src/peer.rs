//! A connected worker: its control stream, its session, and the tasks that serve it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use capstan_model::{Clock, CommandId, CommandSpec, EnvValue, Exit, Timestamp};
use capstan_wire::close::Code;
use capstan_wire::control::{self, ExitReport, FromMaster, FromWorker, Hello, MAX_MESSAGE};
use capstan_wire::session::{Master as Session, Violation, master::Action};
use quinn::{Connection, ReadExactError, RecvStream, SendStream};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use crate::link::Shared;
use crate::seats::Leave;
use crate::serve::{self, End};
use crate::{Connected, Port, logs};

/// Messages that wait for a worker to read them; one that lets them pile up is cut off.
const OUTBOX: usize = 1024;

/// How long a worker may take to hear our goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the worker's next connection waits until what was received on this one is stored. A disk that hangs does not
/// decide who serves: what is stored after that is known by its offset, and is not stored twice.
const SETTLE: Duration = Duration::from_secs(1);

/// Pings in each idle time, at least: one that is lost does not end a connection.
const PINGS: u32 = 4;

/// A silent worker is noticed within the idle time: looked for so many times in it …
const LOOKS: u32 = 10;
/// … and cut off after so many looks in a row that found nothing new.
const SILENT_LOOKS: u32 = 9;

/// See the module.
pub(crate) struct Peer {
    name: String,
    connection: Connection,
    port: Arc<dyn Port>,
    clock: Arc<dyn Clock>,
    hello: Hello,
    since: Timestamp,
    heard: AtomicI64,
    /// Pings that it has answered.
    answers: AtomicU64,
    leaving: AtomicBool,
    session: Mutex<Session>,
    outbox: mpsc::Sender<Vec<u8>>,
    leave: Arc<Leave>,
    tasks: TaskTracker,
}

/// Serves a member's connection to its end, and says why it ended.
pub(crate) async fn serve(
    name: String,
    connection: &Connection,
    arrival: u64,
    shared: &Shared,
    permit: OwnedSemaphorePermit,
) -> Result<(), End> {
    let (to, from, hello, session) = greet(&name, connection, shared).await?;
    let leave = Arc::new(Leave::of(arrival));
    let _seat = tokio::select! {
        seat = shared.seats.claim(&name, &leave, connection) => seat?,
        (end, _) = leave.given() => return Err(end),
        lost = connection.closed() => return Err(End::lost(&lost)),
        () = shared.shutdown.cancelled() => return Err(End::new(Code::Ending, "the master ends")),
    };
    // Who was revoked while it waited for its seat was not among those who were sent away.
    serve::member(connection, shared).await?;
    let resumes = shared.port.hello(name.clone(), hello.clone()).await;
    let resumes = resumes.map_err(|reason| End::new(Code::NotAdmitted, reason))?;
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let now = shared.options.clock.now();
    let peer = Arc::new(Peer {
        name,
        connection: connection.clone(),
        port: shared.port.clone(),
        clock: shared.options.clock.clone(),
        hello,
        since: now,
        heard: AtomicI64::new(now.0),
        answers: AtomicU64::new(0),
        leaving: AtomicBool::new(false),
        session: Mutex::new(session),
        outbox,
        leave,
        tasks: TaskTracker::new(),
    });
    let end = peer
        .clone()
        .welcome_and_run(resumes, (to, messages), from, shared, permit)
        .await;
    shared
        .port
        .disconnected(peer.name.clone(), peer.last_heard(), end.reason.clone())
        .await;
    Err(end)
}

/// The worker opens the control stream and speaks first.
async fn greet(
    name: &str,
    connection: &Connection,
    shared: &Shared,
) -> Result<(SendStream, RecvStream, Hello, Session), End> {
    let first = async {
        let (to, mut from) = connection.accept_bi().await.map_err(|error| End::lost(&error))?;
        let message = receive::<FromWorker>(&mut from, MAX_MESSAGE).await?;
        Ok((to, from, message))
    };
    let (to, from, message) = tokio::time::timeout(shared.options.greeting, first)
        .await
        .map_err(|_| End::new(Code::Silent, "expected a hello"))??;
    let message = message.ok_or_else(|| End::protocol("expected a hello, found the end of the stream"))?;
    let mut session = Session::new(shared.options.installation, shared.options.epoch, name.to_owned());
    match session.received(message).map_err(violated)?.into_iter().next() {
        Some(Action::Greet(hello)) => Ok((to, from, hello, session)),
        _ => Err(End::protocol("expected a hello")),
    }
}

impl Peer {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The worker has said something just now.
    pub fn heard(&self) {
        self.heard.store(self.clock.now().0, Ordering::Relaxed);
    }

    /// The connection has to end.
    pub fn leave(&self, end: End) {
        self.leave.give(end, false);
    }

    fn last_heard(&self) -> Timestamp {
        Timestamp(self.heard.load(Ordering::Relaxed))
    }

    pub fn status(&self) -> Connected {
        Connected {
            name: self.name.clone(),
            address: self.connection.remote_address(),
            hello: self.hello.clone(),
            since: self.since,
            last_heard: self.last_heard(),
            leaving: self.leaving.load(Ordering::Relaxed),
        }
    }

    /// Gives an order. Orders reach the worker in the order in which they were given.
    pub fn order(&self, order: impl FnOnce(&mut Session) -> Vec<Action>) {
        if let Err(end) = self.act(|session| Ok(order(session))) {
            self.leave(end);
        }
    }

    /// Sends a command. One that does not fit into a message, or that the worker would not understand, ends as not started.
    pub fn start(self: &Arc<Self>, id: CommandId, spec: CommandSpec, secrets: BTreeMap<String, String>) {
        if let Some(lacks) = lacks(&spec, self.hello.minor) {
            return self.refuse_start(
                id,
                format!(
                    "the program of worker `{}` is version {}, which cannot {lacks}; upgrade it",
                    self.name, self.hello.version
                ),
            );
        }
        let order = FromMaster::Start {
            id,
            spec: Box::new(spec),
            secrets,
        };
        let error = match (control::encode(&order), order) {
            (Ok(_), FromMaster::Start { id, spec, secrets }) => {
                return self.order(|session| session.start(id, spec, secrets));
            }
            (Err(error), _) => error.to_string(),
            (Ok(_), _) => return,
        };
        self.refuse_start(
            id,
            format!("the command does not fit into a message to its worker: {error}"),
        );
    }

    fn refuse_start(self: &Arc<Self>, id: CommandId, reason: String) {
        let exit = Exit::NotStarted(reason);
        let report = ExitReport {
            exit,
            duration_ms: 0,
            log_length: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        let peer = self.clone();
        self.tasks.spawn(async move {
            if let Err(end) = peer
                .carry_out(&*peer.port, vec![Action::Completed(id, report)])
                .await
            {
                peer.leave(end);
            }
        });
    }

    /// Asks the session.
    pub fn session<T>(&self, ask: impl FnOnce(&mut Session) -> Result<T, Violation>) -> Result<T, End> {
        ask(&mut self.session.lock().unwrap_or_else(PoisonError::into_inner)).map_err(violated)
    }

    /// Tells the session, and sends what it wants sent before anybody else can. Returns what else is to be done.
    pub fn act(
        &self,
        event: impl FnOnce(&mut Session) -> Result<Vec<Action>, Violation>,
    ) -> Result<Vec<Action>, End> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = Vec::new();
        for action in event(&mut session).map_err(violated)? {
            match action {
                Action::Send(message) => self.send(&message)?,
                other => rest.push(other),
            }
        }
        Ok(rest)
    }

    /// Tells the port.
    pub async fn carry_out(&self, port: &dyn Port, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            match action {
                Action::Send(message) => self.send(&message)?,
                Action::Started(id, at) => port.started(self.name.clone(), id, at).await,
                Action::Completed(id, report) => {
                    let recorded = port.exited(self.name.clone(), id, report).await;
                    let failed =
                        |reason| End::new(Code::Storage, format!("the end of command {id}: {reason}"));
                    recorded.map_err(failed)?;
                }
                Action::Leaving => self.leaving.store(true, Ordering::Relaxed),
                Action::Alive => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
                Action::Greet(_) => {}
            }
        }
        Ok(())
    }

    fn send(&self, message: &FromMaster) -> Result<(), End> {
        let bytes = control::encode(message).map_err(End::protocol)?;
        match self.outbox.try_send(bytes) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(End::new(
                Code::Stuck,
                format!("expected the worker to read, found {OUTBOX} messages unread"),
            )),
            // The connection ends anyway.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    async fn welcome_and_run(
        self: Arc<Self>,
        resumes: Vec<control::Resume>,
        outgoing: (SendStream, mpsc::Receiver<Vec<u8>>),
        from: RecvStream,
        shared: &Shared,
        permit: OwnedSemaphorePermit,
    ) -> End {
        let rest = match self.act(|session| session.welcome(resumes)) {
            Ok(rest) => rest,
            Err(end) => return end,
        };
        drop(permit);
        tracing::info!(worker = self.name, address = %self.connection.remote_address(), "a worker is connected");
        self.tasks.spawn(write(outgoing.0, outgoing.1));
        shared.seats.occupy(self.clone());
        shared.port.ready(
            self.name.clone(),
            self.hello.commands.iter().map(|held| held.id).collect(),
        );
        self.tasks.spawn(self.clone().read(from, rest));
        self.tasks.spawn(logs::accept(self.clone(), self.port.clone()));
        let (end, fatal) = self.until_the_end(shared).await;
        shared.seats.vacate(&self.name);
        self.say_goodbye(&end, fatal).await;
        self.settle().await;
        end
    }

    async fn until_the_end(&self, shared: &Shared) -> (End, bool) {
        let mut ping = interval(shared.options.ping.min(shared.options.idle / PINGS));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(shared.options.idle / LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut confirmed, mut silent) = (self.confirmed(), 0);
        let mut nonce = 0;
        loop {
            tokio::select! {
                lost = self.connection.closed() => return (End::lost(&lost), false),
                order = self.leave.given() => return order,
                () = shared.shutdown.cancelled() => return (End::new(Code::Ending, "the master ends"), false),
                _ = look.tick() => {
                    // Said aloud, because a connection that times out says nothing to the other end, which may still hear us.
                    let now = self.confirmed();
                    silent = if now == confirmed { silent + 1 } else { 0 };
                    confirmed = now;
                    if silent >= SILENT_LOOKS {
                        return (End::new(Code::Silent, silence(&shared.options)), false);
                    }
                }
                _ = ping.tick() => {
                    nonce += 1;
                    if let Err(end) = self.send(&FromMaster::Ping { nonce }) {
                        return (end, false);
                    }
                }
            }
        }
    }

    /// Changes as long as pings arrive and word of that comes back, so not where one direction is dead, whichever. An answer may
    /// be held up behind logs that are not stored yet; then the measured round trip changes with each confirmation by QUIC.
    fn confirmed(&self) -> (u64, Duration) {
        (self.answers.load(Ordering::Relaxed), self.connection.rtt())
    }

    /// A peer that keeps to the rules is told why before the connection is closed, and closes it itself.
    async fn say_goodbye(&self, end: &End, fatal: bool) {
        let polite = matches!(
            end.code,
            Code::Replaced | Code::Ending | Code::NotAdmitted | Code::Storage
        );
        let goodbye = FromMaster::Goodbye {
            reason: end.reason.clone(),
            fatal,
        };
        if polite && self.connection.close_reason().is_none() && self.send(&goodbye).is_ok() {
            let _late = tokio::time::timeout(FAREWELL, self.connection.closed()).await;
        }
        end.close(&self.connection);
    }

    /// What has been received is stored before the worker's next connection asks where to go on.
    async fn settle(&self) {
        self.tasks.close();
        if tokio::time::timeout(SETTLE, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                worker = self.name,
                "log bytes are still being stored after their connection has ended"
            );
        }
    }

    async fn read(self: Arc<Self>, mut from: RecvStream, first: Vec<Action>) {
        let mut actions = first;
        let end = loop {
            if let Err(end) = self.carry_out(&*self.port, actions).await {
                break end;
            }
            let message = match receive(&mut from, MAX_MESSAGE).await {
                Ok(Some(message)) => message,
                Ok(None) => break End::new(Code::Done, "the worker has ended the conversation"),
                Err(end) => break end,
            };
            self.heard();
            match self.act(|session| session.received(message)) {
                Ok(rest) => actions = rest,
                Err(end) => break end,
            }
        };
        self.leave(end);
    }
}

fn silence(options: &crate::Options) -> String {
    let length = options.idle / LOOKS * SILENT_LOOKS;
    format!(
        "expected a sign of life within {} s, found none",
        length.as_secs_f32()
    )
}

async fn write(mut to: SendStream, mut messages: mpsc::Receiver<Vec<u8>>) {
    // Logs are many and can wait; orders are few.
    let _open = to.set_priority(1);
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return };
                if to.write_all(&message).await.is_err() {
                    return;
                }
            }
            // The worker wants no more, or the connection is gone.
            _ = to.stopped() => return,
        }
    }
}

/// Reads one message, length first; `None` at the proper end of the stream.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut RecvStream,
    max: usize,
) -> Result<Option<T>, End> {
    let mut prefix = [0; 4];
    match from.read_exact(&mut prefix).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(broken(&error)),
    }
    let length = control::decode_length(prefix).map_err(End::protocol)?;
    if length > max {
        return Err(End::protocol(format!(
            "expected a message of at most {max} bytes, found a length of {length}"
        )));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)
        .await
        .map_err(|error| broken(&error))?;
    control::decode(&bytes).map(Some).map_err(End::protocol)
}

fn broken(error: &ReadExactError) -> End {
    match error {
        ReadExactError::FinishedEarly(_) => {
            End::protocol("expected the rest of a message, found the end of the stream")
        }
        ReadExactError::ReadError(quinn::ReadError::ConnectionLost(lost)) => End::lost(lost),
        ReadExactError::ReadError(error) => End::protocol(error),
    }
}

fn violated(violation: Violation) -> End {
    let code = if matches!(violation, Violation::Fenced { .. }) {
        Code::Fenced
    } else {
        Code::Protocol
    };
    End::new(code, violation)
}

/// What a command needs that a worker of that minor version does not know: it would not understand the order.
fn lacks(spec: &CommandSpec, minor: u32) -> Option<&'static str> {
    if spec.program.is_file() && minor < capstan_wire::MINOR_WITH_FILES {
        return Some("hand over files");
    }
    let joins = spec.env.values().any(|value| matches!(value, EnvValue::Path(_)));
    (joins && minor < capstan_wire::MINOR_WITH_PATHS).then_some("join lists in an environment")
}
