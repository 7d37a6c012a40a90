//! Connections that begin, overlap and end.

use std::time::{Duration, Instant};

use capstan_client::{Options, connect, receive, send};
use capstan_wire::control::{FromMaster, FromWorker};

use crate::farm::{Farm, assert_says, soon};
use crate::worker::{Worker, hello, member};

#[tokio::test]
async fn of_two_connections_of_one_worker_the_newer_wins() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut older = Worker::connect(&farm, &identity, vec![]).await;
    farm.told("ready w1").await;
    let newer = Worker::connect(&farm, &identity, vec![]);
    let (mut newer, goodbye) = tokio::join!(newer, older.next());
    assert!(matches!(
        goodbye.unwrap(),
        Some(FromMaster::Goodbye { fatal: true, .. })
    ));
    assert_says(&older.closed().await, "replaced by a newer connection");
    farm.told_times("ready w1", 2).await;
    farm.handle.kill("w1", crate::worker::ID, "to see who gets it");
    assert!(matches!(
        newer.next().await.unwrap(),
        Some(FromMaster::Kill { .. })
    ));
    let told = farm.port.0.borrow().told.clone();
    let reason = "disconnected w1: the same worker has connected again";
    assert_eq!(told, ["hello w1", "ready w1 0", reason, "hello w1", "ready w1 0"]);
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_gone_after_the_idle_time() {
    let farm = Farm::with(|options| {
        (options.idle, options.ping) = (Duration::from_millis(400), Duration::from_secs(60));
    });
    let farm = farm.await;
    let identity = member(&farm, "w1").await;
    let silent = Options {
        keep_alive: Duration::from_secs(60),
        ..Options::default()
    };
    let connection = connect(&identity, &farm.address.to_string(), &silent)
        .await
        .unwrap();
    let (mut to, _from) = connection.quinn().open_bi().await.unwrap();
    send(&mut to, &FromWorker::Hello(hello())).await.unwrap();
    farm.told("hello w1").await;
    farm.told("disconnected w1: timed out").await;
    assert!(!farm.handle.is_connected("w1"));
}

#[tokio::test]
async fn workers_are_asked_whether_they_live() {
    let farm = Farm::with(|options| options.ping = Duration::from_millis(50)).await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    farm.told("ready w1").await;
    let before = farm.handle.connected()[0].last_heard;
    let begun = Instant::now();
    while farm.handle.connected()[0].last_heard == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "no answer was noticed");
        let message = soon("a ping", receive(&mut worker.from)).await.unwrap();
        let Some(FromMaster::Ping { nonce }) = message else {
            panic!("{message:?}")
        };
        worker.say(FromWorker::Pong { nonce }).await;
    }
}

#[tokio::test]
async fn a_worker_that_leaves_is_known_to_leave() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    worker.say(FromWorker::Leaving).await;
    farm.told("ready w1").await;
    let begun = Instant::now();
    while !farm.handle.connected()[0].leaving {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "its leaving was not noticed"
        );
        tokio::task::yield_now().await;
    }
    worker
        .connection
        .close(capstan_wire::close::Code::Ending, "restart")
        .await;
    farm.told("disconnected w1").await;
}

#[tokio::test]
async fn the_end_of_the_master_is_said_and_quick() {
    let farm = Farm::start().await;
    let (polite, stuck) = (member(&farm, "polite").await, member(&farm, "stuck").await);
    let mut polite = Worker::connect(&farm, &polite, vec![]).await;
    let stuck = Worker::connect(&farm, &stuck, vec![]).await;
    farm.told("ready polite").await;
    farm.told("ready stuck").await;
    let begun = Instant::now();
    let ((), goodbye) = tokio::join!(farm.end(), polite.next());
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        begun.elapsed()
    );
    let reason = "the master ends".to_owned();
    assert_eq!(
        goodbye.unwrap(),
        Some(FromMaster::Goodbye { reason, fatal: false })
    );
    assert_says(&stuck.closed().await, "ending");
    farm.told("disconnected stuck").await;
}
