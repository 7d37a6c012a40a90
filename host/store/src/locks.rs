//! What running builds and their steps hold of locks, so that the next master knows it, and which of them wait.

use capstan_model::{BuildId, LockAccess, StepId, Timestamp};

use crate::sql::{Json, Row, args};
use crate::steps::{Scope, StepState};
use crate::writer::Tx;
use crate::{Error, Store};

/// What a running build or one of its steps holds, or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHold {
    /// The build.
    pub build: BuildId,
    /// The builder that it is shown under.
    pub builder: String,
    /// The configured builder that it was made from. Mostly the same.
    pub made_by: String,
    /// Its number within its builder.
    pub number: u64,
    /// Where it runs.
    pub worker: String,
    /// The highest priority of the requests that it serves.
    pub priority: i32,
    /// The step, with its name, if it is a step's.
    pub step: Option<(StepId, String)>,
    /// The locks.
    pub accesses: Vec<LockAccess>,
    /// Whether they are held; if not, they are waited for.
    pub held: bool,
}

impl Store {
    /// What running builds and their steps hold or wait for: first what is held, then those who wait, in the order in which
    /// they came.
    pub async fn lock_holds(&self) -> Result<Vec<LockHold>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT builds.id AS build, builds.number AS number, builders.name AS builder_name,
                   COALESCE(makers.name, builders.name) AS made_by_name,
                   workers.name AS worker_name, builds.locks AS locks,
                   (SELECT MAX(requests.priority) FROM requests JOIN build_requests ON build_requests.request = requests.id
                    WHERE build_requests.build = builds.id) AS priority
                   FROM builds JOIN builders ON builders.id = builds.builder
                   LEFT JOIN builders AS makers ON makers.id = builds.made_by JOIN workers ON workers.id = builds.worker
                   WHERE builds.state = 'running' AND builds.locks IS NOT NULL ORDER BY builds.id";
        let rows = conn.rows(sql, args![]).await?;
        let mut holds = rows
            .iter()
            .map(|row| hold(row, None, true))
            .collect::<Result<Vec<_>, _>>()?;
        let sql = "SELECT builds.id AS build, builds.number AS number, builders.name AS builder_name,
                   COALESCE(makers.name, builders.name) AS made_by_name,
                   workers.name AS worker_name, steps.locks AS locks, steps.id AS step, steps.name AS step_name,
                   steps.state AS step_state,
                   (SELECT MAX(requests.priority) FROM requests JOIN build_requests ON build_requests.request = requests.id
                    WHERE build_requests.build = builds.id) AS priority
                   FROM steps JOIN builds ON builds.id = steps.build
                   JOIN builders ON builders.id = builds.builder
                   LEFT JOIN builders AS makers ON makers.id = builds.made_by JOIN workers ON workers.id = builds.worker
                   WHERE builds.state = 'running' AND steps.state <> 'complete' AND steps.locks IS NOT NULL
                   ORDER BY CASE WHEN steps.state = 'running' THEN 0 ELSE 1 END, steps.locks_since, steps.id";
        for row in conn.rows(sql, args![]).await? {
            let held = row.get::<StepState>("step_state")? == StepState::Running;
            holds.push(hold(&row, Some((row.get("step")?, row.get("step_name")?)), held)?);
        }
        Ok(holds)
    }

    /// The highest priority of the requests that a build serves.
    pub async fn build_priority(&self, build: BuildId) -> Result<i32, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT MAX(requests.priority) AS priority FROM requests
                   JOIN build_requests ON build_requests.request = requests.id WHERE build_requests.build = $1";
        let row = conn.row(sql, args![build]).await?;
        Ok(row
            .map(|row| row.maybe("priority"))
            .transpose()?
            .flatten()
            .unwrap_or_default())
    }
}

fn hold(row: &Row, step: Option<(StepId, String)>, held: bool) -> Result<LockHold, Error> {
    Ok(LockHold {
        build: row.get("build")?,
        builder: row.get("builder_name")?,
        made_by: row.get("made_by_name")?,
        number: row.get("number")?,
        worker: row.get("worker_name")?,
        priority: row.maybe("priority")?.unwrap_or_default(),
        step,
        accesses: row.get::<Json<Vec<LockAccess>>>("locks")?.0,
        held,
    })
}

/// Notes which locks a step that has not begun takes, or waits for. What it waits for is its summary; that is empty again when
/// it has them. Nothing for a step that has begun.
pub(crate) async fn note(
    tx: &mut Tx,
    step: StepId,
    accesses: Vec<LockAccess>,
    waits: Option<String>,
    now: Timestamp,
) -> Result<(), Error> {
    let scope = Scope::of(tx, step).await?;
    if scope.state != StepState::Pending {
        return Ok(());
    }
    let locks = Json(&accesses);
    let summary = waits.unwrap_or_default();
    if summary.is_empty() {
        let update = "UPDATE steps SET locks = $2, summary = '', locks_since = NULL WHERE id = $1";
        tx.run(update, args![step, locks]).await?;
    } else {
        let update = "UPDATE steps SET locks = $2, summary = $3, locks_since = COALESCE(locks_since, $4) WHERE id = $1";
        tx.run(update, args![step, locks, &summary, now]).await?;
    }
    let payload = serde_json::json!({ "name": scope.name, "summary": summary });
    scope.event("step.updated").payload(payload).add(tx, now);
    Ok(())
}
