//! What the link asks of the master and tells it.

use bytes::Bytes;
use capstan_model::{CommandId, Digest, Timestamp};
use capstan_wire::control::{ExitReport, Hello, Resume};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Why log bytes were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such command of this worker waits for its end: the stream is stopped, the connection goes on.
    #[error("the command is unknown or has ended")]
    Unknown,
    /// The store failed: the connection is closed, the worker sends them again later.
    #[error("{0}")]
    Failed(String),
}

/// Implemented by the master.
///
/// For one worker, [`Port::hello`] and [`Port::disconnected`] alternate strictly: a worker that connects twice is first
/// said to be disconnected. Between the two, `append` is called for one piece of a command's log at a time. An append that takes
/// long may end after its connection has, and overlap with one of the next connection: what is known is to be skipped.
pub trait Port: Send + Sync + 'static {
    /// Whether this certificate of ours is (still) welcome; the reason, if not.
    fn admit(&self, name: String, certificate: Digest) -> BoxFuture<'_, Result<(), String>>;

    /// Whom the invitation with this secret is for, or why it is void. It stays good: a certificate is made first.
    fn invited(&self, secret: Digest) -> BoxFuture<'_, Result<String, String>>;

    /// Uses up the invitation: from now on this certificate is welcome. Of two that come with the same secret, one is
    /// refused here.
    fn redeem(&self, secret: Digest, certificate: Digest) -> BoxFuture<'_, Result<(), String>>;

    /// A worker greets: what becomes of each command that it holds.
    fn hello(&self, worker: String, hello: Hello) -> BoxFuture<'_, Result<Vec<Resume>, String>>;

    /// The worker was welcomed and can be sent commands; it holds these.
    fn ready(&self, worker: String, held: Vec<CommandId>);

    /// The command runs since `at`, by the worker's clock.
    fn started(&self, _worker: String, _id: CommandId, _at: Timestamp) -> BoxFuture<'_, ()> {
        futures::future::ready(()).boxed()
    }

    /// Stores whole, checked frames that begin at `offset`. Returns up to where the log is durable now; the worker's
    /// sending waits for it.
    fn append(
        &self,
        worker: String,
        id: CommandId,
        offset: u64,
        frames: Bytes,
    ) -> BoxFuture<'_, Result<u64, Refusal>>;

    /// The command has ended and every byte of its log is durable. Repeated on the next connection until [`Handle::forget`]
    /// was called for it.
    ///
    /// [`Handle::forget`]: crate::Handle::forget
    fn exited(&self, worker: String, id: CommandId, report: ExitReport) -> BoxFuture<'_, Result<(), String>>;

    /// The worker is gone; it was last heard at `heard`. Its commands go on there.
    fn disconnected(&self, worker: String, heard: Timestamp, reason: String) -> BoxFuture<'_, ()>;
}
