//! Workers in quarantine: the next master knows them. The same on both databases.

use capstan_store::Quarantine;

use crate::farm::{Farm, at};
use crate::on_both;

on_both! {
    a_quarantine_is_there_until_it_is_over
    who_unpauses_a_worker_ends_its_quarantine
}

fn quarantine(worker: &str, reason: &str, until: i64) -> Quarantine {
    Quarantine {
        worker: worker.to_owned(),
        reason: reason.to_owned(),
        until: at(until),
    }
}

async fn a_quarantine_is_there_until_it_is_over(farm: &Farm) {
    let store = &farm.store;
    let begun = vec![quarantine("w2", "hot", 50), quarantine("w1", "disk", 90)];
    store.set_quarantines(begun, at(10)).await.unwrap();
    let both = [quarantine("w1", "disk", 90), quarantine("w2", "hot", 50)];
    assert_eq!(store.quarantines(at(49)).await.unwrap(), both);
    assert_eq!(store.quarantines(at(50)).await.unwrap(), both[..1]);
    // The newest word on a worker counts; what is over leaves with the next one.
    let again = quarantine("w1", "fan", 120);
    store.set_quarantines(vec![again.clone()], at(60)).await.unwrap();
    assert_eq!(store.quarantines(at(0)).await.unwrap(), [again]);
}

async fn who_unpauses_a_worker_ends_its_quarantine(farm: &Farm) {
    let store = &farm.store;
    let begun = vec![quarantine("w1", "disk", 90), quarantine("w2", "hot", 90)];
    store.set_quarantines(begun, at(10)).await.unwrap();
    store.set_paused("w1", Some("a new disk"), at(20)).await.unwrap();
    assert_eq!(store.quarantines(at(20)).await.unwrap().len(), 2);
    store.set_paused("w1", None, at(30)).await.unwrap();
    assert_eq!(
        store.quarantines(at(30)).await.unwrap(),
        [quarantine("w2", "hot", 90)]
    );
}
