//! Names to addresses for requests of plugins. What is checked here is what is connected to: the client gets no chance to
//! ask a second time and be told another address.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address::reserved;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks for the addresses of a name.
pub(super) trait Lookup: Send + Sync + 'static {
    /// The addresses; ports are ignored.
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;
}

/// How many names are looked up at once. A lookup cannot be ended: it outlives a request that timed out, and takes one of the
/// threads on which files are read and plugins compiled.
const LOOKUPS: usize = 32;

/// The operating system's resolver.
pub(super) struct System(Arc<Semaphore>);

impl Default for System {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let turns = Arc::clone(&self.0);
        async move {
            let turn = turns.acquire_owned().await.map_err(std::io::Error::other)?;
            let asked = tokio::task::spawn_blocking(move || {
                let _until_it_is_answered = turn;
                (name.as_str(), 0).to_socket_addrs().map(Iterator::collect)
            });
            asked.await.map_err(std::io::Error::other)?
        }
        .boxed()
    }
}

/// A name leads to no public address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reserved(pub String);

/// Answers only public addresses, unless `private` ones are meant.
pub(super) struct Resolver {
    pub lookup: Arc<dyn Lookup>,
    pub private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, private) = (self.lookup.clone(), self.private);
        async move {
            let name = name.as_str().to_owned();
            let mut found = lookup.lookup(name.clone()).await?;
            if !private {
                let first = found.iter().find_map(|a| Some((a.ip(), reserved(a.ip())?)));
                found.retain(|address| reserved(address.ip()).is_none());
                if let (true, Some((address, network))) = (found.is_empty(), first) {
                    let text = format!("the host {name} is at {address}, which is {network}");
                    return Err(Failure::from(Reserved(text)));
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        }
        .boxed()
    }
}
