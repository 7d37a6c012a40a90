//! A database that an older Capstan left is brought up to date, with its rows: one dump for each migration, from just
//! before it.

use capstan_model::{BuildId, EventId, Outcome, RequestId};
use capstan_store::{
    Away, BuildFilter, ChangeFilter, EventFilter, Options, RequestFilter, RequestState, Store,
};

use crate::farm::{Farm, at, finish, owner};
use crate::{postgres, schema};

/// The stores that were made from the dump of that name.
async fn upgraded(sqlite: &str, postgres: &str) -> Vec<Farm> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/farm.db", folder.path().display());
    schema::execute(&format!("{url}?mode=rwc"), sqlite).await;
    let mut farms = vec![open(url, Some(folder)).await];
    if let Some(url) = postgres::database().await {
        postgres::execute(&url, postgres.to_owned()).await;
        farms.push(open(url, None).await);
    }
    farms
}

async fn open(url: String, folder: Option<tempfile::TempDir>) -> Farm {
    let options = Options::new(url.as_str());
    let store = Store::open(&options, at(100)).await.unwrap();
    Farm {
        store,
        options,
        url,
        folder,
    }
}

#[tokio::test]
async fn lists_know_what_was_there_before_them() {
    let farms = upgraded(
        include_str!("../data/migrations/0002_before.sqlite.sql"),
        include_str!("../data/migrations/0002_before.postgres.sql"),
    );
    for farm in farms.await {
        let store = &farm.store;
        let builds = async |filter: BuildFilter| {
            let found = store.builds(&filter, 10).await.unwrap();
            found.iter().map(|build| build.id.0).collect::<Vec<_>>()
        };
        let of_branch = |branch: &str, builder: Option<&str>| BuildFilter {
            branch: Some(branch.to_owned()),
            builder: builder.map(str::to_owned),
            ..BuildFilter::default()
        };
        assert_eq!(builds(of_branch("main", None)).await, [3, 1]);
        assert_eq!(builds(of_branch("main", Some("linux"))).await, [3, 1]);
        assert_eq!(builds(of_branch("main", Some("windows"))).await, [0i64; 0]);
        assert_eq!(builds(of_branch("release", None)).await, [3]);
        let on_worker = BuildFilter {
            worker: Some("w".to_owned()),
            ..BuildFilter::default()
        };
        assert_eq!(builds(on_worker).await, [3, 2, 1]);
        let linux = store.builder_history("linux", 5).await.unwrap().unwrap();
        assert_eq!(
            (linux.recent.len(), linux.pending, linux.usual_ms),
            (2, 2, Some(2))
        );
        assert_eq!(linux.red_since.unwrap().id, BuildId(3));
        let queue = store.queue(Some("linux"), 5).await.unwrap();
        assert_eq!(
            queue.iter().map(|request| request.id).collect::<Vec<_>>(),
            [RequestId(5), RequestId(4)]
        );
        let claimed = RequestFilter {
            state: Some(RequestState::Claimed),
            ..RequestFilter::default()
        };
        assert_eq!(store.requests(&claimed, 5).await.unwrap()[0].id, RequestId(2));
        let by_ada = ChangeFilter {
            author: Some("Ada".to_owned()),
            ..ChangeFilter::default()
        };
        assert_eq!(store.changes(&by_ada, 5).await.unwrap().len(), 1);
        let of_linux = EventFilter {
            builder: Some("linux".to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(
            store.events_after(EventId(0), &of_linux, 5).await.unwrap().len(),
            2
        );
        // What ran goes on.
        store
            .finish_build(BuildId(2), finish(Outcome::Failure), at(110))
            .await
            .unwrap();
        assert_eq!(
            builds(BuildFilter {
                outcomes: vec![Outcome::Failure],
                ..BuildFilter::default()
            })
            .await,
            [3, 2]
        );
        farm.end().await;
    }
}

#[tokio::test]
async fn a_build_that_ran_before_there_were_interruptions_notes_them() {
    let farms = upgraded(
        include_str!("../data/migrations/0003_before.sqlite.sql"),
        include_str!("../data/migrations/0003_before.postgres.sql"),
    );
    for farm in farms.await {
        let running = BuildId(2);
        assert_eq!(farm.store.interruptions(running).await.unwrap(), []);
        let away = Away {
            ms: Some(7),
            last_alive: None,
        };
        farm.store.begin_epoch(owner(), away, at(110)).await.unwrap();
        let found = farm.store.interruptions(running).await.unwrap();
        assert_eq!(found.iter().map(|i| i.away).collect::<Vec<_>>(), [Some(7)]);
        assert_eq!(farm.store.interruptions(BuildId(1)).await.unwrap(), []);
        farm.end().await;
    }
}
