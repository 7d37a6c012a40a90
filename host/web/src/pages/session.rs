//! Signing in with the control token, signing out, and what the forms of other pages demand of their sender.

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{REFERER, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::{Fault, Layout, render};
use crate::extract::{Form, Query};
use crate::guard::{self, Visitor};
use crate::session::Verdict;
use crate::{App, Error};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/sign-in", get(form).post(sign_in))
        .route("/sign-out", post(sign_out))
}

/// An argument of every handler that changes something for a page: present only when the form comes from a page of this
/// server and its sender has signed in.
pub(super) struct SignedIn;

impl FromRequestParts<App> for SignedIn {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        Ok(guard::signed_in(app, &parts.headers).map(|()| Self)?)
    }
}

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    layout: Layout,
    /// Where to go afterwards.
    next: String,
    error: Option<String>,
}

#[derive(Deserialize)]
struct NextQuery {
    next: Option<String>,
}

async fn form(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    query: Result<Query<NextQuery>, Error>,
) -> Result<Response, Fault> {
    let next = query?.0.next.or_else(|| came_from(&headers)).unwrap_or_default();
    let next = guard::local(&next).unwrap_or("/").to_owned();
    if visitor.operator {
        return Ok(Redirect::to(&next).into_response());
    }
    let layout = Layout::new(&app, "sign-in", &visitor).still();
    let error = None;
    Ok(render(&SignInPage { layout, next, error }))
}

/// The page with the link that was followed. Browsers name it only to the server that made it.
fn came_from(headers: &HeaderMap) -> Option<String> {
    let page: Uri = headers.get(REFERER)?.to_str().ok()?.parse().ok()?;
    let page = page.path_and_query()?.as_str();
    (!page.starts_with("/sign-")).then(|| page.to_owned())
}

#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    fields: Result<Form<SignIn>, Error>,
) -> Result<Response, Fault> {
    guard::same_origin(&app, &headers)?;
    let Form(SignIn { token, next }) = fields?;
    let next = guard::local(&next).unwrap_or("/").to_owned();
    let now = app.control().now();
    let (status, error) = match app.0.tries.judge(now, app.is_token(token.trim().as_bytes())) {
        Verdict::Right => {
            let cookie = app.0.sessions.begin(now, is_secure(&app));
            let cookie = cookie.ok_or_else(|| Error::internal("make a session", &"no random numbers"))?;
            return Ok(leave(&next, &cookie)?);
        }
        Verdict::Wrong => (StatusCode::FORBIDDEN, wrong(&token)),
        Verdict::Later(ms) => {
            let wait = format!(
                "there were too many wrong tokens; try again in {} s",
                (ms + 999) / 1000
            );
            (StatusCode::TOO_MANY_REQUESTS, wait)
        }
    };
    let layout = Layout::new(&app, "sign-in", &visitor).still();
    let error = Some(error);
    Ok((status, render(&SignInPage { layout, next, error })).into_response())
}

fn wrong(token: &str) -> String {
    let found = if token.trim().is_empty() {
        "nothing"
    } else {
        "another"
    };
    format!("expected the control token, found {found}")
}

async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Fault> {
    guard::same_origin(&app, &headers)?;
    Ok(leave("/", &app.0.sessions.end(is_secure(&app)))?)
}

/// Whether browsers are to show the cookie on secure connections only.
fn is_secure(app: &App) -> bool {
    app.control().about().url.starts_with("https://")
}

fn leave(to: &str, cookie: &str) -> Result<Response, Error> {
    let cookie = HeaderValue::from_str(cookie).map_err(|e| Error::internal("set a cookie", &e))?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to(to)).into_response())
}
