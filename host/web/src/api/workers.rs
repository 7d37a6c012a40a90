//! Workers: how they are, inviting, pausing and revoking them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master::WorkerStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Json as Body, Path};
use crate::guard::Operator;
use crate::{App, Error};

/// How long an invitation is good when nobody says how long.
const DAY: u64 = 24 * 60 * 60;
/// How long an invitation is good at most.
const MONTH: u64 = 31 * DAY;

/// A worker as it is now.
#[derive(Serialize, ToSchema)]
pub(super) struct Worker {
    name: String,
    /// Whether the configuration names it.
    configured: bool,
    /// Whether it has joined and was not revoked.
    enrolled: bool,
    connected: bool,
    /// Since when it has been connected, or silent.
    since: Option<i64>,
    /// When it was last heard. A connected one is asked every few seconds.
    last_heard: Option<i64>,
    /// Where it is connected from.
    address: Option<String>,
    /// Why it gets no builds, if somebody paused it.
    paused: Option<String>,
    /// How many builds it runs at a time.
    slots: u32,
    labels: Vec<String>,
    /// What it says of its machine.
    facts: BTreeMap<String, String>,
    /// The builds that run on it.
    builds: Vec<i64>,
}

impl From<WorkerStatus> for Worker {
    fn from(status: WorkerStatus) -> Self {
        Self {
            name: status.name,
            configured: status.configured,
            enrolled: status.enrolled,
            connected: status.connected,
            since: status.since.map(|time| time.0),
            last_heard: status.last_heard.map(|time| time.0),
            address: status.address,
            paused: status.paused,
            slots: status.slots,
            labels: status.labels,
            facts: status.facts,
            builds: status.builds.into_iter().map(|build| build.0).collect(),
        }
    }
}

/// The workers.
#[derive(Serialize, ToSchema)]
#[schema(as = Workers)]
pub(super) struct Page {
    workers: Vec<Worker>,
}

/// Lists the workers that are configured or have joined.
#[utoipa::path(get, path = "/workers", tag = "workers", responses((status = 200, body = Page)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page>, Error> {
    let workers = app.control().workers().await?;
    Ok(Json(Page {
        workers: workers.into_iter().map(Worker::from).collect(),
    }))
}

/// Shows one worker.
#[utoipa::path(get, path = "/workers/{name}", tag = "workers", params(("name" = String, Path)),
    responses((status = 200, body = Worker)))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Worker>, Error> {
    let found = app
        .control()
        .workers()
        .await?
        .into_iter()
        .find(|worker| worker.name == name);
    let found = found.ok_or_else(|| Error::not_found("worker", format_args!("`{name}`")))?;
    Ok(Json(found.into()))
}

/// How long an invitation is to be good.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Invite {
    /// Seconds; a day if absent, a month at most.
    ttl_seconds: Option<u64>,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
pub(super) struct Invitation {
    /// What `capstan-worker join` wants: good for one use.
    join: String,
    /// When it ends.
    expires: i64,
}

/// Makes a join string for a worker.
#[utoipa::path(post, path = "/workers/{name}/invite", tag = "workers", security(("token" = [])),
    params(("name" = String, Path)), request_body = Invite, responses((status = 200, body = Invitation)))]
pub(super) async fn invite(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
    Body(body): Body<Invite>,
) -> Result<Json<Invitation>, Error> {
    let seconds = body.ttl_seconds.unwrap_or(DAY);
    if !(1..=MONTH).contains(&seconds) {
        return Err(Error::invalid(format!(
            "expected ttl_seconds from 1 to {MONTH}, found {seconds}"
        )));
    }
    let invitation = app.control().invite(&name, seconds * 1000).await?;
    Ok(Json(Invitation {
        join: invitation.join,
        expires: invitation.expires.0,
    }))
}

/// Why a worker is paused.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// For people.
    reason: Option<String>,
}

/// Gives a worker no new builds. What runs on it runs on.
#[utoipa::path(post, path = "/workers/{name}/pause", tag = "workers", security(("token" = [])),
    params(("name" = String, Path)), request_body = Pause, responses((status = 204)))]
pub(super) async fn pause(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
    Body(body): Body<Pause>,
) -> Result<StatusCode, Error> {
    let reason = super::check_reason(body.reason.as_deref())?.unwrap_or("paused by the operator");
    app.control().pause(&name, Some(reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a worker builds again.
#[utoipa::path(post, path = "/workers/{name}/unpause", tag = "workers", security(("token" = [])),
    params(("name" = String, Path)), responses((status = 204)))]
pub(super) async fn unpause(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    app.control().pause(&name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a worker's membership and its connection at once; a new invitation lets it join again.
#[utoipa::path(post, path = "/workers/{name}/revoke", tag = "workers", security(("token" = [])),
    params(("name" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    app.control().revoke(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
