//! Reports: what reporters were told of a build, or will be.

use axum::Json;
use axum::extract::State;
use capstan_model::BuildId;
use capstan_store::Report as Row;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::Query;
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

/// Which reports.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The build that they are about.
    build: i64,
}

/// The reports about a build.
#[derive(Serialize, ToSchema)]
#[schema(as = Reports)]
pub(super) struct Page {
    reports: Vec<Report>,
}

/// Lists the reports about a build.
#[utoipa::path(get, path = "/reports", tag = "reports", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    Ok(Json(Page {
        reports: Report::of_build(&app, BuildId(query.build)).await?,
    }))
}
