//! What an older version of a scheduler or a change source left, translated by the new one.

use capstan_engine::{CallError, SchedulerEvent, Trap};
use capstan_model::Timestamp;
use capstan_model::plugin::Rights;
use insta::assert_snapshot;
use serde_json::json;

use crate::calls::caller;
use crate::support::{fresh, plugin};

#[tokio::test]
async fn a_new_version_goes_on_with_the_translated_state() {
    let (caller, _) = caller(Rights::default());
    let (old, new) = (plugin("fixture-scheduler"), plugin("fixture-migrating"));
    let config = json!({});
    let started = old
        .handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started)
        .await
        .unwrap();
    let next = |state: Vec<u8>| async move {
        let (caller, _) = crate::calls::caller(Rights::default());
        let event = SchedulerEvent::Started;
        plugin("fixture-migrating")
            .handle(&caller, &json!({}), &state, Timestamp(0), event)
            .await
    };
    assert!(
        next(started.state.clone()).await.is_err(),
        "it cannot read the old form"
    );
    let state = new
        .migrate(&caller, &config, "0.1.0", &started.state)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next(state).await.unwrap().state, b"count 2");
}

#[tokio::test]
async fn a_change_source_translates_its_cursor() {
    let (caller, _) = caller(Rights::default());
    let source = plugin("fixture-migrating-source");
    assert!(source.poll(&caller, &json!({}), &[4]).await.is_err());
    let cursor = source
        .migrate(&caller, &json!({}), "0.1.0", &[4])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cursor, b"text 0.1.0 [4]");
    assert_eq!(
        source.poll(&caller, &json!({}), &cursor).await.unwrap().cursor,
        cursor
    );
}

#[tokio::test]
async fn a_translation_that_fails_says_why() {
    let (caller, _) = caller(Rights::default());
    let new = fresh("fixture-migrating");
    let failed = async |what: &str, from: &str| {
        let config = json!({ "migration": what });
        new.migrate(&caller, &config, from, &[7]).await.unwrap_err()
    };
    assert_eq!(
        failed("fail", "0.1.0").await,
        CallError::Permanent("this state is beyond me".to_owned())
    );
    assert_snapshot!(failed("", "0.0.9").await, @"expected a state of 0.1.0, found one of 0.0.9");
    assert!(matches!(
        failed("trap", "0.1.0").await,
        CallError::Trap(Trap::Panic(_))
    ));
    assert_snapshot!(failed("flood", "0.1.0").await, @"the plugin's answer is malformed: the translated state: expected at most 1048576, found 2097152");
    assert_eq!(new.stats().traps, 1);
}

#[tokio::test]
async fn a_plugin_without_a_translation_has_none() {
    let (caller, _) = caller(Rights::default());
    for name in ["fixture-scheduler", "fixture-source"] {
        assert_eq!(
            plugin(name).migrate(&caller, &json!({}), "0.1.0", &[7]).await,
            Ok(None)
        );
    }
    let step = plugin("fixture-step")
        .migrate(&caller, &json!({}), "0.1.0", &[7])
        .await;
    assert!(matches!(step, Err(CallError::WrongKind { .. })));
}
