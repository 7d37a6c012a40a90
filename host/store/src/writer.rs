//! The only task that writes. It takes all units that wait, runs them in one transaction with a savepoint around each,
//! commits once, and then answers everybody: a unit that fails costs the others nothing, and one sync serves them all.

mod unit;

use std::any::Any;
use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use capstan_model::{EventId, Timestamp};

use crate::bells::{Bells, Peal};
use crate::charge::{self, Charge};
use crate::dialect::Pools;
use crate::events::{self, Draft};
use crate::sql::Conn;
use crate::{Away, Error, Owner};

use unit::{Place, run_unit};

/// How many units may wait before who asks for more has to.
const QUEUE: usize = 1024;
/// The most units of one transaction: beyond that a commit's cost is shared well enough.
const GROUP: usize = 128;
/// The pauses between attempts to connect again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// How long units wait for a connection before they are told that there is none.
const PATIENCE: Duration = Duration::from_secs(20);
/// A database that answers nothing for so long is out of reach, whatever the connection believes.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a writer that has nothing to write sees whether it still could.
const LOOK: Duration = Duration::from_secs(5);

/// What a unit works on: the connection within its transaction.
pub(crate) struct Tx {
    conn: Conn,
    pub installation: Uuid,
    /// Events that wait to be written.
    pub events: Vec<(Timestamp, Draft)>,
    /// Whether the bell is to ring once this is committed, though there may be no event.
    rings: bool,
    /// Whether the bell for work is to ring, too.
    work: bool,
    /// The schedulers that an event waits for.
    told: BTreeSet<String>,
}

impl std::ops::Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl std::ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Tx {
    /// Rings the bell after the commit, also if there is no event.
    pub fn ring(&mut self) {
        self.rings = true;
    }

    /// Rings the bell for work after the commit.
    pub fn ring_for_work(&mut self) {
        self.work = true;
    }

    /// Rings that scheduler's own bell after the commit.
    pub fn ring_for_scheduler(&mut self, name: &str) {
        self.told.insert(name.to_owned());
    }
}

type Work = Box<dyn for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<Box<dyn Any + Send>, Error>> + Send>;

struct Unit {
    work: Work,
    answer: oneshot::Sender<Result<Box<dyn Any + Send>, Error>>,
}

/// A master that wants to take charge.
struct Claim {
    owner: Owner,
    away: Away,
    now: Timestamp,
    answer: oneshot::Sender<Result<u64, Error>>,
}

enum Message {
    Unit(Unit),
    Claim(Claim),
    Close(oneshot::Sender<()>),
}

/// Where units are handed in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<Message>);

impl Queue {
    /// Runs `work` in a transaction; answers when that is committed.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        let work: Work = Box::new(move |tx| {
            work(tx)
                .map(|done| done.map(|value| Box::new(value) as Box<dyn Any + Send>))
                .boxed()
        });
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Message::Unit(Unit { work, answer }))
            .await
            .map_err(|_| Error::Closed)?;
        let value = answered.await.map_err(|_| Error::Closed)??;
        value.downcast().map(|value| *value).map_err(|_| Error::Closed)
    }

    /// Takes charge of the database; answers the epoch that has begun.
    pub async fn claim(&self, owner: Owner, away: Away, now: Timestamp) -> Result<u64, Error> {
        let (answer, answered) = oneshot::channel();
        let claim = Claim {
            owner,
            away,
            now,
            answer,
        };
        self.0
            .send(Message::Claim(claim))
            .await
            .map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Lets what waits be written, then ends the writer.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Message::Close(done)).await.is_ok() {
            // An error means that the writer has ended already.
            let _ = closed.await;
        }
    }
}

pub(crate) struct Writer {
    pools: Pools,
    installation: Uuid,
    bells: Bells,
    messages: mpsc::Receiver<Message>,
    conn: Option<Conn>,
    /// Once a master has it.
    charge: Option<Charge>,
}

impl Writer {
    pub fn new(pools: Pools, installation: Uuid, bells: Bells) -> (Queue, Self) {
        let (sender, messages) = mpsc::channel(QUEUE);
        (
            Queue(sender),
            Self {
                pools,
                installation,
                bells,
                messages,
                conn: None,
                charge: None,
            },
        )
    }

    /// Serves until it is closed or nobody is left who could ask.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(GROUP);
        while self.receive(&mut waiting).await > 0 {
            let mut units = Vec::with_capacity(waiting.len());
            let (mut claim, mut close) = (None, None);
            for message in waiting.drain(..) {
                match message {
                    Message::Unit(unit) => units.push(unit),
                    Message::Claim(wanted) => claim = Some(wanted),
                    Message::Close(done) => close = Some(done),
                }
            }
            if !units.is_empty() {
                self.serve(units).await;
            }
            if let Some(claim) = claim {
                let Claim {
                    owner,
                    away,
                    now,
                    answer,
                } = claim;
                // Who asked may have gone.
                let _ = answer.send(self.take_charge(owner, away, now).await);
            }
            if let Some(done) = close {
                drop(self.conn.take());
                self.pools.close().await;
                drop(self.charge.take());
                // Nobody waits for the end any more: then nobody needs to know.
                let _ = done.send(());
                return;
            }
        }
    }

    /// The next messages. Meanwhile it sees from time to time whether the charge of the database was lost.
    async fn receive(&mut self, waiting: &mut Vec<Message>) -> usize {
        loop {
            if !self.charge.as_ref().is_some_and(Charge::may_be_lost) {
                return self.messages.recv_many(waiting, GROUP).await;
            }
            match tokio::time::timeout(LOOK, self.messages.recv_many(waiting, GROUP)).await {
                Ok(count) => return count,
                Err(_) => self.look().await,
            }
        }
    }

    /// Finds out whether this could still write. Without the server nobody can: that is left to the next look.
    async fn look(&mut self) {
        let error = match self.connect().await {
            Ok(mut conn) => match answered(control(&mut conn, "SELECT 1")).await {
                Ok(()) => {
                    self.conn = Some(conn);
                    return;
                }
                Err(error) => {
                    conn.discard();
                    error
                }
            },
            Err(error) => error,
        };
        tracing::warn!(%error, "the database cannot be written to now");
    }

    async fn take_charge(&mut self, owner: Owner, away: Away, now: Timestamp) -> Result<u64, Error> {
        let mut conn = self.connect().await?;
        // Its own lock would be in the way.
        drop(self.charge.take());
        match Charge::take(&mut conn, &owner, self.installation).await {
            Ok(charge) => (self.conn, self.charge) = (Some(conn), Some(charge)),
            Err(error) => {
                conn.discard();
                return Err(error);
            }
        }
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |tx| {
            async move {
                let epoch = charge::begin_epoch(tx, &owner, away, now).await?;
                Ok(Box::new(epoch) as Box<dyn Any + Send>)
            }
            .boxed()
        });
        self.serve(vec![Unit { work, answer }]).await;
        let epoch = answered.await.map_err(|_| Error::Closed)??;
        let epoch = epoch.downcast().map(|epoch| *epoch).map_err(|_| Error::Closed)?;
        if let Some(charge) = &mut self.charge {
            charge.begun(epoch);
        }
        Ok(epoch)
    }

    async fn serve(&mut self, units: Vec<Unit>) {
        let conn = match self.begin().await {
            Ok(conn) => conn,
            Err(error) => return refuse(units.into_iter().map(|unit| unit.answer), &error),
        };
        let mut tx = Tx {
            conn,
            installation: self.installation,
            events: Vec::new(),
            rings: false,
            work: false,
            told: BTreeSet::new(),
        };
        let alone = units.len() == 1;
        let mut done = Vec::with_capacity(units.len());
        let mut units = units.into_iter();
        for unit in units.by_ref() {
            let place = match (alone, done.is_empty()) {
                (true, _) => Place::Alone,
                (false, true) => Place::First,
                (false, false) => Place::Later,
            };
            match answered(run_unit(&mut tx, unit.work, place)).await {
                Ok(result) => done.push((unit.answer, result)),
                Err(error) => {
                    tx.conn.discard();
                    let answers = done.into_iter().map(|(answer, _)| answer).chain([unit.answer]);
                    return refuse(answers.chain(units.map(|unit| unit.answer)), &error);
                }
            }
        }
        let peal = Peal {
            bell: tx.rings,
            work: tx.work,
            told: std::mem::take(&mut tx.told),
            touched: tx.events.iter().filter_map(|(_, event)| event.about()).collect(),
        };
        let (conn, newest) = match commit(tx).await {
            Ok(committed) => committed,
            Err(error) => {
                if matches!(error, Error::CommitUnknown { .. }) {
                    self.bells.commit_unknown();
                }
                return refuse(done.into_iter().map(|(answer, _)| answer), &error);
            }
        };
        self.conn = Some(conn);
        self.bells.ring(peal, newest);
        for (answer, result) in done {
            // Who asked may have gone; what was written stays.
            let _ = answer.send(result);
        }
    }

    /// A connection in a fresh transaction. A connection that was lost while it was idle is replaced, with growing
    /// pauses.
    async fn begin(&mut self) -> Result<Conn, Error> {
        let began = Instant::now();
        let mut pause = PAUSES[0];
        loop {
            let error = match self.try_begin().await {
                Ok(conn) => return Ok(conn),
                Err(error) => error,
            };
            match &error {
                Error::Unavailable { reason } if began.elapsed() + pause < PATIENCE => {
                    tracing::warn!(reason, "the database cannot be reached; trying again");
                }
                _ => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    async fn try_begin(&mut self) -> Result<Conn, Error> {
        let mut conn = self.connect().await?;
        let begin = conn.begin_statement();
        match answered(control(&mut conn, begin)).await {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.discard();
                Err(error)
            }
        }
    }

    /// The writer's connection: the one that it has, or a new one that has taken charge of the database anew.
    async fn connect(&mut self) -> Result<Conn, Error> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        if let Some(owner) = self.bells.displaced.borrow().clone() {
            return Err(Error::Displaced {
                owner: Box::new(owner),
            });
        }
        let mut conn = self
            .pools
            .writer()
            .await
            .map_err(|error| Error::from_driver("connect", &error))?;
        let Some(charge) = &mut self.charge else {
            return Ok(conn);
        };
        match answered(charge.renew(&mut conn)).await {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.discard();
                if let Error::Displaced { owner } = &error {
                    tracing::error!(%owner, "another master has taken the database over");
                    self.bells.displaced.send_replace(Some((**owner).clone()));
                }
                Err(error)
            }
        }
    }
}

/// Writes the events and commits; answers the newest of them. A transaction that cannot be committed is lost.
async fn commit(mut tx: Tx) -> Result<(Conn, Option<EventId>), Error> {
    let events = std::mem::take(&mut tx.events);
    let newest = match events.is_empty() {
        true => Ok(None),
        false => answered(events::write(&mut tx.conn, events)).await,
    };
    let mut conn = tx.conn;
    let committed = match newest {
        Ok(newest) => match answered(control(&mut conn, "COMMIT")).await {
            Ok(()) => Ok(newest),
            Err(Error::Unavailable { reason }) if conn.commit_may_be_unknown() => {
                Err(Error::CommitUnknown { reason })
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match committed {
        Ok(newest) => Ok((conn, newest)),
        Err(error) => {
            conn.discard();
            Err(error)
        }
    }
}

/// Bounds the wait for a database. Who gets this error discards the connection: it may still be at it.
async fn answered<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let done = tokio::time::timeout(SILENCE, work).await;
    done.unwrap_or_else(|_| {
        Err(Error::Unavailable {
            reason: format!("no answer for {} s", SILENCE.as_secs()),
        })
    })
}

async fn control(conn: &mut Conn, statement: &'static str) -> Result<(), Error> {
    let done = conn.control(statement).await;
    done.map_err(|error| Error::from_driver(statement, &error))
}

fn refuse(answers: impl Iterator<Item = oneshot::Sender<Result<Box<dyn Any + Send>, Error>>>, error: &Error) {
    tracing::error!(%error, "a transaction failed");
    for answer in answers {
        // Who asked may have gone.
        let _ = answer.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests;
