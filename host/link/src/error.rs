//! Why the link could not be opened.

use std::io;
use std::net::SocketAddr;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The authority cannot be used.
    #[error(transparent)]
    Authority(#[from] crate::AuthorityError),
    /// The address is taken, or is not ours.
    #[error(
        "no UDP socket could be opened at {address}: {source}; see `listen` under [link] in capstan.toml"
    )]
    Socket {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS library refuses our certificates.
    #[error("the server's certificate could not be set up: {0}")]
    Tls(String),
}
