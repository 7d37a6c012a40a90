//! A group of units, some of them at fault.

use capstan_model::Timestamp;
use futures::future::join_all;

use super::*;
use crate::sql::args;
use crate::{EventFilter, Options, Store};

/// One unit: good, refused by the database, or with a fault of its own.
async fn unit(tx: &mut Tx, number: i64) -> Result<i64, Error> {
    tx.run(
        "INSERT INTO builders (name, next_number) VALUES ($1, 1)",
        args![number.to_string()],
    )
    .await?;
    Draft::new("unit").payload(number.into()).add(tx, Timestamp(1));
    match number % 4 {
        1 => tx
            .run(
                "INSERT INTO builders (name, next_number) VALUES ('taken', 1)",
                args![],
            )
            .await
            .map(|_| number),
        _ if number == 50 => panic!("a fault in a unit"),
        _ => Ok(number),
    }
}

#[tokio::test]
async fn a_poisoned_unit_costs_the_others_of_its_group_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(format!("sqlite:{}/farm.db", folder.path().display()));
    let store = Store::open(&options, Timestamp(1)).await.unwrap();
    store.write(|tx| unit(tx, 1).boxed()).await.unwrap();
    let results = join_all((2..200).map(|number| store.write(move |tx| unit(tx, number).boxed()))).await;
    for (number, result) in (2i64..).zip(&results) {
        let good = number % 4 != 1 && number != 50;
        assert_eq!(result.is_ok(), good, "{number}: {result:?}");
    }
    insta::assert_snapshot!(results[3].as_ref().unwrap_err(), @"the database refused `INSERT INTO builders (name, next_number) VALUES ('taken', 1)`: (code: 2067) UNIQUE constraint failed: builders.name");
    let builders = store.builders().await.unwrap();
    assert_eq!(
        builders.len(),
        2 + results.iter().filter(|result| result.is_ok()).count()
    );
    let events = store
        .events_after(EventId(0), &EventFilter::default(), 500)
        .await
        .unwrap();
    let mut told: Vec<_> = events.iter().filter_map(|event| event.payload.as_i64()).collect();
    told.sort_unstable();
    let good = (2..200).zip(&results).filter(|(_, result)| result.is_ok());
    let good = good.map(|(number, _)| number);
    let kept: Vec<i64> = [1].into_iter().chain(good).collect();
    assert_eq!(told, kept, "each unit that was kept has its event, and no other");
    assert_eq!(
        *store.bell().borrow(),
        events.last().unwrap().id.0,
        "the bell rings only for what was kept"
    );
    store.close().await;
}
