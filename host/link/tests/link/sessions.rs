//! Connections that begin, overlap and end.

use std::time::{Duration, Instant};

use capstan_client::{Options, connect, receive, send};
use capstan_wire::control::{FromMaster, FromWorker};

use crate::farm::{Farm, assert_says, soon};
use crate::worker::{ID, MOMENT, Worker, closed, held, hello, log, member};

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
    farm.handle.kill("w1", ID, "to see who gets it");
    assert!(matches!(
        newer.next().await.unwrap(),
        Some(FromMaster::Kill { .. })
    ));
    let told = farm.port.0.borrow().told.clone();
    assert_says(
        &told[2],
        "disconnected w1: the worker `w1` has connected again, from 127.0.0.1",
    );
    let order: Vec<_> = told.iter().map(|told| told.split(' ').next().unwrap()).collect();
    assert_eq!(order, ["hello", "ready", "disconnected", "hello", "ready"]);
}

#[tokio::test]
async fn a_newcomer_waits_neither_for_a_hanging_disk_nor_for_a_goodbye_that_nobody_hears() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    farm.port.change(|store| {
        store.logs.insert(ID, Vec::new());
        (store.slow, store.late) = (true, true);
    });
    let older = Worker::connect(&farm, &identity, vec![held(ID, 0)]).await;
    let log = log(20, 1000);
    let _stream = older.log(ID, 0, &log).await;
    farm.port
        .wait("an append that hangs", |store| store.hanging > 0)
        .await;
    // The older one reads nothing and closes nothing.
    let begun = Instant::now();
    let newer = Worker::connect(&farm, &identity, vec![held(ID, 0)]).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "the newcomer waited for {took:?}");
    farm.told_times("ready w1", 2).await;
    assert_says(&older.closed().await, "invite it under a name of its own");
    let _stream = newer.log(ID, 0, &log).await;
    farm.port.change(|store| store.slow = false);
    farm.port
        .wait("the whole log, once", |store| store.logs[&ID] == log)
        .await;
}

#[tokio::test]
async fn of_many_connections_of_one_worker_the_newest_is_served_within_two_seconds() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut all = Vec::new();
    let begun = Instant::now();
    for _ in 0..5 {
        let options = Options::default();
        let connection = connect(&identity, &farm.address.to_string(), &options)
            .await
            .unwrap();
        let (mut to, from) = connection.quinn().open_bi().await.unwrap();
        send(&mut to, &FromWorker::Hello(hello())).await.unwrap();
        all.push((connection, to, from));
    }
    let (newest, _to, mut from) = all.pop().unwrap();
    let welcome = soon("a welcome", receive(&mut from)).await.unwrap();
    assert!(matches!(welcome, Some(FromMaster::Welcome(_))), "{welcome:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        begun.elapsed()
    );
    for (older, ..) in &all {
        assert_says(&closed(older.quinn()).await, "replaced by a newer connection");
    }
    assert!(farm.handle.is_connected("w1") && newest.quinn().close_reason().is_none());
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_gone_within_the_idle_time() {
    let idle = Duration::from_secs(1);
    let farm = Farm::with(|options| (options.idle, options.ping) = (idle, Duration::from_secs(60))).await;
    let identity = member(&farm, "w1").await;
    let (address, end) = (farm.address.to_string(), std::sync::mpsc::channel::<()>());
    let (welcomed, is_welcomed) = tokio::sync::oneshot::channel();
    // A runtime of its own, so that it can stop moving without closing anything.
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connection = runtime.block_on(async {
            let connection = connect(&identity, &address, &Options::default()).await.unwrap();
            let (mut to, mut from) = connection.quinn().open_bi().await.unwrap();
            send(&mut to, &FromWorker::Hello(hello())).await.unwrap();
            assert!(matches!(
                receive(&mut from).await.unwrap(),
                Some(FromMaster::Welcome(_))
            ));
            // Longer than the idle time: a worker that lives is not given up, however little it has to say.
            tokio::time::sleep(2 * idle).await;
            welcomed.send(connection.quinn().close_reason()).unwrap();
            connection
        });
        let _ended = end.1.recv();
        drop(connection);
    });
    assert_eq!(soon("a silent worker", is_welcomed).await.unwrap(), None);
    let begun = Instant::now();
    farm.told("disconnected w1").await;
    assert!(begun.elapsed() < idle + MOMENT, "it took {:?}", begun.elapsed());
    assert!(!farm.handle.is_connected("w1"));
    drop(end.0);
    worker.join().unwrap();
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
