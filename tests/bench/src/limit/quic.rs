//! A bare QUIC connection over the loopback, with the library and the windows that the farm uses: how long a message
//! takes there and back, how fast bytes go, and how late a line arrives.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::megabytes_per_second;
use crate::{clock, emit};

/// As much is written and read at a time: the largest frame.
const CHUNK: usize = 64 << 10;
/// About as long as an order to start a command.
const MESSAGE: usize = 512;
/// The farm's windows: of a connection and of a stream.
const WINDOWS: (u32, u32) = (8 << 20, 1 << 20);
/// Longer than anything that is measured here takes.
const BOUND: Duration = Duration::from_secs(60);

/// Both ends of a connection, each on a thread of its own, as two programs would be.
pub struct Pair {
    near: End,
    far: End,
}

struct End {
    // Before the runtime that drives it.
    connection: Connection,
    _endpoint: Endpoint,
    runtime: Runtime,
}

impl Pair {
    /// Connects.
    pub fn connect() -> Result<Self> {
        let (near, far) = (runtime()?, runtime()?);
        let (server, client) = configurations()?;
        let listening = far.block_on(async { Endpoint::server(server, (Ipv4Addr::LOCALHOST, 0).into()) })?;
        let dialling = near.block_on(async { Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()) })?;
        let address = listening.local_addr()?;
        let endpoint = listening.clone();
        let accepted = far.spawn(async move {
            let incoming = endpoint
                .accept()
                .await
                .context("expected a connection, the endpoint closed")?;
            anyhow::Ok(incoming.await?)
        });
        let dialled = near.block_on(bounded(async {
            Ok(dialling.connect_with(client, address, "localhost")?.await?)
        }))?;
        let accepted = near.block_on(accepted)??;
        Ok(Self {
            near: End {
                connection: dialled,
                _endpoint: dialling,
                runtime: near,
            },
            far: End {
                connection: accepted,
                _endpoint: listening,
                runtime: far,
            },
        })
    }

    /// How long each of `count` messages took there and back.
    pub fn round_trips(&self, count: usize) -> Result<Vec<Duration>> {
        let echo = self.far.connection.clone();
        let echoing = self.far.runtime.spawn(async move {
            let (mut to, mut from) = echo.accept_bi().await?;
            let mut message = [0; MESSAGE];
            for _ in 0..count {
                from.read_exact(&mut message).await?;
                to.write_all(&message).await?;
            }
            to.finish()?;
            anyhow::Ok(())
        });
        self.near.runtime.block_on(bounded(async {
            let (mut to, mut from) = self.near.connection.open_bi().await?;
            let (mut trips, mut message) = (Vec::with_capacity(count), [7; MESSAGE]);
            for _ in 0..count {
                let start = Instant::now();
                to.write_all(&message).await?;
                from.read_exact(&mut message).await?;
                trips.push(start.elapsed());
            }
            echoing.await??;
            Ok(trips)
        }))
    }

    /// Sends `count` streams of `bytes` at once; megabytes per second until the last byte has arrived.
    fn send(&self, count: usize, bytes: usize) -> Result<f64> {
        let far = self.far.connection.clone();
        let receiving = self.far.runtime.spawn(async move {
            let mut readers = JoinSet::new();
            for _ in 0..count {
                let mut stream = far.accept_uni().await?;
                readers.spawn(async move {
                    let (mut buffer, mut total) = (vec![0; CHUNK], 0);
                    while let Some(read) = stream.read(&mut buffer).await? {
                        total += read;
                    }
                    anyhow::Ok(total)
                });
            }
            while let Some(total) = readers.join_next().await {
                let total = total??;
                ensure!(
                    total == bytes,
                    "expected {bytes} bytes from a stream, found {total}"
                );
            }
            anyhow::Ok(())
        });
        self.near.runtime.block_on(bounded(async {
            let start = Instant::now();
            let mut writers = JoinSet::new();
            for _ in 0..count {
                let mut stream = self.near.connection.open_uni().await?;
                writers.spawn(async move {
                    let chunk = vec![b'.'; CHUNK];
                    let mut left = bytes;
                    while left > 0 {
                        let part = &chunk[..left.min(CHUNK)];
                        stream.write_all(part).await?;
                        left -= part.len();
                    }
                    stream.finish()?;
                    anyhow::Ok(())
                });
            }
            while let Some(written) = writers.join_next().await {
                written??;
            }
            receiving.await??;
            Ok(megabytes_per_second(count, bytes, start.elapsed()))
        }))
    }

    /// Passes a command's lines on as they come; milliseconds from each one's printing to its arrival.
    pub fn pass_lines(&self, count: usize, every: Duration) -> Result<Vec<f64>> {
        let far = self.far.connection.clone();
        let receiving = self.far.runtime.spawn(async move {
            let mut lines = BufReader::new(far.accept_uni().await?).lines();
            let mut late = Vec::new();
            while let Some(line) = lines.next_line().await? {
                late.push(clock::milliseconds_between(line.parse()?, clock::nanoseconds()));
            }
            anyhow::Ok(late)
        });
        let own = std::env::current_exe().context("failed to find this program's own file")?;
        let late = self.near.runtime.block_on(bounded(async {
            let mut command = tokio::process::Command::new(own);
            command
                .args(emit::ticks(count, every))
                .stdout(Stdio::piped())
                .kill_on_drop(true);
            let mut child = command.spawn()?;
            let mut pipe = BufReader::new(child.stdout.take().context("expected a pipe")?);
            let mut stream = self.near.connection.open_uni().await?;
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).await? > 0 {
                stream.write_all(&line).await?;
                line.clear();
            }
            stream.finish()?;
            child.wait().await?;
            receiving.await?
        }))?;
        ensure!(
            late.len() == count,
            "expected {count} lines, found {}",
            late.len()
        );
        Ok(late)
    }
}

/// Megabytes per second of `count` streams of `bytes` at once over one connection.
pub fn throughput(count: usize, bytes: usize) -> Result<f64> {
    Pair::connect()?.send(count, bytes)
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(BOUND, work).await;
    done.with_context(|| format!("expected a QUIC measurement to end within {BOUND:?}"))?
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

fn configurations() -> Result<(ServerConfig, ClientConfig)> {
    let provider = Arc::new(ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut transport = TransportConfig::default();
    transport
        .receive_window(VarInt::from_u32(WINDOWS.0))
        .stream_receive_window(VarInt::from_u32(WINDOWS.1));
    let transport = Arc::new(transport);
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?));
    server.transport_config(Arc::clone(&transport));
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
    client.transport_config(transport);
    Ok((server, client))
}
