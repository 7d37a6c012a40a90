//! What a configuration that comes into force leaves here: one transaction before anybody goes by it, one after. When the first one
//! fails, nothing of it happened.

use capstan_model::Timestamp;
use capstan_model::plan::Bundle;
use futures::FutureExt as _;
use serde_json::Value;

use crate::events::Draft;
use crate::schedulers::{Payload, enqueue, set_followers};
use crate::writer::Tx;
use crate::{Error, InForce, Store, blobs, plans, versions, workers};

/// What has to be durable before a configuration is in force.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Components that would be missed after a restart.
    pub components: Vec<Vec<u8>>,
    /// Which plugins are in force, if that is otherwise than before.
    pub plugins: Option<Vec<InForce>>,
    /// What the plan was made from, if it is another one.
    pub bundle: Option<Bundle>,
    /// The workers that it names.
    pub workers: Vec<String>,
    /// Who is told of whose complete buildsets: upstream and follower.
    pub followers: Vec<(String, String)>,
}

impl Store {
    /// Makes a configuration durable, all of it or nothing.
    pub async fn apply(&self, applied: Applied, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| apply(tx, applied, now).boxed()).await
    }

    /// Tells those schedulers that they have started, and everybody what happened: after the configuration is in force, for who
    /// hears of it looks at it.
    pub async fn tell_applied(
        &self,
        started: Vec<String>,
        events: Vec<(String, Value)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            async move {
                for scheduler in &started {
                    enqueue(tx, scheduler, &Payload::Started, now).await?;
                }
                for (kind, payload) in events {
                    Draft::new(&kind).payload(payload).add(tx, now);
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

async fn apply(tx: &mut Tx, applied: Applied, now: Timestamp) -> Result<(), Error> {
    for component in applied.components {
        blobs::put(tx, component).await?;
    }
    if let Some(plugins) = applied.plugins {
        versions::set(tx, plugins).await?;
    }
    if let Some(bundle) = applied.bundle {
        plans::put(tx, bundle, now).await?;
    }
    for worker in &applied.workers {
        workers::ensure(tx, worker, now).await?;
    }
    set_followers(tx, applied.followers).await
}
