//! Reports: what reporters were told of a build, or will be.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_model::{BuildId, OutboxId};
use capstan_store::Report as Row;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page;
use crate::extract::{Path, Query};
use crate::guard::Operator;
use crate::{App, Error};

/// Reports of one answer; a build has a few for each reporter.
const MAX_REPORTS: u32 = 1000;

/// A report in the outbox.
#[derive(Serialize, ToSchema)]
pub(crate) struct Report {
    pub(crate) id: i64,
    /// The same for every attempt: a receiver counts each once.
    delivery_id: String,
    pub(crate) reporter: String,
    build: i64,
    /// `started` or `finished`.
    pub(crate) phase: String,
    /// `pending`, `delivered` or `parked`.
    pub(crate) state: &'static str,
    pub(crate) attempts: u32,
    /// When the next attempt is due.
    pub(crate) next_at: Option<i64>,
    /// What the last attempt failed with.
    pub(crate) last_error: Option<String>,
    finished: Option<i64>,
}

impl From<Row> for Report {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            delivery_id: row.delivery_id,
            reporter: row.reporter,
            build: row.build.0,
            phase: row.phase,
            state: row.state.as_str(),
            attempts: row.attempts,
            next_at: row.finished.is_none().then_some(row.next_at.0),
            last_error: row.last_error,
            finished: row.finished.map(|time| time.0),
        }
    }
}

impl Report {
    /// The reports about a build, newest first.
    pub(crate) async fn of_build(app: &App, build: BuildId) -> Result<Vec<Self>, Error> {
        let rows = app.store().reports(Some(build), MAX_REPORTS).await?;
        Ok(rows.into_iter().map(Self::from).collect())
    }
}

/// Which reports; the newest of all if nothing is said.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only those about this build: all of them.
    build: Option<i64>,
    /// `parked`: only those that will not be tried again. Not together with `build`.
    state: Option<String>,
    /// How many; 50 if absent, 500 at most.
    limit: Option<u32>,
}

/// Reports, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Reports)]
pub(super) struct Page {
    reports: Vec<Report>,
}

/// Lists reports, newest first: about a build, or those that were parked, or the newest of all.
#[utoipa::path(get, path = "/reports", tag = "reports", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    let limit = page(query.limit);
    let rows = match (query.build, query.state.as_deref()) {
        (Some(build), None) => app.store().reports(Some(BuildId(build)), MAX_REPORTS).await?,
        (None, None) => app.store().reports(None, limit).await?,
        (None, Some("parked")) => app.store().parked_reports(limit).await?,
        (Some(_), Some(_)) => return Err(Error::invalid("expected `build` or `state`, found both")),
        (None, Some(other)) => {
            return Err(Error::invalid(format!(
                "state: expected `parked`, found `{other}`"
            )));
        }
    };
    Ok(Json(Page {
        reports: rows.into_iter().map(Report::from).collect(),
    }))
}

/// Has a parked report delivered after all, under the delivery id that it has.
#[utoipa::path(post, path = "/reports/{id}/retry", tag = "reports", security(("token" = [])), params(("id" = i64, Path)),
    responses((status = 202), (status = 404, body = crate::error::Body),
        (status = 409, body = crate::error::Body, description = "it is not parked")))]
pub(super) async fn retry(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
) -> Result<StatusCode, Error> {
    app.control().retry_report(OutboxId(id)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// How many reports are to be delivered after all.
#[derive(Serialize, ToSchema)]
pub(super) struct Retried {
    retried: u64,
}

/// Has every parked report delivered after all, each under the delivery id that it has.
#[utoipa::path(post, path = "/reports/retry", tag = "reports", security(("token" = [])),
    responses((status = 202, body = Retried)))]
pub(super) async fn retry_all(
    State(app): State<App>,
    _operator: Operator,
) -> Result<(StatusCode, Json<Retried>), Error> {
    let retried = app.control().retry_reports().await?;
    Ok((StatusCode::ACCEPTED, Json(Retried { retried })))
}
