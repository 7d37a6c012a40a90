//! The first page: what is red and since when, what runs and how far it is, what ran lately.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use capstan_store::{Build, BuildFilter, BuildGlance, BuildState, Progress};

use super::excerpt::{self, Shown};
use super::glance::{self, Glance, Word};
use super::{Fault, Layout, format, render};
use crate::api::changes::{self, Change};
use crate::api::steps::Step;
use crate::guard::Visitor;
use crate::{App, Error};

/// Builders that are shown with their reason for being red.
const RED: usize = 12;
/// Lines of output with each of them, and changes.
const WORDS: usize = 3;
const SUSPECTS: usize = 2;
/// Builds that are shown running.
const RUNNING: u32 = 24;
/// Builders in the list at the end.
const RECENT: usize = 25;

pub(super) fn router() -> Router<App> {
    Router::new().route("/", get(home))
}

/// A builder that is red, and why.
struct Red {
    glance: Glance,
    /// The newest red build.
    last: BuildGlance,
    /// The step that failed, in its own words.
    reason: String,
    /// The last that it printed.
    words: Vec<Shown>,
    /// What the first red build took that no build before it had.
    suspects: Vec<Change>,
}

/// A build that runs.
struct Running {
    build: Build,
    progress: Option<Progress>,
    usual: Option<i64>,
}

impl Running {
    /// `test, step 3 of 5`.
    fn doing(&self) -> String {
        match &self.progress {
            Some(Progress {
                done,
                total,
                step: Some(step),
                ..
            }) => {
                format!("{step}, step {} of {total}", (done + 1).min(*total))
            }
            Some(Progress { done, total, .. }) => format!("{done} of {total} steps done"),
            None => "starting".to_owned(),
        }
    }

    /// The bar: against the usual time if it is known, else by steps; the value and its maximum.
    fn bar(&self, now: &i64) -> (i64, i64) {
        if let Some(usual) = self.usual {
            let usual = usual.max(1);
            let elapsed = now.saturating_sub(self.build.started.0);
            return (elapsed.clamp(0, usual.saturating_mul(99) / 100), usual);
        }
        let progress = self.progress.as_ref();
        let (done, total) = progress.map_or((0, 1), |progress| (progress.done, progress.total));
        (done.into(), total.max(1).into())
    }
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    layout: Layout,
    farm: Arc<Farm>,
}

/// What the page tells of the farm.
pub(super) struct Farm {
    red: Vec<Red>,
    /// Red builders beyond those shown.
    more_red: usize,
    running: Vec<Running>,
    more_running: bool,
    waiting: u64,
    /// Builders with builds, most urgent first.
    recent: Vec<Glance>,
    /// Builders of the plan and of the past.
    total: usize,
    /// Builders that the plan has.
    configured: Vec<String>,
    /// Whether anything was ever built.
    fresh: bool,
    /// Whether a worker is connected; asked only on a fresh farm.
    connected: bool,
}

impl Farm {
    async fn read(app: &App) -> Result<Self, Error> {
        let mut all = Glance::all(app).await?;
        let total = all.len();
        let waiting = all.iter().map(|glance| glance.waiting).sum();
        let configured = all
            .iter()
            .filter(|glance| glance.configured && glance.virtual_of.is_none());
        let configured = configured.map(|glance| glance.name.clone()).collect();
        let usual: HashMap<_, _> = all
            .iter()
            .filter_map(|glance| Some((glance.name.clone(), glance.usual?)))
            .collect();
        let (running, more_running) = running(app, &usual).await?;
        let fresh = all.iter().all(|glance| glance.recent.is_empty());
        let connected = fresh
            && app
                .control()
                .workers()
                .await?
                .iter()
                .any(|worker| worker.connected);
        // What is no longer configured is history: it is neither red now nor news.
        all.retain(|glance| glance.configured && !glance.recent.is_empty());
        all.sort_by_cached_key(Glance::urgency);
        let (red, more_red) = red(app, &mut all).await?;
        all.truncate(RECENT);
        Ok(Self {
            red,
            more_red,
            running,
            more_running,
            waiting,
            recent: all,
            total,
            configured,
            fresh,
            connected,
        })
    }

    /// The whole farm in one sentence.
    fn verdict(&self) -> String {
        let red = self.red.len() + self.more_red;
        let total = format::count(self.total, "builder");
        let colour = match red {
            0 if self.total == 1 => "The builder is not red".to_owned(),
            0 => format!("None of {total} is red"),
            1 => format!("1 of {total} is red"),
            red => format!("{red} of {total} are red"),
        };
        let plus = if self.more_running { "+" } else { "" };
        let running = match self.running.len() {
            0 => "nothing runs".to_owned(),
            1 => "1 build runs".to_owned(),
            many => format!("{many}{plus} builds run"),
        };
        format!("{colour}; {running}.")
    }
}

async fn home(State(app): State<App>, visitor: Visitor) -> Result<Response, Fault> {
    let layout = Layout::new(&app, "home", &visitor);
    let farm = app.memory().home.get(app.store(), Farm::read(&app)).await?;
    Ok(render(&HomePage { layout, farm }))
}

/// What runs, newest first, and whether there is more of it.
async fn running(app: &App, usual: &HashMap<String, i64>) -> Result<(Vec<Running>, bool), Error> {
    let filter = BuildFilter {
        state: Some(BuildState::Running),
        ..BuildFilter::default()
    };
    let mut builds = app.store().builds(&filter, RUNNING + 1).await?;
    let more = builds.len() > RUNNING as usize;
    builds.truncate(RUNNING as usize);
    let ids: Vec<_> = builds.iter().map(|build| build.id).collect();
    let progress = app.store().progress(&ids).await?;
    let mut progress: HashMap<_, _> = progress.into_iter().map(|found| (found.build, found)).collect();
    let running = builds.into_iter().map(|build| Running {
        progress: progress.remove(&build.id),
        usual: usual.get(&build.builder).copied(),
        build,
    });
    Ok((running.collect(), more))
}

/// The builders that are red, taken out of the list while there is room for them, and how many more are.
async fn red(app: &App, all: &mut Vec<Glance>) -> Result<(Vec<Red>, usize), Error> {
    let count = all.iter().take_while(|glance| glance.red_since.is_some()).count();
    let mut red = Vec::new();
    for glance in all.drain(..count.min(RED)) {
        if let Some(last) = glance.last_red().cloned() {
            let (reason, words) = reason(app, &last).await?;
            let suspects = suspects(app, glance.red_since.as_ref()).await?;
            red.push(Red {
                glance,
                last,
                reason,
                words,
                suspects,
            });
        }
    }
    Ok((red, count.saturating_sub(RED)))
}

/// Why a build is red: its first bad step's own words, and the last that it printed.
async fn reason(app: &App, build: &BuildGlance) -> Result<(String, Vec<Shown>), Error> {
    let steps = Step::of_build(app, build.id).await?;
    let bad = |step: &Step| matches!(step.word(), "failure" | "exception");
    let Some(step) = steps.into_iter().find(bad) else {
        return Ok((build.summary.clone(), Vec::new()));
    };
    let words = excerpt::last_words(app, &step, WORDS).await?;
    let reason = match step.summary.as_str() {
        "" => step.name,
        summary => format!("{}: {summary}", step.name),
    };
    Ok((reason, words))
}

/// The changes that a build is about, the first few.
async fn suspects(app: &App, build: Option<&BuildGlance>) -> Result<Vec<Change>, Error> {
    let Some(build) = build else {
        return Ok(Vec::new());
    };
    let row = app.store().build(build.id).await?;
    let ids = row.map(|row| row.changes).unwrap_or_default();
    let mut found = Vec::new();
    for id in ids.into_iter().take(SUSPECTS) {
        found.push(changes::find(app, id.0).await?.into());
    }
    Ok(found)
}
