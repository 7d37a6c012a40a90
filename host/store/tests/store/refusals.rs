//! The audit of rights: what plugins were refused. The same on both databases.

use capstan_model::Digest;
use capstan_model::plugin::{Kind, Right, Side};
use capstan_store::{NewRefusal, Refusal};

use crate::farm::{Farm, at};
use crate::on_both;

on_both! {
    a_refusal_is_there_with_its_place
    the_same_refusal_soon_after_joins_its_row
    another_refusal_has_a_row_of_its_own
    a_plugin_has_so_many_rows_at_most
}

const HOUR: i64 = 3_600_000;

fn refused(value: &str, now: i64) -> NewRefusal {
    NewRefusal {
        kind: Kind::Step,
        name: "p".to_owned(),
        digest: Digest::of(b"p"),
        right: Right::Commands,
        value: value.to_owned(),
        side: Side::Operator,
        owner: "compile".to_owned(),
        builder: Some("b".to_owned()),
        step: None,
        delivery: None,
        times: 1,
        at: at(now),
    }
}

async fn all(farm: &Farm) -> Vec<Refusal> {
    farm.store.refusals(None, 1000).await.unwrap()
}

async fn a_refusal_is_there_with_its_place(farm: &Farm) {
    let (build, step) = farm.running_step().await;
    let new = NewRefusal {
        step: Some(step),
        ..refused("rm", 5)
    };
    let other = NewRefusal {
        kind: Kind::Reporter,
        builder: None,
        delivery: Some("7.1".to_owned()),
        side: Side::Manifest,
        ..refused("x", 6)
    };
    farm.store
        .add_refusals(vec![new.clone(), other.clone()])
        .await
        .unwrap();
    let found = all(farm).await;
    assert_eq!((&found[0].refused, found[0].build.clone()), (&other, None));
    assert_eq!(
        (&found[1].refused, &found[1].build),
        (&new, &Some((build, "b".to_owned(), 1)))
    );
    let of_steps = farm.store.refusals(Some((Kind::Step, "p")), 10).await.unwrap();
    assert_eq!(of_steps, found[1..]);
    assert!(
        farm.store
            .refusals(Some((Kind::Step, "q")), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn the_same_refusal_soon_after_joins_its_row(farm: &Farm) {
    let twice = NewRefusal {
        times: 2,
        ..refused("rm", HOUR)
    };
    farm.store
        .add_refusals(vec![refused("rm", 1), twice])
        .await
        .unwrap();
    let found = all(farm).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].refused.times, found[0].began, found[0].refused.at),
        (3, at(1), at(HOUR))
    );
    // Later it is another story.
    farm.store
        .add_refusals(vec![refused("rm", 2 * HOUR + 1)])
        .await
        .unwrap();
    assert_eq!(all(farm).await.len(), 2);
}

async fn another_refusal_has_a_row_of_its_own(farm: &Farm) {
    let mut different = vec![refused("rm", 1); 8];
    different[1].value = "rmdir".to_owned();
    different[2].side = Side::Manifest;
    different[3].builder = None;
    different[4].name = "q".to_owned();
    different[5].digest = Digest::of(b"q");
    different[6].owner = "test".to_owned();
    different[7].right = Right::Secrets;
    farm.store.add_refusals(different).await.unwrap();
    assert_eq!(all(farm).await.len(), 8);
}

async fn a_plugin_has_so_many_rows_at_most(farm: &Farm) {
    let other = NewRefusal {
        name: "quiet".to_owned(),
        ..refused("old", 0)
    };
    farm.store.add_refusals(vec![other]).await.unwrap();
    let many = (1..=300).map(|n| refused(&format!("v{n}"), n)).collect();
    farm.store.add_refusals(many).await.unwrap();
    let found = all(farm).await;
    assert_eq!(
        found.len(),
        201,
        "200 of one, and what another plugin was refused before"
    );
    assert_eq!(
        (&*found[0].refused.value, &*found[199].refused.value),
        ("v300", "v101")
    );
    assert_eq!(found[200].refused.name, "quiet");
}
