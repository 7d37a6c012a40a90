//! Crashes and lost connections: what was answered is there, what was refused is not, and what nobody can know is
//! said to be so.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use capstan_model::Timestamp;
use capstan_store::{Error, NewBuildset, Options, Store};
use futures::stream::{FuturesUnordered, StreamExt as _};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::farm::{Farm, at};
use crate::{postgres, schema};

fn buildset(reason: String) -> NewBuildset {
    NewBuildset {
        reason,
        builders: vec!["b1".to_owned(), "b2".to_owned()],
        ..NewBuildset::default()
    }
}

/// What the process is told that writes until it dies.
const DATABASE: &str = "CAPSTAN_TEST_CRASH_DATABASE";

#[tokio::test]
#[ignore = "the half of `what_was_answered_survives_a_crash` that dies"]
async fn writes_and_dies() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let store = Store::open(&Options::new(url), at(1)).await.unwrap();
    let submit = |i: i64| {
        let store = store.clone();
        async move {
            store
                .submit(buildset(format!("number {i}")), Timestamp(i))
                .await
                .map(|_| i)
                .unwrap()
        }
    };
    let mut writes: FuturesUnordered<_> = (0..500).map(submit).collect();
    for _ in 0..200 {
        let i = writes.next().await.unwrap();
        // Straight to the pipe: the test harness keeps back what is printed.
        use std::io::Write as _;
        writeln!(std::io::stdout(), "answered number {i}").unwrap();
    }
    std::process::abort();
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/farm.db", folder.path().display());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::writes_and_dies", "--ignored", "--nocapture"])
        .env(DATABASE, &url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answered: Vec<_> = lines
        .filter_map(|line| {
            line.unwrap()
                .split_once("answered ")
                .map(|(_, reason)| reason.to_owned())
        })
        .collect();
    assert!(!child.wait().unwrap().success());
    assert_eq!(answered.len(), 200);

    let store = Store::open(&Options::new(url), at(2)).await.unwrap();
    let waiting = store.pending_requests().await.unwrap();
    for reason in &answered {
        let requests = waiting.iter().filter(|request| request.reason == *reason).count();
        assert_eq!(requests, 2, "{reason} was answered");
    }
    assert_eq!(
        waiting.len() % 2,
        0,
        "a buildset is there with all its requests or not at all"
    );
    store.close().await;
}

#[tokio::test]
async fn another_process_that_writes_for_a_while_costs_nothing_but_time() {
    let farm = Farm::sqlite().await;
    let mut other = sqlx::SqliteConnection::connect(&farm.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let held = async {
        // Longer than any number of attempts at once would take.
        tokio::time::sleep(Duration::from_secs(3)).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    };
    let writes = (0..20).map(|n| farm.store.submit(buildset(format!("number {n}")), at(n)));
    let (written, ()) = tokio::join!(futures::future::join_all(writes), held);
    for written in written {
        written.unwrap();
    }
    assert_eq!(farm.store.pending_requests().await.unwrap().len(), 40);
    other.close().await.unwrap();
    farm.end().await;
}

/// Where the connection between a store and its server is cut next.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Cut {
    Nothing,
    /// At the end of a unit.
    Unit,
    /// At a commit of which the server never hears.
    Before,
    /// At a commit whose answer the store never hears.
    After,
}

/// A connection to PostgreSQL that can be cut.
pub struct Wire {
    port: u16,
    cut: Arc<AtomicU8>,
    _tasks: JoinSet<()>,
}

impl Wire {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicU8::new(Cut::Nothing as u8));
        let mut tasks = JoinSet::new();
        let armed = cut.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(
                    client,
                    TcpStream::connect(server.clone()).await.unwrap(),
                    armed.clone(),
                ));
            }
        });
        Self {
            port,
            cut,
            _tasks: tasks,
        }
    }

    pub fn arm(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: TcpStream, armed: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let cut = armed.load(Ordering::SeqCst);
            let word = if cut == Cut::Unit as u8 {
                "INSERT INTO requests".as_bytes()
            } else {
                b"COMMIT"
            };
            let hit =
                cut != Cut::Nothing as u8 && buffer[..length].windows(word.len()).any(|found| found == word);
            if hit {
                armed.store(Cut::Nothing as u8, Ordering::SeqCst);
            }
            if hit && cut != Cut::After as u8 {
                return;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() || hit {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// A store that reaches its server over a wire.
pub async fn wired() -> Option<(Farm, Wire, Store)> {
    let farm = Farm::postgres().await?;
    let (scheme, rest) = farm.url.split_once("://").unwrap();
    let (user, rest) = rest.split_once('@').unwrap();
    let (host, rest) = rest.split_once('/').unwrap();
    let wire = Wire::to(host.to_owned()).await;
    let name = rest.split_once('?').unwrap().0;
    let url = format!("{scheme}://{user}@127.0.0.1:{}/{name}?sslmode=disable", wire.port);
    let store = Store::open(&Options::new(url), at(2)).await.unwrap();
    Some((farm, wire, store))
}

#[tokio::test]
async fn a_commit_without_an_answer_is_said_to_be_unknown() {
    let Some((farm, wire, store)) = wired().await else {
        return;
    };
    for (cut, written) in [(Cut::Before, false), (Cut::After, true)] {
        let reason = format!("written: {written}");
        wire.arm(cut);
        let unknown = store.submit(buildset(reason.clone()), at(3)).await;
        assert!(matches!(unknown, Err(Error::CommitUnknown { .. })), "{unknown:?}");
        store
            .submit(buildset("the next one".to_owned()), at(4))
            .await
            .expect("the connection is made again");
        // The server carries out what it heard, whether or not anybody is left to tell.
        let look = async {
            while farm
                .store
                .pending_requests()
                .await
                .unwrap()
                .iter()
                .any(|r| r.reason == reason)
                != written
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), look)
            .await
            .expect(&reason);
    }
    store.close().await;
    farm.end().await;
}

#[tokio::test]
async fn a_connection_lost_in_a_transaction_leaves_nothing() {
    let Some((farm, wire, store)) = wired().await else {
        return;
    };
    wire.arm(Cut::Unit);
    let lost = store.submit(buildset("lost".to_owned()), at(3)).await;
    assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
    store
        .submit(buildset("kept".to_owned()), at(4))
        .await
        .expect("the connection is made again");
    assert!(
        store
            .pending_requests()
            .await
            .unwrap()
            .iter()
            .all(|request| request.reason == "kept")
    );
    store.close().await;
    farm.end().await;
}

#[tokio::test]
async fn a_restarted_server_costs_an_idle_store_nothing() {
    let Some(farm) = Farm::postgres().await else {
        return;
    };
    farm.request("b", 0).await;
    assert_eq!(farm.store.pending_requests().await.unwrap().len(), 1);
    let end = "SELECT COUNT(pg_terminate_backend(pid))::text FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'capstan'";
    let ended = schema::texts(&farm.url, end.to_owned()).await;
    assert!(ended.iter().all(|count| count != "0"), "{ended:?}");
    farm.request("b", 0).await;
    assert_eq!(farm.store.pending_requests().await.unwrap().len(), 2);
    farm.end().await;
}

#[tokio::test]
async fn a_database_that_was_dropped_is_an_error_not_a_wait() {
    let Some(url) = postgres::database().await else {
        return;
    };
    let store = Store::open(&Options::new(url.as_str()), at(1)).await.unwrap();
    store.put_blob(b"before".to_vec()).await.unwrap();
    postgres::remove(&url).await;
    let refused = store.put_blob(b"after".to_vec()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Database { reason, .. } if reason.contains("does not exist")),
        "{refused:?}"
    );
    store.close().await;
}
