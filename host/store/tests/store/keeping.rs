//! What reporters keep between two reports. The same on both databases.

use capstan_store::MOST_KEPT;

use crate::farm::{Farm, at};
use crate::on_both;

on_both! {
    a_value_is_there_until_it_is_replaced_or_removed
    what_is_kept_belongs_to_one_reporter
    a_reporter_has_so_many_keys_at_most
    what_is_kept_is_there_after_a_restart
}

async fn keep(farm: &Farm, owner: &str, key: &str, value: Option<&[u8]>) -> bool {
    let value = value.map(<[u8]>::to_vec);
    farm.store.keep(owner, key, value, at(1)).await.unwrap()
}

async fn kept(farm: &Farm, owner: &str, key: &str) -> Option<Vec<u8>> {
    farm.store.kept(owner, key).await.unwrap()
}

async fn a_value_is_there_until_it_is_replaced_or_removed(farm: &Farm) {
    assert_eq!(kept(farm, "chat", "last").await, None);
    assert!(keep(farm, "chat", "last", Some(b"\0\xff")).await);
    assert_eq!(kept(farm, "chat", "last").await.unwrap(), b"\0\xff");
    assert!(keep(farm, "chat", "last", Some(b"")).await);
    assert_eq!(kept(farm, "chat", "last").await.unwrap(), b"");
    assert!(keep(farm, "chat", "last", None).await);
    assert_eq!(kept(farm, "chat", "last").await, None);
    assert!(keep(farm, "chat", "last", None).await, "it is removed already");
}

async fn what_is_kept_belongs_to_one_reporter(farm: &Farm) {
    keep(farm, "chat", "last", Some(b"1")).await;
    keep(farm, "mail", "last", Some(b"2")).await;
    keep(farm, "mail", "last", None).await;
    assert_eq!(kept(farm, "chat", "last").await.unwrap(), b"1");
}

async fn a_reporter_has_so_many_keys_at_most(farm: &Farm) {
    for key in 0..MOST_KEPT {
        assert!(keep(farm, "chat", &key.to_string(), Some(b"x")).await);
    }
    assert!(!keep(farm, "chat", "more", Some(b"x")).await);
    assert_eq!(kept(farm, "chat", "more").await, None);
    assert!(
        keep(farm, "chat", "0", Some(b"y")).await,
        "one that is there may change"
    );
    assert!(keep(farm, "mail", "more", Some(b"x")).await, "another has room");
    keep(farm, "chat", "1", None).await;
    assert!(keep(farm, "chat", "more", Some(b"x")).await);
}

async fn what_is_kept_is_there_after_a_restart(farm: &Farm) {
    keep(farm, "chat", "last", Some(b"1")).await;
    farm.store.close().await;
    let again = capstan_store::Store::open(&farm.options, at(2)).await.unwrap();
    assert_eq!(again.kept("chat", "last").await.unwrap().unwrap(), b"1");
    again.close().await;
}
