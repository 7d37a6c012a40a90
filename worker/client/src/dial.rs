//! Dialling: a fresh UDP socket per connection, so that a machine that changed its network needs no care.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use capstan_wire::close::Code;
use capstan_wire::{ALPN_WORKER, SERVER_NAME};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};

use crate::{Error, Identity, Options};

/// How long a close may take to reach the master.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a round trip is taken to be until one was measured. A dial that finds no network tries again after three times that,
/// then after twice as long each time: so one that is under way when the network returns is answered soon.
const FIRST_GUESS: Duration = Duration::from_millis(100);

/// Unsent log bytes that are kept in memory per connection; the spool holds the rest.
const SEND_WINDOW: u64 = 4 * 1024 * 1024;

/// A connection and the socket below it.
pub struct Connection {
    endpoint: Endpoint,
    connection: quinn::Connection,
    address: SocketAddr,
}

impl Connection {
    /// The connection, for its streams.
    pub fn quinn(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Which of the master's addresses answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes, and waits a moment for the master to hear it. What it has not read by then is lost: let it confirm first.
    pub async fn close(self, code: Code, reason: &str) {
        self.connection
            .close(VarInt::from_u32(code as u32), reason.as_bytes());
        // A dead master does not hold us up.
        let _silent = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

/// Connects as a member. Tries everything that `address` (`host:port`) resolves to.
pub async fn connect(identity: &Identity, address: &str, options: &Options) -> Result<Connection, Error> {
    let tls = member_config(identity).map_err(|error| Error::Identity(error.to_string()))?;
    dial(client_config(tls, options)?, address, options).await
}

fn member_config(identity: &Identity) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.authority.clone()))?;
    let chain = vec![CertificateDer::from(identity.certificate.clone())];
    let key = PrivatePkcs8KeyDer::from(identity.key.to_vec());
    let mut tls = tls_builder(provider())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.into())?;
    tls.alpn_protocols = vec![ALPN_WORKER.to_vec()];
    Ok(tls)
}

/// The one cryptographic provider; a process-wide default is never relied upon.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn tls_builder(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<rustls::ClientConfig, WantsVerifier>, rustls::Error> {
    rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])
}

pub(crate) fn client_config(mut tls: rustls::ClientConfig, options: &Options) -> Result<ClientConfig, Error> {
    tls.resumption = rustls::client::Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| Error::Identity(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(options.idle).ok())
        .keep_alive_interval(Some(options.keep_alive))
        .initial_rtt(FIRST_GUESS)
        .send_window(SEND_WINDOW)
        // The master opens no streams.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(options.segmentation_offload);
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

pub(crate) async fn dial(
    config: ClientConfig,
    address: &str,
    options: &Options,
) -> Result<Connection, Error> {
    let resolve = |source| Error::Resolve {
        address: address.to_owned(),
        source,
    };
    let mut last = Error::Silent {
        address: address.to_owned(),
    };
    for target in tokio::net::lookup_host(address).await.map_err(resolve)? {
        match dial_one(config.clone(), address, target, options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(
    config: ClientConfig,
    address: &str,
    target: SocketAddr,
    options: &Options,
) -> Result<Connection, Error> {
    let local: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = Endpoint::client(local).map_err(Error::Socket)?;
    let failed = |reason: String| Error::Handshake {
        address: address.to_owned(),
        reason,
    };
    let connecting = endpoint
        .connect_with(config, target, SERVER_NAME)
        .map_err(|e| failed(e.to_string()))?;
    let silent = || Error::Silent {
        address: address.to_owned(),
    };
    match tokio::time::timeout(options.handshake, connecting).await {
        Ok(Ok(connection)) => Ok(Connection {
            endpoint,
            connection,
            address: target,
        }),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err(silent()),
        Ok(Err(error @ ConnectionError::ApplicationClosed(_))) => Err(error.into()),
        Ok(Err(error)) => Err(failed(error.to_string())),
    }
}
