//! Build requests: what waits, what became of it, cancelling.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_model::RequestId;
use capstan_store::{Request as Row, RequestFilter, RequestState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::builds::{NamedValue, Source, Stop};
use super::{check_reason, page};
use crate::extract::{Json as Body, Path, Query};
use crate::guard::Operator;
use crate::{App, Error};

/// A request: one builder's share of a buildset.
#[derive(Serialize, ToSchema)]
pub(crate) struct Request {
    pub(crate) id: i64,
    pub(crate) buildset: i64,
    pub(crate) builder: String,
    /// Higher is sooner.
    pub(crate) priority: i32,
    /// `pending`, `claimed` or `complete`.
    pub(crate) state: &'static str,
    pub(crate) outcome: Option<String>,
    /// Why it waits, as long as it does.
    pub(crate) waiting: Option<String>,
    /// Why it was cancelled, if it was.
    pub(crate) note: Option<String>,
    /// Why it was made.
    pub(crate) reason: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) changes: Vec<i64>,
    pub(crate) properties: Vec<NamedValue>,
    /// The builds that have served it: more than one after a retry.
    pub(crate) builds: Vec<i64>,
    pub(crate) submitted: i64,
    pub(crate) claimed: Option<i64>,
    pub(crate) finished: Option<i64>,
}

impl From<Row> for Request {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            buildset: row.buildset.0,
            builder: row.builder,
            priority: row.priority,
            state: row.state.as_str(),
            outcome: row.outcome.map(|outcome| outcome.to_string()),
            waiting: None,
            note: row.note,
            reason: row.reason,
            sources: row.sources.into_iter().map(Source::from).collect(),
            changes: row.changes.into_iter().map(|id| id.0).collect(),
            properties: row.properties.into_iter().map(NamedValue::from).collect(),
            builds: row.builds.into_iter().map(|id| id.0).collect(),
            submitted: row.submitted.0,
            claimed: row.claimed.map(|time| time.0),
            finished: row.finished.map(|time| time.0),
        }
    }
}

impl Request {
    /// With the reasons of those that wait.
    pub(super) async fn all(app: &App, rows: Vec<Row>) -> Result<Vec<Self>, Error> {
        let mut requests: Vec<_> = rows.into_iter().map(Self::from).collect();
        if requests.iter().any(Self::is_pending) {
            let pending = requests.iter().filter(|request| request.is_pending());
            let pending: Vec<_> = pending.map(|request| RequestId(request.id)).collect();
            let queued = app.control().why(&pending).await?;
            let mut why: HashMap<_, _> = queued.into_iter().map(|q| (q.entry.id.0, q.why)).collect();
            for request in requests.iter_mut().filter(|request| request.is_pending()) {
                request.waiting = why.remove(&request.id).map(|why| why.to_string());
            }
        }
        Ok(requests)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state == RequestState::Pending.as_str()
    }

    /// Its result, or how far it is.
    pub(crate) fn word(&self) -> &str {
        match &self.outcome {
            Some(outcome) => outcome,
            None if self.is_pending() => self.state,
            None => "running",
        }
    }
}

/// Which requests.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// `pending`, `claimed` or `complete`.
    state: Option<String>,
    /// Only of this builder.
    builder: Option<String>,
    /// Only requests with smaller ids: the `next` of the page before.
    before: Option<i64>,
    /// How many; 50 if absent, 500 at most.
    limit: Option<u32>,
}

/// A page of requests, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Requests)]
pub(super) struct Page {
    requests: Vec<Request>,
    /// What to give as `before` for the next page, if there is one.
    next: Option<i64>,
}

/// Lists requests, newest first.
#[utoipa::path(get, path = "/requests", tag = "requests", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    let limit = page(query.limit);
    let state = query.state.map(|state| state.parse::<RequestState>()).transpose();
    let filter = RequestFilter {
        state: state.map_err(|error| Error::invalid(error.to_string()))?,
        builder: query.builder,
        buildset: None,
        before: query.before.map(RequestId),
    };
    let mut rows = app.store().requests(&filter, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(Json(Page {
        requests: Request::all(&app, rows).await?,
        next,
    }))
}

/// Shows one request.
#[utoipa::path(get, path = "/requests/{id}", tag = "requests", params(("id" = i64, Path)),
    responses((status = 200, body = Request)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<impl Serialize>, Error> {
    let row = find(&app, id).await?;
    Ok(Json(Request::all(&app, vec![row]).await?.pop()))
}

pub(crate) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    app.store()
        .request(RequestId(id))
        .await?
        .ok_or_else(|| Error::not_found("request", id))
}

/// Cancels a request that has not become a build.
#[utoipa::path(post, path = "/requests/{id}/cancel", tag = "requests", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Stop,
    responses((status = 204), (status = 409, body = crate::error::Body, description = "it waits no more")))]
pub(super) async fn cancel(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Stop>,
) -> Result<StatusCode, Error> {
    app.control()
        .cancel(
            RequestId(id),
            check_reason(body.reason.as_deref())?.unwrap_or("cancelled by the operator"),
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
