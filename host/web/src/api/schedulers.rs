//! Schedulers: which there are, asking one for builds, switching one on and off.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master::{Called, SchedulerStatus};
use capstan_model::CallId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::extract::{Json as Body, Path};
use crate::guard::Operator;
use crate::{App, Error};

/// A scheduler of the plan in force.
#[derive(Serialize, ToSchema)]
struct Scheduler {
    name: String,
    /// The plugin that decides.
    plugin: String,
    /// The builders that it asks for; empty where a function of the configuration says so for each request.
    builders: Vec<String>,
    /// The schedulers whose complete buildsets it is told of.
    follows: Vec<String>,
    /// Whether it is told of what happens and its timers run.
    enabled: bool,
    /// Whether it can be asked for builds.
    takes_calls: bool,
    /// How many events wait for it.
    waiting: u64,
    /// When its earliest timer is due.
    next: Option<i64>,
    /// When it last gave an event up; none if it has decided since.
    failed: Option<i64>,
    /// Why.
    error: Option<String>,
    /// Where the configuration defines it: `file:line:column`.
    location: String,
}

impl From<SchedulerStatus> for Scheduler {
    fn from(status: SchedulerStatus) -> Self {
        let (failed, error) = status.failed.unzip();
        let scheduler = status.scheduler;
        Self {
            name: scheduler.name,
            plugin: scheduler.plugin.plugin,
            builders: scheduler.builders,
            follows: scheduler.follows,
            enabled: status.enabled,
            takes_calls: status.takes_calls,
            waiting: status.waiting,
            next: status.next.map(|at| at.0),
            failed: failed.map(|at| at.0),
            error,
            location: scheduler.plugin.location.to_string(),
        }
    }
}

/// The schedulers.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedulers)]
pub(super) struct Page {
    schedulers: Vec<Scheduler>,
}

/// Lists the schedulers of the plan in force.
#[utoipa::path(get, path = "/schedulers", tag = "schedulers", responses((status = 200, body = Page)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page>, Error> {
    let schedulers = app.control().schedulers().await?;
    Ok(Json(Page {
        schedulers: schedulers.into_iter().map(Scheduler::from).collect(),
    }))
}

/// Shows what a scheduler asks for: `kind`, `fields` and `builders`. Nothing happens.
#[utoipa::path(get, path = "/schedulers/{name}/call", tag = "schedulers", params(("name" = String, Path)),
    responses((status = 200, body = Value)))]
pub(super) async fn describe(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Error> {
    Ok(Json(app.control().describe_scheduler(&name, &Value::Null).await?))
}

/// What to ask a scheduler for.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SchedulerCall)]
pub(super) struct Asked {
    /// `force` (the default), `trigger` or `try`.
    #[serde(default)]
    kind: Kind,
    /// The same key again is the same call; none is a new one each time.
    #[serde(default, skip_serializing)]
    key: Option<String>,
    /// Who asks, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Some of the scheduler's builders; none is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    builders: Option<Vec<String>>,
    /// What to check out, for each codebase.
    #[serde(default)]
    sources: Vec<Stamp>,
    /// Properties of the builds.
    #[serde(default)]
    properties: BTreeMap<String, Value>,
    /// What was filled in, by field.
    #[serde(default)]
    values: BTreeMap<String, Value>,
    /// A change that is not committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    patch: Option<Patch>,
    /// Higher is sooner; none is as the scheduler has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
}

/// Who asks.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SchedulerCallKind)]
pub(super) enum Kind {
    /// A person, with a form.
    #[default]
    Force,
    /// Another program, or a step of a build.
    Trigger,
    /// A person, with a patch.
    Try,
}

/// What to check out.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SchedulerCallSource)]
pub(super) struct Stamp {
    codebase: String,
    repository: String,
    project: String,
    branch: Option<String>,
    revision: Option<String>,
}

/// A change that is not committed.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    /// A unified diff, at most 1 MiB.
    body: String,
    /// How many leading folders of its paths to leave out.
    #[serde(default = "one")]
    level: u32,
    /// The folder that it applies to.
    #[serde(default)]
    subdirectory: String,
    /// The codebase that it is of; not needed where the scheduler has one.
    #[serde(default)]
    codebase: String,
    /// Who wrote it.
    #[serde(default)]
    author: String,
    /// What they say about it.
    #[serde(default)]
    comment: String,
}

fn one() -> u32 {
    1
}

/// What came of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = SchedulerAnswer)]
pub(super) struct Answer {
    /// The call's id: GET `/schedulers/{name}/call/{id}` tells what came of it.
    call: i64,
    /// Whether the scheduler has decided.
    decided: bool,
    /// What it led to. There may be nothing yet: what is asked for may be built later.
    buildsets: Vec<Made>,
}

/// A buildset that a call led to.
#[derive(Serialize, ToSchema)]
#[schema(as = SchedulerBuildset)]
struct Made {
    buildset: i64,
    requests: Vec<i64>,
}

impl From<Called> for Answer {
    fn from(called: Called) -> Self {
        let decided = called.made.is_some();
        let made = called.made.unwrap_or_default().into_iter().map(|made| Made {
            buildset: made.buildset.0,
            requests: made.requests.into_iter().map(|id| id.0).collect(),
        });
        Self {
            call: called.id.0,
            decided,
            buildsets: made.collect(),
        }
    }
}

/// Asks a scheduler for builds. What it refuses has the status 422, and names each field.
#[utoipa::path(post, path = "/schedulers/{name}/call", tag = "schedulers", security(("token" = [])),
    params(("name" = String, Path)), request_body = Asked, responses((status = 202, body = Answer)))]
pub(super) async fn call(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Json<Answer>), Error> {
    let key = asked.key.clone();
    let call = json!(asked);
    let called = app.control().call_scheduler(&name, key.as_deref(), call).await?;
    Ok((StatusCode::ACCEPTED, Json(called.into())))
}

/// Shows what came of a call.
#[utoipa::path(get, path = "/schedulers/{name}/call/{id}", tag = "schedulers",
    params(("name" = String, Path), ("id" = i64, Path)), responses((status = 200, body = Answer)))]
pub(super) async fn called(
    State(app): State<App>,
    Path((name, id)): Path<(String, i64)>,
) -> Result<Json<Answer>, Error> {
    Ok(Json(
        app.control().scheduler_call(&name, CallId(id)).await?.into(),
    ))
}

/// Whether something changed.
#[derive(Serialize, ToSchema)]
#[schema(as = Switched)]
pub(super) struct Switched {
    enabled: bool,
    changed: bool,
}

async fn switch(app: &App, name: &str, enabled: bool) -> Result<Json<Switched>, Error> {
    let changed = app.control().enable_scheduler(name, enabled).await?;
    Ok(Json(Switched { enabled, changed }))
}

/// Switches a scheduler on. It begins as after a start of the master.
#[utoipa::path(post, path = "/schedulers/{name}/enable", tag = "schedulers", security(("token" = [])),
    params(("name" = String, Path)), responses((status = 200, body = Switched)))]
pub(super) async fn enable(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
) -> Result<Json<Switched>, Error> {
    switch(&app, &name, true).await
}

/// Switches a scheduler off, until it is switched on again. What happens meanwhile is dropped, and no timer fires.
#[utoipa::path(post, path = "/schedulers/{name}/disable", tag = "schedulers", security(("token" = [])),
    params(("name" = String, Path)), responses((status = 200, body = Switched)))]
pub(super) async fn disable(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
) -> Result<Json<Switched>, Error> {
    switch(&app, &name, false).await
}
