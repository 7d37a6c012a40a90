//! Buildsets: requests that were made together; one with its requests, cancelling, rebuilding.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master::Forced as Made;
use capstan_model::BuildsetId;
use capstan_store::RequestFilter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::builds::{NamedValue, Source, Stop};
use super::requests::Request;
use super::{MAX_PAGE, check_reason};
use crate::extract::{Json as Body, Path};
use crate::guard::Operator;
use crate::{App, Error};

/// A buildset.
#[derive(Serialize, ToSchema)]
pub(crate) struct Buildset {
    id: i64,
    /// The scheduler that decided so; null when a person asked for it.
    scheduler: Option<String>,
    /// Why it was made.
    reason: String,
    /// The worst result of its requests, once all have ended.
    outcome: Option<String>,
    /// Whether the first failure cancels what is left of it.
    fail_fast: bool,
    sources: Vec<Source>,
    changes: Vec<i64>,
    properties: Vec<NamedValue>,
    submitted: i64,
    finished: Option<i64>,
    /// One for each builder; at most 500.
    requests: Vec<Request>,
}

/// Shows one buildset with its requests.
#[utoipa::path(get, path = "/buildsets/{id}", tag = "buildsets", params(("id" = i64, Path)),
    responses((status = 200, body = Buildset)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Buildset>, Error> {
    let row = app.store().buildset(BuildsetId(id)).await?;
    let row = row.ok_or_else(|| Error::not_found("buildset", id))?;
    let filter = RequestFilter {
        buildset: Some(row.id),
        ..RequestFilter::default()
    };
    let mut requests = app.store().requests(&filter, MAX_PAGE).await?;
    requests.reverse();
    Ok(Json(Buildset {
        id,
        scheduler: row.scheduler,
        reason: row.reason,
        outcome: row.outcome.map(|outcome| outcome.to_string()),
        fail_fast: row.fail_fast,
        sources: row.sources.into_iter().map(Source::from).collect(),
        changes: row.changes.into_iter().map(|id| id.0).collect(),
        properties: row.properties.into_iter().map(NamedValue::from).collect(),
        submitted: row.submitted.0,
        finished: row.finished.map(|time| time.0),
        requests: Request::all(&app, requests).await?,
    }))
}

/// What was cancelled.
#[derive(Serialize, ToSchema)]
#[schema(as = Cancelled)]
pub(super) struct Cancelled {
    /// Requests that ended at once.
    requests: Vec<i64>,
    /// Builds that were asked to stop.
    builds: Vec<i64>,
}

/// Cancels what has not ended of a buildset: requests that wait end, builds that serve no other buildset are stopped.
#[utoipa::path(post, path = "/buildsets/{id}/cancel", tag = "buildsets", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Stop,
    responses((status = 202, body = Cancelled), (status = 409, body = crate::error::Body, description = "it has ended")))]
pub(super) async fn cancel(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Stop>,
) -> Result<(StatusCode, Json<Cancelled>), Error> {
    let reason = check_reason(body.reason.as_deref())?.unwrap_or("cancelled by the operator");
    let cancelled = app.control().cancel_buildset(BuildsetId(id), reason).await?;
    let answer = Cancelled {
        requests: cancelled.requests.into_iter().map(|id| id.0).collect(),
        builds: cancelled.builds.into_iter().map(|id| id.0).collect(),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// What to build again of a buildset.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = BuildsetRebuild)]
pub(super) struct Again {
    /// Only the builders whose requests did not go well.
    failed: bool,
    /// For people.
    reason: Option<String>,
}

/// What was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Rebuilt)]
pub(super) struct Rebuilt {
    /// The new buildset.
    buildset: i64,
    /// Its requests.
    requests: Vec<i64>,
}

impl From<Made> for Rebuilt {
    fn from(made: Made) -> Self {
        Self {
            buildset: made.buildset.0,
            requests: made.requests.into_iter().map(|id| id.0).collect(),
        }
    }
}

/// Asks for the builds of a buildset again, at the revisions that they built, or only for those that did not go well.
#[utoipa::path(post, path = "/buildsets/{id}/rebuild", tag = "buildsets", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Again,
    responses((status = 202, body = Rebuilt), (status = 409, body = crate::error::Body, description = "nothing has failed")))]
pub(super) async fn rebuild(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Again>,
) -> Result<(StatusCode, Json<Rebuilt>), Error> {
    let reason = check_reason(body.reason.as_deref())?;
    let made = app
        .control()
        .rebuild_buildset(BuildsetId(id), body.failed, reason)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(made.into())))
}
