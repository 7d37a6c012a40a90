//! The page of one build: what it did, why it ended so, and what became of it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use capstan_model::{BuildId, StepId};

use super::excerpt::{self, Excerpt};
use super::glance::{Glance, builder_link};
use super::{Fault, Layout, format, render};
use crate::api::artefacts::Artefact;
use crate::api::blame::Blame;
use crate::api::builds::{self, Build};
use crate::api::changes::{self, Change};
use crate::api::interruptions::Interruption;
use crate::api::reports::Report;
use crate::api::retention;
use crate::api::steps::{Entry, Journal, Step};
use crate::extract::Path;
use crate::guard::Visitor;
use crate::{App, Error};

mod verdict;

use verdict::Verdict;

/// Changes that are shown at the top, and in the table below when there are more.
const BRIEF: usize = 3;
const CHANGES: usize = 50;
/// People that are named as those who may have broken it.
const BLAMED: usize = 8;
/// Steps whose journals are shown, and rows of each; the rest is JSON.
const JOURNALS: usize = 30;
const ROWS: u32 = 40;
/// Artefacts that are shown; the rest is JSON.
const ARTEFACTS: usize = 200;
/// Interruptions that are shown, the newest ones.
const INTERRUPTIONS: usize = 5;
/// The waterfall's width in its own units.
const WIDTH: i64 = 1000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/builds/{id}", get(build))
        .route("/builders/{name}/builds/{number}", get(by_number))
}

/// A step with what belongs to it on this page.
struct StepRow {
    step: Step,
    bar: Option<Bar>,
    excerpt: Option<Excerpt>,
}

/// When a step ran within its build.
struct Bar {
    from: i64,
    width: i64,
}

impl Bar {
    fn new(build: &Build, step: &Step, now: i64) -> Option<Self> {
        let whole = build.finished.unwrap_or(now).saturating_sub(build.started).max(1);
        let place = |at: i64| at.saturating_sub(build.started).saturating_mul(WIDTH) / whole;
        let from = place(step.started?).clamp(0, WIDTH - 6);
        let to = place(step.finished.unwrap_or(now)).clamp(from + 6, WIDTH);
        Some(Self {
            from,
            width: to - from,
        })
    }
}

/// What a step asked of the master.
struct StepJournal {
    step: i64,
    name: String,
    began: i64,
    entries: Vec<Entry>,
    /// Whether there are more.
    more: bool,
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    layout: Layout,
    build: Build,
    steps: Vec<StepRow>,
    /// Those that the configuration hides.
    hidden: Vec<Step>,
    verdict: Verdict,
    changes: Vec<Change>,
    /// Who may have broken it, if it did not go well.
    blame: Option<Blame>,
    artefacts: Vec<Artefact>,
    reports: Vec<Report>,
    journals: Vec<StepJournal>,
    /// What interrupted it, the newest ones.
    interruptions: Vec<Interruption>,
    /// Why it was asked to stop, while it runs.
    stopping: Option<String>,
    /// Why it stays whatever the rules of retention say, if somebody keeps it.
    kept: Option<String>,
    previous: Option<i64>,
    next: Option<i64>,
    /// How long builds of this builder take, in milliseconds.
    usual: Option<i64>,
}

impl BuildPage {
    /// The builder's page.
    fn builder(&self) -> String {
        builder_link(&self.build.builder)
    }

    /// What it was made from, if it is shown under another builder.
    fn made_by(&self) -> Option<(&str, String)> {
        let name = self.build.made_by.as_str();
        (name != self.build.builder).then(|| (name, builder_link(name)))
    }

    /// The form for another build of the same.
    fn again(&self) -> String {
        let source = self.build.sources.first();
        let given = |name: &str, value: Option<&String>| {
            value.map(|value| format!("{name}={}", format::encode(value)))
        };
        let query: Vec<_> = [
            given("branch", source.and_then(|source| source.branch.as_ref())),
            given(
                "repository",
                source
                    .map(|source| &source.repository)
                    .filter(|name| !name.is_empty()),
            ),
            given(
                "codebase",
                source
                    .map(|source| &source.codebase)
                    .filter(|name| !name.is_empty()),
            ),
            given("revision", source.and_then(|source| source.revision.as_ref())),
        ]
        .into_iter()
        .flatten()
        .collect();
        format!("{}/force?{}", builder_link(&self.build.made_by), query.join("&"))
    }

    /// Who made the changes.
    fn authors(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for change in &self.changes {
            let name = format::person(&change.author);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let others = names.len().saturating_sub(BRIEF);
        names.truncate(BRIEF);
        let mut text = names.join(", ");
        if others > 0 {
            text.push_str(&format!(" and {}", format::count(others, "other")));
        }
        text
    }

    fn progress(&self) -> String {
        let done = self
            .steps
            .iter()
            .filter(|row| row.step.state == "complete")
            .count();
        if self.build.is_running() {
            format!("{done} of {} done", self.steps.len())
        } else {
            self.steps.len().to_string()
        }
    }

    /// How far it is on the scale of `usual`; not at the end before it is.
    fn done(&self, usual: &i64) -> i64 {
        let elapsed = self.layout.now.saturating_sub(self.build.started);
        elapsed.min(usual.saturating_mul(99) / 100)
    }

    /// The name of the step that stored it.
    fn stored_by(&self, artefact: &Artefact) -> &str {
        let mut steps = self.steps.iter().map(|row| &row.step).chain(&self.hidden);
        let found = steps.find(|step| step.id == artefact.step);
        found.map_or("", |step| &step.name)
    }

    /// How many changes are not shown.
    fn unshown_changes(&self) -> usize {
        self.build.changes.len().saturating_sub(self.changes.len())
    }
}

async fn build(
    State(app): State<App>,
    visitor: Visitor,
    path: Result<Path<i64>, Error>,
) -> Result<Response, Fault> {
    let id = path?.0;
    let layout = Layout::new(&app, "build", &visitor).about(format!("build={id}"));
    let row = builds::find(&app, id).await?;
    let stopping = row.stop_requested.clone().filter(|_| row.finished.is_none());
    let mut build = Build::whole(&app, row).await?;
    let steps = build.steps.take().unwrap_or_default();
    let mut interruptions = build.interruptions.take().unwrap_or_default();
    interruptions.drain(..interruptions.len().saturating_sub(INTERRUPTIONS));
    let verdict = Verdict::of(&build, &steps);
    let journals = journals(&app, &steps).await?;
    let (hidden, steps) = steps.into_iter().partition(|step| step.hidden);
    let steps = rows(&app, &build, steps, layout.now).await?;
    let history = Glance::one(&app, &build.builder, 1).await?;
    let page = BuildPage {
        verdict,
        changes: changes(&app, &build.changes).await?,
        blame: blame(&app, &build).await?,
        artefacts: Artefact::of_build(&app, BuildId(id)).await?,
        reports: Report::of_build(&app, BuildId(id)).await?,
        journals,
        interruptions,
        stopping,
        kept: app.store().why_kept(BuildId(id)).await?,
        previous: neighbour(&app, &build.builder, build.number.checked_sub(1)).await?,
        next: neighbour(&app, &build.builder, build.number.checked_add(1)).await?,
        usual: history.and_then(|history| history.usual),
        layout,
        build,
        steps,
        hidden,
    };
    Ok(render(&page))
}

async fn neighbour(app: &App, builder: &str, number: Option<u64>) -> Result<Option<i64>, Error> {
    let Some(number) = number.filter(|number| i64::try_from(*number).is_ok()) else {
        return Ok(None);
    };
    let found = app.store().build_by_number(builder, number).await?;
    Ok(found.map(|build| build.id.0))
}

async fn changes(app: &App, ids: &[i64]) -> Result<Vec<Change>, Error> {
    let mut found = Vec::new();
    for &id in ids.iter().take(CHANGES) {
        found.push(changes::find(app, id).await?.into());
    }
    Ok(found)
}

async fn blame(app: &App, build: &Build) -> Result<Option<Blame>, Error> {
    if !matches!(build.word(), "failure" | "exception" | "warnings") {
        return Ok(None);
    }
    let blame = Blame::of(app, build.id).await?;
    Ok(Some(blame).filter(|blame| !blame.people.is_empty()))
}

async fn rows(app: &App, build: &Build, steps: Vec<Step>, now: i64) -> Result<Vec<StepRow>, Error> {
    let mut excerpts = excerpt::of_steps(app, &steps).await?;
    let row = |step: Step| StepRow {
        bar: Bar::new(build, &step, now),
        excerpt: excerpts.remove(&step.id),
        step,
    };
    Ok(steps.into_iter().map(row).collect())
}

async fn journals(app: &App, steps: &[Step]) -> Result<Vec<StepJournal>, Error> {
    let mut found = Vec::new();
    let begun = steps.iter().filter_map(|step| Some((step, step.started?)));
    for (step, began) in begun.take(JOURNALS) {
        let Journal { entries, next } = Journal::read(app, StepId(step.id), None, ROWS).await?;
        // A step that was left out has none.
        if !entries.is_empty() {
            found.push(StepJournal {
                step: step.id,
                name: step.name.clone(),
                began,
                entries,
                more: next.is_some(),
            });
        }
    }
    Ok(found)
}

/// Leads from the number that people say to the build.
async fn by_number(
    State(app): State<App>,
    path: Result<Path<(String, u64)>, Error>,
) -> Result<Response, Fault> {
    let Path((name, number)) = path?;
    let found = neighbour(&app, &name, Some(number)).await?;
    let Some(id) = found else {
        return Err(retention::no_build_of(&app, &name, number).await?.into());
    };
    Ok(Redirect::temporary(&format!("/builds/{id}")).into_response())
}
