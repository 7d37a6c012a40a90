//! A builder and its newest builds, as several pages show them: a row of dots, the last result, since when it is red.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use capstan_model::{VirtualBuilder, plan};
use capstan_store::{BuildGlance, BuilderHistory};

use super::format;
use crate::{App, Error};

/// Builds that a row of dots shows.
pub(super) const DOTS: u32 = 12;

/// A builder of the plan, of the past, or of both.
#[derive(Clone)]
pub(super) struct Glance {
    pub(super) name: String,
    /// Whether the plan in force has it, or what the builds of a virtual one are made from.
    pub(super) configured: bool,
    /// What the newest build of a virtual one was made from.
    pub(super) virtual_of: Option<String>,
    pub(super) description: String,
    pub(super) project: String,
    pub(super) tags: Vec<String>,
    pub(super) workers: Vec<String>,
    pub(super) labels: Vec<String>,
    /// Newest first.
    pub(super) recent: Vec<BuildGlance>,
    /// The build that made it red, if it is.
    pub(super) red_since: Option<BuildGlance>,
    pub(super) waiting: u64,
    /// How long its builds take, in milliseconds.
    pub(super) usual: Option<i64>,
}

impl Glance {
    /// Every builder of the plan in its order, then those that are no longer in it.
    pub(super) async fn all(app: &App) -> Result<Vec<Self>, Error> {
        let all = app
            .memory()
            .builders
            .get(app.store(), Self::read_all(app))
            .await?;
        Ok(all.to_vec())
    }

    async fn read_all(app: &App) -> Result<Vec<Self>, Error> {
        let histories = app.store().builder_histories(DOTS).await?;
        let mut histories: BTreeMap<_, _> = histories
            .into_iter()
            .map(|history| (history.builder.clone(), history))
            .collect();
        let plan = app.control().plan();
        let mut all: Vec<_> = plan
            .builders
            .iter()
            .map(|builder| Self::new(&builder.name, &plan, histories.remove(&builder.name)))
            .collect();
        // What was asked for but never built, and is not configured, has nothing to show.
        let gone = histories
            .into_values()
            .filter(|history| !history.recent.is_empty());
        all.extend(gone.map(|history| Self::new(&history.builder.clone(), &plan, Some(history))));
        Ok(all)
    }

    /// That builder with so many of its builds; `None` if neither the plan nor the past knows it.
    pub(super) async fn one(app: &App, name: &str, recent: u32) -> Result<Option<Self>, Error> {
        let history = app.store().builder_history(name, recent).await?;
        let plan = app.control().plan();
        let known = plan.builder(name).is_some() || history.is_some();
        Ok(known.then(|| Self::new(name, &plan, history)))
    }

    fn new(name: &str, plan: &plan::Plan, mut history: Option<BuilderHistory>) -> Self {
        let builder = plan.builder(name);
        let about = history.as_mut().and_then(|history| history.about.take());
        let about = about.filter(|_| builder.is_none());
        let made_by = about.as_ref().map(|about| about.made_by.clone());
        let configured = builder.is_some() || made_by.as_ref().is_some_and(|of| plan.builder(of).is_some());
        let (recent, red_since, waiting, usual) = match history {
            Some(h) => (h.recent, h.red_since, h.pending, h.usual_ms),
            None => (Vec::new(), None, 0, None),
        };
        let about = about.unwrap_or_else(|| VirtualBuilder {
            description: builder.map(|b| b.description.clone()).unwrap_or_default(),
            project: builder.map(|b| b.project.clone()).unwrap_or_default(),
            tags: builder.map(|b| b.tags.clone()).unwrap_or_default(),
            ..VirtualBuilder::default()
        });
        // A virtual one runs where its builds are made.
        let runs = builder.or_else(|| plan.builder(made_by.as_ref()?));
        let list = |of: fn(&plan::Builder) -> &Vec<String>| runs.map(of).cloned().unwrap_or_default();
        Self {
            name: name.to_owned(),
            configured,
            virtual_of: made_by,
            description: about.description,
            project: about.project,
            tags: about.tags,
            workers: list(|b| &b.workers),
            labels: list(|b| &b.labels),
            recent,
            red_since,
            waiting,
            usual: usual.and_then(|ms| i64::try_from(ms).ok()),
        }
    }

    /// Its page.
    pub(super) fn link(&self) -> String {
        builder_link(&self.name)
    }

    /// Oldest first, as people read.
    pub(super) fn dots(&self) -> impl Iterator<Item = &BuildGlance> {
        self.recent.iter().take(DOTS as usize).rev()
    }

    /// The newest build that has ended.
    pub(super) fn last(&self) -> Option<&BuildGlance> {
        self.recent.iter().find(|build| build.finished.is_some())
    }

    /// The newest build that is red.
    pub(super) fn last_red(&self) -> Option<&BuildGlance> {
        let first = self.red_since.as_ref()?;
        let newest = self.recent.iter().find(|build| is_red(build));
        Some(newest.unwrap_or(first))
    }

    /// How many builds ended since it was green.
    pub(super) fn red_for(&self) -> Option<u64> {
        let first = self.red_since.as_ref()?;
        let newest = self.last().unwrap_or(first);
        Some(newest.number.saturating_sub(first.number) + 1)
    }

    pub(super) fn running(&self) -> usize {
        self.recent
            .iter()
            .filter(|build| build.finished.is_none())
            .count()
    }

    /// `failure`, `exception`, `running`, `success` … or nothing before the first build: what it is now, at a glance.
    pub(super) fn word(&self) -> &'static str {
        match (self.last_red(), self.last()) {
            (Some(red), _) => red.word(),
            (None, Some(last)) => last.word(),
            (None, None) if self.running() > 0 => "running",
            (None, None) => "",
        }
    }

    /// `40 s`, or nothing if nobody knows.
    pub(super) fn usually(&self) -> String {
        self.usual.map(format::span).unwrap_or_default()
    }

    /// The workers by name, or what a worker must be.
    pub(super) fn runs_on(&self) -> String {
        match (self.workers.as_slice(), self.labels.as_slice()) {
            ([], []) if self.configured => "any worker".to_owned(),
            ([], labels) => labels.join(", "),
            (workers, _) => workers.join(", "),
        }
    }

    /// Red first, then what runs, then what ran most recently.
    pub(super) fn urgency(&self) -> impl Ord + use<> {
        let newest = self.recent.first().map(|build| build.started);
        (
            self.red_since.is_none(),
            self.running() == 0,
            Reverse(newest),
            self.name.clone(),
        )
    }
}

fn is_red(build: &BuildGlance) -> bool {
    matches!(build.word(), "failure" | "exception")
}

/// The page of a builder. Names may hold anything.
pub(super) fn builder_link(name: &str) -> String {
    format!("/builders/{}", format::encode(name))
}

/// What pages say of a build in one word.
pub(super) trait Word {
    fn word(&self) -> &'static str;
}

impl Word for BuildGlance {
    fn word(&self) -> &'static str {
        self.outcome
            .map_or(self.state.as_str(), capstan_model::Outcome::as_str)
    }
}

/// What the dot of a build says when one points at it.
pub(super) fn dot_title(build: &BuildGlance, now: &i64) -> String {
    let when = build.finished.unwrap_or(build.started).0;
    let summary = if build.summary.is_empty() {
        build.word()
    } else {
        &build.summary
    };
    format!("{}: {summary}, {}", build.number, format::ago(when, now))
}
