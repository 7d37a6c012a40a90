//! Peers that break the rules: their connection ends with the reason, and nobody else notices.

use capstan_model::CommandId;
use capstan_wire::control::{self, FromWorker, Hello};
use capstan_wire::log_stream::Header;
use capstan_wire::{ALPN_ENROLL, ALPN_WORKER};
use uuid::Uuid;

use crate::farm::{Farm, soon};
use crate::worker::{ID, Worker, closed, held, hello, log, member, raw};

/// What the master says to this on the first stream.
async fn answer(farm: &Farm, alpn: &[u8], bytes: &[u8]) -> String {
    let identity = member(farm, "bad").await;
    let connection = raw(farm, alpn, Some(&identity)).await.unwrap();
    let (mut to, _from) = connection.open_bi().await.unwrap();
    // The master may hang up before it has read everything.
    let _refused = to.write_all(bytes).await;
    let _finished = to.finish();
    closed(&connection).await
}

/// What the master says to this as a log stream; it has the first frame of the log of `ID`.
async fn answer_to_log(farm: &Farm, bytes: &[u8]) -> String {
    let identity = member(farm, "bad").await;
    farm.port.change(|store| store.logs.insert(ID, log(1, 10)));
    let worker = Worker::connect(farm, &identity, vec![held(ID, 1000)]).await;
    let mut stream = worker.connection.quinn().open_uni().await.unwrap();
    let _refused = stream.write_all(bytes).await;
    let _finished = stream.finish();
    worker.closed().await
}

/// A good worker that is connected all the time.
async fn witness(farm: &Farm) -> Worker {
    let identity = member(farm, "good").await;
    Worker::connect(farm, &identity, vec![]).await
}

async fn is_unharmed(farm: &Farm, mut witness: Worker) {
    assert!(farm.handle.kill("good", ID, "to see whether it is there"));
    assert!(soon("an order", witness.next()).await.unwrap().is_some());
    let told = farm.port.0.borrow().told.clone();
    assert!(
        !told.iter().any(|told| told.starts_with("disconnected good")),
        "{told:#?}"
    );
}

#[tokio::test]
async fn a_control_stream_of_garbage() {
    let farm = Farm::start().await;
    let witness = witness(&farm).await;
    let oversized = u32::MAX.to_be_bytes();
    let mut nonsense = 12u32.to_be_bytes().to_vec();
    nonsense.extend_from_slice(b"GET / HTTP/1");
    let no_hello = control::encode(&FromWorker::Leaving).unwrap();
    let mut twice = control::encode(&FromWorker::Hello(hello())).unwrap();
    twice.extend(twice.clone());
    let mut cut = control::encode(&FromWorker::Hello(hello())).unwrap();
    cut.truncate(20);
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &oversized).await, @"the master closed the connection (protocol violated): expected a control message of 1 to 1048576 bytes, found a length of 4294967295");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &[0; 4]).await, @"the master closed the connection (protocol violated): expected a control message of 1 to 1048576 bytes, found a length of 0");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &nonsense).await, @"the master closed the connection (protocol violated): expected a control message, found invalid type: byte array, expected internally tagged enum FromWorker");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &no_hello).await, @"the master closed the connection (protocol violated): expected a hello, found a leaving");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &twice).await, @"the master closed the connection (protocol violated): expected one hello, found a second hello");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &cut).await, @"the master closed the connection (protocol violated): expected the rest of a message, found the end of the stream");
    insta::assert_snapshot!(answer(&farm, ALPN_WORKER, &[]).await, @"the master closed the connection (protocol violated): expected a hello, found the end of the stream");
    is_unharmed(&farm, witness).await;
}

#[tokio::test]
async fn a_log_stream_of_garbage() {
    let farm = Farm::start().await;
    let witness = witness(&farm).await;
    let header = |offset| control::encode(&Header { id: ID, offset }).unwrap();
    let with = |offset, bytes: &[u8]| [header(offset), bytes.to_vec()].concat();
    let good = log(2, 10);
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    insta::assert_snapshot!(answer_to_log(&farm, &2000u32.to_be_bytes()).await, @"the master closed the connection (protocol violated): expected a message of at most 1024 bytes, found a length of 2000");
    insta::assert_snapshot!(answer_to_log(&farm, &with(0, &[0xff; 40])).await, @"the master closed the connection (protocol violated): the log of command 00000000-0000-0000-0000-00000000000b: expected a frame of 1 to 65536 bytes, found a length of 4294967295");
    insta::assert_snapshot!(answer_to_log(&farm, &with(0, &flipped)).await, @"the master closed the connection (protocol violated): the log of command 00000000-0000-0000-0000-00000000000b: expected the checksum 3ad969d4, found a7d688a2");
    insta::assert_snapshot!(answer_to_log(&farm, &with(0, &good[..30])).await, @"the master closed the connection (protocol violated): the log of command 00000000-0000-0000-0000-00000000000b: expected the rest of a frame, found the end of the stream after 3 bytes of it");
    insta::assert_snapshot!(answer_to_log(&farm, &with(28, &good)).await, @"the master closed the connection (protocol violated): expected the log of command 00000000-0000-0000-0000-00000000000b to go on at or below offset 27, found offset 28");
    insta::assert_snapshot!(answer_to_log(&farm, &with(1, &good)).await, @"the master closed the connection (protocol violated): expected the log of command 00000000-0000-0000-0000-00000000000b to be the one that was sent before, found other frames around offset 27");
    assert_eq!(
        farm.port.0.borrow().logs[&ID],
        log(1, 10),
        "nothing of it was stored"
    );
    is_unharmed(&farm, witness).await;
}

#[tokio::test]
async fn an_enrol_stream_of_garbage() {
    let farm = Farm::start().await;
    let witness = witness(&farm).await;
    let mut nonsense = 4u32.to_be_bytes().to_vec();
    nonsense.extend_from_slice(b"oops");
    insta::assert_snapshot!(answer(&farm, ALPN_ENROLL, &100_000u32.to_be_bytes()).await, @"the master closed the connection (protocol violated): expected a message of at most 65536 bytes, found a length of 100000");
    insta::assert_snapshot!(answer(&farm, ALPN_ENROLL, &nonsense).await, @"the master closed the connection (protocol violated): expected a control message, found invalid type: string, expected map");
    insta::assert_snapshot!(answer(&farm, ALPN_ENROLL, &[]).await, @"the master closed the connection (protocol violated): expected a request to join, found the end of the stream");
    is_unharmed(&farm, witness).await;
}

#[tokio::test]
async fn a_log_that_nobody_waits_for_is_stopped_and_the_connection_goes_on() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    let stranger = CommandId(Uuid::from_u128(99));
    let stream = worker.log(stranger, 0, &log(1, 10)).await;
    let code = soon("the stop of the stream", stream.stopped()).await.unwrap();
    assert_eq!(
        code.map(u64::from),
        Some(capstan_wire::close::Code::Unwanted as u64)
    );
    // One that the link knows and the store does not: it ended while the bytes were on their way.
    farm.told("ready w1").await;
    farm.handle.start("w1", ID, crate::worker::spec(), [].into());
    assert!(worker.next().await.unwrap().is_some());
    let stream = worker.log(ID, 0, &log(1, 10)).await;
    assert!(
        soon("the stop of the stream", stream.stopped())
            .await
            .unwrap()
            .is_some()
    );
    is_alive(&farm, worker).await;
}

async fn is_alive(farm: &Farm, mut worker: Worker) {
    assert!(farm.handle.kill("w1", ID, "to see whether it is there"));
    assert!(worker.next().await.unwrap().is_some());
}

#[tokio::test]
async fn a_worker_that_knows_a_newer_master_is_left_alone() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let error = Worker::try_connect(
        &farm,
        &identity,
        Hello {
            epoch_seen: 6,
            ..hello()
        },
    )
    .await
    .err()
    .unwrap();
    insta::assert_snapshot!(error, @"the master closed the connection (an old master): expected a master of epoch 6 or later, found epoch 5; it was replaced, or runs on an old copy of its database");
    assert!(!farm.handle.is_connected("w1"));
}
