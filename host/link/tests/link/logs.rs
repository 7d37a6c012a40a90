//! Log bytes from the worker to the store.

use capstan_client::{receive, send};
use capstan_model::{CommandId, CommandSpec, Exit, Program};
use capstan_wire::control::{FromMaster, FromWorker, Held, Resume, ResumeAction};
use capstan_wire::log_stream::Header;
use uuid::Uuid;

use crate::farm::{Farm, assert_says, soon};
use crate::worker::{ID, MOMENT, Worker, held, log, member, report, rest, spec};

#[tokio::test]
async fn a_command_ends_when_all_of_its_log_is_stored() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    farm.port.change(|store| store.logs.insert(ID, vec![]));
    farm.told("ready w1").await;
    farm.handle.start(
        "w1",
        ID,
        spec(),
        [("token".to_owned(), "hunter2".to_owned())].into(),
    );
    let order = worker.next().await.unwrap().unwrap();
    assert!(matches!(order, FromMaster::Start { id: ID, .. }), "{order:?}");

    let all = log(50, 1000);
    // The end overtakes the log: streams have no order among each other.
    worker
        .say(FromWorker::Exited {
            id: ID,
            report: report(&all),
        })
        .await;
    let (first, second) = all.split_at(20_003);
    let mut stream = worker.log(ID, 0, first).await;
    farm.port
        .wait("the first part", |store| store.logs[&ID].len() > 19_000)
        .await;
    assert!(farm.port.0.borrow().ends.is_empty(), "the log is not complete");
    stream.write_all(second).await.unwrap();
    stream.finish().unwrap();
    let store = farm
        .port
        .wait("the end", |store| store.ends.contains_key(&ID))
        .await;
    assert_eq!(store.logs[&ID], all);
    farm.handle.forget("w1", ID);
    assert_eq!(worker.next().await.unwrap(), Some(FromMaster::Forget { id: ID }));
}

#[tokio::test]
async fn a_log_goes_on_where_the_store_has_it() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let all = log(40, 700);
    farm.port.change(|store| store.logs.insert(ID, vec![]));
    let first = Worker::connect(&farm, &identity, vec![held(ID, all.len() as u64)]).await;
    let cut = 10_000;
    let _stream = first.log(ID, 0, &all[..cut]).await;
    let whole = cut / 717 * 717;
    farm.port
        .wait("the first part", |store| store.logs[&ID].len() == whole)
        .await;
    drop(first);
    farm.told("disconnected w1").await;

    let ended = Held {
        exit: Some(report(&all)),
        ..held(ID, all.len() as u64)
    };
    let second = Worker::connect(&farm, &identity, vec![ended]).await;
    let action = ResumeAction::From(whole as u64);
    assert_eq!(second.welcome.commands, [Resume { id: ID, action }]);
    // It sends a part that is stored already once more.
    let from = whole - 2 * 717;
    second.log(ID, from as u64, &all[from..]).await.finish().unwrap();
    let store = farm
        .port
        .wait("the end", |store| store.ends.contains_key(&ID))
        .await;
    assert_eq!(store.logs[&ID], all);
}

#[tokio::test]
async fn what_was_on_its_way_into_the_store_is_there_before_the_next_hello() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let all = log(4, 700);
    farm.port
        .change(|store| (store.logs.insert(ID, vec![]), store.slow = true));
    let first = Worker::connect(&farm, &identity, vec![held(ID, all.len() as u64)]).await;
    let mut stream = first.log(ID, 0, &all).await;
    stream.finish().unwrap();
    // The master has read it all; the store has not.
    soon("the log to arrive", stream.stopped()).await.unwrap();
    drop(first);
    let mut second = Box::pin(Worker::connect(
        &farm,
        &identity,
        vec![held(ID, all.len() as u64)],
    ));
    assert!(
        tokio::time::timeout(MOMENT, &mut second).await.is_err(),
        "it must wait for the store"
    );
    farm.port.change(|store| store.slow = false);
    let second = second.await;
    assert_eq!(
        second.welcome.commands[0].action,
        ResumeAction::From(all.len() as u64)
    );
}

#[tokio::test]
async fn a_slow_store_holds_the_worker_back_and_nobody_else() {
    let farm = Farm::start().await;
    let (slow, fast) = (member(&farm, "slow").await, member(&farm, "fast").await);
    let other = CommandId(Uuid::from_u128(12));
    farm.port.change(|store| {
        store.logs = [(ID, vec![]), (other, vec![])].into();
        store.slow = true;
    });
    let slow = Worker::connect(&farm, &slow, vec![held(ID, 0)]).await;
    let mut stream = slow.log(ID, 0, &[]).await;
    let all = log(256, 64 * 1024);
    // 16 MiB do not fit into the windows and the sender's buffer.
    let mut write = Box::pin(stream.write_all(&all));
    assert!(
        tokio::time::timeout(MOMENT * 3, &mut write).await.is_err(),
        "it must wait for the store"
    );
    let mut fast = Worker::connect(&farm, &fast, vec![held(other, 0)]).await;
    farm.handle.kill("fast", other, "to see whether it is there");
    assert!(fast.next().await.unwrap().is_some());
    farm.port.change(|store| store.slow = false);
    soon("the rest of the log to be taken", write).await.unwrap();
    stream.finish().unwrap();
    let store = farm
        .port
        .wait("all of the log", |store| store.logs[&ID].len() == all.len())
        .await;
    assert!(
        store.logs[&ID] == all && store.largest_append <= 256 * 1024,
        "{}",
        store.largest_append
    );
}

#[tokio::test]
async fn a_store_that_fails_loses_nothing() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    farm.port
        .change(|store| (store.logs.insert(ID, vec![]), store.broken = true));
    let mut worker = Worker::connect(&farm, &identity, vec![held(ID, 0)]).await;
    let all = log(3, 10);
    let _stream = worker.log(ID, 0, &all).await;
    assert_says(&worker.next().await, "the disk is full");
    drop(worker);
    farm.told("disconnected w1").await;
    farm.port.change(|store| store.broken = false);
    let worker = Worker::connect(&farm, &identity, vec![held(ID, 0)]).await;
    assert_eq!(worker.welcome.commands[0].action, ResumeAction::From(0));
    let _stream = worker.log(ID, 0, &all).await;
    farm.port.wait("the log", |store| store.logs[&ID] == all).await;
}

#[tokio::test]
async fn acknowledgements_say_what_is_durable() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    farm.port
        .change(|store| (store.logs.insert(ID, vec![]), store.slow = true));
    let mut worker = Worker::connect(&farm, &identity, vec![held(ID, 0)]).await;
    let all = log(3, 10);
    let _stream = worker.log(ID, 0, &all).await;
    farm.port
        .wait("an append that hangs", |store| store.hanging > 0)
        .await;
    farm.handle.kill("w1", ID, "to see what was said before it");
    let said = loop {
        match soon("an order", receive(&mut worker.from)).await.unwrap() {
            Some(FromMaster::Ping { .. }) => {}
            said => break said,
        }
    };
    assert!(
        matches!(said, Some(FromMaster::Kill { .. })),
        "nothing is stored yet: {said:?}"
    );
    farm.port.change(|store| store.slow = false);
    let (received, durable) = loop {
        match soon("an acknowledgement", receive(&mut worker.from))
            .await
            .unwrap()
            .unwrap()
        {
            FromMaster::Ack {
                received, durable, ..
            } if durable == all.len() as u64 => break (received, durable),
            FromMaster::Ping { .. } | FromMaster::Ack { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((received, durable), (all.len() as u64, all.len() as u64));
}

#[tokio::test]
async fn hundreds_of_logs_arrive_side_by_side() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let ids: Vec<_> = (1..=300).map(|n| CommandId(Uuid::from_u128(n))).collect();
    farm.port
        .change(|store| store.logs = ids.iter().map(|id| (*id, vec![])).collect());
    let all = log(3, 500);
    let ended = |id: &CommandId| Held {
        exit: Some(report(&all)),
        ..held(*id, all.len() as u64)
    };
    let worker = Worker::connect(&farm, &identity, ids.iter().map(ended).collect()).await;
    for id in &ids {
        let mut stream = soon("a free stream", worker.connection.quinn().open_uni())
            .await
            .unwrap();
        send(&mut stream, &Header { id: *id, offset: 0 }).await.unwrap();
        stream.write_all(&all).await.unwrap();
        stream.finish().unwrap();
    }
    let store = farm
        .port
        .wait("all ends", |store| store.ends.len() == ids.len())
        .await;
    assert!(store.logs.values().all(|log| *log == all));
}

#[tokio::test]
async fn an_order_that_fits_into_no_message_ends_its_command() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    farm.told("ready w1").await;
    let secrets = [("huge".to_owned(), "x".repeat(2 << 20))].into();
    farm.handle.start("w1", ID, spec(), secrets);
    let store = farm
        .port
        .wait("its end", |store| store.ends.contains_key(&ID))
        .await;
    let Exit::NotStarted(reason) = &store.ends[&ID].exit else {
        panic!("{:?}", store.ends)
    };
    assert_says(reason, "does not fit into a message");
    farm.handle.forget("w1", ID);
    assert_eq!(worker.next().await.unwrap(), Some(FromMaster::Forget { id: ID }));
    drop(worker.to);
    assert!(
        rest(&mut worker.from).await.is_err(),
        "a worker that ends the conversation is let go"
    );
}

#[tokio::test]
async fn a_worker_that_cannot_print_files_is_not_asked_to() {
    let farm = Farm::start().await;
    let identity = member(&farm, "w1").await;
    let mut worker = Worker::connect(&farm, &identity, vec![]).await;
    farm.told("ready w1").await;
    let file = Program::File {
        path: "build/app".to_owned(),
        max_bytes: 10,
    };
    let spec = CommandSpec {
        program: file,
        ..spec()
    };
    farm.handle.start("w1", ID, spec, [].into());
    let store = farm
        .port
        .wait("its end", |store| store.ends.contains_key(&ID))
        .await;
    let Exit::NotStarted(reason) = &store.ends[&ID].exit else {
        panic!("{:?}", store.ends)
    };
    assert_says(reason, "upgrade it");
    // The order, which it would not understand, was not sent.
    farm.handle.forget("w1", ID);
    assert_eq!(worker.next().await.unwrap(), Some(FromMaster::Forget { id: ID }));
}
