//! The pages: made on the server, complete without a script, one file for each. Everything that somebody else wrote
//! (names, summaries, output) goes through askama's escaping; links that a step made are links only when they lead to the
//! web. `live` tells an open page when to look again.

use askama::Template;
use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};

use as_of::AsOf;

use crate::guard::Visitor;
use crate::{App, Error};

mod actions;
pub(crate) mod ansi;
mod as_of;
mod assets;
mod build;
mod builder;
mod builders;
mod change;
mod changes;
mod excerpt;
mod force;
mod format;
mod glance;
mod home;
mod live;
mod log;
mod plugins;
mod requests;
mod schedulers;
mod session;
mod workers;

pub(crate) use format::{encode, span};

/// What pages remember between requests.
#[derive(Default)]
pub(crate) struct Memory {
    home: AsOf<home::Farm>,
    builders: AsOf<Vec<glance::Glance>>,
    workers: AsOf<Vec<workers::Worker>>,
}

pub(crate) fn router() -> Router<App> {
    Router::new()
        .merge(actions::router())
        .merge(assets::router())
        .merge(build::router())
        .merge(builder::router())
        .merge(builders::router())
        .merge(change::router())
        .merge(changes::router())
        .merge(force::router())
        .merge(home::router())
        .merge(live::router())
        .merge(log::router())
        .merge(plugins::router())
        .merge(requests::router())
        .merge(schedulers::router())
        .merge(session::router())
        .merge(workers::router())
}

/// What every page has: the farm's name, where one is, who one is, and from when on the page is out of date.
struct Layout {
    /// The farm's title; empty if it has none.
    title: String,
    /// Which page it is: `home`, `build` …
    page: &'static str,
    /// Whether the visitor may change something.
    operator: bool,
    /// The newest event before the page was made.
    after: i64,
    /// Which events put this page out of date, as the query of `live`: empty means all, `build=5` those of one build.
    about: String,
    /// Whether it is kept up to date at all.
    live: bool,
    /// When it was made, in milliseconds.
    now: i64,
}

impl Layout {
    /// To be made before the page's first read: what happens between the two is then shown twice rather than missed.
    fn new(app: &App, page: &'static str, visitor: &Visitor) -> Self {
        Self {
            title: app.control().about().title,
            page,
            operator: visitor.operator,
            after: *app.store().bell().borrow(),
            about: String::new(),
            live: true,
            now: app.control().now().0,
        }
    }

    /// Of a page that is made without the farm: an error.
    fn bare() -> Self {
        Self {
            title: String::new(),
            page: "fault",
            operator: false,
            after: 0,
            about: String::new(),
            live: false,
            now: 0,
        }
    }

    /// Only events that fit this query of `live` put the page out of date.
    fn about(mut self, query: impl Into<String>) -> Self {
        self.about = query.into();
        self
    }

    /// A page that stays as it is: a form.
    fn still(mut self) -> Self {
        self.live = false;
        self
    }

    /// Marks the entry of the navigation that this page belongs to.
    fn here(&self, pages: &[&str]) -> &'static str {
        if pages.contains(&self.page) {
            "page"
        } else {
            "false"
        }
    }
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
            layout: Layout::bare(),
            status: self.0.status(),
            message: self.0.message(),
            hint: self.0.hint_text(),
        };
        (self.0.status(), render(&page)).into_response()
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage<'a> {
    layout: Layout,
    status: StatusCode,
    message: &'a str,
    hint: Option<&'a str>,
}

/// What an unknown address answers: programs get JSON, people a page.
pub(crate) async fn unknown(uri: Uri) -> Response {
    let error = Error::not_found("page or resource", format_args!("at `{}`", uri.path()));
    if uri.path().starts_with("/api/") {
        error.into_response()
    } else {
        Fault(error).into_response()
    }
}

fn render(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => Error::internal("make a page", &error).into_response(),
    }
}
