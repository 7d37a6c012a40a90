//! Who is let in.

use capstan_client::Error;
use capstan_model::CommandId;
use capstan_wire::ALPN_WORKER;
use capstan_wire::close::Code;
use capstan_wire::control::FromMaster;
use uuid::Uuid;

use crate::farm::{Farm, assert_says};
use crate::worker::{MOMENT, Worker, closed, hello, member, raw};

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let farm = Farm::start().await;
    let connection = raw(&farm, ALPN_WORKER, None).await.unwrap();
    insta::assert_snapshot!(closed(&connection).await, @"the master closed the connection (not admitted): expected a worker's certificate, found none; join with `capstan-worker join`");
    assert_eq!(farm.port.0.borrow().told, [""; 0]);
}

#[tokio::test]
async fn a_certificate_of_another_farm_is_refused_in_the_handshake() {
    let (farm, other) = (Farm::start().await, Farm::start().await);
    let mut foreign = member(&other, "w1").await;
    member(&farm, "w1").await;
    // It knows whom it talks to: the certificate is what is wrong.
    foreign.authority = farm.authority.clone();
    let text = match raw(&farm, ALPN_WORKER, Some(&foreign)).await {
        Ok(connection) => closed(&connection).await,
        Err(error) => error.to_string(),
    };
    assert_says(&text, "cryptographic handshake failed");
    assert_eq!(farm.port.0.borrow().told, [""; 0]);
}

#[tokio::test]
async fn a_worker_does_not_talk_to_another_master() {
    let (farm, other) = (Farm::start().await, Farm::start().await);
    let ours = member(&farm, "w1").await;
    let error = Worker::try_connect(&other, &ours, hello()).await.err().unwrap();
    assert!(matches!(error, Error::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn a_revoked_worker_is_sent_away_and_does_not_come_back() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    let reason = || "worker `w1` was revoked".to_owned();
    farm.port
        .change(|store| store.members.insert("w1".to_owned(), Err(reason())));
    farm.told("ready w1").await;
    assert!(farm.handle.disconnect("w1", &reason(), true));
    let goodbye = worker.next().await.unwrap();
    assert_eq!(
        goodbye,
        Some(FromMaster::Goodbye {
            reason: reason(),
            fatal: true
        })
    );
    worker.connection.close(Code::Done, "").await;
    farm.told("disconnected w1").await;
    let error = Worker::try_connect(&farm, &identity, hello())
        .await
        .err()
        .unwrap();
    insta::assert_snapshot!(error, @"the master closed the connection (not admitted): worker `w1` was revoked");
}

#[tokio::test]
async fn a_worker_that_joined_again_leaves_its_old_certificate_behind() {
    let farm = Farm::start().await;
    let (old, new) = (member(&farm, "w1").await, member(&farm, "w1").await);
    assert!(Worker::try_connect(&farm, &old, hello()).await.is_err());
    assert!(Worker::try_connect(&farm, &new, hello()).await.is_ok());
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    for alpn in [b"capstan-worker/2".as_slice(), b"h3"] {
        let error = raw(&farm, alpn, Some(&identity)).await.err().unwrap();
        assert_says(&error.to_string(), "any known protocol");
    }
}

#[tokio::test]
async fn newcomers_that_say_nothing_do_not_keep_others_out() {
    let farm = Farm::with(|options| (options.newcomers, options.greeting) = (2, MOMENT * 5)).await;
    let silent = [
        raw(&farm, ALPN_WORKER, None).await,
        raw(&farm, capstan_wire::ALPN_ENROLL, None).await,
    ];
    for connection in silent.iter().flatten() {
        closed(connection).await;
    }
    member(&farm, "w1").await;
}

#[tokio::test]
async fn an_order_to_a_worker_that_is_not_there_is_dropped() {
    let farm = Farm::start().await;
    let id = CommandId(Uuid::nil());
    assert!(!farm.handle.kill("nobody", id, "late") && !farm.handle.forget("nobody", id));
    assert!(!farm.handle.is_connected("nobody") && farm.handle.connected().is_empty());
    let identity = member(&farm, "w1").await;
    let _worker = Worker::connect(&farm, &identity, vec![]).await;
    farm.told("ready w1").await;
    let [connected] = farm.handle.connected().try_into().unwrap();
    assert_eq!((connected.name.as_str(), connected.hello), ("w1", hello()));
    assert!(connected.last_heard >= connected.since && !connected.leaving);
}
