//! The pages of workers: how each stands and what it does; one of them with its builds; how to invite another.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_master::WorkerStatus;
use capstan_model::BuildId;
use capstan_store::{Build, BuildFilter, Worker as Row};
use serde::Deserialize;

use super::glance::Word;
use super::{Fault, Layout, format, render};
use crate::extract::{Path, Query};
use crate::guard::Visitor;
use crate::{App, Error};

/// Workers on one page.
const WORKERS: usize = 60;
/// Builds of a worker in the list, and on its page.
const DOTS: u32 = 10;
const BUILDS: u32 = 30;
/// A connected worker is asked every five seconds or more often: one that was not heard for so long may be gone.
const QUIET_MS: i64 = 10_000;
/// Labels that are shown before the rest is hidden.
const LABELS: usize = 12;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/workers", get(list))
        .route("/workers/{name}", get(one))
}

/// A worker as a card shows it.
#[derive(Clone)]
pub(super) struct Worker {
    status: WorkerStatus,
    state: Standing,
    running: Vec<Build>,
    /// Newest first; what runs is among them.
    recent: Vec<Build>,
}

/// How a worker stands, the most hindering first.
#[derive(Clone, Copy)]
enum Standing {
    Revoked(Option<i64>),
    Unconfigured,
    NeverJoined,
    Silent(Option<i64>),
    Paused,
    Connected(Option<i64>),
}

impl Worker {
    fn new(status: WorkerStatus, row: Option<&Row>, running: &HashMap<BuildId, Build>) -> Self {
        let revoked = row.and_then(|row| row.revoked);
        let since = status.since.map(|time| time.0);
        let state = if let Some(at) = revoked {
            Standing::Revoked(Some(at.0))
        } else if !status.configured {
            Standing::Unconfigured
        } else if !status.enrolled {
            Standing::NeverJoined
        } else if !status.connected {
            Standing::Silent(since)
        } else if status.paused.is_some() {
            Standing::Paused
        } else {
            Standing::Connected(since)
        };
        let running = status.builds.iter().filter_map(|id| running.get(id).cloned());
        Self {
            running: running.collect(),
            state,
            status,
            recent: Vec::new(),
        }
    }

    fn link(&self) -> String {
        format!("/workers/{}", format::encode(&self.status.name))
    }

    /// The state in a word, and the class of its badge.
    fn state(&self) -> (&'static str, &'static str) {
        match self.state {
            Standing::Revoked(_) => ("revoked", "failure"),
            Standing::Unconfigured => ("not configured", "skipped"),
            Standing::NeverJoined => ("never joined", "pending"),
            Standing::Silent(_) => ("silent", "failure"),
            Standing::Paused => ("paused", "warnings"),
            Standing::Connected(_) if self.running.is_empty() => ("idle", "success"),
            Standing::Connected(_) => ("busy", "running"),
        }
    }

    /// Since when it is so, if that is known.
    fn since(&self) -> Option<(&'static str, i64)> {
        match self.state {
            Standing::Revoked(at) => at.map(|at| ("revoked", at)),
            Standing::Silent(at) => at.map(|at| ("silent since", at)),
            Standing::Connected(at) => at.map(|at| ("connected since", at)),
            Standing::Paused => self.status.since.map(|at| ("connected since", at.0)),
            Standing::Unconfigured | Standing::NeverJoined => None,
        }
    }

    /// When it was last heard, if it is connected and should have been heard since.
    fn quiet_since(&self, now: impl format::Number) -> Option<i64> {
        let heard = self.status.last_heard.filter(|_| self.status.connected)?.0;
        (now.number() - heard > QUIET_MS).then_some(heard)
    }

    fn is_member(&self) -> bool {
        self.status.enrolled
    }

    /// Whether somebody has to invite it before it can do anything.
    fn wants_invitation(&self) -> bool {
        matches!(self.state, Standing::NeverJoined | Standing::Revoked(_)) && self.status.configured
    }

    /// Labels that are not facts, which are shown by themselves.
    fn labels(&self) -> Vec<&str> {
        let is_fact = |label: &str| {
            label
                .split_once('=')
                .is_some_and(|(name, value)| self.status.facts.get(name).is_some_and(|known| known == value))
        };
        let labels = self.status.labels.iter().map(String::as_str);
        labels.filter(|label| !is_fact(label)).collect()
    }

    /// Oldest first, as people read.
    fn dots(&self) -> impl Iterator<Item = &Build> {
        self.recent.iter().take(DOTS as usize).rev()
    }
}

/// Every worker, as it is now.
async fn all(app: &App) -> Result<Vec<Worker>, Error> {
    let status = app.control().workers().await?;
    let rows = app.store().workers().await?;
    let rows: HashMap<_, _> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let builds = app.store().unfinished_builds().await?;
    let builds: HashMap<_, _> = builds.into_iter().map(|build| (build.id, build)).collect();
    let worker = |status: WorkerStatus| {
        let row = rows.get(status.name.as_str()).copied();
        Worker::new(status, row, &builds)
    };
    Ok(status.into_iter().map(worker).collect())
}

/// Every worker, those of the first page with their builds.
async fn start(app: &App) -> Result<Vec<Worker>, Error> {
    let mut workers = all(app).await?;
    let shown = workers.len().min(WORKERS);
    show_builds(app, &mut workers[..shown]).await?;
    Ok(workers)
}

/// Adds what each of these built last.
async fn show_builds(app: &App, workers: &mut [Worker]) -> Result<(), Error> {
    for worker in workers {
        worker.recent = builds(app, &worker.status.name, None, DOTS).await?;
    }
    Ok(())
}

/// The newest builds of a worker before that one.
async fn builds(app: &App, worker: &str, before: Option<i64>, limit: u32) -> Result<Vec<Build>, Error> {
    let filter = BuildFilter {
        worker: Some(worker.to_owned()),
        before: before.map(BuildId),
        ..BuildFilter::default()
    };
    Ok(app.store().builds(&filter, limit).await?)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkersQuery {
    /// Only workers whose names come after this one.
    after: String,
}

#[derive(Template)]
#[template(path = "workers.html")]
struct WorkersPage {
    layout: Layout,
    workers: Vec<Worker>,
    total: usize,
    connected: usize,
    /// Slots of those that are connected, and how many of them are taken.
    slots: u32,
    taken: usize,
    more: Option<String>,
    is_start: bool,
}

async fn list(
    State(app): State<App>,
    visitor: Visitor,
    query: Result<Query<WorkersQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "workers", &visitor);
    let Query(WorkersQuery { after }) = query?;
    // Nearly everybody sees the first page: it is read once for all of them.
    let mut workers = match after.is_empty() {
        true => app.memory().workers.get(app.store(), start(&app)).await?.to_vec(),
        false => all(&app).await?,
    };
    let total = workers.len();
    let connected = || workers.iter().filter(|worker| worker.status.connected);
    let slots = connected().map(|worker| worker.status.slots).sum();
    let taken = connected().map(|worker| worker.running.len()).sum();
    let connected = connected().count();
    workers.retain(|worker| worker.status.name > after);
    let cut = workers.len() > WORKERS;
    workers.truncate(WORKERS);
    let last = workers.last().filter(|_| cut);
    let more = last.map(|worker| format!("/workers?after={}", format::encode(&worker.status.name)));
    if !after.is_empty() {
        show_builds(&app, &mut workers).await?;
    }
    Ok(render(&WorkersPage {
        layout,
        workers,
        total,
        connected,
        slots,
        taken,
        more,
        is_start: after.is_empty(),
    }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkerQuery {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "worker.html")]
struct WorkerPage {
    layout: Layout,
    worker: Worker,
    older: Option<i64>,
    /// Whether these are its newest builds.
    newest: bool,
}

impl WorkerPage {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn end(&self, build: &Build) -> Option<i64> {
        build.finished.map(|time| time.0)
    }
}

async fn one(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<String>, Error>,
    query: Result<Query<WorkerQuery>, Error>,
) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "worker", &visitor);
    let (Path(name), Query(query)) = (path?, query?);
    let found = all(&app)
        .await?
        .into_iter()
        .find(|worker| worker.status.name == name);
    let mut worker = found.ok_or_else(|| Error::not_found("worker", format_args!("`{name}`")))?;
    let mut recent = builds(&app, &name, query.before, BUILDS + 1).await?;
    let more = recent.len() > BUILDS as usize;
    recent.truncate(BUILDS as usize);
    let older = recent.last().filter(|_| more).map(|build| build.id.0);
    worker.recent = recent;
    let newest = query.before.is_none();
    Ok(render(&WorkerPage {
        layout,
        worker,
        older,
        newest,
    }))
}
