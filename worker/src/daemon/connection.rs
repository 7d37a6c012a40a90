//! One connection to the master: the control stream both ways, and a stream for each log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use capstan_client::Connection;
use capstan_model::CommandId;
use capstan_wire::close::Code;
use capstan_wire::control::{FromMaster, FromWorker};
use capstan_wire::session::Violation;
use capstan_wire::session::worker::Action;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::{Daemon, lock, log, tell};

/// The master answers a greeting within this.
const WELCOME: Duration = Duration::from_secs(20);

/// How often supervisors are told that the master is there.
const BEAT: Duration = Duration::from_secs(1);

/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Messages that wait for the master to read them; one that reads none of so many is stuck.
const WAITING: usize = 4096;

/// Messages that wait for us.
const READ_AHEAD: usize = 16;

/// How a connection ended.
pub enum End {
    /// We were told to stop.
    Told,
    /// The master said that dialling again is useless.
    Dismissed(String),
    /// Dial again; why, for people.
    Lost(String),
}

/// Why a conversation cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Link(#[from] capstan_client::Error),
    #[error("a task of the connection failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("the master did not answer the greeting within {WELCOME:?}")]
    NoWelcome,
    #[error("the master reads none of {WAITING} messages")]
    Stuck,
    #[error("{0}")]
    Log(#[from] log::Error),
    #[error("the state folder could not be written: {0}")]
    State(#[from] std::io::Error),
    #[error("the master says: {reason}")]
    Goodbye { reason: String, fatal: bool },
    #[error("told to stop")]
    Told,
}

impl Broken {
    fn code(&self) -> Code {
        match self {
            Self::Violation(Violation::Fenced { .. }) => Code::Fenced,
            Self::Violation(_) | Self::Link(capstan_client::Error::Message(_)) => Code::Protocol,
            Self::NoWelcome => Code::Silent,
            Self::Stuck => Code::Stuck,
            Self::Goodbye { .. } => Code::Done,
            Self::Told | Self::Link(_) | Self::Task(_) | Self::Log(_) | Self::State(_) => Code::Ending,
        }
    }
}

/// What belongs to one connection.
struct Talk {
    connection: quinn::Connection,
    outbound: mpsc::Sender<FromWorker>,
    logs: BTreeMap<CommandId, Arc<Notify>>,
    tasks: JoinSet<Result<(), Broken>>,
    /// Streams of logs that could not be read to their end. Dropped, they would look finished.
    given_up: Vec<quinn::SendStream>,
}

impl Daemon {
    /// Talks to the master until the connection ends.
    pub(super) async fn converse(&mut self, connection: Connection) -> End {
        let address = connection.address();
        let begun = tokio::select! {
            begun = Talk::begin(connection.quinn().clone()) => begun,
            () = self.stop.cancelled() => Err(Broken::Told),
        };
        let broken = match begun {
            Ok((mut talk, inbound)) => {
                let broken = match self.talk(&mut talk, inbound, address).await {
                    Ok(never) => match never {},
                    Err(broken) => broken,
                };
                if matches!(broken, Broken::Told) {
                    talk.say_goodbye().await;
                }
                // Before the streams are dropped: a dropped stream looks finished to the peer.
                talk.connection
                    .close((broken.code() as u32).into(), broken.to_string().as_bytes());
                broken
            }
            Err(broken) => broken,
        };
        lock(&self.session).disconnected();
        connection.close(broken.code(), &broken.to_string()).await;
        match broken {
            Broken::Told => End::Told,
            Broken::Goodbye { reason, fatal: true } => End::Dismissed(reason),
            other => End::Lost(other.to_string()),
        }
    }

    async fn talk(
        &mut self,
        talk: &mut Talk,
        mut inbound: mpsc::Receiver<FromMaster>,
        address: SocketAddr,
    ) -> Result<Infallible, Broken> {
        // One that could not be kept on disk before is kept now, or nothing is done for this master.
        let epoch = lock(&self.session).epoch_seen();
        if epoch > self.state.epoch_seen() {
            self.state.remember_epoch(epoch)?;
        }
        let greeting = lock(&self.session).connected(self.hello());
        self.act(talk, greeting, address)?;
        let welcome_by = tokio::time::Instant::now() + WELCOME;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let actions = tokio::select! {
                Some(message) = inbound.recv() => lock(&self.session).received(message)?,
                Some(news) = self.news.recv() => {
                    tell(&mut self.commands, &self.session, &mut self.started, news)
                }
                Some(ended) = talk.tasks.join_next() => match ended? {
                    // One log that cannot be read ends its command, not the conversation about all others.
                    Err(Broken::Log(log::Error::Spool { id, source, stream, .. })) => {
                        talk.given_up.push(*stream);
                        let reason = format!("its log could not be read on the worker: {source}");
                        lock(&self.session).unreadable(id, reason)
                    }
                    other => {
                        other?;
                        continue;
                    }
                },
                _ = beat.tick() => {
                    match lock(&self.session).is_ready() {
                        true => self.commands.beat(),
                        false if tokio::time::Instant::now() > welcome_by => return Err(Broken::NoWelcome),
                        false => {}
                    }
                    continue;
                }
                error = talk.connection.closed() => return Err(capstan_client::Error::from(error).into()),
                () = self.stop.cancelled() => return Err(Broken::Told),
            };
            self.act(talk, actions, address)?;
        }
    }

    /// Carries out what the session decided, in its order.
    fn act(&mut self, talk: &mut Talk, actions: Vec<Action>, address: SocketAddr) -> Result<(), Broken> {
        for action in actions {
            match action {
                Action::Send(message) => talk.outbound.try_send(message).map_err(|_| Broken::Stuck)?,
                Action::RememberEpoch(epoch) => self.state.remember_epoch(epoch)?,
                Action::Start { id, spec, secrets } => {
                    tracing::info!(command = %id, "starts");
                    self.commands.start(id, *spec, secrets);
                }
                Action::OpenLog { id, offset } => self.open_log(talk, id, offset),
                Action::LogReady(id) => talk
                    .logs
                    .get(&id)
                    .into_iter()
                    .for_each(|ready| ready.notify_one()),
                Action::Kill { id, reason } => {
                    tracing::info!(command = %id, reason, "is stopped");
                    self.commands.stop(id, &reason);
                }
                Action::Remove(id) => {
                    talk.logs.remove(&id);
                    self.commands.forget(id);
                }
                Action::Ready => self.announce(address),
                Action::Close { reason, fatal } => return Err(Broken::Goodbye { reason, fatal }),
            }
        }
        Ok(())
    }

    fn open_log(&self, talk: &mut Talk, id: CommandId, offset: u64) {
        let Some(folder) = self.commands.folder(id) else {
            return;
        };
        let ready = Arc::new(Notify::new());
        talk.logs.insert(id, ready.clone());
        let (connection, session) = (talk.connection.clone(), self.session.clone());
        talk.tasks
            .spawn(async move { Ok(log::send(connection, session, id, offset, folder, ready).await?) });
    }

    /// Standard output belongs to whoever started us: scripts wait for this line.
    fn announce(&self, address: SocketAddr) {
        println!("capstan-worker {} is connected to {address}", self.member.name);
        tracing::info!(%address, "connected");
        self.commands.beat();
    }
}

impl Talk {
    async fn begin(connection: quinn::Connection) -> Result<(Self, mpsc::Receiver<FromMaster>), Broken> {
        let (send, receive) = connection.open_bi().await.map_err(capstan_client::Error::from)?;
        let (inbound_from, inbound) = mpsc::channel(READ_AHEAD);
        let (outbound, outbound_to) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        tasks.spawn(write_control(send, outbound_to));
        tasks.spawn(read_control(receive, inbound_from));
        Ok((
            Self {
                connection,
                outbound,
                logs: BTreeMap::new(),
                tasks,
                given_up: Vec::new(),
            },
            inbound,
        ))
    }

    async fn say_goodbye(&mut self) {
        if self.outbound.try_send(FromWorker::Leaving).is_err() {
            return;
        }
        // The writer ends when nobody can send any more, and when the master has what was sent.
        let (nobody, _) = mpsc::channel(1);
        self.outbound = nobody;
        let written = async { while let Some(Ok(Ok(()))) = self.tasks.join_next().await {} };
        let _ = tokio::time::timeout(FAREWELL, written).await;
    }
}

async fn write_control(
    mut stream: quinn::SendStream,
    mut messages: mpsc::Receiver<FromWorker>,
) -> Result<(), Broken> {
    // Before any log: a log may take all the room there is.
    let _ = stream.set_priority(1);
    while let Some(message) = messages.recv().await {
        capstan_client::send(&mut stream, &message).await?;
    }
    // Only a goodbye ends it; it is said when the master has it.
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Err(Broken::Told)
}

async fn read_control(
    mut stream: quinn::RecvStream,
    messages: mpsc::Sender<FromMaster>,
) -> Result<(), Broken> {
    while let Some(message) = capstan_client::receive(&mut stream).await? {
        if messages.send(message).await.is_err() {
            return Ok(());
        }
    }
    // The connection's own end, which says why, follows.
    std::future::pending().await
}
