//! Messages to a small server of our own: what arrives, and what a plugin is told when it does not.

use capstan_engine::{Attachment, Mailbox as Recipient};
use capstan_model::SystemClock;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;

mod tls;

/// What a server says first.
const GREETING: &str = "220 test ESMTP\r\n";

/// How the server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Friendly,
    /// It accepts a connection and says nothing.
    Silent,
    /// It takes no mail today.
    Busy,
    /// It answers RCPT without end.
    Endless,
    /// It wants a login, this one.
    Strict,
}

/// A server on a port of its own that passes on what it is told: commands, and what follows DATA.
struct Peer {
    port: u16,
    heard: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl Peer {
    async fn new(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, heard) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                converse(stream, GREETING, mood, &told).await;
            }
        });
        Self {
            port,
            heard,
            _task: task,
        }
    }

    /// What it is told until the first text of which that is true.
    async fn until(&mut self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        while !all.last().is_some_and(|text: &String| last(text)) {
            let next = tokio::time::timeout(Duration::from_secs(10), self.heard.recv()).await;
            all.push(next.expect("the conversation ends").unwrap());
        }
        all
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    greeting: &str,
    mood: Mood,
    told: &mpsc::UnboundedSender<String>,
) {
    let mut stream = BufReader::new(stream);
    if mood == Mood::Silent {
        return std::future::pending().await;
    }
    let _ = stream.write_all(greeting.as_bytes()).await;
    let _ = stream.flush().await;
    let mut line = String::new();
    while {
        line.clear();
        stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
    } {
        let said = line.trim_end().to_owned();
        let answer = answer(&said, mood);
        let _ = told.send(said.clone());
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        while mood == Mood::Endless && said.starts_with("RCPT") {
            if stream.write_all(b"250-more\r\n").await.is_err() {
                return;
            }
        }
        if said == "DATA" && answer.starts_with("354") {
            let mut data = String::new();
            while !data.ends_with("\r\n.\r\n") {
                stream.read_line(&mut data).await.unwrap();
            }
            let _ = told.send(data);
            let _ = stream.write_all(b"250 taken\r\n").await;
            let _ = stream.flush().await;
        }
        if said == "QUIT" {
            return;
        }
    }
}

fn answer(said: &str, mood: Mood) -> String {
    let word = said.split(' ').next().unwrap_or_default();
    let answer = match word {
        "EHLO" if mood == Mood::Strict => "250-test\r\n250 AUTH PLAIN",
        "EHLO" => "250 test",
        // The user `ci`, the password `pass word`.
        "AUTH" if said == "AUTH PLAIN AGNpAHBhc3Mgd29yZA==" => "235 welcome",
        "AUTH" => "535 no",
        "MAIL" if mood == Mood::Busy => "451 later",
        "RCPT" if said.contains("nobody@") => "550 no such mailbox",
        "RCPT" if said.contains("full@") => "452 the mailbox is full",
        "RCPT" if mood == Mood::Endless => "250-more",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        _ => "250 fine",
    };
    format!("{answer}\r\n")
}

fn sender(port: u16, lines: &str) -> Server {
    let text = format!("[mail]\nserver = \"127.0.0.1:{port}\"\nfrom = \"CI <ci@farm.example>\"\n{lines}");
    let operator = capstan_config::Operator::parse(&text, Path::new("/farm")).unwrap();
    let secrets = Secrets::new("/nowhere", "CAPSTAN_MAIL_TEST_");
    let mut server = Server::new(operator.mail.as_ref(), secrets, Arc::new(SystemClock)).unwrap();
    server.patience = Duration::from_millis(300);
    server
}

fn plain(port: u16) -> Server {
    sender(port, "security = \"none\"")
}

fn to(address: &str) -> Recipient {
    Recipient {
        name: None,
        address: address.to_owned(),
    }
}

fn mail(address: &str) -> Mail {
    Mail {
        to: vec![to(address)],
        subject: "roman/7 failed".to_owned(),
        text: Some("It failed.\n.\nA line that is a dot.".to_owned()),
        ..Mail::default()
    }
}

#[tokio::test]
async fn a_message_arrives_whole_at_everybody_and_blind_copies_are_blind() {
    let mut peer = Peer::new(Mood::Friendly).await;
    let mut mail = mail("dev@team.example");
    mail.to[0].name = Some("Die Entwickler:innen, größere".to_owned());
    mail.cc.push(to("lead@team.example"));
    mail.bcc.push(to("audit@team.example"));
    mail.subject = "größer".to_owned();
    mail.html = Some("<b>It failed.</b>".to_owned());
    mail.headers
        .push(("Message-ID".to_owned(), "<report-7@farm.example>".to_owned()));
    mail.headers.push(("X-Builder".to_owned(), "römisch".to_owned()));
    mail.attachments.push(Attachment {
        name: "größe\".log".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        content: vec![0, 255, b'\n', b'.', b'\n'],
    });
    plain(peer.port).deliver(mail).await.unwrap();
    let all = peer.until(|text| text.ends_with("\r\n.\r\n")).await;
    assert_eq!(
        all[1..6],
        [
            "MAIL FROM:<ci@farm.example>",
            "RCPT TO:<dev@team.example>",
            "RCPT TO:<lead@team.example>",
            "RCPT TO:<audit@team.example>",
            "DATA"
        ]
    );
    let data = &all[6];
    for expected in [
        "From: CI <ci@farm.example>\r\n",
        "Cc: lead@team.example\r\n",
        "Subject: =?utf-8?b?Z3LDtsOfZXI=?=\r\n",
        "Message-ID: <report-7@farm.example>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "X-Builder: =?utf-8?b?",
        "multipart/mixed",
        "multipart/alternative",
        "\r\n<b>It failed.</b>\r\n",
        "\r\nAP8KLgo=\r\n",
    ] {
        assert!(data.contains(expected), "{expected} is not in\n{data}");
    }
    assert!(!data.contains("audit@"), "{data}");
    assert_eq!(data.matches("Message-ID").count(), 1);
}

#[tokio::test]
async fn a_refused_recipient_means_that_nobody_gets_it() {
    let mut peer = Peer::new(Mood::Friendly).await;
    let mut rejected = mail("dev@team.example");
    rejected.cc.push(to("nobody@team.example"));
    let refused = plain(peer.port).deliver(rejected).await.unwrap_err();
    assert!(
        matches!(&refused, MailFault::Rejected(text) if text.contains("no such mailbox")),
        "{refused}"
    );
    let all = peer.until(|text| text == "QUIT").await;
    assert!(!all.iter().any(|said| said == "DATA"), "{all:?}");
    let later = plain(peer.port)
        .deliver(mail("full@team.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(&later, MailFault::Unavailable(text) if text.contains("the mailbox is full")),
        "{later}"
    );
}

#[tokio::test]
async fn a_server_that_is_dead_slow_or_busy_is_tried_again_later() {
    let peer = Peer::new(Mood::Busy).await;
    let busy = plain(peer.port)
        .deliver(mail("dev@team.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(&busy, MailFault::Unavailable(text) if text.contains("451")),
        "{busy}"
    );
    let peer = Peer::new(Mood::Silent).await;
    let slow = plain(peer.port)
        .deliver(mail("dev@team.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(&slow, MailFault::Unavailable(text) if text.contains("took longer") || text.contains("timed out")),
        "{slow}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let dead = plain(port).deliver(mail("dev@team.example")).await.unwrap_err();
    assert!(
        matches!(&dead, MailFault::Unavailable(text) if text.contains("refused")),
        "{dead}"
    );
}

#[tokio::test]
async fn an_endless_answer_ends() {
    let peer = Peer::new(Mood::Endless).await;
    let endless = plain(peer.port)
        .deliver(mail("dev@team.example"))
        .await
        .unwrap_err();
    assert!(matches!(&endless, MailFault::Unavailable(_)), "{endless}");
}

#[tokio::test]
async fn nothing_is_said_in_clear_to_a_server_that_should_speak_tls() {
    let mut peer = Peer::new(Mood::Friendly).await;
    let error = sender(peer.port, "")
        .deliver(mail("dev@team.example"))
        .await
        .unwrap_err();
    assert!(matches!(&error, MailFault::Unavailable(_)), "{error}");
    while let Ok(said) = peer.heard.try_recv() {
        assert!(said.starts_with("EHLO") || said == "QUIT", "{said}");
    }
}

#[tokio::test]
async fn the_password_is_a_secret_and_a_wrong_one_keeps_the_mail() {
    let mut peer = Peer::new(Mood::Strict).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |password: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join("mail-password");
        std::fs::write(&path, password).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let lines = "security = \"none\"\nuser = \"ci\"\npassword = \"mail-password\"";
    let mut server = sender(peer.port, lines);
    let missing = server.deliver(mail("dev@team.example")).await.unwrap_err();
    assert!(
        matches!(&missing, MailFault::Unavailable(text) if text.contains("no secret `mail-password`")),
        "{missing}"
    );
    server.secrets = Secrets::new(folder.path(), "");
    write("wrong");
    let wrong = server.deliver(mail("dev@team.example")).await.unwrap_err();
    assert!(
        matches!(&wrong, MailFault::Unavailable(text) if !text.contains("wrong")),
        "{wrong}"
    );
    write("pass word\n");
    server.deliver(mail("dev@team.example")).await.unwrap();
    assert!(
        peer.until(|text| text == "QUIT")
            .await
            .iter()
            .any(|said| said.starts_with("AUTH"))
    );
}

#[tokio::test]
async fn without_a_server_a_plugin_is_told_what_to_add() {
    let server = Server::new(None, Secrets::new("/nowhere", ""), Arc::new(SystemClock)).unwrap();
    let error = server.deliver(mail("dev@team.example")).await.unwrap_err();
    assert!(
        matches!(&error, MailFault::Unavailable(text) if text.contains("add `[mail]`")),
        "{error}"
    );
}

/// The engine refuses such texts before; here they would still make no header of their own.
#[test]
fn a_line_end_in_a_text_makes_no_header() {
    let evil = "x\r\nBcc: thief@evil.example\r\n\r\nbody";
    let from: Mailbox = "ci@farm.example".parse().unwrap();
    let mut mail = mail("dev@team.example");
    mail.to[0].name = Some(evil.to_owned());
    assert!(letter::write(&from, mail.clone(), SystemTime::UNIX_EPOCH).is_err());
    mail.to[0].name = None;
    mail.subject = evil.to_owned();
    mail.headers.push(("X-A".to_owned(), evil.to_owned()));
    mail.attachments.push(Attachment {
        name: evil.to_owned(),
        media_type: "text/plain".to_owned(),
        content: Vec::new(),
    });
    let (_, bytes) = letter::write(&from, mail, SystemTime::UNIX_EPOCH).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("\nBcc:"), "{text}");
}

/// Servers refuse longer lines, and some change bytes that are no ASCII.
#[test]
fn whatever_a_message_holds_its_lines_are_short_and_ascii() {
    let from: Mailbox = "ci@farm.example".parse().unwrap();
    for long in [
        "x".repeat(900),
        "ü".repeat(450),
        "😀".repeat(225),
        "a ".repeat(450),
        "=?utf-8?q?=0d=0aX:?= ".repeat(40),
    ] {
        let mut mail = mail("dev@team.example");
        mail.to[0].name = Some(long.clone());
        mail.subject = long.clone();
        mail.text = Some(long.repeat(20));
        mail.html = Some(long.repeat(20));
        mail.headers.push(("Reply-To".to_owned(), long.clone()));
        mail.attachments.push(Attachment {
            name: long.clone(),
            media_type: "text/plain".to_owned(),
            content: long.repeat(20).into_bytes(),
        });
        mail.bcc = vec![to(&format!("{}@team.example", "a".repeat(64))); 100];
        let (_, bytes) = letter::write(&from, mail, SystemTime::UNIX_EPOCH).unwrap();
        assert!(bytes.is_ascii());
        for line in bytes.split(|&byte| byte == b'\n') {
            assert!(line.len() <= 999, "{}", String::from_utf8_lossy(line));
        }
    }
}
