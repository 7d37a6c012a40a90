//! What a step is replayed from: its whole journal, and the component that it was pinned to. For `capstan replay`.
//!
//! Both need the control token. No secret is in either, but a journal holds what commands printed where a step read it.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use capstan_model::journal::Entry;
use serde::Serialize;
use utoipa::ToSchema;

use super::steps::find;
use crate::extract::Path;
use crate::guard::Operator;
use crate::{App, Error};

/// A step's journal, whole.
#[derive(Serialize, ToSchema)]
pub(super) struct Rows {
    /// The SHA-256 of the component that the step is pinned to.
    component: String,
    /// The rows in their order, with requests, answers and the digests that a replay compares.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Entry>,
}

/// Shows the whole journal of a step, as far as it goes: what a replay needs.
#[utoipa::path(get, path = "/steps/{id}/rows", tag = "builds", security(("token" = [])), params(("id" = i64, Path)),
    responses((status = 200, body = Rows)))]
pub(super) async fn rows(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
) -> Result<Json<Rows>, Error> {
    let step = find(&app, id).await?;
    Ok(Json(Rows {
        component: step.digest.to_string(),
        rows: app.store().journal(step.id).await?,
    }))
}

/// Answers the component that a step is pinned to.
#[utoipa::path(get, path = "/steps/{id}/component", tag = "builds", security(("token" = [])), params(("id" = i64, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/wasm")))]
pub(super) async fn component(
    State(app): State<App>,
    _operator: Operator,
    Path(id): Path<i64>,
) -> Result<Response, Error> {
    let step = find(&app, id).await?;
    let bytes = app.store().blob(step.digest).await?;
    let bytes = bytes.ok_or_else(|| Error::not_found("component", step.digest))?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}
