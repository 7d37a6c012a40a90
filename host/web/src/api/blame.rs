//! Who may have broken a build, and the patch that it tried.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use capstan_model::BuildId;
use capstan_store::Suspect;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::builds;
use crate::extract::{Path, Query};
use crate::{App, Error};

/// Who may be responsible for how a build ended: the authors of what came since the builder's last good build of that branch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Blame {
    /// That good build; none if there was none.
    pub(crate) since: Option<Since>,
    /// Those with the newest changes first.
    pub(crate) people: Vec<Person>,
    /// Whether there were more changes than are looked at: the newest 1,000 are.
    truncated: bool,
}

/// A build that went well.
#[derive(Serialize, ToSchema)]
#[schema(as = GoodBuild)]
pub(crate) struct Since {
    pub(crate) id: i64,
    pub(crate) number: u64,
}

/// Somebody who made changes.
#[derive(Serialize, ToSchema)]
#[schema(as = Suspect)]
pub(crate) struct Person {
    pub(crate) author: String,
    /// Their changes, newest first; none for who wrote the build's patch.
    pub(crate) changes: Vec<i64>,
}

impl From<Suspect> for Person {
    fn from(suspect: Suspect) -> Self {
        Self {
            author: suspect.author,
            changes: suspect.changes.into_iter().map(|id| id.0).collect(),
        }
    }
}

impl Blame {
    pub(crate) async fn of(app: &App, id: i64) -> Result<Self, Error> {
        let found = app.store().blame(BuildId(id)).await?;
        let found = found.ok_or_else(|| Error::not_found("build", id))?;
        Ok(Self {
            since: found.since.map(|(id, number)| Since { id: id.0, number }),
            people: found.people.into_iter().map(Person::from).collect(),
            truncated: found.truncated,
        })
    }
}

/// Says who may be responsible for how a build ended.
#[utoipa::path(get, path = "/builds/{id}/blame", tag = "builds", params(("id" = i64, Path)),
    responses((status = 200, body = Blame), (status = 404, body = crate::error::Body)))]
pub(super) async fn blame(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Blame>, Error> {
    Ok(Json(Blame::of(&app, id).await?))
}

/// Which patch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PatchQuery {
    /// Of this codebase; the first if absent.
    codebase: Option<String>,
}

/// Gives the text of the patch that a build applies.
#[utoipa::path(get, path = "/builds/{id}/patch", tag = "builds", params(("id" = i64, Path), PatchQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = crate::error::Body)))]
pub(super) async fn patch(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<PatchQuery>,
) -> Result<Response, Error> {
    let build = builds::find(&app, id).await?;
    let wanted = |codebase: &str| query.codebase.as_deref().is_none_or(|wanted| wanted == codebase);
    let mut sources = build
        .sources
        .into_iter()
        .filter(|source| wanted(&source.codebase));
    let patch = sources.find_map(|source| source.patch);
    let missing = || Error::not_found("patch", format_args!("of build {id}"));
    let text = app.store().blob(patch.ok_or_else(missing)?.digest).await?;
    let text = text.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
