//! How the link is set up. The defaults are for tens of workers on usual networks; each says what it bounds.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use capstan_model::{Clock, SystemClock};
use uuid::Uuid;

/// See the module.
#[derive(Clone)]
pub struct Options {
    /// Where workers are awaited (UDP).
    pub listen: SocketAddr,
    /// The master's data folder; the authority lives in its folder `authority`.
    pub data: PathBuf,
    /// The installation's identity, written into every certificate.
    pub installation: Uuid,
    /// The master's epoch: higher at every start.
    pub epoch: u64,
    /// For certificates, and for when workers were heard.
    pub clock: Arc<dyn Clock>,
    /// A worker is gone when it has confirmed nothing for so long. It thinks of us alike, if its own limit is not lower.
    pub idle: Duration,
    /// How often each worker is asked whether it lives; it takes that as a sign of life, too. At least four times
    /// within `idle` in any case.
    pub ping: Duration,
    /// How long a newcomer may take for each of: the TLS handshake, its first message.
    pub greeting: Duration,
    /// How many newcomers are dealt with at a time; more are turned away and dial again.
    pub newcomers: usize,
    /// Unread bytes of one worker that are kept in memory: all of its streams together …
    pub connection_window: u32,
    /// … and each of them.
    pub stream_window: u32,
    /// Log streams of one worker at a time; further ones wait.
    pub log_streams: u32,
    /// The size asked for the socket's two buffers. All workers share one socket.
    pub udp_buffer: usize,
    /// Hand the system several packets at once; some networks and drivers announce it and then fail.
    pub segmentation_offload: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            data: PathBuf::from("data"),
            installation: Uuid::nil(),
            epoch: 0,
            clock: Arc::new(SystemClock),
            idle: Duration::from_secs(20),
            ping: Duration::from_secs(5),
            greeting: Duration::from_secs(10),
            newcomers: 256,
            connection_window: 8 * 1024 * 1024,
            stream_window: 1024 * 1024,
            log_streams: 256,
            udp_buffer: 4 * 1024 * 1024,
            segmentation_offload: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Options");
        out.field("listen", &self.listen)
            .field("data", &self.data)
            .field("epoch", &self.epoch);
        out.field("segmentation_offload", &self.segmentation_offload)
            .finish_non_exhaustive()
    }
}
