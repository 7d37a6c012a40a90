//! Builds that are shown under another builder than the one that they were made from. The same on both databases.

use capstan_model::{BuildId, Outcome, VirtualBuilder};
use capstan_store::{Blame, BuildFinish, NewBuild, NewBuildset, SchedulerEvent};

use crate::farm::{Farm, at, finish, new_change, stamp};
use crate::on_both;

on_both! {
    they_are_numbered_and_listed_where_they_are_shown
    schedulers_are_told_the_configured_name
    a_name_that_is_configured_by_now_is_no_virtual_builder_any_more
    each_name_has_its_own_blame
}

fn shown(name: &str, description: &str) -> Option<VirtualBuilder> {
    Some(VirtualBuilder {
        name: name.to_owned(),
        made_by: "spawn".to_owned(),
        description: description.to_owned(),
        tags: vec!["app".to_owned()],
        ..VirtualBuilder::default()
    })
}

/// A build of a change by this author, shown under this name.
async fn built(farm: &Farm, name: Option<VirtualBuilder>, author: &str, outcome: Outcome) -> BuildId {
    let mut change = new_change(author);
    change.author = author.to_owned();
    let change = farm.store.send_change("sent", change, &[], at(1)).await.unwrap();
    let set = NewBuildset {
        scheduler: Some("asks".to_owned()),
        builders: vec!["spawn".to_owned()],
        sources: vec![stamp("main", "abc")],
        changes: change.map(|change| change.id).into_iter().collect(),
        ..NewBuildset::default()
    };
    let request = farm.store.submit(set, at(1)).await.unwrap().requests[0];
    let new = farm.new_build("spawn", &[request], &[]).await;
    let new = NewBuild { shown: name, ..new };
    let build = farm.store.create_build(new, at(2)).await.unwrap().unwrap();
    let end = BuildFinish {
        subscribers: vec!["listens".to_owned()],
        ..finish(outcome)
    };
    farm.store.finish_build(build.id, end, at(3)).await.unwrap();
    build.id
}

async fn they_are_numbered_and_listed_where_they_are_shown(farm: &Farm) {
    let store = &farm.store;
    let first = built(farm, shown("alpha", "old"), "1", Outcome::Success).await;
    built(farm, shown("beta", ""), "2", Outcome::Success).await;
    let own = built(farm, None, "3", Outcome::Success).await;
    let second = built(farm, shown("alpha", "new"), "4", Outcome::Failure).await;

    let found = store.build_by_number("alpha", 2).await.unwrap().unwrap();
    assert_eq!((found.id, found.made_by.as_str()), (second, "spawn"));
    let found = store.build(own).await.unwrap().unwrap();
    assert_eq!(
        (found.builder.as_str(), found.made_by.as_str(), found.number),
        ("spawn", "spawn", 1)
    );
    let history = store.builder_history("alpha", 10).await.unwrap().unwrap();
    let listed: Vec<_> = history.recent.iter().map(|build| build.id).collect();
    assert_eq!(listed, [second, first]);
    assert_eq!(
        history.about,
        shown("alpha", "new"),
        "the newest build tells what it is"
    );
    let own = store.builder_history("spawn", 10).await.unwrap().unwrap();
    assert_eq!((own.recent.len(), own.about), (1, None));
    let built = store.built().await.unwrap();
    let names: Vec<_> = built.iter().map(|builder| builder.name.as_str()).collect();
    assert_eq!(names, ["alpha", "beta", "spawn"]);
    assert_eq!(built[1].about, shown("beta", ""));
}

async fn a_name_that_is_configured_by_now_is_no_virtual_builder_any_more(farm: &Farm) {
    let store = &farm.store;
    built(farm, shown("alpha", ""), "1", Outcome::Success).await;
    built(farm, shown("beta", ""), "2", Outcome::Success).await;
    assert_eq!(
        store.virtual_builders(None).await.unwrap(),
        [shown("beta", "").unwrap(), shown("alpha", "").unwrap()]
    );
    let request = farm.request("alpha", 0).await;
    let own = farm.build("alpha", &[request], &[]).await;
    assert_eq!(own.number, 2);
    assert_eq!(store.virtual_builders(Some("alpha")).await.unwrap(), []);
    assert_eq!(store.virtual_builders(Some("beta")).await.unwrap().len(), 1);
}

async fn schedulers_are_told_the_configured_name(farm: &Farm) {
    let store = &farm.store;
    store
        .follow(vec![("asks".to_owned(), "follows".to_owned())])
        .await
        .unwrap();
    built(farm, shown("alpha", ""), "1", Outcome::Success).await;
    let (_, event) = store.next_event("listens").await.unwrap().unwrap();
    let SchedulerEvent::Finished(finished) = event else {
        panic!("{event:?}")
    };
    assert_eq!(finished.builder, "spawn");
    let (_, event) = store.next_event("follows").await.unwrap().unwrap();
    let SchedulerEvent::Completed(set) = event else {
        panic!("{event:?}")
    };
    assert_eq!(set.builds[0].builder, "spawn");
}

fn people(blame: &Blame) -> Vec<&str> {
    blame
        .people
        .iter()
        .map(|suspect| suspect.author.as_str())
        .collect()
}

async fn each_name_has_its_own_blame(farm: &Farm) {
    let store = &farm.store;
    let good = built(farm, shown("alpha", ""), "Ann", Outcome::Success).await;
    built(farm, shown("beta", ""), "Bob", Outcome::Failure).await;
    let own = built(farm, None, "Own", Outcome::Failure).await;
    let bad = built(farm, shown("alpha", ""), "Kim", Outcome::Failure).await;
    let blame = store.blame(bad).await.unwrap().unwrap();
    assert_eq!((people(&blame), blame.since), (vec!["Kim"], Some((good, 1))));
    let blame = store.blame(own).await.unwrap().unwrap();
    assert_eq!((people(&blame), blame.since), (vec!["Own"], None));
}
