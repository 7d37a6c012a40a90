//! Joining: what the person with a join string meets.

use capstan_client::{Error, Options, enroll};
use capstan_wire::ALPN_ENROLL;
use capstan_wire::enroll::{Request, Response};
use capstan_wire::join::Join;

use crate::farm::{Farm, assert_says, bind, soon};
use crate::worker::{Worker, closed, raw};

async fn try_join(join: &Join) -> Result<capstan_client::Enrolled, Error> {
    soon("an answer", enroll(join, &Options::default())).await
}

#[tokio::test]
async fn a_join_string_makes_a_member_once() {
    let farm = Farm::start().await;
    // As a person would: through its text.
    let join: Join = farm.invite("w1").encode().parse().unwrap();
    let enrolled = try_join(&join).await.unwrap();
    assert_eq!(
        (enrolled.name.as_str(), &enrolled.address),
        ("w1", &farm.address.to_string())
    );
    let worker = Worker::connect(&farm, &enrolled.identity, vec![]).await;
    assert_eq!((worker.welcome.name.as_str(), worker.welcome.epoch), ("w1", 5));
    insta::assert_snapshot!(try_join(&join).await.err().unwrap(), @"the master refused: the invitation was already used");
}

#[tokio::test]
async fn a_void_invitation_is_refused_with_its_reason() {
    let farm = Farm::start().await;
    let join = farm.invite("w1");
    let void = Err("the invitation for worker `w1` has expired".to_owned());
    farm.port
        .change(|store| store.invitations.insert(join.secret.digest(), void));
    insta::assert_snapshot!(try_join(&join).await.err().unwrap(), @"the master refused: the invitation for worker `w1` has expired");
}

#[tokio::test]
async fn a_join_string_of_another_master_is_noticed_before_the_secret_is_sent() {
    let (ours, other) = (Farm::start().await, Farm::start().await);
    let join = Join {
        addresses: vec![other.address.to_string()],
        ..ours.invite("w1")
    };
    let error = try_join(&join).await.err().unwrap();
    assert!(
        matches!(&error, Error::Foreign { expected, found, .. }
        if *expected == ours.handle.authority() && *found == other.handle.authority()),
        "{error}"
    );
    assert!(
        try_join(&ours_address(&ours, join)).await.is_ok(),
        "the invitation is still good"
    );
}

fn ours_address(farm: &Farm, join: Join) -> Join {
    Join {
        addresses: vec![farm.address.to_string()],
        ..join
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let farm = Farm::start().await;
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = silent.local_addr().unwrap().to_string();
    let options = Options {
        handshake: std::time::Duration::from_millis(300),
        ..Options::default()
    };
    let join = Join {
        addresses: vec![dead.clone()],
        ..farm.invite("w1")
    };
    let error = soon("an answer", enroll(&join, &options)).await.err().unwrap();
    assert!(
        matches!(&error, Error::Silent { address } if *address == dead),
        "{error}"
    );
    let both = Join {
        addresses: vec![dead, farm.address.to_string()],
        ..join
    };
    // Long enough for a master on a busy machine.
    let options = Options {
        handshake: std::time::Duration::from_secs(2),
        ..Options::default()
    };
    let enrolled = soon("an answer", enroll(&both, &options)).await.unwrap();
    assert_eq!(enrolled.address, farm.address.to_string());
}

#[tokio::test]
async fn a_bad_request_does_not_use_the_invitation_up() {
    let farm = Farm::start().await;
    let join = farm.invite("w1");
    let connection = raw(&farm, ALPN_ENROLL, None).await.unwrap();
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    let request = Request {
        secret: join.secret.clone(),
        csr: b"no request".to_vec(),
    };
    capstan_client::send(&mut to, &request).await.unwrap();
    let answer = soon("an answer", capstan_client::receive::<Response>(&mut from))
        .await
        .unwrap();
    assert_says(&answer, "expected a certificate signing request");
    assert!(try_join(&join).await.is_ok());
}

#[tokio::test]
async fn members_stay_members_when_the_master_starts_again() {
    let farm = Farm::start().await;
    let identity = crate::worker::member(&farm, "w1").await;
    let store = farm.port.0.borrow().clone();
    farm.end().await;
    let (link, port) = bind(farm.data(), |options| options.listen = farm.address).await;
    port.change(|new| new.members = store.members);
    let (shutdown, mut tasks) = (farm.shutdown.child_token(), tokio::task::JoinSet::new());
    assert_eq!(link.handle().authority(), farm.handle.authority());
    drop(shutdown);
    tasks.spawn(link.run(tokio_util::sync::CancellationToken::new()));
    assert!(
        Worker::try_connect(&farm, &identity, crate::worker::hello())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_newcomer_that_says_nothing_is_sent_away() {
    let farm = Farm::with(|options| options.greeting = crate::worker::MOMENT).await;
    let connection = raw(&farm, ALPN_ENROLL, None).await.unwrap();
    assert_says(&closed(&connection).await, "silent for too long");
}
