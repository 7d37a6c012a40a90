//! What a signed-in operator does with a button: each form asks the master and leads back to the page that shows the result.

use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::post;
use capstan_model::{BuildId, BuildsetId, OutboxId, RequestId};
use serde::Deserialize;

use super::session::SignedIn;
use super::{Fault, encode};
use crate::extract::{Form, Path};
use crate::{App, Error};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/builds/{id}/stop", post(stop))
        .route("/builds/{id}/rebuild", post(rebuild))
        .route("/buildsets/{id}/cancel", post(cancel_buildset))
        .route("/buildsets/{id}/rebuild", post(rebuild_failed))
        .route("/builds/{id}/reports/{report}/retry", post(retry))
        .route("/requests/{id}/cancel", post(cancel))
        .route("/workers/{name}/pause", post(pause))
        .route("/workers/{name}/unpause", post(unpause))
        .route("/workers/{name}/revoke", post(revoke))
}

/// Why, for people.
#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// The longest reason, in bytes.
const MAX_REASON: usize = 2000;

impl Reason {
    fn or<'a>(&'a self, default: &'a str) -> Result<&'a str, Error> {
        match self.reason.trim() {
            "" => Ok(default),
            reason if reason.len() > MAX_REASON => Err(Error::invalid(format!(
                "expected a reason of at most {MAX_REASON} bytes, found {}",
                reason.len()
            ))),
            reason => Ok(reason),
        }
    }
}

type Answer = Result<Redirect, Fault>;

async fn stop(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<i64>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(id), Form(reason)) = (path?, fields?);
    let reason = reason.or("stopped by the operator")?;
    app.control().stop(BuildId(id), reason).await?;
    Ok(Redirect::to(&format!("/builds/{id}")))
}

/// Leads to the new request, whose page leads to its build.
async fn rebuild(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<i64>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(id), Form(reason)) = (path?, fields?);
    let reason = Some(reason.or("")?).filter(|reason| !reason.is_empty());
    let made = app.control().rebuild(BuildId(id), reason).await?;
    Ok(to_first(&made.requests))
}

async fn cancel_buildset(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<i64>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(id), Form(reason)) = (path?, fields?);
    let reason = reason.or("cancelled by the operator")?;
    app.control().cancel_buildset(BuildsetId(id), reason).await?;
    Ok(Redirect::to("/requests"))
}

async fn rebuild_failed(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<i64>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(id), Form(reason)) = (path?, fields?);
    let reason = Some(reason.or("")?).filter(|reason| !reason.is_empty());
    let made = app
        .control()
        .rebuild_buildset(BuildsetId(id), true, reason)
        .await?;
    Ok(to_first(&made.requests))
}

fn to_first(requests: &[RequestId]) -> Redirect {
    match requests.first() {
        Some(request) => Redirect::to(&format!("/requests/{request}")),
        None => Redirect::to("/requests"),
    }
}

async fn retry(State(app): State<App>, _operator: SignedIn, path: Result<Path<(i64, i64)>, Error>) -> Answer {
    let Path((build, report)) = path?;
    app.control().retry_report(OutboxId(report)).await?;
    Ok(Redirect::to(&format!("/builds/{build}#reports")))
}

async fn cancel(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<i64>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(id), Form(reason)) = (path?, fields?);
    let reason = reason.or("cancelled by the operator")?;
    app.control().cancel(RequestId(id), reason).await?;
    Ok(Redirect::to(&format!("/requests/{id}")))
}

async fn pause(
    State(app): State<App>,
    _operator: SignedIn,
    path: Result<Path<String>, Error>,
    fields: Result<Form<Reason>, Error>,
) -> Answer {
    let (Path(name), Form(reason)) = (path?, fields?);
    let reason = reason.or("paused by the operator")?;
    app.control().pause(&name, Some(reason)).await?;
    Ok(to_worker(&name))
}

async fn unpause(State(app): State<App>, _operator: SignedIn, path: Result<Path<String>, Error>) -> Answer {
    let Path(name) = path?;
    app.control().pause(&name, None).await?;
    Ok(to_worker(&name))
}

async fn revoke(State(app): State<App>, _operator: SignedIn, path: Result<Path<String>, Error>) -> Answer {
    let Path(name) = path?;
    app.control().revoke(&name).await?;
    Ok(to_worker(&name))
}

fn to_worker(name: &str) -> Redirect {
    Redirect::to(&format!("/workers/{}", encode(name)))
}
