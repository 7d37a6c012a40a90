//! Steps that stand for a pipeline: begun without a journal, for no plugin does them, and replaced by what the pipeline's file says in
//! one transaction with all that goes with it.

use capstan_model::{Outcome, Property, SourceStamp, StepId, Timestamp};
use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::sql::args;
use crate::steps::{self, NewStep, Origin, Scope, StepState};
use crate::writer::Tx;
use crate::{Error, Store, builds, stamps};

/// What a pipeline's file became.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfolded {
    /// The step that stands for it.
    pub step: StepId,
    /// The source of the build that was read, by its place, at the revision that was read.
    pub source: (u32, SourceStamp),
    /// What the build does now.
    pub steps: Vec<NewStep>,
    /// A few words.
    pub summary: String,
}

impl Store {
    /// Begins a step that stands for a pipeline. Beginning it again changes nothing.
    pub async fn begin_pipeline(&self, step: StepId, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| begin(tx, step, now).boxed()).await
    }

    /// Puts a pipeline's steps behind the step that stands for it, pins the build to the revision that they are from, and ends that
    /// step: all of it, or nothing. Doing it again changes nothing.
    pub async fn unfold_pipeline(&self, unfolded: Unfolded, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| unfold(tx, unfolded, now).boxed()).await
    }
}

async fn begin(tx: &mut Tx, step: StepId, now: Timestamp) -> Result<(), Error> {
    let scope = Scope::of(tx, step).await?;
    if scope.state != StepState::Pending {
        return Ok(());
    }
    let update = "UPDATE steps SET state = 'running', started = $2 WHERE id = $1";
    tx.run(update, args![step, now]).await?;
    let event = scope.event("step.started");
    event.payload(json!({ "name": scope.name })).add(tx, now);
    Ok(())
}

async fn unfold(tx: &mut Tx, unfolded: Unfolded, now: Timestamp) -> Result<(), Error> {
    let Unfolded {
        step,
        source: (place, stamp),
        steps,
        summary,
    } = unfolded;
    let scope = Scope::of(tx, step).await?;
    if scope.state == StepState::Complete {
        return Ok(());
    }
    let build = scope.build;
    let row = tx
        .one("SELECT position FROM steps WHERE id = $1", args![step])
        .await?;
    let after: u32 = row.get("position")?;
    let origin = Origin::Step { step, seq: 0 };
    steps::insert_while_running(tx, build, after, Some(step), origin, steps, now).await?;
    let id = stamps::ensure(tx, &stamp, now).await?;
    let pin = "INSERT INTO build_sources (build, position, source_stamp) VALUES ($1, $2, $3)
               ON CONFLICT (build, position) DO UPDATE SET source_stamp = excluded.source_stamp";
    tx.run(pin, args![build, place, id]).await?;
    // What templates call the revision: that of a build's only source.
    let sources = tx
        .rows(
            "SELECT position FROM build_sources WHERE build = $1",
            args![build],
        )
        .await?;
    if sources.len() == 1 {
        let revision = Property {
            name: "revision".to_owned(),
            value: stamp.revision.map_or(Value::Null, Value::from),
            source: "source stamp".to_owned(),
        };
        builds::set_property(tx, build, &revision).await?;
    }
    steps::finish(tx, step, Outcome::Success, summary, None, now).await
}
