//! The link as a whole: opened once, run until the master ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use tokio_util::sync::CancellationToken;

use crate::seats::Seats;
use crate::{Authority, Error, Handle, Options, Port, accept, socket, tls};

/// A long-lived part of the master. See the crate.
pub struct Link {
    endpoint: Endpoint,
    address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
}

/// What every connection needs.
pub(crate) struct Shared {
    pub options: Options,
    pub authority: Authority,
    pub port: Arc<dyn Port>,
    pub seats: Arc<Seats>,
    pub shutdown: CancellationToken,
    /// How many connections have come: each has a number, the later one a higher one.
    pub arrivals: AtomicU64,
}

impl Link {
    /// Opens the authority and the socket. Nobody is let in before [`Link::run`].
    pub async fn bind(options: Options, port: Arc<dyn Port>) -> Result<Self, Error> {
        let now = options.clock.now();
        let authority =
            Authority::open_or_create(&options.data.join("authority"), options.installation, now)?;
        let server = tls::server_config(&authority, &options, now)?;
        let socket = socket::bind(&options)?;
        let failed = |source| Error::Socket {
            address: options.listen,
            source,
        };
        let endpoint = Endpoint::new(
            recognisable(&authority),
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        );
        let endpoint = endpoint.map_err(failed)?;
        let address = endpoint.local_addr().map_err(failed)?;
        tracing::info!(%address, segmentation_offload = options.segmentation_offload, "workers are awaited");
        let seats = Arc::new(Seats::default());
        let shared = Shared {
            options,
            authority,
            port,
            seats,
            shutdown: CancellationToken::new(),
            arrivals: AtomicU64::new(0),
        };
        Ok(Self {
            endpoint,
            address,
            shared: Arc::new(shared),
        })
    }

    /// Where workers are awaited, with the port that was found if any would do.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The authority that signs workers' certificates.
    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// For talking to workers; works as long as the link runs.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.seats.clone(), self.shared.authority.fingerprint())
    }

    /// Lets workers in until `shutdown`; then says goodbye to all of them. Their commands go on.
    pub async fn run(self, shutdown: CancellationToken) {
        accept::run(&self.endpoint, self.shared, shutdown).await;
    }
}

/// A master that was killed says no goodbye. With these keys its successor can tell the workers of the old connections, with
/// the first packet that they send, that nobody knows those any more; else they would notice by silence alone.
fn recognisable(authority: &Authority) -> EndpointConfig {
    let secret = authority.derive("stateless resets");
    let ids = authority
        .derive("connection ids")
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mut config = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)));
    // After a restart a thousand workers ask within a second, and each that gets no answer waits for its idle time-out. No
    // interval is needed against loops: an answer is smaller than its cause and goes only to who shows one of our ids.
    config.min_reset_interval(Duration::ZERO);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}
