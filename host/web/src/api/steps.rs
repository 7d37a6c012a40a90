//! Steps of builds.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use capstan_model::{BuildId, StepId};
use capstan_store::Step as Row;
use serde::Serialize;
use utoipa::ToSchema;

use super::logs::Log;
use crate::extract::Path;
use crate::{App, Error};

/// A step of a build.
#[derive(Serialize, ToSchema)]
pub(crate) struct Step {
    id: i64,
    build: i64,
    /// Its place among the build's steps.
    position: u32,
    pub(crate) name: String,
    /// The plugin that does it.
    pub(crate) plugin: String,
    /// The version of the plugin.
    digest: String,
    /// `pending`, `running` or `complete`.
    pub(crate) state: &'static str,
    pub(crate) outcome: Option<String>,
    pub(crate) summary: String,
    pub(crate) started: Option<i64>,
    pub(crate) finished: Option<i64>,
    pub(crate) links: Vec<Link>,
    pub(crate) logs: Vec<Log>,
}

/// A link that a step made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Link {
    pub(crate) label: String,
    pub(crate) url: String,
}

impl Step {
    /// The steps of a build in their order, with their logs.
    pub(crate) async fn of_build(app: &App, build: BuildId) -> Result<Vec<Self>, Error> {
        let mut logs: HashMap<_, Vec<_>> = HashMap::new();
        for row in app.store().logs_of_build(build).await? {
            logs.entry(row.step).or_default().push(Log::of(app, row).await?);
        }
        let rows = app.store().steps(build).await?;
        Ok(rows
            .into_iter()
            .map(|row| Self::new(logs.remove(&row.id).unwrap_or_default(), row))
            .collect())
    }

    fn new(logs: Vec<Log>, row: Row) -> Self {
        Self {
            id: row.id.0,
            build: row.build.0,
            position: row.position,
            name: row.name,
            plugin: row.plugin,
            digest: row.digest.to_string(),
            state: row.state.as_str(),
            outcome: row.outcome.map(|outcome| outcome.to_string()),
            summary: row.summary,
            started: row.started.map(|time| time.0),
            finished: row.finished.map(|time| time.0),
            links: row
                .links
                .into_iter()
                .map(|link| Link {
                    label: link.label,
                    url: link.url,
                })
                .collect(),
            logs,
        }
    }
}

/// The logs of a step.
#[derive(Serialize, ToSchema)]
pub(super) struct Logs {
    logs: Vec<Log>,
}

/// Lists the logs of a step.
#[utoipa::path(get, path = "/steps/{id}/logs", tag = "logs", params(("id" = i64, Path)),
    responses((status = 200, body = Logs)))]
pub(super) async fn logs(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Logs>, Error> {
    let step = app
        .store()
        .step(StepId(id))
        .await?
        .ok_or_else(|| Error::not_found("step", id))?;
    let mut logs = Vec::new();
    for row in app.store().logs(step.id).await? {
        logs.push(Log::of(&app, row).await?);
    }
    Ok(Json(Logs { logs }))
}
