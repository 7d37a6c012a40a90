//! Names to addresses for requests of plugins. What is checked here is what is connected to: the client gets no chance to
//! ask a second time and be told another address.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::reserved;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks for the addresses of a name.
pub(super) trait Lookup: Send + Sync + 'static {
    /// The addresses; ports are ignored.
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver.
pub(super) struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }.boxed()
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
