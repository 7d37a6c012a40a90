//! A worker that does what a test tells it to do, good or bad.

use std::sync::Arc;
use std::time::Duration;

use capstan_client::{Connection, Error, Identity, Options, connect, enroll, receive, send};
use capstan_model::{Channel, CommandId, CommandSpec, Exit, Program};
use capstan_wire::control::{ExitReport, FromMaster, FromWorker, Held, Hello, Welcome};
use capstan_wire::{SERVER_NAME, frame, log_stream};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, ReadError, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

use crate::farm::{Farm, soon};

pub const ID: CommandId = CommandId(Uuid::from_u128(11));

/// A member of the farm, through the enrol protocol.
pub async fn member(farm: &Farm, name: &str) -> Identity {
    soon("an enrolment", enroll(&farm.invite(name), &Options::default()))
        .await
        .unwrap()
        .identity
}

pub struct Worker {
    pub connection: Connection,
    pub to: SendStream,
    pub from: RecvStream,
    pub welcome: Welcome,
}

impl Worker {
    /// A welcomed worker that holds these commands.
    pub async fn connect(farm: &Farm, identity: &Identity, held: Vec<Held>) -> Self {
        Self::try_connect(
            farm,
            identity,
            Hello {
                commands: held,
                ..hello()
            },
        )
        .await
        .unwrap()
    }

    pub async fn try_connect(farm: &Farm, identity: &Identity, hello: Hello) -> Result<Self, Error> {
        let (address, options) = (farm.address.to_string(), Options::default());
        let connection = soon("a connection", connect(identity, &address, &options)).await?;
        let (mut to, mut from) = connection.quinn().open_bi().await?;
        send(&mut to, &FromWorker::Hello(hello)).await?;
        match soon("a welcome", receive(&mut from)).await? {
            Some(FromMaster::Welcome(welcome)) => Ok(Self {
                connection,
                to,
                from,
                welcome,
            }),
            other => panic!("expected a welcome, found {other:?}"),
        }
    }

    pub async fn say(&mut self, message: FromWorker) {
        send(&mut self.to, &message).await.unwrap();
    }

    /// The next message that is neither a ping nor an acknowledgement.
    pub async fn next(&mut self) -> Result<Option<FromMaster>, Error> {
        loop {
            match soon("a message of the master", receive(&mut self.from)).await {
                Ok(Some(FromMaster::Ping { .. } | FromMaster::Ack { .. })) => {}
                other => return other,
            }
        }
    }

    /// Opens a log stream and writes these bytes to it.
    pub async fn log(&self, id: CommandId, offset: u64, bytes: &[u8]) -> SendStream {
        let mut stream = self.connection.quinn().open_uni().await.unwrap();
        send(&mut stream, &log_stream::Header { id, offset })
            .await
            .unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Why the connection has ended, as its close code and reason.
    pub async fn closed(&self) -> String {
        closed(self.connection.quinn()).await
    }
}

pub async fn closed(connection: &quinn::Connection) -> String {
    match soon("the end of the connection", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            Error::from(ConnectionError::ApplicationClosed(close)).to_string()
        }
        other => other.to_string(),
    }
}

/// A connection that says nothing by itself: any protocol, with or without a certificate.
pub async fn raw(
    farm: &Farm,
    alpn: &[u8],
    identity: Option<&Identity>,
) -> Result<quinn::Connection, ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(farm.authority.clone())).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider);
    let tls = tls
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => tls.with_no_client_auth(),
        Some(identity) => {
            let key = PrivatePkcs8KeyDer::from(identity.key.to_vec());
            tls.with_client_auth_cert(
                vec![CertificateDer::from(identity.certificate.clone())],
                key.into(),
            )
            .unwrap()
        }
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    soon(
        "a handshake",
        endpoint.connect_with(config, farm.address, SERVER_NAME).unwrap(),
    )
    .await
}

/// The whole of what is left on a stream, or the end of its connection.
pub async fn rest(stream: &mut RecvStream) -> Result<Vec<u8>, ReadError> {
    let mut all = Vec::new();
    while let Some(chunk) = soon("the rest of a stream", stream.read_chunk(64 * 1024, true)).await? {
        all.extend_from_slice(&chunk.bytes);
    }
    Ok(all)
}

pub fn hello() -> Hello {
    Hello {
        minor: 0,
        version: "0".to_owned(),
        boot: Uuid::from_u128(1),
        slots: 2,
        labels: vec!["linux".to_owned()],
        facts: [("os".to_owned(), "linux".to_owned())].into(),
        epoch_seen: 0,
        commands: vec![],
    }
}

pub fn spec() -> CommandSpec {
    CommandSpec {
        program: Program::Argv(vec!["true".to_owned()]),
        builder_dir: "b".to_owned(),
        workdir: String::new(),
        env: [].into(),
        log: "stdio".to_owned(),
        idle_timeout_ms: None,
        total_timeout_ms: None,
        term_grace_ms: 100,
        orphan_timeout_ms: 1000,
        capture_stdout: 0,
    }
}

pub fn held(id: CommandId, length: u64) -> Held {
    Held {
        id,
        length,
        exit: None,
    }
}

/// A log of so many frames of so many bytes each.
pub fn log(frames: usize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..frames {
        frame::encode(&mut bytes, n as u64, Channel::Stdout, &vec![n as u8; size]);
    }
    bytes
}

pub fn report(log: &[u8]) -> ExitReport {
    let log_length = log.len() as u64;
    ExitReport {
        exit: Exit::Code(0),
        duration_ms: 1,
        log_length,
        stdout_bytes: 0,
        stderr_bytes: 0,
    }
}

/// For what must not happen: long enough to be seen if it did.
pub const MOMENT: Duration = Duration::from_millis(200);
