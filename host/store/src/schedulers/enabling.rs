//! Schedulers that people switched off: what happens meanwhile is dropped, not kept for later, and no timer fires.

use capstan_model::Timestamp;
use futures::FutureExt as _;
use serde_json::json;

use super::{Payload, calls, enqueue};
use crate::events::Draft;
use crate::sql::{Conn, Json, args};
use crate::writer::Tx;
use crate::{CallAnswer, Error, Store};

impl Store {
    /// Whether a scheduler is told of events; one that is not known is.
    pub async fn scheduler_enabled(&self, scheduler: &str) -> Result<bool, Error> {
        is_enabled(&mut self.reader().await?, scheduler).await
    }

    /// Switches a scheduler on or off; answers whether that changed anything. What waits for it is dropped either way, and calls
    /// among it are refused; one that is switched on begins as after a start of the master.
    pub async fn enable_scheduler(
        &self,
        scheduler: &str,
        enabled: bool,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let scheduler = scheduler.to_owned();
        self.write(move |tx| switch(tx, scheduler, enabled, now).boxed())
            .await
    }

    /// Drops what waits for a scheduler that is switched off; of one that is on, nothing.
    pub async fn drop_events(&self, scheduler: &str, now: Timestamp) -> Result<(), Error> {
        let scheduler = scheduler.to_owned();
        self.write(move |tx| {
            async move {
                if is_enabled(tx, &scheduler).await? {
                    return Ok(());
                }
                drop_waiting(tx, &scheduler, now).await
            }
            .boxed()
        })
        .await
    }
}

pub(super) async fn is_enabled(conn: &mut Conn, scheduler: &str) -> Result<bool, Error> {
    let sql = "SELECT enabled FROM schedulers WHERE name = $1";
    let row = conn.row(sql, args![scheduler]).await?;
    row.map_or(Ok(true), |row| Ok(row.get::<i64>("enabled")? != 0))
}

async fn switch(tx: &mut Tx, scheduler: String, enabled: bool, now: Timestamp) -> Result<bool, Error> {
    if is_enabled(tx, &scheduler).await? == enabled {
        return Ok(false);
    }
    let sql = "INSERT INTO schedulers (name, enabled) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled";
    tx.run(sql, args![&scheduler, enabled]).await?;
    drop_waiting(tx, &scheduler, now).await?;
    if enabled {
        enqueue(tx, &scheduler, &Payload::Started, now).await?;
    }
    let kind = if enabled {
        "scheduler.enabled"
    } else {
        "scheduler.disabled"
    };
    Draft::new(kind)
        .payload(json!({ "scheduler": scheduler }))
        .add(tx, now);
    Ok(true)
}

async fn drop_waiting(tx: &mut Tx, scheduler: &str, now: Timestamp) -> Result<(), Error> {
    let delete = "DELETE FROM scheduler_events WHERE scheduler = $1 RETURNING payload";
    for row in tx.rows(delete, args![scheduler]).await? {
        if let Payload::Call(call) = row.get::<Json<Payload>>("payload")?.0 {
            let reason = format!("the scheduler `{scheduler}` is disabled");
            calls::answer(tx, call, &CallAnswer::refused("", reason), now).await?;
        }
    }
    Ok(())
}
