//! A small Vault: real HTTP, in clear or with TLS; what it answers is a function, what it was asked is kept.

use std::sync::Arc;
use std::sync::Mutex;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `GET /v1/secret/data/a`.
    pub line: String,
    pub token: String,
    pub namespace: String,
    pub body: String,
}

/// Status and body of an answer; no answer at all without one.
pub type Answers = dyn Fn(&Asked) -> Option<(u16, String)> + Send + Sync;

pub struct Server {
    pub port: u16,
    seen: Arc<Seen>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    bell: Notify,
}

impl Server {
    pub async fn start(
        acceptor: Option<TlsAcceptor>,
        answers: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, answers): (Arc<Seen>, Arc<Answers>) = (Arc::default(), Arc::new(answers));
        let mut task = JoinSet::new();
        let all = Arc::clone(&seen);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, answers) = (acceptor.clone(), Arc::clone(&all), Arc::clone(&answers));
                connections.spawn(async move {
                    match acceptor {
                        None => converse(stream, &seen, &*answers).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                converse(stream, &seen, &*answers).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            seen,
            _task: task,
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Waits until so many requests for `path` have come.
    pub async fn until(&self, line: &str, times: usize) {
        let reached = async {
            while self.lines().iter().filter(|seen| *seen == line).count() < times {
                self.seen.bell.notified().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), reached).await;
        assert!(waited.is_ok(), "{line} came too seldom: {:?}", self.lines());
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen, answers: &Answers) {
    let mut stream = BufReader::new(stream);
    let mut asked = Asked::default();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            None => asked.line = line.trim_end_matches(" HTTP/1.1").to_owned(),
            Some((name, value)) => match name.to_ascii_lowercase().as_str() {
                "x-vault-token" => asked.token = value.to_owned(),
                "x-vault-namespace" => asked.namespace = value.to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            },
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    asked.body = String::from_utf8(body).unwrap();
    seen.asked.lock().unwrap().push(asked.clone());
    seen.bell.notify_one();
    let Some((status, text)) = answers(&asked) else {
        return std::future::pending().await;
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // A client that has read enough may be gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// An authority that no machine knows, and what it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// What a server of that name shows.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
