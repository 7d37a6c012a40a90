//! A connection whose admission takes so long that its worker has given it up and dialled again.

#![expect(clippy::unwrap_used, reason = "a test that meets an error ends there")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use capstan_client::{Connection, Identity, Options, connect, enroll, receive, send};
use capstan_link::{Link, Port, Refusal};
use capstan_model::{CommandId, Digest, Timestamp};
use capstan_wire::control::{ExitReport, FromMaster, FromWorker, Hello, Resume};
use capstan_wire::join::{Join, Secret};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A store whose first answer is late.
struct Slow {
    asked: AtomicUsize,
    first: AtomicBool,
    gate: watch::Sender<bool>,
}

impl Port for Slow {
    fn admit(&self, _: String, _: Digest) -> BoxFuture<'_, Result<(), String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let waits = !self.first.swap(true, Ordering::SeqCst);
        async move {
            if waits {
                let _ = self.gate.subscribe().wait_for(|open| *open).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn invited(&self, _: Digest) -> BoxFuture<'_, Result<String, String>> {
        async { Ok("w1".to_owned()) }.boxed()
    }

    fn redeem(&self, _: Digest, _: Digest) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn hello(&self, _: String, _: Hello) -> BoxFuture<'_, Result<Vec<Resume>, String>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn ready(&self, _: String, _: Vec<CommandId>) {}

    fn append(&self, _: String, _: CommandId, _: u64, _: Bytes) -> BoxFuture<'_, Result<u64, Refusal>> {
        async { Err(Refusal::Unknown) }.boxed()
    }

    fn exited(&self, _: String, _: CommandId, _: ExitReport) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn disconnected(&self, _: String, _: Timestamp, _: String) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

async fn greeting(identity: &Identity, address: &str) -> (Connection, quinn::SendStream, quinn::RecvStream) {
    let connection = connect(identity, address, &Options::default()).await.unwrap();
    let (mut to, from) = connection.quinn().open_bi().await.unwrap();
    let hello = Hello {
        minor: 0,
        version: String::new(),
        boot: Uuid::nil(),
        slots: 1,
        labels: Vec::new(),
        facts: std::collections::BTreeMap::new(),
        epoch_seen: 0,
        commands: Vec::new(),
    };
    send(&mut to, &FromWorker::Hello(hello)).await.unwrap();
    (connection, to, from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_given_up_before_it_was_admitted_takes_nobodys_seat() {
    // A link that forgets who came later is lucky in half of the rounds. That an end was said may be lost on the way.
    for heard in [true, false, true, false] {
        let data = tempfile::tempdir().unwrap();
        let port = Arc::new(Slow {
            asked: AtomicUsize::new(0),
            first: AtomicBool::new(false),
            gate: watch::Sender::new(false),
        });
        let options = capstan_link::Options {
            data: data.path().to_owned(),
            installation: Uuid::from_u128(7),
            epoch: 5,
            udp_buffer: 64 * 1024,
            ..capstan_link::Options::default()
        };
        let link = Link::bind(options, port.clone()).await.unwrap();
        let (address, authority) = (link.local_addr().to_string(), link.handle().authority());
        let shutdown = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(link.run(shutdown.clone()));
        let join = Join {
            addresses: vec![address.clone()],
            authority,
            secret: Secret::new([7; 32]),
            name: "w1".to_owned(),
        };
        let identity = enroll(&join, &Options::default()).await.unwrap().identity;

        let (given_up, _to, _from) = greeting(&identity, &address).await;
        while port.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let mut given_up = Some(given_up);
        if heard {
            let given_up = given_up.take().unwrap();
            given_up
                .close(capstan_wire::close::Code::Silent, "no welcome")
                .await;
        }
        let (lives, _to, mut from) = greeting(&identity, &address).await;
        assert!(matches!(
            receive(&mut from).await.unwrap(),
            Some(FromMaster::Welcome(_))
        ));
        port.gate.send_replace(true);
        let sent_away = tokio::time::timeout(Duration::from_millis(300), async {
            loop {
                match receive::<FromMaster>(&mut from).await {
                    Ok(Some(FromMaster::Goodbye { reason, fatal })) => return (reason, fatal),
                    Ok(Some(_)) => {}
                    other => return (format!("{other:?}"), false),
                }
            }
        });
        if let Ok(sent_away) = sent_away.await {
            panic!("expected the living connection to stay, found {sent_away:?}");
        }
        drop((lives, given_up));
        shutdown.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
