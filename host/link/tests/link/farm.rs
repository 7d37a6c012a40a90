//! A link with a port that keeps everything in memory, and waits for what is awaited instead of sleeping.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use capstan_link::{Handle, Link, Options, Port, Refusal};
use capstan_model::{CommandId, Digest, Timestamp};
use capstan_wire::control::{ExitReport, Hello, Resume, ResumeAction};
use capstan_wire::join::{Join, Secret};
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Nothing that is awaited takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
pub struct Store {
    /// By the secret's digest: who is invited, or why it is void.
    pub invitations: HashMap<Digest, Result<String, String>>,
    /// The certificate of each member, or why it is not welcome.
    pub members: HashMap<String, Result<Digest, String>>,
    /// The log of each command that is waited for.
    pub logs: BTreeMap<CommandId, Vec<u8>>,
    pub ends: BTreeMap<CommandId, ExitReport>,
    pub largest_append: usize,
    /// What was told, in order.
    pub told: Vec<String>,
    /// Appends that have waited or still do.
    pub hanging: usize,
    /// Appends wait as long as this is set …
    pub slow: bool,
    /// Appends of a connection that has ended may overlap with others.
    pub late: bool,
    /// … or fail.
    pub broken: bool,
}

pub struct TestPort(pub watch::Sender<Store>);

impl TestPort {
    pub fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|store| result = Some(change(store)));
        result.expect("it was called")
    }

    pub async fn wait(&self, what: &str, until: impl FnMut(&Store) -> bool) -> Store {
        let mut store = self.0.subscribe();
        let found = tokio::time::timeout(PATIENCE, store.wait_for(until)).await;
        match found {
            Ok(found) => found.expect("the port lives").clone(),
            Err(_) => panic!("waited in vain for {what}; told: {:#?}", self.0.borrow().told),
        }
    }

    fn tell(&self, what: String) {
        self.change(|store| store.told.push(what));
    }
}

impl Port for TestPort {
    fn admit(&self, name: String, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        let member = self.0.borrow().members.get(&name).cloned();
        let answer = match member {
            Some(Ok(known)) if known == certificate => Ok(()),
            Some(Ok(_)) => Err("it has another certificate now".to_owned()),
            Some(Err(reason)) => Err(reason),
            None => Err(format!("worker `{name}` is unknown here")),
        };
        async { answer }.boxed()
    }

    fn invited(&self, secret: Digest) -> BoxFuture<'_, Result<String, String>> {
        let known = self.0.borrow().invitations.get(&secret).cloned();
        let answer = known.unwrap_or_else(|| Err("no such invitation".to_owned()));
        async { answer }.boxed()
    }

    fn redeem(&self, secret: Digest, certificate: Digest) -> BoxFuture<'_, Result<(), String>> {
        let used = Err("the invitation was already used".to_owned());
        let answer = self.change(|store| {
            let invitation = store.invitations.get_mut(&secret).ok_or("no such invitation")?;
            let name = std::mem::replace(invitation, used)?;
            store.members.insert(name, Ok(certificate));
            Ok(())
        });
        async { answer }.boxed()
    }

    fn hello(&self, worker: String, hello: Hello) -> BoxFuture<'_, Result<Vec<Resume>, String>> {
        self.tell(format!("hello {worker}"));
        let store = self.0.borrow();
        let resume = |id: CommandId| match store.logs.get(&id) {
            Some(log) if !store.ends.contains_key(&id) => ResumeAction::From(log.len() as u64),
            _ => ResumeAction::Forget,
        };
        let resumes = hello
            .commands
            .iter()
            .map(|held| Resume {
                id: held.id,
                action: resume(held.id),
            })
            .collect();
        async { Ok(resumes) }.boxed()
    }

    fn ready(&self, worker: String, held: Vec<CommandId>) {
        self.tell(format!("ready {worker} {}", held.len()));
    }

    fn append(
        &self,
        _: String,
        id: CommandId,
        offset: u64,
        frames: Bytes,
    ) -> BoxFuture<'_, Result<u64, Refusal>> {
        async move {
            self.change(|store| store.hanging += usize::from(store.slow));
            let fast = self.0.subscribe().wait_for(|store| !store.slow).await.map(drop);
            fast.map_err(|e| Refusal::Failed(e.to_string()))?;
            self.change(|store| {
                if store.broken {
                    return Err(Refusal::Failed("the disk is full".to_owned()));
                }
                store.largest_append = store.largest_append.max(frames.len());
                let log = store.logs.get_mut(&id).ok_or(Refusal::Unknown)?;
                let known = log.len() as u64 - offset;
                assert!(known == 0 || store.late, "the link drops what is known");
                log.extend_from_slice(frames.get(known as usize..).unwrap_or_default());
                Ok(log.len() as u64)
            })
        }
        .boxed()
    }

    fn exited(&self, worker: String, id: CommandId, report: ExitReport) -> BoxFuture<'_, Result<(), String>> {
        self.change(|store| {
            store.told.push(format!("exited {worker} {}", report.exit));
            store.ends.insert(id, report);
        });
        async { Ok(()) }.boxed()
    }

    fn disconnected(&self, worker: String, _: Timestamp, reason: String) -> BoxFuture<'_, ()> {
        self.tell(format!("disconnected {worker}: {reason}"));
        async {}.boxed()
    }
}

/// A link that runs until it is dropped.
pub struct Farm {
    pub port: Arc<TestPort>,
    pub handle: Handle,
    pub address: SocketAddr,
    pub authority: Vec<u8>,
    pub shutdown: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
    data: TempDir,
}

impl Farm {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (link, port) = bind(data.path(), change).await;
        let (handle, address) = (link.handle(), link.local_addr());
        let (authority, shutdown) = (link.authority().certificate().to_vec(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(link.run(shutdown.clone()));
        Self {
            port,
            handle,
            address,
            authority,
            shutdown,
            tasks: Mutex::new(tasks),
            data,
        }
    }

    /// A join string for `name`.
    pub fn invite(&self, name: &str) -> Join {
        let secret = Secret::new(
            *Uuid::new_v4()
                .as_bytes()
                .repeat(2)
                .first_chunk()
                .expect("32 bytes"),
        );
        self.port
            .change(|store| store.invitations.insert(secret.digest(), Ok(name.to_owned())));
        let addresses = vec![self.address.to_string()];
        Join {
            addresses,
            authority: self.handle.authority(),
            secret,
            name: name.to_owned(),
        }
    }

    /// The link ends, and is awaited.
    pub async fn end(&self) {
        self.shutdown.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        soon("the end of the link", tasks.join_all_now()).await;
    }

    /// The folder that it keeps.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Waits until the link says so.
    pub async fn told(&self, what: &str) {
        self.port
            .wait(what, |store| store.told.iter().any(|told| told.starts_with(what)))
            .await;
    }

    /// Waits until the link says so for the n-th time.
    pub async fn told_times(&self, what: &str, times: usize) {
        let count = |store: &Store| store.told.iter().filter(|told| told.starts_with(what)).count();
        self.port.wait(what, |store| count(store) >= times).await;
    }
}

trait JoinAllNow {
    async fn join_all_now(&mut self);
}

impl JoinAllNow for JoinSet<()> {
    async fn join_all_now(&mut self) {
        while let Some(ended) = self.join_next().await {
            ended.unwrap();
        }
    }
}

pub async fn bind(data: &Path, change: impl FnOnce(&mut Options)) -> (Link, Arc<TestPort>) {
    let port = Arc::new(TestPort(watch::Sender::new(Store::default())));
    // Small buffers, so that no system says that it refuses larger ones.
    let mut options = Options {
        data: data.to_owned(),
        installation: Uuid::from_u128(7),
        epoch: 5,
        udp_buffer: 64 * 1024,
        ..Options::default()
    };
    change(&mut options);
    (Link::bind(options, port.clone()).await.unwrap(), port)
}

/// Waits, with a bound.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Fails unless the text has the part.
#[track_caller]
pub fn assert_says(text: &impl Debug, part: &str) {
    let text = format!("{text:?}");
    assert!(text.contains(part), "expected {part:?} in {text}");
}
