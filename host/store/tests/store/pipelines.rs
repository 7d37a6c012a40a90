//! Steps that stand for a pipeline. The same on both databases.

use capstan_model::{Outcome, SourceStamp, StepId};
use capstan_store::{Error, StepState, Unfolded};
use serde_json::json;

use crate::farm::{Farm, at, finish, new_step};
use crate::on_both;

on_both! {
    a_pipeline_unfolds_once_and_pins_its_build
    a_pipeline_of_a_build_that_has_ended_stays_folded
}

fn unfolded(step: StepId, stamp: SourceStamp) -> Unfolded {
    Unfolded {
        step,
        source: (0, stamp),
        steps: vec![new_step("one"), new_step("two")],
        summary: "2 steps".to_owned(),
    }
}

async fn a_pipeline_unfolds_once_and_pins_its_build(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["pipeline", "last"]).await;
    let stands = build.steps[0];
    store.begin_pipeline(stands, at(10)).await.unwrap();
    store.begin_pipeline(stands, at(11)).await.unwrap();
    let begun = store.step(stands).await.unwrap().unwrap();
    assert_eq!((begun.state, begun.started), (StepState::Running, Some(at(10))));
    let before = store.build(build.id).await.unwrap().unwrap();
    let stamp = SourceStamp {
        revision: Some("0123456789abcdef".to_owned()),
        ..before.sources[0].clone()
    };
    store
        .unfold_pipeline(unfolded(stands, stamp.clone()), at(20))
        .await
        .unwrap();
    // A master that was not told that it was done does it again.
    store
        .unfold_pipeline(unfolded(stands, stamp.clone()), at(21))
        .await
        .unwrap();
    let steps = store.steps(build.id).await.unwrap();
    let places: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.position)).collect();
    assert_eq!(places, [("pipeline", 0), ("one", 1), ("two", 2), ("last", 3)]);
    assert_eq!(
        (steps[0].outcome, steps[0].summary.as_str()),
        (Some(Outcome::Success), "2 steps")
    );
    assert_eq!(
        (steps[1].parent, steps[1].state),
        (Some(stands), StepState::Pending)
    );
    let after = store.build(build.id).await.unwrap().unwrap();
    assert_eq!(after.sources, [stamp]);
    let revision = after.properties.get("revision").unwrap();
    assert_eq!(revision.value, json!("0123456789abcdef"));
}

async fn a_pipeline_of_a_build_that_has_ended_stays_folded(farm: &Farm) {
    let store = &farm.store;
    let request = farm.request("b", 0).await;
    let build = farm.build("b", &[request], &["pipeline"]).await;
    let stamp = store.build(build.id).await.unwrap().unwrap().sources[0].clone();
    store
        .finish_build(build.id, finish(Outcome::Cancelled), at(20))
        .await
        .unwrap();
    let late = store
        .unfold_pipeline(unfolded(build.steps[0], stamp), at(30))
        .await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.steps(build.id).await.unwrap().len(), 1);
}
