//! Properties that are too large come in nowhere, whoever brings them; what was refused left nothing behind. The same on both
//! databases.

use capstan_model::journal::{Effect, Kind};
use capstan_model::{Properties, Property};
use capstan_store::{Error, NewBuildset};

use crate::farm::{Farm, at, new_change, row};
use crate::on_both;

on_both! {
    a_megabyte_is_refused_wherever_it_comes_in
}

fn megabyte() -> Property {
    Property {
        name: "notes".to_owned(),
        value: "x".repeat(1 << 20).into(),
        source: "test".to_owned(),
    }
}

fn names_the_limit<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err().to_string();
    assert_eq!(
        error,
        "expected the property `notes` to be at most 262144 bytes long as JSON, found 1048578"
    );
}

async fn a_megabyte_is_refused_wherever_it_comes_in(farm: &Farm) {
    let properties: Properties = [megabyte()].into_iter().collect();
    let set = NewBuildset {
        builders: vec!["b".to_owned()],
        properties: properties.clone(),
        ..NewBuildset::default()
    };
    names_the_limit(farm.store.submit(set, at(10)).await);
    assert!(farm.store.pending_requests().await.unwrap().is_empty());

    let mut change = new_change("one");
    change.properties = properties.clone();
    let accepted = farm.store.accept_changes("git", b"c", vec![change], &[], at(11));
    names_the_limit(accepted.await);

    let request = farm.request("b", 0).await;
    let mut new = farm.new_build("b", &[request], &[]).await;
    new.properties = properties;
    names_the_limit(farm.store.create_build(new, at(12)).await);

    let (build, step) = farm.running_step().await;
    let rows = vec![row(1, Kind::Local)];
    let effects = vec![Effect::SetProperty(megabyte())];
    names_the_limit(farm.store.append_journal(step, rows, effects, None, at(13)).await);
    let build = farm.store.build(build).await.unwrap().unwrap();
    assert_eq!(build.properties.get("notes"), None);
    assert_eq!(
        farm.store.journal(step).await.unwrap().len(),
        1,
        "the row was not written, either"
    );
}
