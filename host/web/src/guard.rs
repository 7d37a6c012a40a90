//! Who may ask for what: before every handler.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use capstan_model::Digest;

use crate::{App, Error};

/// An argument of every handler that changes something: present only when the request shows the token.
///
/// Only `Bearer` counts here. A browser sends `Basic` credentials by itself, also for a form on a foreign page.
pub(crate) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        match bearer(&parts.headers) {
            None => Err(missing("Bearer realm=\"capstan\"")),
            Some(token) if app.is_token(token.as_bytes()) => Ok(Self),
            Some(_) => Err(wrong()),
        }
    }
}

/// Reading is open on a loopback address. Elsewhere it needs the token, as `Bearer` or as the password of `Basic`.
pub(crate) async fn reading(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.0.listen.ip().is_loopback() || request.uri().path() == "/api/v1/health" {
        return next.run(request).await;
    }
    let shown = bearer(request.headers()).map(|token| token.as_bytes().to_vec());
    match shown.or_else(|| basic_password(request.headers())) {
        None => missing("Basic realm=\"capstan\"").into_response(),
        Some(token) if app.is_token(&token) => next.run(request).await,
        Some(_) => wrong().challenge("Basic realm=\"capstan\"").into_response(),
    }
}

impl App {
    fn is_token(&self, shown: &[u8]) -> bool {
        Digest::of(shown) == self.0.token
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, credentials) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

fn missing(challenge: &'static str) -> Error {
    Error::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "expected the control token, found none",
    )
    .hint("send `Authorization: Bearer TOKEN`; the token is in the file `token` of the farm's data folder")
    .challenge(challenge)
}

fn wrong() -> Error {
    Error::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "expected the control token, found another",
    )
    .hint("the token is in the file `token` of the farm's data folder")
}

/// On a loopback address only requests that name this machine are answered: a foreign page whose name was pointed at
/// 127.0.0.1 (DNS rebinding) would otherwise read everything through its visitor's browser.
pub(crate) async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    let public = app.control().about().url;
    let public = public
        .parse::<axum::http::Uri>()
        .ok()
        .and_then(|url| url.host().map(str::to_owned));
    let asked = asked_host(&request);
    let local = asked.as_deref().is_some_and(is_this_machine);
    if !app.0.listen.ip().is_loopback() || local || (asked.is_some() && asked == public) {
        return next.run(request).await;
    }
    let found = asked.as_deref().unwrap_or("none");
    let message = format!("expected a request for this machine's own name, found host {found:?}");
    Error::new(StatusCode::MISDIRECTED_REQUEST, "host", message)
        .hint("use the address that `capstan run` prints, or set `url` under [master] in capstan.toml")
        .into_response()
}

fn asked_host(request: &Request) -> Option<String> {
    let in_header = || {
        request
            .headers()
            .get(header::HOST)?
            .to_str()
            .ok()?
            .parse::<Authority>()
            .ok()
    };
    let authority = request.uri().authority().cloned().or_else(in_header)?;
    Some(authority.host().to_ascii_lowercase())
}

fn is_this_machine(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What every answer says to browsers: run and load only what this server serves, guess no types, tell no one.
pub(crate) async fn headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
