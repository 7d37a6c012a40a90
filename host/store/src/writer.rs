//! The only task that writes. It takes all units that wait, runs them in one transaction with a savepoint around each,
//! commits once, and then answers everybody: a unit that fails costs the others nothing, and one sync serves them all.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use capstan_model::{EventId, Timestamp};

use crate::Error;
use crate::dialect::Pools;
use crate::events::{self, Draft};
use crate::sql::Conn;

/// How many units may wait before who asks for more has to.
const QUEUE: usize = 1024;
/// The most units of one transaction: beyond that a commit's cost is shared well enough.
const GROUP: usize = 128;
/// The pauses between attempts to connect again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// How long units wait for a connection before they are told that there is none.
const PATIENCE: Duration = Duration::from_secs(20);

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
}

type Work = Box<dyn for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<Box<dyn Any + Send>, Error>> + Send>;

struct Unit {
    work: Work,
    answer: oneshot::Sender<Result<Box<dyn Any + Send>, Error>>,
}

enum Message {
    Unit(Unit),
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
    bell: watch::Sender<i64>,
    work_bell: watch::Sender<()>,
    messages: mpsc::Receiver<Message>,
    conn: Option<Conn>,
}

impl Writer {
    pub fn new(
        pools: Pools,
        installation: Uuid,
        bell: watch::Sender<i64>,
        work_bell: watch::Sender<()>,
    ) -> (Queue, Self) {
        let (sender, messages) = mpsc::channel(QUEUE);
        (
            Queue(sender),
            Self {
                pools,
                installation,
                bell,
                work_bell,
                messages,
                conn: None,
            },
        )
    }

    /// Serves until it is closed or nobody is left who could ask.
    pub async fn run(mut self) {
        let mut waiting = Vec::with_capacity(GROUP);
        while self.messages.recv_many(&mut waiting, GROUP).await > 0 {
            let mut units = Vec::with_capacity(waiting.len());
            let mut close = None;
            for message in waiting.drain(..) {
                match message {
                    Message::Unit(unit) => units.push(unit),
                    Message::Close(done) => close = Some(done),
                }
            }
            if !units.is_empty() {
                self.serve(units).await;
            }
            if let Some(done) = close {
                drop(self.conn.take());
                self.pools.close().await;
                // Nobody waits for the end any more: then nobody needs to know.
                let _ = done.send(());
                return;
            }
        }
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
            match run_unit(&mut tx, unit.work, place).await {
                Ok(result) => done.push((unit.answer, result)),
                Err(error) => {
                    tx.conn.discard();
                    let answers = done.into_iter().map(|(answer, _)| answer).chain([unit.answer]);
                    return refuse(answers.chain(units.map(|unit| unit.answer)), &error);
                }
            }
        }
        let (rings, work) = (tx.rings, tx.work);
        let (conn, newest) = match commit(tx).await {
            Ok(committed) => committed,
            Err(error) => return refuse(done.into_iter().map(|(answer, _)| answer), &error),
        };
        self.conn = Some(conn);
        if rings || newest.is_some() {
            let newest = newest.map_or(0, |event| event.0);
            self.bell.send_modify(|last| *last = newest.max(*last));
        }
        if work {
            self.work_bell.send_replace(());
        }
        for (answer, result) in done {
            // Who asked may have gone; what was written stays.
            let _ = answer.send(result);
        }
    }

    /// A connection in a fresh transaction. A connection that was lost while it was idle is replaced, with growing
    /// pauses.
    async fn begin(&mut self) -> Result<Conn, Error> {
        let attempts = async {
            let mut pause = PAUSES[0];
            loop {
                let error = match self.try_begin().await {
                    Ok(conn) => return Ok(conn),
                    Err(error) => error,
                };
                let Error::Unavailable { reason } = &error else {
                    return Err(error);
                };
                tracing::warn!(reason, "the database cannot be reached; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES[1]);
            }
        };
        match tokio::time::timeout(PATIENCE, attempts).await {
            Ok(begun) => begun,
            Err(_) => Err(Error::Unavailable {
                reason: format!("no connection for {} s", PATIENCE.as_secs()),
            }),
        }
    }

    async fn try_begin(&mut self) -> Result<Conn, Error> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self
                .pools
                .writer()
                .await
                .map_err(|error| Error::from_driver("connect", &error))?,
        };
        match conn.control(conn.begin_statement()).await {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.discard();
                Err(Error::from_driver("BEGIN", &error))
            }
        }
    }
}

/// Where a unit stands in its transaction. A statement to begin a savepoint and one to end it cost as much as the unit's own,
/// so the next unit's beginning ends the savepoint before, and the commit ends the last.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// There is no other: when it fails, the transaction is begun anew.
    Alone,
    First,
    /// The savepoint of the one before is open.
    Later,
}

impl Place {
    fn begin(self) -> Option<&'static str> {
        match self {
            Self::Alone => None,
            Self::First => Some("SAVEPOINT unit"),
            Self::Later => Some("RELEASE SAVEPOINT unit; SAVEPOINT unit"),
        }
    }
}

/// Runs one unit so that its failure undoes it alone. The outer error means that the whole transaction is lost.
async fn run_unit(
    tx: &mut Tx,
    work: Work,
    place: Place,
) -> Result<Result<Box<dyn Any + Send>, Error>, Error> {
    let fatal = |error: sqlx::Error| Error::from_driver("SAVEPOINT unit", &error);
    if let Some(begin) = place.begin() {
        tx.conn.control(begin).await.map_err(fatal)?;
    }
    let (events, rings, work_before) = (tx.events.len(), tx.rings, tx.work);
    // A panic is a fault in this crate; it may cost its own unit but not the writer.
    let result = AssertUnwindSafe(work(tx)).catch_unwind().await;
    let result = result.unwrap_or_else(|_| {
        Err(Error::Database {
            statement: "unit".to_owned(),
            reason: "the unit panicked".to_owned(),
        })
    });
    match result {
        Err(Error::Unavailable { reason }) => Err(Error::Unavailable { reason }),
        Err(error) => {
            tx.events.truncate(events);
            (tx.rings, tx.work) = (rings, work_before);
            // The savepoint itself stays for the next unit to release.
            let undo = match place {
                Place::Alone => &["ROLLBACK", tx.conn.begin_statement()][..],
                Place::First | Place::Later => &["ROLLBACK TO SAVEPOINT unit"],
            };
            for statement in undo {
                tx.conn.control(statement).await.map_err(fatal)?;
            }
            Ok(Err(error))
        }
        Ok(value) => Ok(Ok(value)),
    }
}

/// Writes the events and commits; answers the newest of them. A transaction that cannot be committed is lost.
async fn commit(mut tx: Tx) -> Result<(Conn, Option<EventId>), Error> {
    let events = std::mem::take(&mut tx.events);
    let newest = match events.is_empty() {
        true => Ok(None),
        false => events::write(&mut tx.conn, events).await,
    };
    let mut conn = tx.conn;
    let committed = match newest {
        Ok(newest) => match conn.control("COMMIT").await {
            Ok(()) => Ok(newest),
            Err(error) => Err(commit_error(&conn, &error)),
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

fn commit_error(conn: &Conn, error: &sqlx::Error) -> Error {
    match Error::from_driver("COMMIT", error) {
        Error::Unavailable { reason } if conn.commit_may_be_unknown() => Error::CommitUnknown { reason },
        other => other,
    }
}

fn refuse(answers: impl Iterator<Item = oneshot::Sender<Result<Box<dyn Any + Send>, Error>>>, error: &Error) {
    tracing::error!(%error, "a transaction failed");
    for answer in answers {
        // Who asked may have gone.
        let _ = answer.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use capstan_model::Timestamp;
    use futures::future::join_all;

    use super::*;
    use crate::sql::args;
    use crate::{EventFilter, Options, Store};

    /// One unit: good, refused by the database, or with a fault of its own.
    async fn unit(tx: &mut Tx, number: i64) -> Result<i64, Error> {
        tx.run(
            "INSERT INTO builders (name, next_number) VALUES ($1, 1)",
            args![number.to_string()],
        )
        .await?;
        Draft::new("unit").payload(number.into()).add(tx, Timestamp(1));
        match number % 4 {
            1 => tx
                .run(
                    "INSERT INTO builders (name, next_number) VALUES ('taken', 1)",
                    args![],
                )
                .await
                .map(|_| number),
            _ if number == 50 => panic!("a fault in a unit"),
            _ => Ok(number),
        }
    }

    #[tokio::test]
    async fn a_poisoned_unit_costs_the_others_of_its_group_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(format!("sqlite:{}/farm.db", folder.path().display()));
        let store = Store::open(&options, Timestamp(1)).await.unwrap();
        store.write(|tx| unit(tx, 1).boxed()).await.unwrap();
        let results = join_all((2..200).map(|number| store.write(move |tx| unit(tx, number).boxed()))).await;
        for (number, result) in (2i64..).zip(&results) {
            let good = number % 4 != 1 && number != 50;
            assert_eq!(result.is_ok(), good, "{number}: {result:?}");
        }
        insta::assert_snapshot!(results[3].as_ref().unwrap_err(), @"the database refused `INSERT INTO builders (name, next_number) VALUES ('taken', 1)`: (code: 2067) UNIQUE constraint failed: builders.name");
        let builders = store.builders().await.unwrap();
        assert_eq!(
            builders.len(),
            2 + results.iter().filter(|result| result.is_ok()).count()
        );
        let events = store
            .events_after(EventId(0), &EventFilter::default(), 500)
            .await
            .unwrap();
        let mut told: Vec<_> = events.iter().filter_map(|event| event.payload.as_i64()).collect();
        told.sort_unstable();
        let good = (2..200).zip(&results).filter(|(_, result)| result.is_ok());
        let good = good.map(|(number, _)| number);
        let kept: Vec<i64> = [1].into_iter().chain(good).collect();
        assert_eq!(told, kept, "each unit that was kept has its event, and no other");
        assert_eq!(
            *store.bell().borrow(),
            events.last().unwrap().id.0,
            "the bell rings only for what was kept"
        );
        store.close().await;
    }
}
