//! Changes: what change sources found.

use axum::Json;
use axum::extract::State;
use capstan_model::{Change as Row, ChangeId, NewChange};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::builds::NamedValue;
use super::page;
use crate::extract::{Path, Query};
use crate::{App, Error};

/// A change.
#[derive(Serialize, ToSchema)]
struct Change {
    id: i64,
    /// The change source that reported it.
    source: String,
    /// When the master accepted it.
    received: i64,
    /// When it was made, by its author's clock.
    when: i64,
    codebase: String,
    repository: String,
    project: String,
    branch: Option<String>,
    revision: String,
    author: String,
    comments: String,
    files: Vec<String>,
    category: Option<String>,
    properties: Vec<NamedValue>,
}

impl From<Row> for Change {
    fn from(row: Row) -> Self {
        let NewChange {
            dedup_key: _,
            codebase,
            repository,
            project,
            branch,
            revision,
            author,
            comments,
            files,
            category,
            when,
            properties,
        } = row.facts;
        Self {
            id: row.id.0,
            source: row.source,
            received: row.received.0,
            when: when.0,
            codebase,
            repository,
            project,
            branch,
            revision,
            author,
            comments,
            files,
            category,
            properties: properties.into_iter().map(NamedValue::from).collect(),
        }
    }
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only changes with smaller ids: the `next` of the page before.
    before: Option<i64>,
    /// How many; 50 if absent, 500 at most.
    limit: Option<u32>,
}

/// A page of changes, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Changes)]
pub(super) struct Page {
    changes: Vec<Change>,
    /// What to give as `before` for the next page, if there is one.
    next: Option<i64>,
}

/// Lists changes, newest first.
#[utoipa::path(get, path = "/changes", tag = "changes", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    let limit = page(query.limit);
    let mut rows = app.store().changes(query.before.map(ChangeId), limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(Json(Page {
        changes: rows.into_iter().map(Change::from).collect(),
        next,
    }))
}

/// Shows one change.
#[utoipa::path(get, path = "/changes/{id}", tag = "changes", params(("id" = i64, Path)),
    responses((status = 200, body = Change)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<impl Serialize>, Error> {
    let row = app.store().change(ChangeId(id)).await?;
    Ok(Json(Change::from(
        row.ok_or_else(|| Error::not_found("change", id))?,
    )))
}
