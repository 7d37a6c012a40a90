//! The store itself: a writer task, a pool of readers, and the bell. The methods are with what they are about, one
//! file per aggregate.

use std::sync::Arc;

use capstan_model::Timestamp;
use futures::future::BoxFuture;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bells::{Bells, SchedulerBells};
use crate::dialect::Pools;
use crate::options::Options;
use crate::queue::Touched;
use crate::sql::Conn;
use crate::writer::{Queue, Tx, Writer};
use crate::{Away, Error, Owner, events, installation, queue};

/// What the master must not forget. Cheap to clone; all clones are one store.
///
/// Every method that writes is one transaction: when it has answered `Ok`, all of it is durable; when it has answered
/// an error other than [`Error::CommitUnknown`], nothing of it happened.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    pools: Pools,
    queue: Queue,
    bell: watch::Receiver<i64>,
    work_bell: watch::Receiver<()>,
    touched: broadcast::Sender<Touched>,
    schedulers: SchedulerBells,
    displaced: watch::Receiver<Option<Owner>>,
    installation: Uuid,
    /// Owns the writer: it ends with the store.
    _writer: JoinSet<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("installation", &self.0.installation)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database; makes what is missing and brings an older schema up to date.
    pub async fn open(options: &Options, now: Timestamp) -> Result<Self, Error> {
        let pools = Pools::open(options).await?;
        let mut conn = pools
            .writer()
            .await
            .map_err(|error| Error::from_driver("connect", &error))?;
        let installation = installation::ensure(&mut conn, now).await?;
        let (ring, bell) = watch::channel(events::last(&mut conn).await?);
        drop(conn);
        let (ring_for_work, work_bell) = watch::channel(());
        let (displace, displaced) = watch::channel(None);
        let (touched, _) = broadcast::channel(queue::BEHIND);
        let schedulers = SchedulerBells::default();
        let bells = Bells {
            bell: ring,
            work: ring_for_work,
            touched: touched.clone(),
            schedulers: schedulers.clone(),
            displaced: displace,
        };
        let (queue, writer) = Writer::new(pools.clone(), installation, bells);
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run());
        Ok(Self(Arc::new(Inner {
            pools,
            queue,
            bell,
            work_bell,
            touched,
            schedulers,
            displaced,
            installation,
            _writer: tasks,
        })))
    }

    /// Writes what waits, then ends all connections. Later calls answer [`Error::Closed`].
    pub async fn close(&self) {
        self.0.queue.close().await;
    }

    /// The id of the installation, made when the database was.
    pub fn installation(&self) -> Uuid {
        self.0.installation
    }

    /// Rings after a commit that others may wait for: new events, and with them new requests, reports and events for
    /// schedulers. Its value is the id of the newest event.
    pub fn bell(&self) -> watch::Receiver<i64> {
        self.0.bell.clone()
    }

    /// Rings after a commit that may have left work: a request, a report, or the end of a build,
    /// which frees its worker. Quiet about what single steps do.
    pub fn work_bell(&self) -> watch::Receiver<()> {
        self.0.work_bell.clone()
    }

    /// Rings after a commit that left an event for that scheduler.
    pub fn scheduler_bell(&self, scheduler: &str) -> watch::Receiver<()> {
        self.0.schedulers.of(scheduler)
    }

    pub(crate) fn touched(&self) -> &broadcast::Sender<Touched> {
        &self.0.touched
    }

    pub(crate) async fn claim(&self, owner: Owner, away: Away, now: Timestamp) -> Result<u64, Error> {
        self.0.queue.claim(owner, away, now).await
    }

    /// Who has taken the database over; pending until somebody does.
    pub(crate) async fn displacement(&self) -> Owner {
        let mut displaced = self.0.displaced.clone();
        match displaced.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(owner)) => owner.clone(),
            // The store was closed: nobody can any more.
            _ => std::future::pending().await,
        }
    }

    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.0.queue.write(work).await
    }

    pub(crate) async fn reader(&self) -> Result<Conn, Error> {
        self.0.pools.reader().await.map_err(|error| match error {
            sqlx::Error::PoolClosed => Error::Closed,
            error => Error::from_driver("connect", &error),
        })
    }
}
