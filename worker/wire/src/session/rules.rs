//! What the machines refuse, and the one fault that they repair.

use std::collections::BTreeMap;

use capstan_model::{CommandId, Exit};
use uuid::Uuid;

use super::model::{hello, spec};
use super::{Master, Violation, Worker, master, worker};
use crate::control::{ExitReport, FromMaster, FromWorker, Held, Hello, Resume, ResumeAction, Welcome};

const ID: CommandId = CommandId(Uuid::from_u128(1));

fn welcome(epoch: u64, commands: Vec<Resume>) -> FromMaster {
    FromMaster::Welcome(Welcome {
        minor: 0,
        installation: Uuid::nil(),
        epoch,
        name: "w".to_owned(),
        commands,
    })
}

fn report(exit: Exit, log_length: u64) -> ExitReport {
    ExitReport {
        exit,
        duration_ms: 1,
        log_length,
        stdout_bytes: 0,
        stderr_bytes: 0,
    }
}

fn from(offset: u64) -> Vec<Resume> {
    vec![Resume {
        id: ID,
        action: ResumeAction::From(offset),
    }]
}

/// A master that was greeted by a worker with one command, and has this much of its log.
fn master(offset: u64, held: Held) -> (Master, Vec<master::Action>) {
    let mut master = Master::new(Uuid::nil(), 5, "w".to_owned());
    master
        .received(FromWorker::Hello(Hello {
            commands: vec![held],
            ..hello()
        }))
        .unwrap();
    let actions = master.welcome(from(offset)).unwrap();
    (master, actions)
}

fn running() -> Held {
    Held {
        id: ID,
        length: 100,
        exit: None,
    }
}

#[test]
fn a_worker_does_not_obey_a_master_from_before() {
    let mut worker = Worker::new(7);
    worker.connected(hello());
    let refused = worker.received(welcome(6, vec![])).unwrap_err();
    insta::assert_snapshot!(refused, @"expected a master of epoch 7 or later, found epoch 6; it was replaced, or runs on an old copy of its database");
    assert!(!worker.is_ready());
    worker.connected(hello());
    worker.received(welcome(7, vec![])).unwrap();
    assert!(worker.is_ready());
}

#[test]
fn a_master_from_before_does_not_use_a_worker_that_knows_better() {
    let mut master = Master::new(Uuid::nil(), 5, "w".to_owned());
    let refused = master
        .received(FromWorker::Hello(Hello {
            epoch_seen: 6,
            ..hello()
        }))
        .unwrap_err();
    assert_eq!(refused, Violation::Fenced { seen: 6, found: 5 });
}

#[test]
fn orders_before_the_welcome_are_refused() {
    let mut worker = Worker::new(0);
    worker.connected(hello());
    let start = FromMaster::Start {
        id: ID,
        spec: spec(),
        secrets: BTreeMap::new(),
    };
    insta::assert_snapshot!(worker.received(start).unwrap_err(), @"expected a welcome, found a start");
    let mut master = Master::new(Uuid::nil(), 5, "w".to_owned());
    insta::assert_snapshot!(master.received(FromWorker::Pong { nonce: 1 }).unwrap_err(), @"expected a hello, found a pong");
    assert!(master.stream_opened(ID, 0).is_err());
}

#[test]
fn a_gap_in_a_log_is_refused_and_known_bytes_are_ignored() {
    let (mut master, _) = master(40, running());
    assert!(matches!(
        master.stream_opened(ID, 41),
        Err(Violation::Gap {
            expected: 40,
            found: 41,
            ..
        })
    ));
    assert_eq!(master.log_bytes(ID, 0, 30).unwrap(), Some(30));
    assert_eq!(master.log_bytes(ID, 30, 30).unwrap(), Some(10));
    assert_eq!(master.log_bytes(ID, 60, 30).unwrap(), Some(0));
    insta::assert_snapshot!(master.log_bytes(ID, 91, 1).unwrap_err(), @"expected the log of command 00000000-0000-0000-0000-000000000001 to go on at or below offset 90, found offset 91");
    assert_eq!(
        master.log_bytes(CommandId(Uuid::nil()), 0, 1).unwrap(),
        None,
        "a log that nobody wants"
    );
}

#[test]
fn a_log_and_its_end_must_agree() {
    let (mut early, _) = master(40, running());
    early.log_bytes(ID, 40, 60).unwrap();
    insta::assert_snapshot!(early.received(FromWorker::Exited { id: ID, report: report(Exit::Code(0), 99) }).unwrap_err(), @"expected the log of command 00000000-0000-0000-0000-000000000001 to be 99 bytes long, as its end says, found 100");
    let (mut late, _) = master(40, running());
    late.received(FromWorker::Exited {
        id: ID,
        report: report(Exit::Code(0), 99),
    })
    .unwrap();
    assert!(late.log_bytes(ID, 40, 60).is_err());
    late.log_bytes(ID, 40, 58).unwrap();
    assert!(late.stream_ended(ID, 0).is_err(), "one byte is missing");
    assert!(matches!(
        late.stream_ended(ID, 3),
        Err(Violation::Torn { pending: 3, .. })
    ));
}

#[test]
fn the_end_counts_only_when_the_log_is_durable() {
    let (mut master, _) = master(40, running());
    master.log_bytes(ID, 40, 60).unwrap();
    let end = report(Exit::Code(3), 100);
    assert_eq!(
        master
            .received(FromWorker::Exited {
                id: ID,
                report: end.clone()
            })
            .unwrap(),
        []
    );
    let acknowledged = FromMaster::Ack {
        id: ID,
        received: 100,
        durable: 80,
    };
    assert_eq!(
        master.stored(ID, 80),
        [master::Action::Send(acknowledged)],
        "what has come is not what is durable"
    );
    assert!(
        master
            .stored(ID, 100)
            .contains(&master::Action::Completed(ID, end.clone()))
    );
    assert_eq!(
        master
            .received(FromWorker::Exited { id: ID, report: end })
            .unwrap(),
        [],
        "told once"
    );
}

#[test]
fn one_log_has_one_stream() {
    let (mut master, _) = master(0, running());
    assert_eq!(master.stream_opened(ID, 0).unwrap(), master::Stream::Read);
    assert_eq!(master.stream_opened(ID, 0), Err(Violation::SecondStream(ID)));
    assert_eq!(
        master.stream_opened(CommandId(Uuid::nil()), 0).unwrap(),
        master::Stream::Unwanted
    );
}

#[test]
fn a_worker_notices_an_acknowledgement_of_what_it_never_sent() {
    let mut worker = Worker::new(0);
    worker.restore(ID, None, 100, None);
    worker.connected(hello());
    worker.received(welcome(1, from(40))).unwrap();
    worker
        .received(FromMaster::Ack {
            id: ID,
            received: 100,
            durable: 90,
        })
        .unwrap();
    assert_eq!(worker.durable(ID), Some(90));
    assert!(
        worker
            .received(FromMaster::Ack {
                id: ID,
                received: 101,
                durable: 90
            })
            .is_err()
    );
}

/// The machine crashed and lost the end of a spool that the master has: the command is lost, not stuck.
#[test]
fn a_spool_shorter_than_the_masters_log_ends_as_lost() {
    let mut worker = Worker::new(0);
    worker.restore(
        ID,
        None,
        30,
        Some(report(Exit::Lost("supervisor".to_owned()), 30)),
    );
    let actions = worker.connected(hello());
    let [worker::Action::Send(hello)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    let mut master = Master::new(Uuid::nil(), 5, "w".to_owned());
    master.received(hello.clone()).unwrap();
    let actions = master.welcome(from(40)).unwrap();
    let completed = |actions: &[master::Action]| {
        actions
            .iter()
            .any(|a| matches!(a, master::Action::Completed(_, report) if report.log_length == 40))
    };
    assert!(completed(&actions), "{actions:?}");

    let mut cut = Worker::new(0);
    cut.restore(ID, None, 30, Some(report(Exit::Code(0), 30)));
    let actions = cut.connected(self::hello());
    let [worker::Action::Send(hello)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    let mut master = Master::new(Uuid::nil(), 5, "w".to_owned());
    master.received(hello.clone()).unwrap();
    let actions = master.welcome(from(40)).unwrap();
    let [master::Action::Send(welcome)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    let actions = cut.received(welcome.clone()).unwrap();
    let exited = actions.iter().find_map(|action| match action {
        worker::Action::Send(message @ FromWorker::Exited { .. }) => Some(message.clone()),
        _ => None,
    });
    assert!(
        completed(&master.received(exited.unwrap()).unwrap()),
        "a success without its log is none"
    );
}

#[test]
fn a_second_start_attaches() {
    let mut worker = Worker::new(0);
    worker.connected(hello());
    worker.received(welcome(1, vec![])).unwrap();
    let start = || FromMaster::Start {
        id: ID,
        spec: spec(),
        secrets: BTreeMap::new(),
    };
    let starts =
        |actions: &[worker::Action]| actions.iter().any(|a| matches!(a, worker::Action::Start { .. }));
    assert!(starts(&worker.received(start()).unwrap()));
    assert_eq!(
        worker.received(start()).unwrap(),
        [],
        "its supervisor is not up yet: the answer follows"
    );
    worker.started(ID, capstan_model::Timestamp(3));
    let again = worker.received(start()).unwrap();
    assert_eq!(
        again,
        [worker::Action::Send(FromWorker::Started {
            id: ID,
            at: capstan_model::Timestamp(3)
        })]
    );
}

#[test]
fn a_log_that_cannot_be_read_ends_its_command_alone() {
    let mut worker = Worker::new(0);
    worker.connected(hello());
    worker.received(welcome(1, vec![])).unwrap();
    let order = FromMaster::Start {
        id: ID,
        spec: spec(),
        secrets: BTreeMap::new(),
    };
    worker.received(order).unwrap();
    worker.started(ID, capstan_model::Timestamp(3));
    worker.grew(ID, 100);
    assert!(worker.next_piece(ID, 60).is_some());
    let acknowledged = FromMaster::Ack {
        id: ID,
        received: 40,
        durable: 40,
    };
    worker.received(acknowledged).unwrap();

    let actions = worker.unreadable(ID, "its disk is broken".to_owned());
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, worker::Action::Kill { .. })),
        "nobody sees what it prints any more: {actions:?}"
    );
    let Some(worker::Action::Send(exited)) = actions.last() else {
        panic!("{actions:?}")
    };
    assert_eq!(worker.next_piece(ID, 60), None);

    // The master has what was under way, also what comes after the end.
    let mut master = Master::new(Uuid::nil(), 1, "w".to_owned());
    master.received(FromWorker::Hello(hello())).unwrap();
    master.welcome(vec![]).unwrap();
    master.start(ID, spec(), BTreeMap::new());
    master.stream_opened(ID, 0).unwrap();
    master.log_bytes(ID, 0, 40).unwrap();
    master.stored(ID, 40);
    master.log_bytes(ID, 40, 10).unwrap();
    assert_eq!(master.received(exited.clone()).unwrap(), []);
    assert_eq!(master.log_bytes(ID, 50, 8).unwrap(), Some(0));
    let completed = master.stored(ID, 58);
    let ends = |action: &master::Action| matches!(action, master::Action::Completed(_, report) if report.log_length == 58);
    assert!(completed.iter().any(ends), "{completed:?}");
}
