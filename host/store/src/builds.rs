//! Builds, from the requests that they serve to the results that those get.

use std::collections::HashMap;

use capstan_model::{
    BuildId, BuilderId, ChangeId, Digest, LockAccess, Outcome, Properties, Property, RequestId, SourceStamp,
    StepId, Timestamp, VirtualBuilder,
};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dialect::{in_keys, keys};
use crate::events::Draft;
use crate::outbox::{self, NewReport};
use crate::sql::{Conn, Json, Row, args, words};
use crate::steps::{self, NewStep, Origin};
use crate::writer::Tx;
use crate::{Error, Store, builders, finishing, requests, stamps, workers};

words! {
    /// How far a build is.
    BuildState {
        /// Its steps are being done.
        Running = "running",
        /// It has ended.
        Complete = "complete",
    }
}

/// A build to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewBuild {
    /// The builder that it is made from.
    pub builder: String,
    /// The builder that it is shown under, and numbered by, if it is not that one.
    pub shown: Option<VirtualBuilder>,
    /// The requests that it serves.
    pub requests: Vec<RequestId>,
    /// Where its commands run.
    pub worker: String,
    /// The folder that its commands run in; empty is its builder's own.
    pub directory: String,
    /// The plan that it is made from; stored before.
    pub plan: Digest,
    /// What it holds of locks until it ends.
    pub locks: Vec<LockAccess>,
    /// Why, for people.
    pub reason: String,
    /// What to check out.
    pub sources: Vec<SourceStamp>,
    /// Its properties at the beginning.
    pub properties: Properties,
    /// Its steps, in order.
    pub steps: Vec<NewStep>,
    /// The reports that its beginning owes.
    pub reports: Vec<NewReport>,
}

/// What a [`NewBuild`] became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBuild {
    /// The key.
    pub id: BuildId,
    /// Its number within its builder, from 1.
    pub number: u64,
    /// Its steps, in order.
    pub steps: Vec<StepId>,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// The key.
    pub id: BuildId,
    /// The builder that it is shown under.
    pub builder: String,
    /// The configured builder that it was made from: whose steps, rights and reports it has. Mostly the same.
    pub made_by: String,
    /// Its number within the builder that it is shown under, from 1.
    pub number: u64,
    /// Where its commands run.
    pub worker: String,
    /// The plan that it was made from.
    pub plan: Digest,
    /// What it holds of locks until it ends.
    pub locks: Vec<LockAccess>,
    /// Why it was made, for people.
    pub reason: String,
    /// How far it is.
    pub state: BuildState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// A few words about how it ended.
    pub summary: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Why it was asked to stop, if it was.
    pub stop_requested: Option<String>,
    /// What it was asked to check out.
    pub sources: Vec<SourceStamp>,
    /// Its properties, in the order in which they were first set.
    pub properties: Properties,
    /// The requests that it serves, oldest first.
    pub requests: Vec<RequestId>,
    /// The changes that led to it, oldest first.
    pub changes: Vec<ChangeId>,
}

/// A build that has not ended: what it is, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningBuild {
    /// The key.
    pub id: BuildId,
    /// The builder that it is shown under.
    pub builder: String,
    /// Its number within that.
    pub number: u64,
    /// Where its commands run.
    pub worker: String,
    /// The folder that it uses there; empty if an earlier version made it.
    pub directory: String,
}

/// How a build ended, and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildFinish {
    /// How it ended.
    pub outcome: Outcome,
    /// A few words about that.
    pub summary: String,
    /// The reports that its end owes.
    pub reports: Vec<NewReport>,
    /// The schedulers that are told.
    pub subscribers: Vec<String>,
    /// Whether its requests wait again, for another build. Otherwise they end as the build did.
    pub retry: bool,
}

/// The rows of builds that [`load`] takes, with a condition.
macro_rules! select_builds {
    ($condition:literal) => {
        concat!(
            "SELECT builds.*, builders.name AS builder_name, COALESCE(makers.name, builders.name) AS made_by_name,
             workers.name AS worker_name FROM builds JOIN builders ON builders.id = builds.builder
             LEFT JOIN builders AS makers ON makers.id = builds.made_by JOIN workers ON workers.id = builds.worker ",
            $condition
        )
    };
}
pub(crate) use select_builds;

impl Store {
    /// Gives waiting requests to a new build. `None`, and nothing is changed, when one of them does not wait any more.
    /// [`Error::Invalid`] when the plan was not stored.
    pub async fn create_build(&self, build: NewBuild, now: Timestamp) -> Result<Option<CreatedBuild>, Error> {
        self.write(move |tx| create(tx, build, now).boxed()).await
    }

    /// The builds that have not ended, oldest first: only where they run, for there may be thousands.
    pub async fn running_builds(&self) -> Result<Vec<RunningBuild>, Error> {
        let mut conn = self.reader().await?;
        let sql = "SELECT builds.id, builds.number, builds.directory, builders.name AS builder_name, workers.name AS worker_name FROM builds
                   JOIN builders ON builders.id = builds.builder JOIN workers ON workers.id = builds.worker
                   WHERE builds.state = 'running' ORDER BY builds.id";
        let rows = conn.rows(sql, args![]).await?;
        let running = rows.iter().map(|row| {
            Ok(RunningBuild {
                id: row.get("id")?,
                builder: row.get("builder_name")?,
                number: row.get("number")?,
                worker: row.get("worker_name")?,
                directory: row.get("directory")?,
            })
        });
        running.collect()
    }

    /// The builds that have not ended, oldest first.
    pub async fn unfinished_builds(&self) -> Result<Vec<Build>, Error> {
        let mut conn = self.reader().await?;
        let sql = select_builds!("WHERE builds.state = 'running' ORDER BY builds.id");
        let rows = conn.rows(sql, args![]).await?;
        load(&mut conn, rows).await
    }

    /// That build.
    pub async fn build(&self, id: BuildId) -> Result<Option<Build>, Error> {
        let mut conn = self.reader().await?;
        let sql = select_builds!("WHERE builds.id = $1");
        let rows = conn.rows(sql, args![id]).await?;
        Ok(load(&mut conn, rows).await?.pop())
    }

    /// That builder's build of that number.
    pub async fn build_by_number(&self, builder: &str, number: u64) -> Result<Option<Build>, Error> {
        let mut conn = self.reader().await?;
        let sql = select_builds!("WHERE builders.name = $1 AND builds.number = $2");
        let rows = conn.rows(sql, args![builder, number]).await?;
        Ok(load(&mut conn, rows).await?.pop())
    }

    /// Notes that a build is to stop; the first reason stays. Answers whether the build is running.
    pub async fn request_stop(&self, id: BuildId, reason: &str, now: Timestamp) -> Result<bool, Error> {
        let reason = reason.to_owned();
        self.write(move |tx| request_stop(tx, id, reason, now).boxed())
            .await
    }

    /// Ends a build, and with it its requests and those buildsets of which they were the last. Ending a build again
    /// with the same result changes nothing; with another, or one that does not exist, is [`Error::Conflict`].
    pub async fn finish_build(&self, id: BuildId, finish: BuildFinish, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| finishing::finish_build(tx, id, finish, now).boxed())
            .await
    }
}

async fn create(tx: &mut Tx, mut new: NewBuild, now: Timestamp) -> Result<Option<CreatedBuild>, Error> {
    if tx
        .row("SELECT digest FROM plans WHERE digest = $1", args![new.plan])
        .await?
        .is_none()
    {
        return Err(Error::invalid(format!(
            "expected a build's plan to be stored, found no plan {}",
            new.plan
        )));
    }
    if !requests::claim(tx, &new.requests, now).await? {
        return Ok(None);
    }
    let made_by = builders::ensure(tx, &new.builder).await?;
    let shown = new
        .shown
        .as_ref()
        .map_or(&new.builder, |shown| &shown.name)
        .clone();
    let builder = match shown == new.builder {
        true => made_by,
        false => builders::ensure(tx, &shown).await?,
    };
    let made_by = Some(made_by).filter(|made_by| *made_by != builder);
    let number = builders::take_number(tx, builder, new.shown.as_ref()).await?;
    add_number(&mut new.properties, number);
    let worker = workers::ensure(tx, &new.worker, now).await?;
    let locks = (!new.locks.is_empty()).then_some(Json(&new.locks));
    let insert = "INSERT INTO builds (builder, number, worker, plan, reason, state, summary, started, locks, directory, made_by)
                  VALUES ($1, $2, $3, $4, $5, 'running', '', $6, $7, $8, $9) RETURNING id";
    let row = tx
        .one(
            insert,
            args![
                builder,
                number,
                worker,
                new.plan,
                &new.reason,
                now,
                locks,
                &new.directory,
                made_by
            ],
        )
        .await?;
    let id: BuildId = row.get("id")?;
    insert_inputs(tx, id, builder, &new, now).await?;
    let payload =
        json!({ "number": number, "worker": new.worker, "requests": new.requests, "reason": new.reason });
    Draft::new("build.started")
        .builder(&shown)
        .build(id)
        .payload(payload)
        .add(tx, now);
    for request in &new.requests {
        let event = Draft::new("request.claimed")
            .builder(&new.builder)
            .build(id)
            .request(*request);
        event.add(tx, now);
    }
    let steps = steps::insert(tx, id, 0, None, &Origin::Plan, new.steps).await?;
    outbox::queue(tx, id, &shown, Some(&new.properties), new.reports, now).await?;
    Ok(Some(CreatedBuild { id, number, steps }))
}

/// The one property that nobody knows before. It is left out where there is no room for it: everybody can see the number, and the
/// build has to begin.
fn add_number(properties: &mut Properties, number: u64) {
    let mut with_number = properties.clone();
    with_number.set("buildnumber", number, "build");
    if with_number.check().is_ok() {
        *properties = with_number;
    }
}

async fn insert_inputs(
    tx: &mut Tx,
    id: BuildId,
    builder: BuilderId,
    new: &NewBuild,
    now: Timestamp,
) -> Result<(), Error> {
    for request in &new.requests {
        tx.run(
            "INSERT INTO build_requests (build, request) VALUES ($1, $2)",
            args![id, *request],
        )
        .await?;
    }
    for (source, position) in new.sources.iter().zip(0u32..) {
        let stamp = stamps::ensure(tx, source, now).await?;
        let insert = "INSERT INTO build_sources (build, position, source_stamp) VALUES ($1, $2, $3)";
        tx.run(insert, args![id, position, stamp]).await?;
        if let Some(branch) = source.branch.as_deref() {
            let insert = "INSERT INTO build_branches (branch, builder, build) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            tx.run(insert, args![branch, builder, id]).await?;
        }
    }
    new.properties.check().map_err(Error::Properties)?;
    for property in new.properties.iter() {
        set_property(tx, id, property).await?;
    }
    Ok(())
}

/// Sets a property of a build; one that is new goes to the end.
pub(crate) async fn set_property(tx: &mut Tx, id: BuildId, property: &Property) -> Result<(), Error> {
    property.check().map_err(Error::Properties)?;
    tx.run(
        "INSERT INTO build_properties (build, name, position, value, source)
         VALUES ($1, $2, (SELECT COUNT(*) FROM build_properties WHERE build = $1), $3, $4)
         ON CONFLICT (build, name) DO UPDATE SET value = excluded.value, source = excluded.source",
        args![id, &property.name, Json(&property.value), &property.source],
    )
    .await?;
    Ok(())
}

pub(crate) async fn request_stop(
    tx: &mut Tx,
    id: BuildId,
    reason: String,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "SELECT builds.id, builds.stop_requested, builders.name AS builder_name FROM builds
               JOIN builders ON builders.id = builds.builder WHERE builds.id = $1 AND builds.state = 'running'";
    let Some(row) = tx.row(sql, args![id]).await? else {
        return Ok(false);
    };
    if row.maybe::<Timestamp>("stop_requested")?.is_some() {
        return Ok(true);
    }
    let update = "UPDATE builds SET stop_requested = $2, stop_reason = $3 WHERE id = $1";
    tx.run(update, args![id, now, &reason]).await?;
    let event = Draft::new("build.stopping")
        .builder(&row.get::<String>("builder_name")?)
        .build(id);
    event.payload(json!({ "reason": reason })).add(tx, now);
    Ok(true)
}

pub(crate) async fn sources_of(
    conn: &mut Conn,
    builds: &[BuildId],
) -> Result<HashMap<i64, Vec<SourceStamp>>, Error> {
    let sql = in_keys!(
        "SELECT build_sources.build AS owner, source_stamps.* FROM source_stamps
         JOIN build_sources ON build_sources.source_stamp = source_stamps.id WHERE build_sources.build IN ",
        " ORDER BY build_sources.build, build_sources.position"
    );
    stamps::by_owner(conn, sql, vec![keys(builds.iter().map(|id| id.0))]).await
}

/// Completes rows of builds with what other tables know of them.
pub(crate) async fn load(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Build>, Error> {
    let mut builds: Vec<Build> = rows.iter().map(build).collect::<Result<_, _>>()?;
    if builds.is_empty() {
        return Ok(builds);
    }
    let ids: Vec<_> = builds.iter().map(|build| build.id).collect();
    let mut sources = sources_of(conn, &ids).await?;
    let at: HashMap<_, _> = ids.iter().enumerate().map(|(place, id)| (id.0, place)).collect();
    let list = keys(ids.iter().map(|id| id.0));

    let sql = in_keys!(
        "SELECT build, name, value, source FROM build_properties WHERE build IN ",
        " ORDER BY build, position"
    );
    for row in conn.rows(sql, vec![list.clone()]).await? {
        let value = row.get::<Json<Value>>("value")?.0;
        let property = Property {
            name: row.get("name")?,
            value,
            source: row.get("source")?,
        };
        builds[at[&row.get("build")?]].properties.insert(property);
    }
    let sql = in_keys!(
        "SELECT build, request FROM build_requests WHERE build IN ",
        " ORDER BY build, request"
    );
    for row in conn.rows(sql, vec![list.clone()]).await? {
        builds[at[&row.get("build")?]].requests.push(row.get("request")?);
    }
    let sql = in_keys!(
        "SELECT DISTINCT build_requests.build AS build, buildset_changes.change AS change FROM build_requests
         JOIN requests ON requests.id = build_requests.request
         JOIN buildset_changes ON buildset_changes.buildset = requests.buildset WHERE build_requests.build IN ",
        " ORDER BY build, change"
    );
    for row in conn.rows(sql, vec![list]).await? {
        builds[at[&row.get("build")?]].changes.push(row.get("change")?);
    }
    for build in &mut builds {
        build.sources = sources.remove(&build.id.0).unwrap_or_default();
    }
    Ok(builds)
}

fn build(row: &Row) -> Result<Build, Error> {
    Ok(Build {
        id: row.get("id")?,
        builder: row.get("builder_name")?,
        made_by: row.get("made_by_name")?,
        number: row.get("number")?,
        worker: row.get("worker_name")?,
        plan: row.get("plan")?,
        locks: row
            .maybe::<Json<Vec<LockAccess>>>("locks")?
            .map(|locks| locks.0)
            .unwrap_or_default(),
        reason: row.get("reason")?,
        state: row.get("state")?,
        outcome: row.maybe("outcome")?,
        summary: row.get("summary")?,
        started: row.get("started")?,
        finished: row.maybe("finished")?,
        stop_requested: row.maybe("stop_reason")?,
        sources: Vec::new(),
        properties: Properties::default(),
        requests: Vec::new(),
        changes: Vec::new(),
    })
}
