//! A configuration comes into force as a whole: whichever statement fails, nothing of it is there, and the next one is not hindered.

use std::collections::BTreeSet;

use capstan_model::plan::Bundle;
use capstan_store::{Applied, Error};

use crate::farm::{Farm, at, kinds};
use crate::schema::{execute, texts};

fn applied() -> Applied {
    Applied {
        components: vec![b"component".to_vec()],
        plugins: Some(Vec::new()),
        bundle: Some(Bundle {
            entry: "ci.star".to_owned(),
            files: [("ci.star".to_owned(), b"worker('w')".to_vec())].into(),
            ..Bundle::default()
        }),
        workers: vec!["w1".to_owned(), "w2".to_owned()],
        followers: vec![("a".to_owned(), "b".to_owned())],
    }
}

/// All that a configuration leaves.
async fn left(farm: &Farm) -> BTreeSet<String> {
    let query = "SELECT 'blob ' || digest FROM blobs UNION ALL SELECT 'plan ' || digest FROM plans
                 UNION ALL SELECT 'worker ' || name FROM workers
                 UNION ALL SELECT 'follower ' || follower FROM scheduler_followers
                 UNION ALL SELECT 'told ' || scheduler FROM scheduler_events";
    texts(&farm.url, query.to_owned()).await
}

#[tokio::test]
async fn a_fault_at_any_statement_leaves_nothing() {
    let farm = Farm::sqlite().await;
    farm.store
        .apply(
            Applied {
                followers: vec![("old".to_owned(), "older".to_owned())],
                ..Applied::default()
            },
            at(1),
        )
        .await
        .unwrap();
    let before = left(&farm).await;
    for fault in [
        "INSERT ON blobs",
        "DELETE ON scheduler_followers",
        "INSERT ON plans",
        "INSERT ON workers WHEN NEW.name = 'w2'",
        "INSERT ON scheduler_followers",
    ] {
        let trigger = format!("CREATE TRIGGER fault BEFORE {fault} BEGIN SELECT RAISE(ABORT, 'forced'); END");
        execute(&farm.url, &trigger).await;
        let refused = farm.store.apply(applied(), at(2)).await.unwrap_err();
        assert!(matches!(refused, Error::Database { .. }), "{fault}: {refused}");
        assert_eq!(left(&farm).await, before, "{fault}");
        execute(&farm.url, "DROP TRIGGER fault").await;
    }
    // The same for telling of it: all schedulers, or none and no event.
    let events = kinds(&farm.store).await;
    let fault = "CREATE TRIGGER fault BEFORE INSERT ON scheduler_events WHEN NEW.scheduler = 's2'
                 BEGIN SELECT RAISE(ABORT, 'forced'); END";
    execute(&farm.url, fault).await;
    let tell = || {
        let told = vec![("config.loaded".to_owned(), serde_json::json!({}))];
        farm.store
            .tell_applied(vec!["s1".to_owned(), "s2".to_owned()], told, at(3))
    };
    assert!(tell().await.is_err());
    assert_eq!(left(&farm).await, before);
    assert_eq!(kinds(&farm.store).await, events);
    execute(&farm.url, "DROP TRIGGER fault").await;
    farm.store.apply(applied(), at(4)).await.unwrap();
    tell().await.unwrap();
    let after = left(&farm).await;
    for expected in ["worker w1", "worker w2", "follower b", "told s1", "told s2"] {
        assert!(after.contains(expected), "{expected} in {after:?}");
    }
    assert!(!after.contains("follower older"));
    farm.end().await;
}
