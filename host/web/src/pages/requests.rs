//! The pages of requests: the queue with the reason of each, what became of the others, and one of them.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_master::{Hindrance, Queued, Why};
use capstan_model::{Outcome, RequestId};
use capstan_store::{Build, Buildset, RequestFilter};
use serde::Deserialize;

use super::glance::{Word, builder_link};
use super::{Fault, Layout, format, render};
use crate::api::requests::{self, Request};
use crate::extract::{Path, Query};
use crate::guard::Visitor;
use crate::{App, Error};

/// Requests that the queue shows.
const QUEUE: usize = 200;
/// Requests of the past on one page.
const RECENT: u32 = 40;
/// Builds of one request that are shown: more than one after a retry.
const BUILDS: usize = 20;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/requests", get(list))
        .route("/requests/{id}", get(one))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestsQuery {
    builder: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "requests.html")]
struct RequestsPage {
    layout: Layout,
    /// Only of this builder; empty for all.
    builder: String,
    waiting: Vec<Waiting>,
    /// How many wait, shown or not.
    total: usize,
    /// Those that wait no more, newest first.
    recent: Vec<Request>,
    older: Option<String>,
    /// Whether these are the newest of the past.
    newest: bool,
}

/// A request that waits.
struct Waiting {
    /// From 1: its place in the whole queue.
    place: usize,
    request: Request,
    why: Why,
}

async fn list(
    State(app): State<App>,
    visitor: Visitor,
    query: Result<Query<RequestsQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "requests", &visitor);
    let Query(query) = query?;
    let builder = Some(query.builder.clone()).filter(|name| !name.is_empty());
    let queue = app.control().queue(builder.as_deref(), QUEUE).await?;
    let total = queue.total;
    let waiting = waiting(&app, queue.first).await?;
    let filter = RequestFilter {
        builder,
        before: query.before.map(RequestId),
        ..RequestFilter::default()
    };
    let mut rows = app.store().requests(&filter, RECENT + 1).await?;
    let more = rows.len() > RECENT as usize;
    rows.truncate(RECENT as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    let older = next.map(|before| match query.builder.as_str() {
        "" => format!("/requests?before={before}"),
        name => format!("/requests?builder={}&before={before}", format::encode(name)),
    });
    let past = rows
        .into_iter()
        .map(Request::from)
        .filter(|request| !request.is_pending());
    Ok(render(&RequestsPage {
        layout,
        builder: query.builder,
        waiting,
        total,
        recent: past.collect(),
        older,
        newest: query.before.is_none(),
    }))
}

/// The first of the queue, with what the queue itself does not know of them.
async fn waiting(app: &App, queue: Vec<Queued>) -> Result<Vec<Waiting>, Error> {
    let ids: Vec<_> = queue.iter().map(|queued| queued.entry.id).collect();
    let rows = app.store().requests_of(&ids).await?.into_iter();
    let mut rows: HashMap<_, _> = rows.map(|row| (row.id, row)).collect();
    let found = queue.into_iter().filter_map(|queued| {
        let Queued { entry, place, why } = queued;
        // One that got a build a moment ago shows up below.
        let request = rows
            .remove(&entry.id)
            .map(Request::from)
            .filter(Request::is_pending)?;
        Some(Waiting { place, request, why })
    });
    Ok(found.collect())
}

impl Request {
    /// Its builder's page.
    fn builder_link(&self) -> String {
        builder_link(&self.builder)
    }
}

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    layout: Layout,
    request: Request,
    buildset: Option<Buildset>,
    /// The others of its buildset.
    others: Vec<Request>,
    /// Why it waits, and how many are before it in the whole queue.
    waiting: Option<(Why, usize)>,
    /// Oldest first.
    builds: Vec<Build>,
}

impl RequestPage {
    /// The build that serves it, or served it last.
    fn build(&self) -> Option<&Build> {
        self.builds.last()
    }

    /// The request and those that were made together with it.
    fn set(&self) -> impl Iterator<Item = &Request> {
        std::iter::once(&self.request).chain(&self.others)
    }

    fn may_cancel_all(&self) -> bool {
        self.set().any(|request| request.outcome.is_none())
    }

    fn any_failed(&self) -> bool {
        let bad = |word: &str| word.parse().is_ok_and(|outcome: Outcome| !outcome.is_good());
        self.set()
            .any(|request| request.outcome.as_deref().is_some_and(bad))
    }

    fn scheduler(&self) -> Option<&str> {
        self.buildset.as_ref()?.scheduler.as_deref()
    }
}

async fn one(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<i64>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "request", &visitor);
    let row = requests::find(&app, path?.0).await?;
    let (id, set) = (row.id, row.buildset);
    let queued = app.control().why(&[id]).await?.pop();
    let waiting = queued.map(|queued| (queued.why, queued.place.saturating_sub(1)));
    let mut builds = Vec::new();
    for build in row.builds.iter().rev().take(BUILDS).rev() {
        builds.extend(app.store().build(*build).await?);
    }
    let filter = RequestFilter {
        buildset: Some(set),
        ..RequestFilter::default()
    };
    let others = app.store().requests(&filter, 100).await?.into_iter();
    Ok(render(&RequestPage {
        layout,
        buildset: app.store().buildset(set).await?,
        others: others.filter(|other| other.id != id).map(Request::from).collect(),
        request: row.into(),
        waiting,
        builds,
    }))
}

impl Word for Build {
    fn word(&self) -> &'static str {
        self.outcome.map_or(self.state.as_str(), Outcome::as_str)
    }
}
