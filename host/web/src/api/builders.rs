//! Builders: what the plan says of them, their builds by number, forcing.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master as master;
use capstan_model::{VirtualBuilder, plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::builds::Build;
use super::retention;
use crate::extract::{Json as Body, Path};
use crate::guard::Operator;
use crate::{App, Error};

/// A builder of the plan in force, or a virtual one.
#[derive(Default, Serialize, ToSchema)]
struct Builder {
    name: String,
    description: String,
    /// What it belongs to; empty is nothing.
    project: String,
    tags: Vec<String>,
    /// The workers that may run it; empty means by labels alone.
    workers: Vec<String>,
    /// What a worker's labels must fulfil, all of it: expressions such as `gpu`, `!slow` or `arch=x86_64|aarch64`.
    labels: Vec<String>,
    /// The folder on a worker that its builds use, one at a time; builders may share one.
    directory: String,
    /// The names of its steps.
    steps: Vec<String>,
    /// Where the configuration defines it: `file:line:column`.
    location: String,
    /// For a virtual builder, which exists by its builds alone: the builder that the newest of them was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    virtual_of: Option<String>,
}

impl From<&plan::Builder> for Builder {
    fn from(builder: &plan::Builder) -> Self {
        Self {
            name: builder.name.clone(),
            description: builder.description.clone(),
            project: builder.project.clone(),
            tags: builder.tags.clone(),
            workers: builder.workers.clone(),
            labels: builder.labels.clone(),
            directory: builder.directory(),
            steps: builder.steps.iter().map(|step| step.name.clone()).collect(),
            location: builder.location.to_string(),
            virtual_of: None,
        }
    }
}

impl Builder {
    /// One under which builds of another are shown: where and how they run is told by that one.
    fn shown(about: VirtualBuilder, plan: &plan::Plan) -> Self {
        let made_by = plan.builder(&about.made_by).map(Self::from);
        let VirtualBuilder {
            name,
            made_by: of,
            description,
            project,
            tags,
        } = about;
        Self {
            name,
            description,
            project,
            tags,
            virtual_of: Some(of),
            ..made_by.unwrap_or_default()
        }
    }
}

/// The virtual builders, or that one, that no configured one has the name of by now.
async fn shown(app: &App, plan: &plan::Plan, name: Option<&str>) -> Result<Vec<Builder>, Error> {
    let all = app.store().virtual_builders(name).await?.into_iter();
    let all = all.filter(|about| plan.builder(&about.name).is_none());
    Ok(all.map(|about| Builder::shown(about, plan)).collect())
}

/// The builders.
#[derive(Serialize, ToSchema)]
#[schema(as = Builders)]
pub(super) struct Page {
    builders: Vec<Builder>,
}

/// Lists the builders of the plan in force, then the virtual ones.
#[utoipa::path(get, path = "/builders", tag = "builders", responses((status = 200, body = Page)))]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page>, Error> {
    let plan = app.control().plan();
    let mut builders: Vec<_> = plan.builders.iter().map(Builder::from).collect();
    builders.extend(shown(&app, &plan, None).await?);
    Ok(Json(Page { builders }))
}

/// Shows one builder.
#[utoipa::path(get, path = "/builders/{name}", tag = "builders", params(("name" = String, Path)),
    responses((status = 200, body = Builder)))]
pub(super) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<impl Serialize>, Error> {
    let plan = app.control().plan();
    if let Some(found) = plan.builder(&name) {
        return Ok(Json(Builder::from(found)));
    }
    let found = shown(&app, &plan, Some(&name)).await?.pop();
    let found = found.ok_or_else(|| Error::not_found("builder", format_args!("`{name}`")))?;
    Ok(Json(found))
}

/// Shows a build by its builder and number.
#[utoipa::path(get, path = "/builders/{name}/builds/{number}", tag = "builds",
    params(("name" = String, Path), ("number" = u64, Path)), responses((status = 200, body = Build)))]
pub(super) async fn build(
    State(app): State<App>,
    Path((name, number)): Path<(String, u64)>,
) -> Result<Json<Build>, Error> {
    let row = app.store().build_by_number(&name, number).await?;
    let Some(row) = row else {
        return Err(retention::no_build_of(&app, &name, number).await?);
    };
    Ok(Json(Build::whole(&app, row).await?))
}

/// What to build.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Force {
    /// The branch; none is the repository's default.
    branch: Option<String>,
    /// The revision; none is the newest of the branch.
    revision: Option<String>,
    repository: Option<String>,
    codebase: Option<String>,
    /// Why, for people.
    reason: Option<String>,
    /// Properties of the build.
    properties: BTreeMap<String, Value>,
    /// Higher is sooner.
    priority: i32,
}

/// What was asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct Forced {
    buildset: i64,
    requests: Vec<i64>,
}

/// Asks for a build.
#[utoipa::path(post, path = "/builders/{name}/force", tag = "builders", security(("token" = [])),
    params(("name" = String, Path)), request_body = Force, responses((status = 202, body = Forced)))]
pub(super) async fn force(
    State(app): State<App>,
    _operator: Operator,
    Path(name): Path<String>,
    Body(body): Body<Force>,
) -> Result<(StatusCode, Json<Forced>), Error> {
    let force = master::Force {
        branch: body.branch,
        revision: body.revision,
        repository: body.repository.unwrap_or_default(),
        codebase: body.codebase.unwrap_or_default(),
        reason: body.reason,
        properties: body.properties,
        priority: body.priority,
    };
    let forced = app.control().force(&name, force).await?;
    let requests = forced.requests.into_iter().map(|id| id.0).collect();
    Ok((
        StatusCode::ACCEPTED,
        Json(Forced {
            buildset: forced.buildset.0,
            requests,
        }),
    ))
}
