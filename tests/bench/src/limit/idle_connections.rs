//! What an idle QUIC connection costs a server in memory: plain quinn with certificates on both ends and one stream on which
//! a few bytes went each way. The server is this program again, in a process of its own, so that its memory is its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::task::JoinSet;

use crate::usage::Watch;

/// Set in the environment of the server's process.
const VARIABLE: &str = "CAPSTAN_BENCH_IDLE_SERVER";
const NAME: &str = "bench";
/// About the size of a worker's greeting.
const GREETING: usize = 300;
/// Handshakes at a time.
const ABREAST: usize = 32;
/// How long both ends wait for what follows a handshake: acknowledgements, the discovery of the path's MTU.
pub const SETTLE: Duration = Duration::from_secs(3);

/// Is the server if this process was started to be that; answers false if it was not.
pub fn serve_if_told() -> Result<bool> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(false);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve())?;
    Ok(true)
}

/// Bytes of the server's memory per connection, with `count` of them.
pub async fn memory_each(count: usize) -> Result<f64> {
    let mut server = Server::start()?;
    let (port, pair) = server.greet()?;
    let mut client = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    client.set_default_client_config(pair.client()?);
    let before = Watch::start(server.0.id())?.memory_at_start_kb();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connections = futures::stream::iter(0..count).map(|_| open(&client, address));
    let connections: Vec<_> = connections.buffer_unordered(ABREAST).try_collect().await?;
    tokio::time::sleep(SETTLE).await;
    let after = Watch::start(server.0.id())?.memory_at_start_kb();
    let alive = connections
        .iter()
        .filter(|(connection, ..)| connection.close_reason().is_none());
    ensure!(
        alive.count() == count,
        "expected {count} connections to stay, some have ended"
    );
    Ok(after.saturating_sub(before) as f64 * 1024.0 / count as f64)
}

type Open = (quinn::Connection, quinn::SendStream, quinn::RecvStream);

async fn open(client: &Endpoint, address: SocketAddr) -> Result<Open> {
    let connection = client.connect(address, NAME)?.await?;
    let (mut to, mut from) = connection.open_bi().await?;
    to.write_all(&[7; GREETING]).await?;
    from.read_exact(&mut [0; GREETING]).await?;
    Ok((connection, to, from))
}

async fn serve() -> Result<()> {
    let pair = Pair::make()?;
    let server = Endpoint::server(pair.server()?, (Ipv4Addr::LOCALHOST, 0).into())?;
    let port = server.local_addr()?.port();
    let mut out = std::io::stdout();
    writeln!(out, "{port} {} {}", hex(&pair.certificate), hex(&pair.key))?;
    out.flush()?;
    let mut tasks = JoinSet::new();
    while let Some(incoming) = server.accept().await {
        tasks.spawn(async move {
            // An end of either side is all that can come after the greeting.
            let _end = answer(incoming).await;
        });
    }
    Ok(())
}

async fn answer(incoming: quinn::Incoming) -> Result<()> {
    let connection = incoming.await?;
    let (mut to, mut from) = connection.accept_bi().await?;
    let mut greeting = [0; GREETING];
    from.read_exact(&mut greeting).await?;
    to.write_all(&greeting).await?;
    connection.closed().await;
    Ok(())
}

/// The server's process. It is killed when this is dropped.
struct Server(Child);

impl Server {
    fn start() -> Result<Self> {
        let mut command =
            Command::new(std::env::current_exe().context("failed to find this program's own file")?);
        command
            .env(VARIABLE, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(Self(
            command
                .spawn()
                .context("failed to start a server of connections")?,
        ))
    }

    /// Its port, and the certificate that both ends use.
    fn greet(&mut self) -> Result<(u16, Pair)> {
        let stdout = self.0.stdout.take().context("expected a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let mut next = || words.next().context("expected a port, a certificate and a key");
        let port = next()?.parse()?;
        let pair = Pair {
            certificate: unhex(next()?)?,
            key: unhex(next()?)?,
        };
        Ok((port, pair))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One certificate for both ends, which is all that either trusts.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn make() -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone()))?;
        Ok(Arc::new(roots))
    }

    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
        (
            vec![CertificateDer::from(self.certificate.clone())],
            PrivatePkcs8KeyDer::from(self.key.clone()),
        )
    }

    fn server(&self) -> Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots()?, provider.clone()).build()?;
        let (chain, key) = self.chain();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key.into())?;
        Ok(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(
            tls,
        )?)))
    }

    fn client(&self) -> Result<ClientConfig> {
        let (chain, key) = self.chain();
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key.into())?;
        Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
