//! Builds: listing, one with its steps and logs, stopping, building again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_model::{BuildId, Outcome, Property, SourceStamp};
use capstan_store::{Build as Row, BuildFilter, BuildState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::buildsets::Rebuilt;
use super::family::{Child, Relative};
use super::interruptions::Interruption;
use super::steps::Step;
use super::{check_reason, page, retention};
use crate::extract::{Json as Body, Path, Query};
use crate::guard::Operator;
use crate::{App, Error};

/// A build.
#[derive(Serialize, ToSchema)]
pub(crate) struct Build {
    pub(crate) id: i64,
    pub(crate) builder: String,
    /// The configured builder that it was made from: another one if it is shown under a virtual builder.
    pub(crate) made_by: String,
    /// Counts from 1 within the builder.
    pub(crate) number: u64,
    /// `running` or `complete`.
    pub(crate) state: &'static str,
    /// `success`, `warnings`, `failure`, `skipped`, `exception`, `retry`, `cancelled`.
    pub(crate) outcome: Option<String>,
    pub(crate) summary: String,
    pub(crate) worker: String,
    /// Why it was made.
    pub(crate) reason: String,
    pub(crate) started: i64,
    pub(crate) finished: Option<i64>,
    /// The requests that it answers.
    pub(crate) requests: Vec<i64>,
    /// The changes that it is about.
    pub(crate) changes: Vec<i64>,
    /// What it was made from.
    pub(crate) sources: Vec<Source>,
    pub(crate) properties: Vec<NamedValue>,
    /// Only when one build is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<Vec<Step>>,
    /// Only when one build is asked for: when it was without its master or its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interruptions: Option<Vec<Interruption>>,
    /// Only when one build is asked for: the builds whose steps have asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parents: Option<Vec<Relative>>,
    /// Only when one build is asked for: what its steps have asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) children: Option<Vec<Child>>,
}

/// What to check out for one codebase.
#[derive(Serialize, ToSchema)]
pub(crate) struct Source {
    pub(crate) codebase: String,
    pub(crate) repository: String,
    project: String,
    pub(crate) branch: Option<String>,
    pub(crate) revision: Option<String>,
    /// What is applied after the checkout, without its text: GET `/builds/{id}/patch` has that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<Patch>,
}

impl From<SourceStamp> for Source {
    fn from(stamp: SourceStamp) -> Self {
        let SourceStamp {
            codebase,
            repository,
            project,
            branch,
            revision,
            patch,
        } = stamp;
        Self {
            codebase,
            repository,
            project,
            branch,
            revision,
            patch: patch.map(Patch::from),
        }
    }
}

/// A change that is not committed.
#[derive(Serialize, ToSchema)]
#[schema(as = SourcePatch)]
pub(crate) struct Patch {
    /// The SHA-256 of its text.
    pub(crate) digest: String,
    /// The length of its text.
    pub(crate) bytes: u64,
    /// How many leading folders of its paths are left out.
    level: u32,
    /// The folder that it applies to.
    subdirectory: String,
    pub(crate) author: String,
    pub(crate) comment: String,
}

impl From<capstan_model::Patch> for Patch {
    fn from(patch: capstan_model::Patch) -> Self {
        let capstan_model::Patch {
            digest,
            bytes,
            level,
            subdirectory,
            author,
            comment,
        } = patch;
        Self {
            digest: digest.to_string(),
            bytes,
            level,
            subdirectory,
            author,
            comment,
        }
    }
}

/// A property: a JSON value that knows where it came from.
#[derive(Serialize, ToSchema)]
#[schema(as = Property)]
pub(crate) struct NamedValue {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) source: String,
}

impl From<Property> for NamedValue {
    fn from(property: Property) -> Self {
        let Property { name, value, source } = property;
        Self { name, value, source }
    }
}

impl From<Row> for Build {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            builder: row.builder,
            made_by: row.made_by,
            number: row.number,
            state: row.state.as_str(),
            outcome: row.outcome.map(|outcome| outcome.to_string()),
            summary: row.summary,
            worker: row.worker,
            reason: row.reason,
            started: row.started.0,
            finished: row.finished.map(|time| time.0),
            requests: row.requests.into_iter().map(|id| id.0).collect(),
            changes: row.changes.into_iter().map(|id| id.0).collect(),
            sources: row.sources.into_iter().map(Source::from).collect(),
            properties: row.properties.into_iter().map(NamedValue::from).collect(),
            steps: None,
            interruptions: None,
            parents: None,
            children: None,
        }
    }
}

impl Build {
    /// Its result, or how far it is.
    pub(crate) fn word(&self) -> &str {
        self.outcome.as_deref().unwrap_or(self.state)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.finished.is_none()
    }

    /// With its steps and their logs, and what interrupted it.
    pub(crate) async fn whole(app: &App, row: Row) -> Result<Self, Error> {
        let id = row.id;
        let steps = Step::of_build(app, id).await?;
        let interruptions = Interruption::of_build(app, &row).await?;
        Ok(Self {
            steps: Some(steps),
            interruptions: Some(interruptions),
            parents: Some(Relative::parents_of(app, id).await?),
            children: Some(Child::of_build(app, id).await?),
            ..Self::from(row)
        })
    }
}

/// Which builds.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only of this builder.
    pub(crate) builder: Option<String>,
    /// Only with this result.
    #[param(value_type = Option<String>)]
    pub(crate) outcome: Option<Outcome>,
    /// Only on this worker.
    pub(crate) worker: Option<String>,
    /// Only with a source of this branch.
    pub(crate) branch: Option<String>,
    /// `running` or `complete`.
    pub(crate) state: Option<String>,
    /// Only builds with smaller ids: the `next` of the page before.
    pub(crate) before: Option<i64>,
    /// How many; 50 if absent, 500 at most.
    pub(crate) limit: Option<u32>,
}

/// A page of builds, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Builds)]
pub(crate) struct Page {
    pub(crate) builds: Vec<Build>,
    /// What to give as `before` for the next page, if there is one.
    pub(crate) next: Option<i64>,
}

impl Page {
    pub(crate) async fn read(app: &App, query: ListQuery) -> Result<Self, Error> {
        let limit = page(query.limit);
        let state = query.state.map(|state| state.parse::<BuildState>()).transpose();
        let filter = BuildFilter {
            builder: query.builder,
            worker: query.worker,
            branch: query.branch,
            outcomes: query.outcome.into_iter().collect(),
            state: state.map_err(|error| Error::invalid(error.to_string()))?,
            before: query.before.map(BuildId),
        };
        let mut rows = app.store().builds(&filter, limit + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.id.0);
        Ok(Self {
            builds: rows.into_iter().map(Build::from).collect(),
            next,
        })
    }
}

/// Lists builds, newest first.
#[utoipa::path(get, path = "/builds", tag = "builds", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    Ok(Json(Page::read(&app, query).await?))
}

pub(crate) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    match app.store().build(BuildId(id)).await? {
        Some(row) => Ok(row),
        None => Err(retention::no_build(app, id).await?),
    }
}

/// Shows a build with its steps and logs.
#[utoipa::path(get, path = "/builds/{id}", tag = "builds", params(("id" = i64, Path)),
    responses((status = 200, body = Build)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Build>, Error> {
    let row = find(&app, id).await?;
    Ok(Json(Build::whole(&app, row).await?))
}

/// Why a build is stopped or built again, or a request cancelled.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reason)]
pub(super) struct Stop {
    /// For people.
    pub(super) reason: Option<String>,
}

/// Stops a build: its commands are ended, steps that always run still run.
#[utoipa::path(post, path = "/builds/{id}/stop", tag = "builds", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Stop,
    responses((status = 202), (status = 409, body = crate::error::Body, description = "the build has ended")))]
pub(super) async fn stop(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Stop>,
) -> Result<StatusCode, Error> {
    app.control()
        .stop(
            BuildId(id),
            check_reason(body.reason.as_deref())?.unwrap_or("stopped by the operator"),
        )
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Asks for a build of what this one built: the same revision, the same properties.
#[utoipa::path(post, path = "/builds/{id}/rebuild", tag = "builds", security(("token" = [])),
    params(("id" = i64, Path)), request_body = Stop,
    responses((status = 202, body = Rebuilt), (status = 409, body = crate::error::Body, description = "the build runs")))]
pub(super) async fn rebuild(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
    Body(body): Body<Stop>,
) -> Result<(StatusCode, Json<Rebuilt>), Error> {
    let reason = check_reason(body.reason.as_deref())?;
    let made = app.control().rebuild(BuildId(id), reason).await?;
    Ok((StatusCode::ACCEPTED, Json(made.into())))
}
