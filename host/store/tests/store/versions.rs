//! Who wrote what is remembered: a plugin's new version has to know whether it reads its own words.

use capstan_model::Digest;
use capstan_model::plugin::Kind;
use capstan_store::{Consumed, Decision, InForce, Memory, SchedulerEvent, Version};

use crate::farm::{Farm, at};
use crate::on_both;

on_both! {
    a_state_and_a_cursor_name_the_version_that_wrote_them
    what_is_in_force_is_there_after_a_restart
}

fn version(text: &str) -> Version {
    Version {
        digest: Digest::of(text.as_bytes()),
        version: text.to_owned(),
    }
}

async fn a_state_and_a_cursor_name_the_version_that_wrote_them(farm: &Farm) {
    let store = &farm.store;
    for by in [None, Some(version("1")), Some(version("2")), None] {
        store
            .enqueue_event("s", SchedulerEvent::Started, at(1))
            .await
            .unwrap();
        let (event, _) = store.next_event("s").await.unwrap().unwrap();
        let decision = Decision {
            state: b"state".to_vec(),
            by: by.clone(),
            ..Decision::default()
        };
        store
            .commit_decision("s", Consumed::Event(event), decision, at(2))
            .await
            .unwrap();
        let state = store.scheduler_state("s").await.unwrap().unwrap();
        assert_eq!((state.bytes.as_slice(), &state.by), (&b"state"[..], &by));
        let cursor = Memory {
            bytes: b"cursor".to_vec(),
            by,
        };
        store
            .accept_changes("git", cursor.clone(), Vec::new(), &[], at(3))
            .await
            .unwrap();
        assert_eq!(store.source_cursor("git").await.unwrap(), Some(cursor));
    }
}

async fn what_is_in_force_is_there_after_a_restart(farm: &Farm) {
    let store = &farm.store;
    let plugin = |kind, name: &str, text: &str, predecessor| InForce {
        kind,
        name: name.to_owned(),
        version: version(text),
        origin: format!("{name}.wasm"),
        predecessor,
        since: at(7),
    };
    assert_eq!(store.plugins_in_force().await.unwrap(), []);
    let first = vec![
        plugin(Kind::Reporter, "chat", "1", None),
        plugin(Kind::Step, "chat", "1", Some(Digest::of(b"0"))),
    ];
    store.set_plugins_in_force(first.clone()).await.unwrap();
    assert_eq!(store.plugins_in_force().await.unwrap(), first);
    let second = vec![plugin(Kind::Reporter, "chat", "2", Some(Digest::of(b"1")))];
    store.set_plugins_in_force(second.clone()).await.unwrap();
    assert_eq!(store.plugins_in_force().await.unwrap(), second);
}
