//! What a signed-in operator does with a button: each form asks the master and leads back to the page that shows the result.

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::response::Redirect;
use axum::routing::post;
use capstan_model::{BuildId, BuildsetId, OutboxId, RequestId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::session::SignedIn;
use super::{Fault, encode};
use crate::api::check_reason;
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

/// What a button of the operator's sends: on what, and why.
struct Wish<T> {
    on: T,
    reason: Option<String>,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Wish<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &App) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default)]
            reason: String,
        }
        let (mut parts, body) = request.into_parts();
        SignedIn::from_request_parts(&mut parts, app).await?;
        let Path(on) = Path::from_request_parts(&mut parts, app).await?;
        let Form(Fields { reason }) = Form::from_request(Request::from_parts(parts, body), app).await?;
        let reason = check_reason(Some(reason.trim()).filter(|reason| !reason.is_empty()))?;
        Ok(Self {
            on,
            reason: reason.map(str::to_owned),
        })
    }
}

impl<T> Wish<T> {
    fn reason_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.reason.as_deref().unwrap_or(default)
    }
}

type Answer = Result<Redirect, Fault>;

async fn stop(State(app): State<App>, wish: Wish<i64>) -> Answer {
    let reason = wish.reason_or("stopped by the operator");
    app.control().stop(BuildId(wish.on), reason).await?;
    Ok(Redirect::to(&format!("/builds/{}", wish.on)))
}

/// Leads to the new request, whose page leads to its build.
async fn rebuild(State(app): State<App>, wish: Wish<i64>) -> Answer {
    let made = app
        .control()
        .rebuild(BuildId(wish.on), wish.reason.as_deref())
        .await?;
    Ok(to_first(&made.requests))
}

async fn cancel_buildset(State(app): State<App>, wish: Wish<i64>) -> Answer {
    let reason = wish.reason_or("cancelled by the operator");
    app.control().cancel_buildset(BuildsetId(wish.on), reason).await?;
    Ok(Redirect::to("/requests"))
}

async fn rebuild_failed(State(app): State<App>, wish: Wish<i64>) -> Answer {
    let (set, reason) = (BuildsetId(wish.on), wish.reason.as_deref());
    let made = app.control().rebuild_buildset(set, true, reason).await?;
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

async fn cancel(State(app): State<App>, wish: Wish<i64>) -> Answer {
    let reason = wish.reason_or("cancelled by the operator");
    app.control().cancel(RequestId(wish.on), reason).await?;
    Ok(Redirect::to(&format!("/requests/{}", wish.on)))
}

async fn pause(State(app): State<App>, wish: Wish<String>) -> Answer {
    let reason = wish.reason_or("paused by the operator");
    app.control().pause(&wish.on, Some(reason)).await?;
    Ok(to_worker(&wish.on))
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
