//! Who may ask for what: before every handler.
//!
//! Programs show the control token with each request ([`Operator`]). People show it once and get a session (`session`):
//! it opens pages, and lets forms of this server's own pages change something ([`signed_in`]).

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use capstan_model::Digest;

use crate::pages::encode;
use crate::{App, Error};

/// An argument of every handler that changes something: present only when the request shows the token.
///
/// Only `Bearer` counts here. A browser sends cookies and `Basic` credentials by itself, also for a foreign page.
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

/// Who looks at a page.
pub(crate) struct Visitor {
    /// Whether they have signed in.
    pub(crate) operator: bool,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let operator = app.has_session(&parts.headers);
        Ok(Self { operator })
    }
}

/// Whether a form may change something: it comes from a page of this server, and whoever sent it has signed in.
pub(crate) fn signed_in(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    same_origin(app, headers)?;
    if app.has_session(headers) {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "nothing was changed: expected a session, found none",
    )
    .hint("sign in with the control token and do it again"))
}

/// Whether a form comes from a page of this server. Browsers say so in `Sec-Fetch-Site`, and on an insecure address at least
/// in `Origin`; what says nothing is refused.
pub(crate) fn same_origin(app: &App, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let own = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            // A proxy in front may ask under another name than the visitor did.
            let public = app.control().about().url;
            let at_host = origin.split_once("://").map(|(_, host)| host);
            origin.eq_ignore_ascii_case(origin_of(&public)) || at_host.is_some() && at_host == text("host")
        }
        (None, None) => false,
    };
    if own {
        return Ok(());
    }
    let message = "nothing was changed: expected a form of this server's own pages, found one from elsewhere";
    Err(Error::new(StatusCode::FORBIDDEN, "foreign", message)
        .hint("programs use the interface under /api/v1 with the control token"))
}

/// `https://ci.example.org` of `https://ci.example.org/farm`.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

/// A path of this server, with or without a query, to which a browser may be sent. Browsers take `//host` and `/\host` for
/// another server's address, and leave control characters out.
pub(crate) fn local(path: &str) -> Option<&str> {
    let plain = path.len() <= 2000 && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let rooted = path.starts_with('/') && !path.starts_with("//");
    Some(path).filter(|path| plain && rooted && path.parse::<Uri>().is_ok())
}

/// Reading is open on a loopback address. Elsewhere it needs a session, or the token as `Bearer` or as the password of
/// `Basic`. Browsers without any are shown the way in.
pub(crate) async fn reading(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = matches!(path, "/api/v1/health" | "/sign-in" | "/sign-out") || path.starts_with("/assets/");
    if open || app.0.listen.ip().is_loopback() {
        return next.run(request).await;
    }
    let shown = bearer(request.headers()).map(|token| token.as_bytes().to_vec());
    match shown.or_else(|| basic_password(request.headers())) {
        None if app.has_session(request.headers()) => next.run(request).await,
        None if wants_page(&request) => Redirect::to(&sign_in(&request)).into_response(),
        None => missing("Basic realm=\"capstan\"").into_response(),
        Some(token) if app.is_token(&token) => next.run(request).await,
        Some(_) => wrong().challenge("Basic realm=\"capstan\"").into_response(),
    }
}

fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let html = accept.is_some_and(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains("text/html")));
    html && !request.uri().path().starts_with("/api/")
}

/// Where to sign in, and to come back from to what was asked for.
fn sign_in(request: &Request) -> String {
    match request
        .uri()
        .path_and_query()
        .and_then(|asked| local(asked.as_str()))
    {
        Some(asked) if request.method() == Method::GET => format!("/sign-in?next={}", encode(asked)),
        _ => "/sign-in".to_owned(),
    }
}

impl App {
    pub(crate) fn is_token(&self, shown: &[u8]) -> bool {
        Digest::of(shown) == self.0.token
    }

    pub(crate) fn has_session(&self, headers: &HeaderMap) -> bool {
        self.0.sessions.has(headers, self.control().now())
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
        .parse::<Uri>()
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
        // Under `no-referrer` browsers would not say either where a form of our own comes from.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
