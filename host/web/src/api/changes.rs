//! Changes: what change sources found, and what people sent.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use capstan_master::SentChange;
use capstan_model::{Change as Row, ChangeId, NewChange, Timestamp};
use capstan_store::ChangeFilter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::builds::NamedValue;
use super::page;
use crate::extract::{Json as Body, Path, Query};
use crate::guard::Operator;
use crate::{App, Error};

/// A change.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    pub(crate) id: i64,
    /// The change source that reported it.
    pub(crate) source: String,
    /// When the master accepted it.
    pub(crate) received: i64,
    /// When it was made, by its author's clock.
    pub(crate) when: i64,
    pub(crate) codebase: String,
    pub(crate) repository: String,
    pub(crate) project: String,
    pub(crate) branch: Option<String>,
    pub(crate) revision: String,
    pub(crate) author: String,
    pub(crate) comments: String,
    pub(crate) files: Vec<String>,
    pub(crate) category: Option<String>,
    pub(crate) properties: Vec<NamedValue>,
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

/// A change to be taken in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewChange)]
pub(super) struct Sent {
    /// The same key again is the same change; none is a new one each time.
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    codebase: String,
    /// Where the repository is, as workers reach it.
    #[serde(default)]
    repository: String,
    #[serde(default)]
    project: String,
    /// None is the repository's default branch.
    #[serde(default)]
    branch: Option<String>,
    revision: String,
    author: String,
    #[serde(default)]
    comments: String,
    /// The files that it touches; none is any of them.
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    category: Option<String>,
    /// When it was made, in milliseconds since 1970; none is now.
    #[serde(default)]
    when: Option<i64>,
    /// Further facts, by name.
    #[serde(default)]
    properties: BTreeMap<String, Value>,
}

/// A change that was taken in.
#[derive(Serialize, ToSchema)]
#[schema(as = TakenChange)]
pub(super) struct Taken {
    change: Change,
    /// Whether it is new: a key that was sent before leads to the change of then.
    new: bool,
}

/// Takes in a change that no change source finds, and tells the schedulers of it. What is refused has the status 422, and names
/// each field.
#[utoipa::path(post, path = "/changes", tag = "changes", security(("token" = [])), request_body = Sent,
    responses((status = 201, body = Taken), (status = 200, body = Taken, description = "the key was sent before"),
        (status = 422, body = crate::error::Body)))]
pub(super) async fn send(
    State(app): State<App>,
    _operator: Operator,
    Body(sent): Body<Sent>,
) -> Result<(StatusCode, Json<Taken>), Error> {
    let change = SentChange {
        key: sent.key,
        codebase: sent.codebase,
        repository: sent.repository,
        project: sent.project,
        branch: sent.branch,
        revision: sent.revision,
        author: sent.author,
        comments: sent.comments,
        files: sent.files,
        category: sent.category,
        when: sent.when.map(Timestamp),
        properties: sent.properties,
    };
    let (change, new) = app.control().send_change(change).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let change = Change::from(change);
    Ok((status, Json(Taken { change, new })))
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only of this branch.
    pub(crate) branch: Option<String>,
    /// Only of this repository.
    pub(crate) repository: Option<String>,
    /// Only by this author.
    pub(crate) author: Option<String>,
    /// Only of this codebase.
    pub(crate) codebase: Option<String>,
    /// Only changes with smaller ids: the `next` of the page before.
    pub(crate) before: Option<i64>,
    /// How many; 50 if absent, 500 at most.
    pub(crate) limit: Option<u32>,
}

/// A page of changes, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Changes)]
pub(crate) struct Page {
    pub(crate) changes: Vec<Change>,
    /// What to give as `before` for the next page, if there is one.
    pub(crate) next: Option<i64>,
}

impl Page {
    pub(crate) async fn read(app: &App, query: ListQuery) -> Result<Self, Error> {
        let limit = page(query.limit);
        let filter = ChangeFilter {
            branch: query.branch,
            repository: query.repository,
            author: query.author,
            codebase: query.codebase,
            before: query.before.map(ChangeId),
        };
        let mut rows = app.store().changes(&filter, limit + 1).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.id.0);
        Ok(Self {
            changes: rows.into_iter().map(Change::from).collect(),
            next,
        })
    }
}

/// Lists changes, newest first.
#[utoipa::path(get, path = "/changes", tag = "changes", params(ListQuery), responses((status = 200, body = Page)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page>, Error> {
    Ok(Json(Page::read(&app, query).await?))
}

pub(crate) async fn find(app: &App, id: i64) -> Result<Row, Error> {
    app.store()
        .change(ChangeId(id))
        .await?
        .ok_or_else(|| Error::not_found("change", id))
}

/// Shows one change.
#[utoipa::path(get, path = "/changes/{id}", tag = "changes", params(("id" = i64, Path)),
    responses((status = 200, body = Change)))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<impl Serialize>, Error> {
    Ok(Json(Change::from(find(&app, id).await?)))
}
