//! Commands of a simulated worker: each prints what a command prints at its beginning, and then runs until all are told to
//! end. Nothing is on a disk, and no process is started.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context as _, Result};
use capstan_model::{Channel, CommandId, Exit, Timestamp};
use capstan_wire::control::{self, ExitReport};
use capstan_wire::frame;
use capstan_wire::log_stream::Header;
use capstan_wire::session::worker::{Action, Worker as Session};
use quinn::{Connection, SendStream};
use tokio::sync::{mpsc, watch};

use super::News;

/// More than a log here has.
const PIECE: u64 = 64 * 1024;

/// What one worker does, over all of its connections.
pub(super) struct Work {
    pub session: Session,
    tell: mpsc::UnboundedSender<News>,
    end: watch::Receiver<bool>,
    epoch: u64,
    /// The logs of the commands that it holds, each written at once.
    logs: HashMap<CommandId, Vec<u8>>,
    running: Vec<CommandId>,
    streams: HashMap<CommandId, SendStream>,
}

impl Work {
    pub fn new(tell: mpsc::UnboundedSender<News>, end: watch::Receiver<bool>) -> Self {
        Self {
            session: Session::new(0),
            tell,
            end,
            epoch: 0,
            logs: HashMap::new(),
            running: Vec::new(),
            streams: HashMap::new(),
        }
    }

    pub fn disconnected(&mut self) {
        self.session.disconnected();
        self.streams.clear();
        self.epoch = 0;
    }

    /// Waits until commands are to end, and ends those that run.
    pub async fn end(&mut self) -> Vec<Action> {
        if self.running.is_empty() || self.end.wait_for(|end| *end).await.is_err() {
            std::future::pending::<()>().await;
        }
        let ended = std::mem::take(&mut self.running);
        ended
            .into_iter()
            .flat_map(|id| {
                let log_length = self.logs.get(&id).map_or(0, Vec::len) as u64;
                self.session.exited(id, report(log_length))
            })
            .collect()
    }

    /// Carries out what the session decided. Answers whether the conversation goes on.
    pub async fn act(
        &mut self,
        actions: Vec<Action>,
        connection: &Connection,
        to: &mut SendStream,
    ) -> Result<bool> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Send(message) => capstan_client::send(to, &message).await?,
                Action::RememberEpoch(seen) => self.epoch = seen,
                Action::Ready => self.tell(News::Arrived(self.epoch)),
                Action::Start { id, .. } => {
                    self.tell(News::Began);
                    actions.extend(self.begin(id));
                }
                Action::OpenLog { id, offset } => {
                    let mut stream = connection.open_uni().await?;
                    stream
                        .write_all(&control::encode(&Header { id, offset })?)
                        .await?;
                    self.streams.insert(id, stream);
                    if offset > 0 {
                        self.tell(News::Resumed);
                    }
                    self.copy(id).await?;
                }
                Action::LogReady(id) => self.copy(id).await?,
                Action::Remove(id) => {
                    self.logs.remove(&id);
                    self.streams.remove(&id);
                    self.running.retain(|running| *running != id);
                    self.tell(News::Forgot);
                }
                Action::Close { .. } => return Ok(false),
                Action::Kill { .. } => {
                    anyhow::bail!("expected that nobody stops a command, found {action:?}")
                }
            }
        }
        Ok(true)
    }

    fn begin(&mut self, id: CommandId) -> Vec<Action> {
        let mut log = Vec::new();
        frame::encode(&mut log, 0, Channel::Header, b"$ true\n");
        frame::encode(
            &mut log,
            1,
            Channel::Stdout,
            b"it has begun and now waits for something\n",
        );
        let length = log.len() as u64;
        self.logs.insert(id, log);
        self.running.push(id);
        let mut actions = self.session.started(id, Timestamp(1));
        actions.extend(self.session.grew(id, length));
        actions
    }

    async fn copy(&mut self, id: CommandId) -> Result<()> {
        while let Some(piece) = self.session.next_piece(id, PIECE) {
            let stream = self.streams.get_mut(&id).context("expected an open log")?;
            let log = self.logs.get(&id).context("expected a log")?;
            let (from, to) = (usize::try_from(piece.from)?, usize::try_from(piece.to)?);
            stream
                .write_all(log.get(from..to).context("expected a longer log")?)
                .await?;
            if piece.last {
                stream.finish()?;
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        // Nobody counts any more when the measurement is over.
        let _ = self.tell.send(news);
    }
}

fn report(log_length: u64) -> ExitReport {
    ExitReport {
        exit: Exit::Code(0),
        duration_ms: 1,
        log_length,
        stdout_bytes: 41,
        stderr_bytes: 0,
    }
}
