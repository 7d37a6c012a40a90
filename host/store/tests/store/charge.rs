//! One master at a time: a second one is refused and told who the first is; one that was replaced writes nothing more.

use std::time::Duration;

use capstan_store::{Away, Error, NewBuildset, Owner, Store};

use crate::farm::{Farm, at, owner};
use crate::{on_both, schema};

on_both! {
    a_second_master_is_refused_and_told_who_the_first_is
}

fn other() -> Owner {
    Owner {
        host: "elsewhere".to_owned(),
        process: 2,
        folder: "/srv/other/data".into(),
        since: at(5),
    }
}

async fn begin(store: &Store, owner: Owner) -> Result<u64, Error> {
    store.begin_epoch(owner, Away::default(), at(10)).await
}

async fn a_second_master_is_refused_and_told_who_the_first_is(farm: &Farm) {
    assert_eq!(begin(&farm.store, owner()).await.unwrap(), 1);
    let second = Store::open(&farm.options, at(2)).await.unwrap();
    let refused = begin(&second, other()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Taken { owner: first } if **first == owner()),
        "{refused:?}"
    );
    let words = refused.to_string();
    for word in [
        "process id 1",
        "`here`",
        "/srv/farm/data",
        "1970-01-01 00:00:00 UTC",
        "stop",
    ] {
        assert!(words.contains(word), "{word} in: {words}");
    }
    farm.request("b", 0).await;
    farm.close().await;
    assert_eq!(begin(&second, other()).await.unwrap(), 2, "the first has ended");
    second.close().await;
}

#[tokio::test]
async fn a_sqlite_file_by_another_name_is_the_same_database() {
    let farm = Farm::sqlite().await;
    let folder = farm.folder.as_ref().unwrap().path();
    begin(&farm.store, owner()).await.unwrap();
    std::os::unix::fs::symlink(folder.join("farm.db"), folder.join("alias.db")).unwrap();
    let url = format!("sqlite:{}/alias.db", folder.display());
    let second = Store::open(&capstan_store::Options::new(url), at(2))
        .await
        .unwrap();
    let refused = begin(&second, other()).await.unwrap_err();
    assert!(matches!(refused, Error::Taken { .. }), "{refused:?}");
    second.close().await;
    farm.end().await;
}

/// Ends the session that has the lock, as a server does that lost its client.
async fn end_session_of_the_master(farm: &Farm) {
    let end = "SELECT COUNT(pg_terminate_backend(pid))::text FROM pg_locks WHERE locktype = 'advisory'
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let ended = schema::texts(&farm.url, end.to_owned()).await;
    assert!(ended.contains("1"), "{ended:?}");
}

#[tokio::test]
async fn a_master_that_lost_its_session_goes_on_and_keeps_the_others_out() {
    let Some(farm) = Farm::postgres().await else {
        return;
    };
    begin(&farm.store, owner()).await.unwrap();
    end_session_of_the_master(&farm).await;
    farm.request("b", 0).await;
    let second = Store::open(&farm.options, at(2)).await.unwrap();
    let refused = begin(&second, other()).await.unwrap_err();
    assert!(matches!(refused, Error::Taken { .. }), "{refused:?}");
    second.close().await;
    farm.end().await;
}

#[tokio::test]
async fn a_master_that_was_replaced_writes_nothing_more_and_hears_of_it() {
    let Some(farm) = Farm::postgres().await else {
        return;
    };
    begin(&farm.store, owner()).await.unwrap();
    let second = Store::open(&farm.options, at(2)).await.unwrap();
    let taking = async {
        // It waits for the first to end, which this makes it do.
        tokio::time::sleep(Duration::from_millis(200)).await;
        end_session_of_the_master(&farm).await;
    };
    let (began, ()) = tokio::join!(begin(&second, other()), taking);
    assert_eq!(began.unwrap(), 2);
    let late = farm
        .store
        .submit(NewBuildset::default(), at(20))
        .await
        .unwrap_err();
    assert!(
        matches!(&late, Error::Displaced { owner } if **owner == other()),
        "{late:?}"
    );
    let told = tokio::time::timeout(Duration::from_secs(1), farm.store.displaced()).await;
    assert!(told.unwrap().to_string().contains("`elsewhere`"));
    // It has no connection now; not even with the second gone it may go on.
    second.close().await;
    let late = farm
        .store
        .submit(NewBuildset::default(), at(21))
        .await
        .unwrap_err();
    assert!(matches!(late, Error::Displaced { .. }), "{late:?}");
    assert_eq!(farm.store.queue(None, 10).await.unwrap(), []);
    farm.end().await;
}

#[tokio::test]
async fn an_idle_master_hears_that_it_was_replaced() {
    let Some(farm) = Farm::postgres().await else {
        return;
    };
    begin(&farm.store, owner()).await.unwrap();
    // The same data folder: only one process has that, so the first must be gone, and its session is a leftover.
    let second = Store::open(&farm.options, at(2)).await.unwrap();
    assert_eq!(begin(&second, owner()).await.unwrap(), 2);
    let told = tokio::time::timeout(Duration::from_secs(30), farm.store.displaced()).await;
    assert!(matches!(told, Ok(Error::Displaced { .. })), "{told:?}");
    second.close().await;
    farm.end().await;
}
