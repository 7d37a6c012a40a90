//! A master that is only a link: it keeps logs and ends in memory, and can be ended and started again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use capstan_link::{Handle, Link, Options, Port, Refusal};
use capstan_model::{CommandId, CommandSpec, Digest, Timestamp};
use capstan_wire::control::{ExitReport, Hello, Resume, ResumeAction};
use capstan_wire::join::{Join, Secret};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::BOUND;

/// The worker's name in every test.
pub const NAME: &str = "w1";

/// What survives the master's end.
#[derive(Default)]
pub struct Kept {
    pub logs: HashMap<CommandId, Vec<u8>>,
    pub ends: HashMap<CommandId, ExitReport>,
    pub started: HashMap<CommandId, Timestamp>,
    pub hello: Option<Hello>,
    pub connected: bool,
    /// Commands that are not wanted any more.
    pub dropped: HashSet<CommandId>,
    invitations: HashMap<Digest, String>,
    pub certificates: HashSet<Digest>,
}

#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Kept>>);

impl Store {
    pub fn get(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

impl Port for Store {
    fn admit(&self, _name: String, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        let known = self.get().certificates.contains(&certificate);
        ready(if known {
            Ok(())
        } else {
            Err("the worker was revoked".to_owned())
        })
        .boxed()
    }

    fn invited(&self, secret: Digest) -> BoxFuture<'_, Result<String, String>> {
        let name = self.get().invitations.get(&secret).cloned();
        ready(name.ok_or_else(|| "the join string was used already; ask for a new one".to_owned())).boxed()
    }

    fn redeem(&self, secret: Digest, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        let mut kept = self.get();
        let used = kept.invitations.remove(&secret).is_none();
        kept.certificates.insert(certificate);
        ready(if used {
            Err("the join string was used already".to_owned())
        } else {
            Ok(())
        })
        .boxed()
    }

    fn hello(&self, _worker: String, hello: Hello) -> BoxFuture<'_, Result<Vec<Resume>, String>> {
        let mut kept = self.get();
        let action = |id| match kept.dropped.contains(&id) {
            true => ResumeAction::Forget,
            false => ResumeAction::From(kept.logs.get(&id).map_or(0, |log| log.len() as u64)),
        };
        let resume = hello
            .commands
            .iter()
            .map(|held| Resume {
                id: held.id,
                action: action(held.id),
            })
            .collect();
        kept.hello = Some(hello);
        ready(Ok(resume)).boxed()
    }

    fn ready(&self, _worker: String, _held: Vec<CommandId>) {
        self.get().connected = true;
    }

    fn started(&self, _worker: String, id: CommandId, at: Timestamp) -> BoxFuture<'_, ()> {
        self.get().started.insert(id, at);
        ready(()).boxed()
    }

    fn append(
        &self,
        _worker: String,
        id: CommandId,
        offset: u64,
        frames: Bytes,
    ) -> BoxFuture<'_, Result<u64, Refusal>> {
        let mut kept = self.get();
        let log = kept.logs.entry(id).or_default();
        assert_eq!(log.len() as u64, offset);
        log.extend_from_slice(&frames);
        ready(Ok(log.len() as u64)).boxed()
    }

    fn exited(
        &self,
        _worker: String,
        id: CommandId,
        report: ExitReport,
    ) -> BoxFuture<'_, Result<(), String>> {
        let mut kept = self.get();
        assert_eq!(kept.logs.get(&id).map_or(0, Vec::len) as u64, report.log_length);
        kept.ends.insert(id, report);
        ready(Ok(())).boxed()
    }

    fn disconnected(&self, _worker: String, _heard: Timestamp, _reason: String) -> BoxFuture<'_, ()> {
        self.get().connected = false;
        ready(()).boxed()
    }
}

/// A running master.
pub struct Master {
    pub store: Store,
    pub handle: Handle,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Master {
    /// Starts with what `store` holds and an authority in `data`; `address` may be one that an earlier master
    /// had.
    pub async fn start(
        data: &std::path::Path,
        store: Store,
        address: Option<SocketAddr>,
        epoch: u64,
    ) -> Self {
        let begun = Instant::now();
        let mut options = Options {
            data: data.to_owned(),
            epoch,
            ..Options::default()
        };
        options.installation = Uuid::from_u128(1);
        options.listen = address.unwrap_or(options.listen);
        // The socket of a master that just ended is closed a moment later.
        let link = loop {
            match Link::bind(options.clone(), Arc::new(store.clone())).await {
                Ok(link) => break link,
                Err(error) => {
                    assert!(address.is_some() && begun.elapsed() < BOUND, "{error}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let (handle, address) = (link.handle(), link.local_addr());
        let shutdown = CancellationToken::new();
        // The test's runtime ends with the test.
        let running = tokio::runtime::Handle::current().spawn(link.run(shutdown.clone()));
        Self {
            store,
            handle,
            address,
            shutdown,
            running,
        }
    }

    pub async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }

    pub fn invite(&self) -> String {
        let secret = Secret::new(*Digest::of(Uuid::new_v4().as_bytes()).as_bytes());
        self.store
            .get()
            .invitations
            .insert(secret.digest(), NAME.to_owned());
        let addresses = vec![self.address.to_string()];
        Join {
            addresses,
            authority: self.handle.authority(),
            secret,
            name: NAME.to_owned(),
        }
        .encode()
    }

    pub fn send(&self, spec: CommandSpec, secrets: BTreeMap<String, String>) -> CommandId {
        let id = CommandId(Uuid::new_v4());
        assert!(self.handle.start(NAME, id, spec, secrets));
        id
    }
}
