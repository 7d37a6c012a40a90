//! A server that speaks TLS, with a certificate of an authority that no machine knows: as an operator's own mail server.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
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
    fn acceptor(&self, name: &str) -> TlsAcceptor {
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

/// A server that passes on what it is told inside of TLS; what is said before comes with `clear ` in front.
async fn peer(acceptor: TlsAcceptor, security: Security) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = mpsc::unbounded_channel();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let greeting = match security {
                Security::StartTls => "",
                Security::Tls | Security::None => GREETING,
            };
            let stream = match security {
                Security::StartTls => clear(stream, &told).await,
                Security::Tls | Security::None => Some(stream),
            };
            let Some(stream) = stream else { continue };
            match acceptor.accept(stream).await {
                Ok(stream) => converse(stream, greeting, Mood::Friendly, &told).await,
                Err(error) => drop(told.send(format!("no TLS: {error}"))),
            }
        }
    });
    Peer {
        port,
        heard,
        _task: task,
    }
}

/// What is said before TLS, until it is asked for.
async fn clear(stream: TcpStream, told: &mpsc::UnboundedSender<String>) -> Option<TcpStream> {
    let mut stream = BufReader::new(stream);
    stream.write_all(GREETING.as_bytes()).await.ok()?;
    let mut line = String::new();
    while {
        line.clear();
        stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
    } {
        let _ = told.send(format!("clear {}", line.trim_end()));
        let answer = match line.trim_end() {
            "STARTTLS" => "220 go on\r\n",
            said if said.starts_with("EHLO") => "250-test\r\n250 STARTTLS\r\n",
            _ => "502 not in clear\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
        if line.trim_end() == "STARTTLS" {
            return Some(stream.into_inner());
        }
    }
    None
}

/// `[mail]` for a security, with an authority in a file of the farm.
fn trusting(port: u16, security: &str, authority: &Path) -> Server {
    let mut server = sender(
        port,
        &format!(
            "security = {security:?}\nauthority = {:?}",
            authority.display().to_string()
        ),
    );
    server.patience = Duration::from_secs(10);
    server
}

fn unavailable(fault: Result<(), MailFault>) -> String {
    match fault {
        Err(MailFault::Unavailable(text)) => text,
        other => panic!("expected that the mail is kept, found {other:?}"),
    }
}

#[tokio::test]
async fn a_message_goes_to_a_server_whose_authority_the_operator_named() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, file) = (Authority::new(), folder.path().join("mail.pem"));
    std::fs::write(&file, &authority.pem).unwrap();
    for (word, security) in [("starttls", Security::StartTls), ("tls", Security::Tls)] {
        let mut peer = peer(authority.acceptor("127.0.0.1"), security).await;
        trusting(peer.port, word, &file)
            .deliver(mail("dev@team.example"))
            .await
            .unwrap();
        let all = peer.until(|text| text == "QUIT").await;
        assert!(
            all.iter().any(|said| said.contains("It failed.")),
            "{word}: {all:?}"
        );
        let clear: Vec<_> = all
            .iter()
            .filter_map(|said| said.strip_prefix("clear "))
            .collect();
        match security {
            Security::StartTls => {
                assert!(
                    clear.len() == 2 && clear[0].starts_with("EHLO") && clear[1] == "STARTTLS",
                    "{clear:?}"
                );
            }
            Security::Tls | Security::None => assert!(clear.is_empty(), "{clear:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_for_another_host_is_refused_and_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, file) = (Authority::new(), folder.path().join("mail.pem"));
    std::fs::write(&file, &authority.pem).unwrap();
    for (word, security) in [("starttls", Security::StartTls), ("tls", Security::Tls)] {
        let strange = peer(Authority::new().acceptor("127.0.0.1"), security).await;
        let elsewhere = peer(authority.acceptor("mail.elsewhere.example"), security).await;
        for mut peer in [strange, elsewhere] {
            let text = unavailable(
                trusting(peer.port, word, &file)
                    .deliver(mail("dev@team.example"))
                    .await,
            );
            let server = format!(
                "the certificate of the mail server 127.0.0.1:{} is not accepted",
                peer.port
            );
            assert!(
                text.contains(&server) && text.contains("`authority`"),
                "{word}: {text}"
            );
            let all = peer.until(|text| text.starts_with("no TLS")).await;
            let told = all
                .iter()
                .any(|said| said.contains("MAIL") || said.contains("dev@"));
            assert!(!told, "{word}: {all:?}");
        }
        // Without a word of the operator, what the machine trusts counts.
        let unnamed = peer(authority.acceptor("127.0.0.1"), security).await;
        let mut server = sender(unnamed.port, &format!("security = {word:?}"));
        server.patience = Duration::from_secs(10);
        let text = unavailable(server.deliver(mail("dev@team.example")).await);
        assert!(!text.contains("took longer"), "{word}: {text}");
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_keeps_the_mail_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.pem");
    let tried = async || unavailable(trusting(1, "tls", &file).deliver(mail("dev@team.example")).await);
    let missing = tried().await;
    std::fs::write(&file, "no certificate").unwrap();
    let wrong = tried().await;
    std::fs::write(&file, vec![b'-'; 2 << 20]).unwrap();
    let large = tried().await;
    std::fs::write(
        &file,
        "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let damaged = tried().await;
    for (text, reason) in [
        (missing, "No such file"),
        (wrong, "found none"),
        (large, "more than"),
        (damaged, ""),
    ] {
        assert!(
            text.contains("mail.pem") && text.contains("`authority`") && text.contains(reason),
            "{text}"
        );
    }
}
