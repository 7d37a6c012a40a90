//! The pages: made on the server, complete without a script. Everything that somebody else wrote (names, summaries,
//! output) goes through askama's escaping; links that a step made are links only when they lead to the web.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use capstan_model::StepId;

use crate::api::builds::{Build, ListQuery, Page};
use crate::api::logs::{Log, Range};
use crate::api::steps::Step;
use crate::api::{builds, logs};
use crate::extract::{Path, Query};
use crate::{App, Error};

mod format;

/// Lines on the page of a log; the script adds more while it grows.
const LINES: usize = 2000;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(list))
        .route("/builds/{id}", get(build))
        .route("/logs/{id}", get(log))
        .route(
            "/assets/style.css",
            get(async || asset("text/css", include_str!("../assets/style.css"))),
        )
        .route(
            "/assets/log.js",
            get(async || asset("text/javascript", include_str!("../assets/log.js"))),
        )
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "max-age=300"),
        ],
        text,
    )
}

/// An error as a page.
struct Fault(Error);

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let page = FaultPage {
            title: String::new(),
            status: self.0.status(),
            message: self.0.message().to_owned(),
        };
        (self.0.status(), render(&page)).into_response()
    }
}

impl Build {
    /// How long it took.
    fn took(&self) -> String {
        format::duration(Some(self.started), self.finished)
    }
}

impl Step {
    /// How long it took.
    fn took(&self) -> String {
        format::duration(self.started, self.finished)
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    title: String,
    status: StatusCode,
    message: String,
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    title: String,
    page: Page,
    builder: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    title: String,
    build: Build,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    title: String,
    build: i64,
    /// The build as people write it, and the step.
    owner: String,
    log: Log,
    range: Range,
    /// Where the lines before these start.
    earlier: Option<u64>,
    /// The next line's number; the script goes on there if `live`.
    next: u64,
    /// Whether there are lines from `next` on.
    later: bool,
    live: bool,
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => Error::internal("make a page", &error).into_response(),
    }
}

fn title(app: &App) -> String {
    app.control().about().title
}

async fn list(State(app): State<App>, query: Result<Query<ListQuery>, Error>) -> Result<Response, Fault> {
    let Query(query) = query?;
    let builder = query.builder.clone();
    let page = Page::read(&app, query).await?;
    let next = page.next.map(|before| match &builder {
        Some(name) => format!("/?builder={}&before={before}", format::encode(name)),
        None => format!("/?before={before}"),
    });
    Ok(render(&BuildsPage {
        title: title(&app),
        page,
        builder,
        next,
    }))
}

async fn build(State(app): State<App>, path: Result<Path<i64>, Error>) -> Result<Response, Fault> {
    let row = builds::find(&app, path?.0).await?;
    let build = Build::whole(&app, row).await?;
    Ok(render(&BuildPage {
        title: title(&app),
        build,
    }))
}

/// Which lines the page of a log starts with.
#[derive(serde::Deserialize)]
struct LogQuery {
    from: Option<u64>,
}

async fn log(
    State(app): State<App>,
    path: Result<Path<i64>, Error>,
    query: Result<Query<LogQuery>, Error>,
) -> Result<Response, Fault> {
    let Query(query) = query?;
    let row = logs::find(&app, path?.0).await?;
    let (id, step) = (row.id, row.step);
    let (build, owner) = owner(&app, step).await?;
    let log = Log::of(&app, row).await?;
    // The end is what people come for.
    let last_page = log.lines.saturating_sub(LINES as u64);
    let from = query.from.unwrap_or(last_page);
    let range = Range::from(app.logs().read_lines(id, from, LINES).await?);
    let next = from + range.lines.len() as u64;
    let earlier = (from > 0).then(|| from.saturating_sub(LINES as u64));
    let later = next < range.total;
    let live = !range.complete && !later;
    Ok(render(&LogPage {
        title: title(&app),
        build,
        owner,
        log,
        range,
        earlier,
        next,
        later,
        live,
    }))
}

/// The build that a step belongs to, and how people write both.
async fn owner(app: &App, step: StepId) -> Result<(i64, String), Error> {
    let step = app
        .store()
        .step(step)
        .await?
        .ok_or_else(|| Error::not_found("step", step))?;
    let build = builds::find(app, step.build.0).await?;
    Ok((
        build.id.0,
        format!("{}/{} {}", build.builder, build.number, step.name),
    ))
}
