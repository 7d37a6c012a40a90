//! Steps of builds.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use capstan_model::{BuildId, StepId};
use capstan_store::{Excerpt, JournalGlance, Step as Row};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::logs::Log;
use super::page;
use crate::extract::{Path, Query};
use crate::{App, Error};

/// A step of a build.
#[derive(Serialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) id: i64,
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
    /// Whether pages leave it out.
    pub(crate) hidden: bool,
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
    /// Its result, or how far it is.
    pub(crate) fn word(&self) -> &str {
        self.outcome.as_deref().unwrap_or(self.state)
    }

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
            hidden: row.hidden,
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

pub(super) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    app.store()
        .step(StepId(id))
        .await?
        .ok_or_else(|| Error::not_found("step", id))
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
    let step = find(&app, id).await?;
    let mut logs = Vec::new();
    for row in app.store().logs(step.id).await? {
        logs.push(Log::of(&app, row).await?);
    }
    Ok(Json(Logs { logs }))
}

/// A row of a step's journal: what the step asked of the master, or what it was answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its place in the journal, from 0.
    pub(crate) seq: u32,
    /// `created`, `start`, `end`, `local` or `finished`.
    pub(crate) kind: &'static str,
    /// The host function: `commands.start` …
    pub(crate) call: String,
    /// How the call touches the world: `local`, `run-once` …
    pub(crate) class: &'static str,
    pub(crate) at: i64,
    /// The request, where the row has it.
    pub(crate) request: Option<Start>,
    /// The answer, where the row has it.
    pub(crate) response: Option<Start>,
}

/// The beginning of a request or an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Start {
    /// The first 2,000 bytes of its JSON.
    pub(crate) start: String,
    /// How many bytes all of it has.
    pub(crate) length: u64,
}

impl From<Excerpt> for Start {
    fn from(Excerpt { start, length }: Excerpt) -> Self {
        Self { start, length }
    }
}

impl From<JournalGlance> for Entry {
    fn from(row: JournalGlance) -> Self {
        Self {
            seq: row.seq,
            kind: row.kind.as_str(),
            call: row.call,
            class: row.class.as_str(),
            at: row.at.0,
            request: row.request.map(Start::from),
            response: row.response.map(Start::from),
        }
    }
}

/// Which rows of a journal.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JournalQuery {
    /// Only rows after this one: the `next` of the page before.
    after: Option<u32>,
    /// How many; 50 if absent, 500 at most.
    limit: Option<u32>,
}

/// A page of a journal, in its order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
    /// What to give as `after` for the next page, if there is one.
    pub(crate) next: Option<u32>,
}

impl Journal {
    pub(crate) async fn read(app: &App, step: StepId, after: Option<u32>, limit: u32) -> Result<Self, Error> {
        let mut rows = app.store().journal_glance(step, after, limit + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.seq);
        Ok(Self {
            entries: rows.into_iter().map(Entry::from).collect(),
            next,
        })
    }
}

/// Shows the journal of a step: what it asked of the master, with the answers.
#[utoipa::path(get, path = "/steps/{id}/journal", tag = "builds", params(("id" = i64, Path), JournalQuery),
    responses((status = 200, body = Journal)))]
pub(super) async fn journal(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<JournalQuery>,
) -> Result<Json<Journal>, Error> {
    let step = find(&app, id).await?;
    Ok(Json(
        Journal::read(&app, step.id, query.after, page(query.limit)).await?,
    ))
}
