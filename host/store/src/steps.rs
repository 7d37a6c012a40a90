//! The steps of builds: made with their build or inserted while it runs, begun with row 0 of their journal, ended
//! with its last.

use std::collections::HashMap;

use capstan_model::journal::{Effect, Entry};
use capstan_model::{BuildId, Digest, Outcome, StepId, Timestamp};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dialect::{in_keys, keys};
use crate::events::Draft;
use crate::sql::{Conn, Json, Row, args, words};
use crate::writer::Tx;
use crate::{Error, Store, artefacts, builds, journal};

words! {
    /// How far a step is.
    StepState {
        /// It has not begun.
        Pending = "pending",
        /// It has a journal.
        Running = "running",
        /// It has ended, or was left out.
        Complete = "complete",
    }
}

/// Who made a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The plan of its build.
    Plan,
    /// A step, while it ran.
    Step {
        /// That step.
        step: StepId,
        /// The position in its journal.
        seq: u32,
    },
}

/// A step to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewStep {
    /// Its name.
    pub name: String,
    /// The plugin that does it.
    pub plugin: String,
    /// The plugin's version.
    pub digest: Digest,
    /// The parameters.
    pub config: Value,
    /// What the master keeps with the step: what a failure means, the environment …
    pub options: Value,
}

/// A link shown on a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The text.
    pub label: String,
    /// The address.
    pub url: String,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The key.
    pub id: StepId,
    /// Its build.
    pub build: BuildId,
    /// The step that it is a part of.
    pub parent: Option<StepId>,
    /// Its place in the build, from 0.
    pub position: u32,
    /// Who made it.
    pub origin: Origin,
    /// Its name.
    pub name: String,
    /// The plugin that does it.
    pub plugin: String,
    /// The plugin's version.
    pub digest: Digest,
    /// The parameters.
    pub config: Value,
    /// What the master keeps with the step.
    pub options: Value,
    /// How far it is.
    pub state: StepState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// A few words about how it goes or ended.
    pub summary: String,
    /// Whether pages leave it out.
    pub hidden: bool,
    /// The result that it ended its build with, if it did, and why.
    pub ends_build: Option<(Outcome, String)>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its links, in the order in which they were added.
    pub links: Vec<Link>,
}

/// How far a build is, by its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The build.
    pub build: BuildId,
    /// How many of its steps have ended or were left out.
    pub done: u32,
    /// How many steps it has by now; a step may insert others.
    pub total: u32,
    /// The name of the step that runs.
    pub step: Option<String>,
}

impl Store {
    /// How far each of these builds is, by key; a build without steps is left out.
    pub async fn progress(&self, builds: &[BuildId]) -> Result<Vec<Progress>, Error> {
        let sql = in_keys!(
            "SELECT build, COUNT(*) AS total, COUNT(CASE WHEN state = 'complete' THEN 1 END) AS done,
             MAX(CASE WHEN state = 'running' THEN name END) AS step FROM steps WHERE build IN ",
            " GROUP BY build ORDER BY build"
        );
        let progress = |row: &Row| {
            Ok(Progress {
                build: row.get("build")?,
                done: row.get("done")?,
                total: row.get("total")?,
                step: row.maybe("step")?,
            })
        };
        let mut conn = self.reader().await?;
        let rows = conn.rows(sql, vec![keys(builds.iter().map(|id| id.0))]).await?;
        rows.iter().map(progress).collect()
    }

    /// The steps of a build, in order.
    pub async fn steps(&self, build: BuildId) -> Result<Vec<Step>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn
            .rows(
                "SELECT * FROM steps WHERE build = $1 ORDER BY position",
                args![build],
            )
            .await?;
        load(&mut conn, rows).await
    }

    /// That step.
    pub async fn step(&self, id: StepId) -> Result<Option<Step>, Error> {
        let mut conn = self.reader().await?;
        let rows = conn.rows("SELECT * FROM steps WHERE id = $1", args![id]).await?;
        Ok(load(&mut conn, rows).await?.pop())
    }

    /// Inserts steps into a running build, after the step at that position; those behind move on. A step that runs
    /// again from its journal and inserts the same again gets the steps that it inserted before.
    pub async fn insert_steps(
        &self,
        build: BuildId,
        after: u32,
        parent: Option<StepId>,
        origin: Origin,
        steps: Vec<NewStep>,
        now: Timestamp,
    ) -> Result<Vec<StepId>, Error> {
        self.write(move |tx| insert_while_running(tx, build, after, parent, origin, steps, now).boxed())
            .await
    }

    /// Begins a step with row 0 of its journal. Beginning it again with the same row changes nothing; with another is
    /// [`Error::Conflict`].
    pub async fn begin_step(&self, id: StepId, created: Entry, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| begin(tx, id, created, now).boxed()).await
    }

    /// Ends a step, with the last row of its journal if it has one. An empty summary leaves what the step has set.
    /// Ending it again with the same result changes nothing; with another is [`Error::Conflict`].
    pub async fn finish_step(
        &self,
        id: StepId,
        outcome: Outcome,
        summary: &str,
        finished: Option<Entry>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let summary = summary.to_owned();
        self.write(move |tx| finish(tx, id, outcome, summary, finished, now).boxed())
            .await
    }

    /// Ends a step that is left out.
    pub async fn skip_step(&self, id: StepId, summary: &str, now: Timestamp) -> Result<(), Error> {
        self.finish_step(id, Outcome::Skipped, summary, None, now).await
    }
}

/// The step of a build behind that one.
pub(crate) async fn next(
    conn: &mut Conn,
    build: BuildId,
    after: Option<StepId>,
) -> Result<Option<Step>, Error> {
    let sql = "SELECT * FROM steps WHERE build = $1
               AND position > COALESCE((SELECT position FROM steps WHERE id = $2), -1) ORDER BY position LIMIT 1";
    let rows = conn.rows(sql, args![build, after]).await?;
    Ok(load(conn, rows).await?.pop())
}

/// Inserts steps from that position on.
pub(crate) async fn insert(
    tx: &mut Tx,
    build: BuildId,
    first: u32,
    parent: Option<StepId>,
    origin: &Origin,
    steps: Vec<NewStep>,
) -> Result<Vec<StepId>, Error> {
    let mut ids = Vec::with_capacity(steps.len());
    for (step, position) in steps.into_iter().zip(first..) {
        let row = tx
            .one(
                "INSERT INTO steps (build, parent, position, origin, name, plugin, digest, config, options, state, summary)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', '') RETURNING id",
                args![
                    build,
                    parent,
                    position,
                    Json(origin),
                    step.name,
                    step.plugin,
                    step.digest,
                    Json(&step.config),
                    Json(&step.options),
                ],
            )
            .await?;
        ids.push(row.get("id")?);
    }
    Ok(ids)
}

pub(crate) async fn insert_while_running(
    tx: &mut Tx,
    build: BuildId,
    after: u32,
    parent: Option<StepId>,
    origin: Origin,
    steps: Vec<NewStep>,
    now: Timestamp,
) -> Result<Vec<StepId>, Error> {
    if origin != Origin::Plan {
        let before = "SELECT id FROM steps WHERE build = $1 AND origin = $2 ORDER BY position";
        let before = tx.rows(before, args![build, Json(&origin)]).await?;
        if !before.is_empty() {
            return before.iter().map(|row| row.get("id")).collect();
        }
    }
    let sql = "SELECT builds.id, builders.name AS builder_name FROM builds
               JOIN builders ON builders.id = builds.builder WHERE builds.id = $1 AND builds.state = 'running'";
    let row = tx.row(sql, args![build]).await?;
    let row = row.ok_or_else(|| {
        Error::conflict(format!(
            "expected build {build} to be running, found that it is not"
        ))
    })?;
    let count = u32::try_from(steps.len())
        .map_err(|_| Error::invalid("expected fewer steps, found more than 2^32"))?;
    let shift = "UPDATE steps SET position = position + $3 WHERE build = $1 AND position > $2";
    tx.run(shift, args![build, after, count]).await?;
    let ids = insert(tx, build, after.saturating_add(1), parent, &origin, steps).await?;
    let event = Draft::new("build.updated")
        .builder(&row.get::<String>("builder_name")?)
        .build(build);
    event.payload(json!({ "steps": ids })).add(tx, now);
    Ok(ids)
}

/// What a transaction about a step needs to know of it.
pub(crate) struct Scope {
    pub step: StepId,
    pub build: BuildId,
    pub builder: String,
    pub name: String,
    pub state: StepState,
    pub outcome: Option<Outcome>,
}

impl Scope {
    pub async fn of(conn: &mut Conn, step: StepId) -> Result<Self, Error> {
        let sql =
            "SELECT steps.*, builders.name AS builder_name FROM steps JOIN builds ON builds.id = steps.build
                   JOIN builders ON builders.id = builds.builder WHERE steps.id = $1";
        let row = conn.row(sql, args![step]).await?;
        let row = row.ok_or_else(|| Error::conflict(format!("expected step {step}, found no such step")))?;
        Ok(Self {
            step,
            build: row.get("build")?,
            builder: row.get("builder_name")?,
            name: row.get("name")?,
            state: row.get("state")?,
            outcome: row.maybe("outcome")?,
        })
    }

    pub fn event(&self, kind: &str) -> Draft {
        Draft::new(kind)
            .builder(&self.builder)
            .build(self.build)
            .step(self.step)
    }

    /// A step that is not in the state that it must be in.
    pub fn conflict(&self, expected: &str) -> Error {
        let found = self.outcome.map_or(self.state.as_str(), Outcome::as_str);
        Error::conflict(format!(
            "expected step {} (`{}`) to be {expected}, found it {found}",
            self.step, self.name
        ))
    }
}

pub(crate) async fn begin(tx: &mut Tx, id: StepId, created: Entry, now: Timestamp) -> Result<(), Error> {
    let scope = Scope::of(tx, id).await?;
    if scope.state != StepState::Pending {
        return match journal::holds(tx, id, std::slice::from_ref(&created)).await? {
            true => Ok(()),
            false => Err(scope.conflict("pending")),
        };
    }
    tx.run(
        "UPDATE steps SET state = 'running', started = $2 WHERE id = $1",
        args![id, now],
    )
    .await?;
    journal::append(tx, id, &[created]).await?;
    scope
        .event("step.started")
        .payload(json!({ "name": scope.name }))
        .add(tx, now);
    Ok(())
}

pub(crate) async fn finish(
    tx: &mut Tx,
    id: StepId,
    outcome: Outcome,
    summary: String,
    finished: Option<Entry>,
    now: Timestamp,
) -> Result<(), Error> {
    let scope = Scope::of(tx, id).await?;
    if scope.state == StepState::Complete {
        return if scope.outcome == Some(outcome) {
            Ok(())
        } else {
            Err(scope.conflict("unfinished"))
        };
    }
    if let Some(entry) = finished {
        journal::append(tx, id, &[entry]).await?;
    }
    let update = "UPDATE steps SET state = 'complete', outcome = $2, finished = $3,
                  summary = CASE WHEN $4 = '' THEN summary ELSE $4 END WHERE id = $1 RETURNING summary";
    let summary: String = tx
        .one(update, args![id, outcome, now, summary])
        .await?
        .get("summary")?;
    let payload = json!({ "name": scope.name, "outcome": outcome, "summary": summary });
    scope.event("step.finished").payload(payload).add(tx, now);
    Ok(())
}

/// Has pages leave a step out. Noted together with its end, which tells those who look on.
pub(crate) async fn hide(tx: &mut Tx, id: StepId) -> Result<(), Error> {
    let hide = "UPDATE steps SET hidden = 1 WHERE id = $1";
    tx.run(hide, args![id]).await?;
    Ok(())
}

/// Applies what local rows of a journal change.
pub(crate) async fn apply(
    tx: &mut Tx,
    scope: &Scope,
    effects: Vec<Effect>,
    now: Timestamp,
) -> Result<(), Error> {
    for effect in effects {
        let payload = serde_json::to_value(&effect).unwrap_or_default();
        match effect {
            Effect::AddArtefact(stored) => {
                artefacts::insert(tx, scope, stored, now).await?;
                continue;
            }
            Effect::SetProperty(property) => builds::set_property(tx, scope.build, &property).await?,
            Effect::SetSummary(text) => {
                tx.run(
                    "UPDATE steps SET summary = $2 WHERE id = $1",
                    args![scope.step, text],
                )
                .await?;
            }
            Effect::EndBuild { outcome, reason } => {
                let update = "UPDATE steps SET ends_build = $2, ends_reason = $3 WHERE id = $1";
                tx.run(update, args![scope.step, outcome, reason]).await?;
            }
            Effect::AddLink { label, url } => {
                let insert = "INSERT INTO step_links (step, position, label, url)
                              VALUES ($1, (SELECT COUNT(*) FROM step_links WHERE step = $1), $2, $3)";
                tx.run(insert, args![scope.step, label, url]).await?;
            }
        }
        scope.event("step.updated").payload(payload).add(tx, now);
    }
    Ok(())
}

async fn load(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Step>, Error> {
    let mut steps: Vec<Step> = rows.iter().map(step).collect::<Result<_, _>>()?;
    if steps.is_empty() {
        return Ok(steps);
    }
    let at: HashMap<_, _> = steps
        .iter()
        .enumerate()
        .map(|(place, step)| (step.id.0, place))
        .collect();
    let list = keys(steps.iter().map(|step| step.id.0));
    let sql = in_keys!(
        "SELECT step, label, url FROM step_links WHERE step IN ",
        " ORDER BY step, position"
    );
    for row in conn.rows(sql, vec![list]).await? {
        let link = Link {
            label: row.get("label")?,
            url: row.get("url")?,
        };
        steps[at[&row.get("step")?]].links.push(link);
    }
    Ok(steps)
}

fn step(row: &Row) -> Result<Step, Error> {
    Ok(Step {
        id: row.get("id")?,
        build: row.get("build")?,
        parent: row.maybe("parent")?,
        position: row.get("position")?,
        origin: row.get::<Json<Origin>>("origin")?.0,
        name: row.get("name")?,
        plugin: row.get("plugin")?,
        digest: row.get("digest")?,
        config: row.get::<Json<Value>>("config")?.0,
        options: row.get::<Json<Value>>("options")?.0,
        state: row.get("state")?,
        outcome: row.maybe("outcome")?,
        summary: row.get("summary")?,
        hidden: row.get("hidden")?,
        ends_build: row
            .maybe("ends_build")?
            .map(|outcome| Ok::<_, Error>((outcome, row.maybe("ends_reason")?.unwrap_or_default())))
            .transpose()?,
        started: row.maybe("started")?,
        finished: row.maybe("finished")?,
        links: Vec::new(),
    })
}
