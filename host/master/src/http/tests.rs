//! Where requests of plugins get to, with a real server on this machine, and a resolver that lies.

use std::net::SocketAddr;
use std::sync::Mutex;

use reqwest::dns::Resolve as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers every request with the same bytes, and counts.
struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let (answer, told) = (answer.into(), heard.clone());
        #[expect(clippy::disallowed_methods, reason = "aborted when the server is dropped")]
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = [0; 16 * 1024];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                told.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&bytes[..read]).into_owned());
                let _gone = stream.write_all(&answer).await;
            }
        });
        Self { address, heard, task }
    }

    async fn ok() -> Self {
        Self::start(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"[..]).await
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// Answers the next list of addresses each time it is asked, and the last one from then on.
struct Liar(Mutex<Vec<Vec<SocketAddr>>>);

impl Liar {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let list = |list: &&[&str]| {
            list.iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
                .collect()
        };
        Arc::new(Self(Mutex::new(answers.iter().rev().map(list).collect())))
    }
}

impl Lookup for Liar {
    fn lookup(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop()
        } else {
            answers.last().cloned()
        };
        async move { Ok(answer.unwrap_or_default()) }.boxed()
    }
}

fn client(lookup: Arc<dyn Lookup>) -> Client {
    client_with(std::path::Path::new("no-secrets"), lookup)
}

fn client_with(secrets: &std::path::Path, lookup: Arc<dyn Lookup>) -> Client {
    // The program that runs a master does that at its start.
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    Client::with(Secrets::new(secrets, ""), lookup).unwrap()
}

fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 5000,
        allow_private: false,
    }
}

fn named(url: &str) -> HttpRequest {
    HttpRequest {
        allow_private: true,
        ..get(url)
    }
}

/// The text of the refusal.
async fn denied(client: &Client, url: &str) -> String {
    match client.fetch(get(url)).await {
        Err(HttpFault::Denied(text)) => text,
        other => panic!("{url}: {other:?}"),
    }
}

#[tokio::test]
async fn no_spelling_of_this_machine_is_reached_unless_it_is_named() {
    let server = Server::ok().await;
    let client = client(Arc::new(System::default()));
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ] {
        denied(&client, &format!("http://{host}:{port}/")).await;
    }
    assert_eq!(server.heard(), 0);
    for host in ["127.0.0.1", "localhost", "2130706433"] {
        let answer = client
            .fetch(named(&format!("http://{host}:{port}/")))
            .await
            .unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"hi"[..]));
    }
    assert_eq!(server.heard(), 3);
    // The open connection, if there is one, is not for others.
    denied(&client, &format!("http://localhost:{port}/")).await;
    let metadata = denied(&client, "http://169.254.169.254/latest/meta-data/").await;
    assert!(
        metadata.contains("169.254.169.254") && metadata.contains("credentials"),
        "{metadata}"
    );
}

#[tokio::test]
async fn a_name_that_leads_home_is_refused_whatever_else_it_leads_to() {
    let server = Server::ok().await;
    let url = format!("http://rebind.example.org:{}/", server.address.port());
    for lies in [
        // Public when it is looked at first, at home from then on: there is no second look.
        &[&["127.0.0.1"][..], &["93.184.216.34"]][..],
        &[&["::ffff:127.0.0.1"]],
        &[&["::1", "10.0.0.1"]],
    ] {
        let text = denied(&client(Liar::new(lies)), &url).await;
        assert!(text.contains("rebind.example.org"), "{text}");
    }
    // Among several addresses only the public ones are tried: nobody answers there, and nobody at home is asked.
    let both = client(Liar::new(&[&["127.0.0.1", "240.0.0.1"]]));
    denied(&both, &url).await;
    let mixed = Resolver {
        lookup: Liar::new(&[&["127.0.0.1", "93.184.216.34", "fd00::1"]]),
        private: false,
    };
    let found = mixed
        .resolve("rebind.example.org".parse().unwrap())
        .await
        .unwrap();
    let found: Vec<_> = found.map(|address| address.ip().to_string()).collect();
    assert_eq!(found, ["93.184.216.34"]);
    assert_eq!(server.heard(), 0);
    let home = client(Liar::new(&[&["127.0.0.1"]]));
    assert_eq!(home.fetch(named(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirection_is_answered_and_not_followed() {
    let home = Server::ok().await;
    let location = format!("http://{}/inside", home.address);
    let text = format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let door = Server::start(text).await;
    let client = client(Arc::new(System::default()));
    let answer = client
        .fetch(named(&format!("http://{}/", door.address)))
        .await
        .unwrap();
    assert_eq!(answer.status, 302);
    assert!(
        answer
            .headers
            .contains(&("location".to_owned(), location.clone())),
        "{:?}",
        answer.headers
    );
    assert_eq!(home.heard(), 0);
    denied(&client, &location).await;
}

#[tokio::test]
async fn answers_are_bounded() {
    let client = client(Arc::new(System::default()));
    let fetch = async |answer: String| {
        let server = Server::start(answer).await;
        client.fetch(named(&format!("http://{}/", server.address))).await
    };
    let body = "x".repeat(MAX_BODY + 1);
    let large = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    assert_eq!(fetch(large).await, Err(HttpFault::TooLarge));
    let header = format!("X: {}\r\n", "x".repeat(10_000));
    let headers = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", header.repeat(7));
    assert_eq!(fetch(headers).await, Err(HttpFault::TooLarge));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let request = HttpRequest {
        timeout_ms: 50,
        ..named(&format!("http://{}/", silent.local_addr().unwrap()))
    };
    assert_eq!(client.fetch(request).await, Err(HttpFault::Timeout));
}

#[tokio::test]
async fn a_secret_cannot_split_a_request() {
    let server = Server::ok().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("split");
    std::fs::write(&secret, "a\r\nHost: evil").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let client = client_with(folder.path(), Arc::new(System::default()));
    let request = HttpRequest {
        secret_headers: vec![("Authorization".to_owned(), "split".to_owned())],
        ..named(&format!("http://{}/", server.address))
    };
    let Err(HttpFault::Invalid(text)) = client.fetch(request).await else {
        panic!("the request was sent");
    };
    assert!(text.contains("authorization") && !text.contains("evil"), "{text}");
    assert_eq!(server.heard(), 0);
}
